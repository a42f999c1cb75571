"""The ledger exactly and now, and what one object of a kind costs on this kernel.

Each CPU keeps changes of the memory counters to itself until they are worth adding up (125 pages at most) or a second has passed.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from typing import Callable, NamedTuple

from memtriage import diagnosis, survey
from memtriage.procfs import files, slab_aliases, slabinfo
from memtriage.simulate.leaker import Leaker
from memtriage.simulate.place import Leak, Place, Refused

FOLD = 1.3
"""Seconds: vm.stat_interval is 1."""
SEGMENT = 2 * 1024 * 1024
SEGMENTS = 3
SLAB = ("slab_unreclaimable", "slab_reclaimable")
SLACK = 1.1
"""Slots in each CPU's own lists count as taken: only where slots say much more than the ledger, it is the ledger that errs."""
ESTIMATED = 10_000
"""Free slots of which slabinfo may only estimate how many there are: in more partial slabs than this."""
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


def cost(make: Callable[[Place], Leak], place: Place, wanted: tuple[str, ...], guess: float) -> Cost:
    """Makes some 10 MiB of it and takes it back. Raises :class:`Refused` where the kernel refuses, or does not count it there.

    The first 4 MiB fill up slabs that were there; of three further segments the median counts, so that others may be busy meanwhile. Where
    many more slots were free, as after the end of a large tree of files, objects go into those and the ledger does not grow: then the
    slots they took say what they cost.
    """
    count = max(1, int(SEGMENT / guess))
    leaker = Leaker(make, place._replace(units=count * (SEGMENTS + 2)), "memtriage-probe")
    try:
        leaker.grow(2 * count)
        steps = [parts()]
        caches = [slots(wanted)]
        for _ in range(SEGMENTS):
            leaker.grow(count)
            steps.append(parts())
            caches.append(slots(wanted))
    finally:
        leaker.end()
    each = {name: statistics.median(after.get(name, 0) - before.get(name, 0) for before, after in zip(steps, steps[1:])) / count
            for name in steps[0]}
    found = sum(each.get(name, 0) for name in wanted)
    taken = {name: statistics.median(after[name].taken - before[name].taken for before, after in zip(caches, caches[1:])) / count
             for name in caches[0] if all(name in later for later in caches)}
    if all(name in SLAB for name in wanted):
        slotted = sum(size for size in taken.values() if size > guess / 50)
        found = slotted if slotted > found * SLACK else found
    if found < guess / 8:
        raise Refused(f"this kernel does not count it in {' and '.join(wanted)} ({found:.0f} bytes each, some {guess:.0f} expected)")
    return Cost(found, sorted((name for name in taken if taken[name] > found / 20), key=lambda name: -taken[name]))


class Slots(NamedTuple):
    """Of one slab cache, in bytes of its slabs."""

    taken: float
    free: float


def slots(wanted: tuple[str, ...], proc: str = "/proc", sys: str = "/sys") -> dict[str, Slots]:
    """The slab caches' slots taken and free, of caches that count in one of the ``wanted`` parts; empty where slabinfo may not be read."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = {}
    try:
        caches = slabinfo.read(proc).caches
    except files.ProcfsError:
        return {}
    for cache in caches:
        if cache.num_objs and (set(SLAB) <= set(wanted) or _part(sys, cache.name) in wanted):
            slot = cache.footprint(page) / cache.num_objs
            # Where slabinfo estimates, counted: it was wrong by a fifth where slabs full of holes and others lay in one list.
            counted = slab_aliases.objects(sys, cache.name) if cache.num_objs - cache.active_objs > ESTIMATED else None
            taken = cache.active_objs if counted is None else min(counted, cache.num_objs)
            found[cache.name] = Slots(taken * slot, (cache.num_objs - taken) * slot)
    return found


@functools.lru_cache(None)
def _part(sys: str, name: str) -> str:
    known = slab_aliases.reclaimable(sys, name)
    return SLAB[diagnosis.reclaimable_by_name(name) if known is None else known]


def held(names: tuple[str, ...]) -> int:
    """Bytes in these parts of the ledger, settled."""
    now = parts()
    return sum(now.get(name, 0) for name in names)


def await_return(names: tuple[str, ...], before: int) -> None:
    """Waits until the parts are back at ``before``, nearly, and not long: the kernel frees much of it only after a process has ended."""
    end = time.monotonic() + RETURN
    while held(names) > before + SEGMENT // 4 and time.monotonic() < end:
        time.sleep(0.05)
