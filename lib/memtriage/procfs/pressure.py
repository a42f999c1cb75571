"""/proc/pressure/memory and a control group's memory.pressure: time lost waiting for memory (Documentation/accounting/psi.rst).

Since Linux 4.20, with CONFIG_PSI. Where it is built in and off (``psi=0``, the default of some distributions) the file is missing, or
reading it fails with "Operation not supported", which is :class:`~memtriage.procfs.files.Unreadable`.
"""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Stall(NamedTuple):
    avg10: float
    """Percent of the last 10 seconds."""
    avg60: float
    """Percent of the last 60 seconds."""
    avg300: float
    """Percent of the last 300 seconds."""
    total_us: int
    """Microseconds since boot, or since the control group was made."""


class Pressure(NamedTuple):
    some: Stall
    """At least one task waited."""
    full: Stall | None
    """All tasks that had something to do waited; ``None`` where the kernel does not say."""
    odd: list[str]
    """Lines that could not be understood, as text."""


def parse(data: bytes) -> Pressure:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there is no ``some`` line to be understood."""
    found: dict[bytes, Stall] = {}
    lines, odd = files.whole_lines(data)
    for line in lines:
        kind, _, rest = line.partition(b" ")
        stall = _stall(rest)
        if kind in (b"some", b"full") and kind not in found and stall is not None:
            found[kind] = stall
        elif line.strip():
            odd.append(files.text(line))
    if b"some" not in found:
        raise files.Malformed("pressure/memory", "no line 'some'")
    return Pressure(found[b"some"], found.get(b"full"), odd)


def _stall(rest: bytes) -> Stall | None:
    pairs = dict(word.partition(b"=")[::2] for word in rest.split())
    averages = [files.decimal(pairs.get(key, b"")) for key in (b"avg10", b"avg60", b"avg300")]
    total = files.number(pairs.get(b"total", b""))
    known = [value for value in averages if value is not None]
    if len(known) != 3 or total is None:
        return None
    return Stall(known[0], known[1], known[2], total)


def read(root: str = "/proc", name: str = "pressure/memory") -> Pressure:
    """Reads ``root/name``; for a control group, its folder and ``memory.pressure``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(root, name))
