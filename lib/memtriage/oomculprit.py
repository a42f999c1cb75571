"""Who is to blame for an OOM kill: the same rules as everywhere, on the memory that the kernel reported at that moment.

The victim is whom the kernel chose, not who holds the memory: a browser dies beside 22 GiB of network buffers.
"""

from __future__ import annotations

from collections.abc import Callable

from memtriage import accounting, diagnosis
from memtriage.procfs.keyed import Keyed
from memtriage.procfs.oom_report import Report
from memtriage.record import NamedTuple
from memtriage.wording import clean, size

LEFT = 0.15
"""Share of RAM in reclaimable slab from which on it is odd that the kernel killed and did not take it back."""
REACHED = "The limit of a cgroup was reached, not the host's memory."
KERNEL = ("slab_reclaimable", "slab_unreclaimable", "slab", *accounting.KERNEL_OTHER)
"""Parts of the ledger that lie in lowmem; the rest may lie in HighMem."""


class Illness(NamedTuple):
    """Why memory was short although some was free. ``parts`` of the ledger are to blame, all where it is empty."""

    name: str
    sentence: str
    parts: tuple[str, ...] = ()


def illness(report: Report) -> Illness | None:
    """Where it was not the amount of memory but its kind: pieces too small, or a zone that few can use (32-bit lowmem, DMA)."""
    if report.constraint == "memcg" or not report.zones:
        return None
    high = [zone for zone in report.zones if zone.name in ("HighMem", "Movable")]
    low = [zone for zone in report.zones if zone not in high and zone.name != "Device"]
    normal = [zone for zone in low if zone.name == "Normal"]
    if normal and all(zone.free <= zone.min for zone in normal) and any(zone.free > 4 * max(zone.low, 1024**2) for zone in high):
        few, many = sum(zone.free for zone in normal), sum(zone.free for zone in high)
        return Illness("lowmem full", f"Lowmem, not memory: zone Normal has {size(few)} free, while {size(many)} lie free where the kernel "
                       "cannot put its own data. A 64-bit kernel has no such limit.", KERNEL)
    order = report.order or 0
    wanted = report.page << max(0, order)
    roomy = [zone for zone in low if zone.blocks and zone.free > zone.low]
    if order > 0 and roomy and not any(count for zone in roomy for block, count in zone.blocks.items() if block >= wanted):
        free = sum(zone.free for zone in roomy)
        return Illness(f"fragmentation, no {size(wanted)} in one piece", f"Fragmentation: {size(wanted)} in one piece (order {order}) were "
                       f"asked for; {size(free)} are free, above the watermarks, in smaller pieces.")
    if report.gfp and "GFP_DMA" in report.gfp:
        zone = "DMA32" if "GFP_DMA32" in report.gfp else "DMA"
        return Illness(f"zone {zone} full", f"Only zone {zone} could serve this request (a device with few address bits), not all memory.")
    return None


def ledger(report: Report) -> accounting.Ledger | None:
    """The host's memory at the kill, ``None`` where the report's tables are missing, as in a cgroup's or a torn log."""
    if "Cached" not in report.memory or "AnonPages" not in report.memory:
        return None
    return accounting.ledger(Keyed(report.memory, []))


def caches(report: Report) -> list[diagnosis.Cache]:
    """Largest first; the kernel lists only those that cannot be reclaimed."""
    found = [diagnosis.Cache(name, held, False) for name, held in report.caches]
    return sorted(found, key=lambda cache: (-cache.size, cache.name))


def groups(report: Report) -> list[diagnosis.Group]:
    """Processes by program, largest first. Before Linux 6.9 the table has no anonymous memory apart from RSS."""
    held: dict[str, list[int]] = {}
    for task in report.tasks:
        entry = held.setdefault(task.name, [0, 0, 0])
        entry[0] += 1
        entry[1] += task.rss if task.anon is None else task.anon
        entry[2] += task.rss
    return sorted((diagnosis.Group(name, *entry) for name, entry in held.items()), key=lambda group: (-group.anon, group.name))


class Present(NamedTuple):
    """What the log does not name, as it is now: what is held survives the victim. Empty where the kill was in another boot."""

    caches: tuple[diagnosis.Cache, ...] = ()
    """Slab caches."""
    dying: int = 0
    """Removed control groups that something holds."""


def culprit(report: Report, now: Callable[[], Present] = Present) -> diagnosis.Culprit | None:
    """``None`` where the log does not hold enough to say it."""
    listed = groups(report)
    if report.constraint == "memcg":
        if report.oom_memcg is None or report.limit is None:
            return None
        found = diagnosis.limit_culprit(report.oom_memcg, report.limit, listed)
        if "most held by" in found.words:
            return found._replace(meaning=REACHED)
        if listed:
            return found
        alone = f"cgroup limit of '{clean(report.oom_memcg, 40)}'"  # whether a process holds most of it is not known
        return found._replace(words=alone, meaning=REACHED)
    if report.constraint in ("cpuset", "memory_policy"):
        return _bound(report, listed)
    book = ledger(report)
    if book is None:
        return _largest_cache(report)
    ill = illness(report)
    if ill is not None and ill.parts:
        book = book._replace(parts={name: held for name, held in book.parts.items() if name in ill.parts})
    found = diagnosis.culprit(book, caches(report), listed, True)
    held = kept(report) if ill is None else 0
    most = min(book.parts.get("anon", 0), max((group.anon for group in listed), default=0))
    if held and (found.part == "slab_reclaimable" or (found.part == "anon" and held >= most)):
        return _held(held, now().caches)
    if found.part in diagnosis.OF_REMOVED:
        return diagnosis.of_removed(found, now().dying)
    if found.part == "anon" and not listed:
        return found._replace(words=f"processes, which the log does not list, {size(found.size)}")
    return found


def kept(report: Report) -> int:
    """Bytes of reclaimable slab that reclaim left, 0 where it is no more than it may leave: the host kills only when it finds no more."""
    left = report.memory.get("SReclaimable") or 0
    return left if report.constraint == "none" and left >= LEFT * report.memory["MemTotal"] else 0


def _held(held: int, now: tuple[diagnosis.Cache, ...]) -> diagnosis.Culprit:
    """The log names no reclaimable cache: the one that has most of it now had it then."""
    largest = max((cache for cache in now if cache.reclaimable), key=lambda cache: cache.size, default=None)
    if largest is not None and 2 * largest.size >= held:
        words = f"{largest.words} {size(largest.size)} now, held"
    else:
        words = f"reclaimable slab {size(held)}, held"
    return diagnosis.Culprit("slab_reclaimable", words, held, diagnosis.PINNED)


def _largest_cache(report: Report) -> diagnosis.Culprit | None:
    """Of a torn report: the kernel lists caches only where unreclaimable slab is more than all pages of programs and files."""
    listed = caches(report)
    if not listed:
        return None
    words = f"{listed[0].words} {size(listed[0].size)}, unreclaimable"
    return diagnosis.Culprit("slab_unreclaimable", words, listed[0].size, diagnosis.MEANING["slab_unreclaimable"])


def _bound(report: Report, listed: list[diagnosis.Group]) -> diagnosis.Culprit | None:
    """Bound to some memory nodes: the kernel's table has the processes that may use them; what else lies on them is not in the log."""
    if not listed:
        return None
    words = f"cpuset '{clean(report.cpuset or '?', 40)}'" if report.constraint == "cpuset" else "memory policy"
    if report.nodes:
        words += f" (nodes {clean(report.nodes, 20)})"
    return diagnosis.Culprit("nodes", f"{words}, most held by {listed[0].words}", listed[0].anon,
                             "Some of the host's memory nodes are full, not its memory: others may have plenty.")
