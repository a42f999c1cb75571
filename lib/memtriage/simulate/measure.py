"""The ledger exactly and now, and what one object of a kind costs on this kernel.

Each CPU keeps changes of the memory counters to itself until they are worth adding up (125 pages at most) or a second has passed.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Callable, NamedTuple

from memtriage import survey
from memtriage.procfs import files, slabinfo
from memtriage.simulate.leaker import Leaker
from memtriage.simulate.place import Leak, Place, Refused

FOLD = 1.3
"""Seconds: vm.stat_interval is 1."""
SEGMENT = 2 * 1024 * 1024
SEGMENTS = 3
RETURN = 5.0
"""Seconds to wait at most for the kernel to free what was made to measure."""


def settle(proc: str = "/proc") -> None:
    """Waits until the counters are whole: at once for root, who may ask for it (vm.stat_refresh, since Linux 4.7)."""
    try:
        files.read(proc, "sys/vm/stat_refresh")
    except files.ProcfsError:
        time.sleep(FOLD)


def parts(proc: str = "/proc", sys: str = "/sys") -> dict[str, int]:
    """The ledger's parts in bytes, settled. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    settle(proc)
    return survey.memory(proc, sys).book.parts


class Cost(NamedTuple):
    """What one unit costs."""

    part: float
    """Bytes in the parts of the ledger that its kind is about."""
    caches: list[str]
    """Slab caches that hold a twentieth of it or more, as slabinfo calls them, largest first; empty where slabinfo may not be read."""
    by_part: dict[str, float]
    """Bytes in every part that changed, companions included."""


def cost(make: Callable[[Place], Leak], place: Place, wanted: tuple[str, ...], guess: float) -> Cost:
    """Makes some 10 MiB of it and takes it back. Raises :class:`Refused` where the kernel refuses, or does not count it there.

    The first 4 MiB fill up slabs that were there; of three further segments the median counts, so that others may be busy meanwhile.
    """
    count = max(1, int(SEGMENT / guess))
    leaker = Leaker(make, place._replace(units=count * (SEGMENTS + 2)), "memtriage-probe")
    try:
        leaker.grow(2 * count)
        steps = [parts()]
        caches = [_footprints()]
        for _ in range(SEGMENTS):
            leaker.grow(count)
            steps.append(parts())
            caches.append(_footprints())
    finally:
        leaker.end()
    each = {name: statistics.median(after.get(name, 0) - before.get(name, 0) for before, after in zip(steps, steps[1:])) / count
            for name in steps[0]}
    found = sum(each.get(name, 0) for name in wanted)
    if found < guess / 8:
        raise Refused(f"this kernel does not count it in {' and '.join(wanted)} ({found:.0f} bytes each, some {guess:.0f} expected)")
    grown = {name: caches[-1].get(name, 0) - caches[0].get(name, 0) for name in caches[-1]}
    least = found * count * SEGMENTS / 20
    named = sorted((name for name in grown if grown[name] > least), key=lambda name: -grown[name])
    return Cost(found, named, {name: value for name, value in each.items() if abs(value) > found / 50})


def held(names: tuple[str, ...]) -> int:
    """Bytes in these parts of the ledger, settled."""
    now = parts()
    return sum(now.get(name, 0) for name in names)


def await_return(names: tuple[str, ...], before: int) -> None:
    """Waits until the parts are back at ``before``, nearly, and not long: the kernel frees much of it only after a process has ended."""
    end = time.monotonic() + RETURN
    while held(names) > before + SEGMENT // 4 and time.monotonic() < end:
        time.sleep(0.05)


def _footprints() -> dict[str, int]:
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        return {cache.name: cache.footprint(page) for cache in slabinfo.read().caches}
    except files.ProcfsError:
        return {}
