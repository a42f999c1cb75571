"""Which kind of memory is short: what can be had, swap, the commit limit, a cgroup's limit, a zone, or blocks of pages in a row."""

from __future__ import annotations

import os

from memtriage import survey, wording
from memtriage.procfs import buddyinfo, files, zoneinfo
from memtriage.record import NamedTuple

ORDER = 3
"""Requests up to this order (eight pages in a row) the kernel promises to try hard for (PAGE_ALLOC_COSTLY_ORDER)."""


class Shortage(NamedTuple):
    """``kind`` is available, swap, commit, cgroup, zone or order."""

    kind: str
    sentence: str


def found(proc: str, memory: survey.Memory, page: int) -> list[Shortage]:
    """All that is short, the gravest first. Sources that cannot be read say nothing; :mod:`.rows` lists them."""
    get = memory.info.get
    short: list[Shortage] = []
    left = wording.share(memory.available, memory.total)
    if memory.limited_by and memory.available * 10 < memory.total:
        short.append(Shortage("cgroup", f"the limit of cgroup '{wording.clean_end(memory.limited_by, 40)}', "
                                        f"{wording.size(memory.total)}: {left} of it is left"))
    elif memory.available * 10 < memory.total:
        short.append(Shortage("available", f"MemAvailable: {wording.size(memory.available)} is left, {left} of what this host has"))
    swap, free = get("SwapTotal") or 0, get("SwapFree") or 0
    if swap and free * 5 < swap:
        short.append(Shortage("swap", f"swap: {wording.share(swap - free, swap)} of {wording.size(swap)} is used"))
    limit, committed = get("CommitLimit"), get("Committed_AS")
    if limit and committed and committed * 10 > limit * 9 and _strict(proc):
        short.append(Shortage("commit", f"the commit limit (vm.overcommit_memory is 2): {wording.share(committed, limit)} of "
                                        f"{wording.size(limit)} is promised, so that malloc fails while memory is free"))
    short += _zones(proc, page)
    return short


def _strict(proc: str) -> bool:
    try:
        return files.read(proc, "sys/vm/overcommit_memory").strip() == b"2"
    except files.ProcfsError:
        return False


def _zones(proc: str, page: int) -> list[Shortage]:
    """Zones below their minimum, and no block of :data:`ORDER` anywhere. DMA is small by nature and does not count."""
    short: list[Shortage] = []
    try:
        for zone in zoneinfo.read(proc).zones:
            if zone.name != "DMA" and zone.managed_pages and zone.free_pages < zone.min_pages:
                short.append(Shortage("zone", f"zone {zone.name} of node {zone.node}: {wording.size(zone.free_pages * page)} free, "
                                              f"below its minimum of {wording.size(zone.min_pages * page)}"))
    except files.ProcfsError:
        pass
    try:
        zones = buddyinfo.read(proc).zones
        if zones and not any(zone.free_pages(ORDER) for zone in zones):
            short.append(Shortage("order", f"blocks of {1 << ORDER} pages in a row: none is free, memory is fragmented"))
    except files.ProcfsError:
        pass
    return short


def sources(proc: str) -> list[str]:
    """Those of the files above that cannot be read here."""
    return [name for name in ("zoneinfo", "buddyinfo") if not os.access(os.path.join(proc, name), os.R_OK)]
