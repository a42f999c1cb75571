"""How much may be taken, so that the host is never in danger."""

from __future__ import annotations

from memtriage import survey
from memtriage.quantity import MIB, prime_mib
from memtriage.record import NamedTuple
from memtriage.simulate.kinds import Kind
from memtriage.simulate.place import Refused
from memtriage.wording import clean, size

RESERVE_SHARE = 0.03
RESERVE_LEAST = 64 * MIB
"""A small guest without swap was seen to thrash at 9 to 13 MiB available and to kill at 5 to 8: this is five times as much."""


class Room(NamedTuple):
    """Bytes. ``available`` is the host's MemAvailable or what the cgroup's limit leaves, whichever is less."""

    total: int
    available: int
    reserve: int
    limited_by: str | None

    @property
    def spare(self) -> int:
        return max(0, self.available - self.reserve)

    def where(self) -> str:
        return f"within the limit of cgroup '{clean(self.limited_by, 40)}'" if self.limited_by else "on this host"


def room(proc: str = "/proc", sys: str = "/sys") -> Room:
    """Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    memory = survey.memory(proc, sys)
    return Room(memory.total, memory.available, max(RESERVE_LEAST, int(memory.total * RESERVE_SHARE)), memory.limited_by)


def default_limit(kind: Kind, found: Room) -> int:
    """The kind's own prime number of MiB, or the largest prime that fits. Raises :class:`Refused` where not even 2 MiB do."""
    fits = prime_mib(min(kind.mib * MIB, int(found.spare / kind.overhead)))
    if fits is None:
        raise Refused(f"only {size(found.available)} available {found.where()}, and {size(found.reserve)} must be left")
    return fits


def check_limit(kind: Kind, limit: int, found: Room) -> None:
    """Raises :class:`Refused` where growing to ``limit`` bytes would not leave the reserve."""
    needed = int(limit * kind.overhead)
    if needed > found.spare:
        prime = prime_mib(int(found.spare / kind.overhead))
        advice = f"; --limit {prime // MIB}MiB would fit" if prime else ""
        raise Refused(f"{size(limit)} of {kind.name} takes {size(needed)} in all; {size(found.available)} is available {found.where()} and "
                      f"{size(found.reserve)} must be left{advice}")
