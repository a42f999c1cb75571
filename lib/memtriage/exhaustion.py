"""When will memory be gone, and through what: causes that grow provenly, what reclaim cannot free, and the time that is left.

Works on the history of one boot as :mod:`memtriage.following` keeps it; nothing here reads files or makes sentences. What is extrapolated
is the cause (a cache, a process group, a part of the ledger); MemAvailable, which the kernel has already reduced by its reserves
(si_mem_available() in mm/show_mem.c), is only the headroom, less what reclaim has shown it cannot free.

Keys of a row: ``available`` and ``total`` (kB), ``p.NAME`` parts of the ledger (kB), ``c.NAME`` slab caches (pages), ``g.NAME`` resident
pages of a process group, ``n.NAME`` its members, ``pgscan`` (pages) and ``slabs_scanned`` (objects) since boot,
``dying`` (removed control groups that are still held).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from memtriage import growth
from memtriage.record import NamedTuple

NEVER = frozenset(("p.free", "p.page_cache", "p.slab_reclaimable", "p.kernel_reclaimable", "p.hardware_corrupted"))
"""Parts that growth of is no loss: nobody holds them, or the kernel takes them back. What in them is pinned is told by cache."""
LARGE = 16 * 1024**2
"""A cache below this, or below 1 % of memory, is nobody's culprit."""
MOST = 8
"""Candidates that are looked at closely."""
INNOCENT = 0.1
"""A cause with less than this share of the growth is not named: the largest process is not guilty because it is there."""
DAILY = ("g.", "p.anon", "p.shmem")
"""Keys of what people and their jobs use, which goes up and down with the day."""
RHYTHM = 6
"""Windows (a day, with the default of four hours) over which growth of :data:`DAILY` must have lasted to be told from a day's own rise.
Until then it is extrapolated only over :data:`CAUTIOUS` of what has been seen of it; and in any case it must last a whole window, as jobs
of an hour or two do not."""
CAUTIOUS = 0.5
"""Instead of :data:`memtriage.growth.REACH`: a service that takes 40 % of memory in six hours and stops looks like a leak till then."""
GROUP = 16384
"""Bytes that a removed control group explains in the kernel's caches: 11 kB on Linux 6.18, 25 kB on 6.1."""
RECLAIMS = 0.0005
"""Pages scanned between two samples, as a share of all pages, from which on the kernel is short of memory and reclaims."""
IN_USE = 0.5
"""Share of a cache's objects in use from which on it is held, not merely kept."""


class Cache(NamedTuple):
    """What is known of a slab cache beside its history. ``in_use`` is a share of its objects, ``None`` where nothing tells."""

    reclaimable: bool
    in_use: float | None = None


class Rules(NamedTuple):
    """Seconds and a count: no trend over less than a quarter ``window``, of samples of the boot's first ``warmup``, of fewer than ``least``
    points."""

    window: float
    warmup: float
    least: int


class Cause(NamedTuple):
    """One thing that grows: its key, bytes now, growth in bytes per second, share of all proven growth, and whether it is pinned.

    ``dying``: so many removed control groups came with it and explain it, else 0.
    """

    key: str
    size: float
    slope: float
    low: float
    high: float
    span: float
    share: float
    pinned: bool
    dying: int = 0


class Pinned(NamedTuple):
    """A reclaimable cache that reclaim does not shrink, in bytes; ``growth`` is its change while the kernel reclaimed."""

    key: str
    size: float
    growth: float


class Reclaim(NamedTuple):
    """Steps between two samples in which the kernel reclaimed, the bytes it scanned in them, and by how many a cache changed."""

    times: int
    scanned: float
    change: float


class Outlook(NamedTuple):
    """The causes in order, and the time to exhaustion in seconds with its interval; none of it where nothing is proven."""

    causes: list[Cause]
    pinned: list[Pinned]
    headroom: float
    """Bytes of MemAvailable less what is pinned."""
    eta: float | None
    eta_low: float | None
    eta_high: float | None
    doubts: list[tuple[str, str]]
    """Keys that grow without being a proven cause, and why they are not."""


class History(NamedTuple):
    """The samples of the present boot, oldest first: seconds of uptime, and the raw counters of each."""

    times: list[float]
    rows: list[Mapping[str, int]]
    page: int

    def size(self, key: str, row: Mapping[str, int]) -> float | None:
        """Bytes of ``key``. A cache or group that a sample does not have was below what is stored: 0."""
        value = row.get(key)
        if key[:2] in ("c.", "g."):
            return (value or 0) * self.page
        return None if value is None else value * 1024.0

    def since(self, start: int) -> History:
        return History(self.times[start:], self.rows[start:], self.page)

    def series(self, key: str) -> tuple[list[float], list[float]]:
        pairs = [(time, size) for time, row in zip(self.times, self.rows) if (size := self.size(key, row)) is not None]
        return [time for time, _ in pairs], [size for _, size in pairs]


def outlook(history: History, caches: Mapping[str, Cache], available: float, total: float, rules: Rules) -> Outlook:
    """Judges the last row of ``history``. ``caches`` by name as they are now; ``available`` and ``total`` in bytes now."""
    pinned = [found for name, cache in caches.items()
              if cache.reclaimable and (found := _pinned(history, name, cache, total, rules.window))]
    pinned.sort(key=lambda found: -found.size)
    headroom = max(0.0, available - sum(found.size for found in pinned))
    held = {found.key for found in pinned}
    held.update("c." + name for name, cache in caches.items() if cache.reclaimable and (cache.in_use or 0) >= 0.8)
    whole = history.since(_sound(history, rules.warmup))
    doubts: dict[str, str] = {}
    for span in growth.spans(whole.times, rules.window):
        start = growth.cut(whole.times, span)
        if len(whole.times) - start < max(3, rules.least):
            continue
        causes = _causes(history, whole.since(start), caches, held, headroom, rules.least, doubts)
        if span < rules.window or (span < RHYTHM * rules.window and _within(causes, headroom, CAUTIOUS * span) is None):
            causes = [cause for cause in causes if not cause.key.startswith(DAILY)]
        slope = _within(causes, headroom, growth.REACH * span)
        if slope is None:
            continue
        low, high = sum(cause.low for cause in causes), sum(cause.high for cause in causes)
        named = [cause._replace(share=cause.slope / slope) for cause in causes if cause.slope >= INNOCENT * slope]
        named.sort(key=lambda cause: -cause.slope)
        named = [cause._replace(dying=_dying(cause, whole.rows[start], whole.rows[-1])) for cause in named]
        # What is held by its use alone is called pinned, too, and so it is none of what is left.
        rest = sum(cause.size * (caches[cause.key[2:]].in_use or 0.0) for cause in causes
                   if cause.pinned and all(found.key != cause.key for found in pinned))
        headroom = max(0.0, headroom - rest)
        return Outlook(named, pinned, headroom, headroom / slope, headroom / high, headroom / low, list(doubts.items()))
    return Outlook([], pinned, headroom, None, None, None, list(doubts.items()))


def _dying(cause: Cause, first: Mapping[str, int], last: Mapping[str, int]) -> int:
    kernel = (cause.key.startswith("c.") and not cause.pinned) or cause.key in ("p.per_cpu", "p.slab_unreclaimable", "p.slab")
    more = last.get("dying", 0) - first.get("dying", 0) if "dying" in first else 0
    return last["dying"] if kernel and more * GROUP >= cause.slope * cause.span else 0


def _within(causes: list[Cause], headroom: float, reach: float) -> float | None:
    """The sum of the slopes, if it takes the headroom within ``reach`` seconds."""
    slope = sum(cause.slope for cause in causes)
    return slope if slope > 0 and headroom / slope <= reach else None


def _sound(history: History, warmup: float) -> int:
    """Index of the first sample that counts: after the warm-up and after the last change of the total (hot-plugged memory, a new limit)."""
    start = 0
    for place, time in enumerate(history.times):
        if time < warmup or (place and history.rows[place].get("total") != history.rows[place - 1].get("total")):
            start = place + (time < warmup)
    return start


def _causes(history: History, part: History, caches: Mapping[str, Cache], held: set[str], headroom: float, least: int,
            doubts: dict[str, str]) -> list[Cause]:
    """What provenly grows within ``part``, the last samples of ``history``."""
    last = part.rows[-1]
    # What is small now has not grown by much: this alone rules out nearly all of hundreds of caches.
    large = [key for key in last if key[1] == "." and key not in NEVER
             and (key == "p.unaccounted" or (part.size(key, last) or 0.0) >= headroom / 16)]
    changes = {key: change for key in large if (change := _change(part, key)) is not None and change >= headroom / 16 and change > 0}
    for key in [key for key in changes if key.startswith("c.")]:
        cache = caches.get(key[2:])
        if cache is not None and cache.reclaimable and key not in held:
            doubts.setdefault(key, "reclaimable")
            del changes[key]
    # A part is a cause of its own only where nothing in it explains it.
    backed = {"g.": 1.0, "c.": 1.0}
    for prefix, inside in (("p.anon", "g."), ("p.slab_unreclaimable", "c."), ("p.slab", "c.")):
        children = [key for key in changes if key.startswith(inside) and key not in held]
        grown, mother = sum(changes[key] for key in children), changes.get(prefix)
        if inside == "g." and grown:
            # Resident pages of shared files and shared memory are in no process's gift: what counts is what AnonPages confirms.
            backed["g."] = min(1.0, max(0.0, _change(part, "p.anon") or 0.0) / grown) if "p.anon" in part.rows[-1] else 1.0
            if backed["g."] < 0.3:
                for key in children:
                    del changes[key]
                grown = 0.0
        if mother is not None and grown * 2 >= mother:
            del changes[prefix]
    chosen = sorted(changes, key=lambda key: -changes[key])[:MOST]
    everything = sum(changes[key] for key in chosen)
    if everything * growth.REACH < headroom:
        return []
    first = len(history.times) - len(part.times)
    causes = []
    for key in chosen:
        peak = max((size for row in history.rows[:first] if (size := history.size(key, row)) is not None), default=None)
        trend = growth.prove(*part.series(key), headroom * changes[key] / everything, least, peak)
        if isinstance(trend, growth.Unproven):
            doubts.setdefault(key, trend.reason)
            continue
        factor = backed.get(key[:2], 1.0)
        causes.append(Cause(key, history.size(key, part.rows[-1]) or 0.0, trend.slope * factor, trend.low * factor, trend.high * factor,
                            part.times[-1] - part.times[0], 0.0, key in held))
    # Growth that takes nothing away from what is available exhausts nothing: a deploy under a new name, one cache for another.
    loss = -(_change(part, "available") or 0.0)
    claimed = sum(changes[cause.key] * backed.get(cause.key[:2], 1.0) for cause in causes if not cause.pinned)
    if loss * 2 < claimed:
        for cause in causes:
            doubts.setdefault(cause.key, "what is available does not fall with it")
        causes = [cause for cause in causes if cause.pinned]
    return causes


def _change(part: History, key: str) -> float | None:
    """The change over all rows, between medians of three at either end."""
    rows: Sequence[Mapping[str, int]] = part.rows
    sizes = [part.size(key, row) for row in [*rows[:3], *rows[-3:]]]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    first, last = growth.ends(known)
    return last - first


def _pinned(history: History, name: str, cache: Cache, total: float, window: float) -> Pinned | None:
    """Whether the kernel has reclaimed memory for a while and this cache did not shrink.

    That shows only while the kernel reclaims. What has shown holds until the cache gives something back: for a window, and for as long as
    the cache goes on growing.
    """
    key, times = "c." + name, history.times
    now = history.size(key, history.rows[-1]) if history.rows else None
    if not now or now < max(LARGE, total / 100) or (cache.in_use is not None and cache.in_use < IN_USE):
        return None
    last = len(times) - 1

    def start(end: int) -> int:
        """A window before ``end``, or six steps where the check runs so rarely that there are not as many in it."""
        return min(bisect_left(times, times[end] - window - 1e-6), max(0, end - 6))

    passes = [Reclaim(0, 0.0, 0.0)]  # up to each row
    for before, after in zip(history.rows, history.rows[1:]):
        step = (after["pgscan"] - before["pgscan"]) * history.page if "pgscan" in before and "pgscan" in after else 0
        so_far = passes[-1]
        if step >= RECLAIMS * total:
            change = (history.size(key, after) or 0.0) - (history.size(key, before) or 0.0)
            so_far = Reclaim(so_far.times + 1, so_far.scanned + step, so_far.change + change)
        passes.append(so_far)
    if passes[-1].times < 3:
        return None
    recent = start(last)
    oldest = 0 if now - (history.size(key, history.rows[recent]) or 0.0) >= 0.02 * now else recent
    least = now
    for end in range(last, oldest - 1, -1):
        size = history.size(key, history.rows[end]) or 0.0
        least = min(least, size)
        if least < 0.98 * size:
            return None
        if not end or passes[end].times == passes[end - 1].times:
            continue  # nothing shows where the kernel did not reclaim
        whole, before_it = passes[end], passes[start(end)]
        change = whole.change - before_it.change
        # Three times, and as many pages in all as the cache has: it had its turn, and kept what it holds.
        if whole.times - before_it.times >= 3 and whole.scanned - before_it.scanned >= size > 0 and change >= -0.02 * size:
            return Pinned(key, now * (1.0 if cache.in_use is None else min(1.0, cache.in_use)), change)
    return None
