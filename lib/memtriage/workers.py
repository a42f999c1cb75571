"""What workers take and what they could take: their samples, the memory their host, cgroup and own limits leave them, and how many fit."""

from __future__ import annotations

from collections.abc import Sequence

from memtriage import budget, survey
from memtriage.procfs import cgroup, files
from memtriage.procfs.pid import cgroup as membership
from memtriage.procfs.pid import limits, smaps_rollup, statm
from memtriage.record import NamedTuple

MOST = 1000
"""Workers that are looked at closely: the sums of more are scaled up."""


class Room(NamedTuple):
    """Bytes the workers can have together, those they have already counted in, and what sets that bound."""

    size: int
    bound: str
    """``this host``, or a cgroup's path."""


class Projection(NamedTuple):
    """What so many workers would take, and how many fit."""

    now: budget.Budget
    exact: bool
    """Whether in PSS: otherwise RSS, with pages of files counted for each and memory shared after fork as if it were each one's own."""
    room: Room
    wanted: int
    projected: int
    fits: int | None
    """``None``: a worker adds nothing."""
    capped: str
    """The limit of a process (RLIMIT_AS, RLIMIT_DATA) that its largest worker has nearly reached, in words, or nothing."""

    @property
    def share(self) -> float:
        """Of the room, in per cent."""
        return 100.0 * self.projected / self.room.size if self.room.size else float("inf")


def project(proc: str, sys: str, pids: Sequence[int], wanted: int, memory: survey.Memory, page: int) -> Projection | None:
    """``None`` where none of ``pids`` can be read. ``memory`` is the host's, as :func:`memtriage.survey.memory` reads it."""
    chosen = list(pids)[:MOST]
    samples: list[budget.Sample] = []
    exact, alive = True, []
    for number in chosen:
        found, known = _sample(proc, number, page)
        if found is not None:
            samples.append(found)
            alive.append(number)
            exact = exact and known
    if not samples:
        return None
    if not exact:  # one measure for all
        samples = [found for number in alive if (found := _rough(proc, number, page)) is not None]
        if not samples:
            return None
    now = budget.budget(samples)
    now = now._replace(workers=len(pids), total=now.total * len(pids) // len(samples))
    room = _room(proc, sys, alive[0], memory, now.total)
    return Projection(now, exact, room, wanted, budget.projected(now, wanted), budget.fits(now, room.size), _capped(proc, alive, page))


def _sample(proc: str, number: int, page: int) -> tuple[budget.Sample | None, bool]:
    """PSS and what is the worker's own, and whether they could be read; else the estimate."""
    try:
        rollup = smaps_rollup.read(proc, number)
        pss, clean, dirty = rollup.get("Pss"), rollup.get("Private_Clean"), rollup.get("Private_Dirty")
        if pss is not None and clean is not None and dirty is not None:
            return budget.Sample(pss, clean + dirty), True
    except files.ProcfsError:
        pass
    return _rough(proc, number, page), False


def _rough(proc: str, number: int, page: int) -> budget.Sample | None:
    try:
        pages = statm.read(proc, number)
    except files.ProcfsError:
        return None
    return budget.Sample(pages.resident_pages * page, pages.anon_pages * page)


def _room(proc: str, sys: str, number: int, memory: survey.Memory, taken: int) -> Room:
    """The least of what the host and each cgroup above the workers leave them."""
    room = Room(memory.available + taken, f"cgroup '{memory.limited_by}'" if memory.limited_by else "this host")
    try:
        groups = cgroup.read_limits(sys, membership.read(proc, number))
    except files.ProcfsError:
        return room
    for group in groups:
        if group.limit is None or group.usage is None or group.limit >= memory.book.total:
            continue
        cache = (group.inactive_file or 0) + (group.active_file or 0) + (group.slab_reclaimable or 0)
        left = max(0, group.limit - max(0, group.usage - cache)) + taken
        if left < room.size:
            room = Room(left, f"cgroup '{group.path}'")
    return room


def _capped(proc: str, pids: list[int], page: int) -> str:
    """RLIMIT_AS and RLIMIT_DATA stop one worker, not all: said where the largest has used nine tenths."""
    for name, label, use in (("Max address space", "RLIMIT_AS", "size_pages"), ("Max data size", "RLIMIT_DATA", "data_pages")):
        for number in pids:
            try:
                limit = limits.read(proc, number).get(name)
                used = getattr(statm.read(proc, number), use) * page
            except files.ProcfsError:
                continue
            if limit is not None and limit.soft is not None and used * 10 >= limit.soft * 9:
                return f"{label} of pid {number}: {100.0 * used / limit.soft:.0f}% of {limit.soft // 1024**2} MiB used"
    return ""
