"""Slab caches between runs: how much slab there is, and how fast each cache has grown since one window ago."""

from __future__ import annotations

from collections.abc import Collection

from memtriage import diagnosis, exhaustion, following, growth
from memtriage.procfs import files, osrelease
from memtriage.record import TYPE_CHECKING, NamedTuple
from memtriage.wording import clean, share, size
from memtriage.wording import label as plain_label

if TYPE_CHECKING:
    from typing import Callable


class NoSlab(Exception):
    """This kernel does not say how much slab it has."""


class Totals(NamedTuple):
    """All slab, in bytes."""

    ram: int
    total: int
    reclaimable: int | None
    unreclaimable: int


def totals(proc: str, now: following.Now) -> Totals:
    """Raises :class:`NoSlab`, and :class:`~memtriage.procfs.files.Malformed` for figures that cannot be."""
    info = now.memory.info
    total, ram, unreclaimable = info.get("Slab"), info.get("MemTotal") or 0, info.get("SUnreclaim")
    if total is None:
        raise NoSlab("this kernel's meminfo has no Slab line")
    if total > ram:
        raise files.Malformed(f"{proc}/meminfo", f"Slab ({total} B) is larger than MemTotal ({ram} B)")
    # Before Linux 2.6.19 nothing says what is reclaimable; then all of it may have to stay.
    return Totals(ram, total, info.get("SReclaimable"), total if unreclaimable is None else unreclaimable)


class Change(NamedTuple):
    """Growth since the sample one window ago; of too short a history, no rates. ``suspect`` is what limits on growth apply to."""

    span: float
    rates: dict[str, growth.Rate]
    largest: list[diagnosis.Cache]
    fastest: diagnosis.Cache | None
    suspect: growth.Rate | None
    suspect_words: str


def compare(now: following.Now, past: exhaustion.History, window: float, wanted: Callable[[str], object], held: Collection[str]) -> Change:
    """Rates of all wanted caches. The suspect is the fastest that cannot be reclaimed, or is ``held`` (keys) though it should be, or all of
    SUnreclaim where no cache can be named."""
    largest = [cache for cache in now.slab.caches if cache.size and wanted(cache.name)]
    start = growth.baseline(past.times, window)
    if start is None or not growth.judged(past.times[-1] - past.times[start], window):
        return Change(0.0, {}, largest, None, None, "")
    before, after, span = past.rows[start], past.rows[-1], past.times[-1] - past.times[start]
    rates: dict[str, growth.Rate] = {}
    had_names = any(key.startswith("c.") for key in before)
    for cache in largest:
        then = past.size("c." + cache.name, before) if had_names else None
        # A cache that was not stored held less than what is stored; below that, growth is not told.
        found = growth.rate(int(then), cache.size, span) if then is not None and (then or cache.size >= following.CACHE) else None
        if found is not None:
            rates[cache.name] = found
    growing = [cache for cache in largest if cache.name in rates and rates[cache.name].change > 0]
    fastest = max(growing, key=lambda cache: rates[cache.name].change, default=None)
    suspects = [cache for cache in growing if not cache.reclaimable or "c." + cache.name in held]
    suspect = max(suspects, key=lambda cache: rates[cache.name].change, default=None)
    if rates and suspect:
        return Change(span, rates, largest, fastest, rates[suspect.name], suspect.words)
    if rates:
        return Change(span, rates, largest, fastest, growth.Rate(0, span), "")
    key = "p.slab_unreclaimable" if "p.slab_unreclaimable" in after else "p.slab"
    sizes = past.size(key, before), past.size(key, after)
    total = growth.rate(int(sizes[0]), int(sizes[1]), span) if sizes[0] is not None and sizes[1] is not None else None
    return Change(span, rates, largest, None, total, "unreclaimable slab (cache unknown)")


def labels(names: list[str]) -> list[str]:
    """Perfdata labels for caches, unique in 17 characters: with the prefix that follows they stay unique in RRD's 19."""
    taken: list[str] = []
    for name in names:
        text = plain_label(name)
        if len(text) > 17 or text in taken:
            import zlib  # noqa: PLC0415 - rare, and a shared library

            text = f"{text[:12]}_{zlib.crc32(name.encode('utf-8', 'replace')) & 0xFFFF:04x}"
        taken.append(text)
    return taken


def in_words(found: Totals, now: following.Now, proc: str) -> str:
    """The second line: how slab is made up, what the dentry and inode counters say of it, and on which kernel.

    ``memtriage fleet`` takes the release from here: no perfdata can carry it, and it is the one that runs, not the one that is installed.
    """
    said = f"reclaimable {size(found.reclaimable)}, " if found.reclaimable is not None else ""
    said += f"unreclaimable {size(found.unreclaimable)} ({share(found.unreclaimable, found.ram)} of RAM)"
    if now.dentries:
        said += f"; {now.dentries.nr_dentry} dentries, {now.dentries.nr_unused} unused"
    if now.inodes:
        said += f"; {now.inodes.nr_inodes} inodes, {now.inodes.nr_free} free"
    try:
        said += f"; Linux {clean(osrelease.read(proc).text, 64)}"
    except files.ProcfsError:
        pass  # a captured tree without it
    return said + "."
