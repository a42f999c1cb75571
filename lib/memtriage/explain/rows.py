"""The ledger line by line: every byte of MemTotal in one part, each part with its source, and what is known of who holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from memtriage import diagnosis, exhaustion, following, growth, survey, wording
from memtriage.explain.owners import Owners
from memtriage.procfs import allocinfo, files, hugepages, sysvipc_shm, vmallocinfo
from memtriage.record import NamedTuple

SOURCES = {
    "free": "meminfo MemFree", "page_cache": "meminfo Cached Buffers", "shmem": "meminfo Shmem", "anon": "meminfo AnonPages",
    "slab_reclaimable": "meminfo SReclaimable", "slab_unreclaimable": "meminfo SUnreclaim", "slab": "meminfo Slab",
    "hugepages": "meminfo Hugetlb", "page_tables": "meminfo PageTables", "kernel_stacks": "meminfo KernelStack",
    "per_cpu": "meminfo Percpu", "vmalloc": "meminfo VmallocUsed", "balloon": "meminfo Balloon", "gpu": "meminfo GPUActive",
    "zswap": "meminfo Zswap", "bounce": "meminfo Bounce", "hardware_corrupted": "meminfo HardwareCor.",
    "kernel_reclaimable": "meminfo KReclaimable", "network_buffers": "net/sockstat mem", "zram": "zram mm_stat",
    "zfs_arc": "spl arcstats size", "unaccounted": "what is left",
}
NORMAL = 0.035
"""What no counter explains, as a share of MemTotal, on healthy hosts: 0.2 to 3.5 % was measured."""


class Row(NamedTuple):
    """One line. ``level`` 0 is a part: these sum to MemTotal. 1 is somebody within the part above; ``size`` may be an estimate then."""

    level: int
    key: str
    words: str
    size: int
    source: str
    growth_per_hour: float | None


class Sight(NamedTuple):
    """What could not be seen: the source, why, and how much can be hidden there at most, in bytes; ``None`` where that is not known."""

    source: str
    reason: str
    at_most: int | None


def rows(proc: str, sys: str, now: following.Now, past: exhaustion.History, owners: Owners,
         window: float) -> tuple[list[Row], list[Sight]]:
    """The ledger, largest part first, free memory last; and what was hidden from this user. Growth is that of ``window`` seconds."""
    blind: list[Sight] = []
    book = now.memory.book
    start = growth.baseline(past.times, window)
    span = past.times[-1] - past.times[start] if start is not None else 0.0
    before = past.rows[start] if start is not None and growth.judged(span, window) else None

    def grown(key: str) -> float | None:
        then, last = (past.size(key, row) for row in (before, past.rows[-1])) if before is not None else (None, None)
        if then is None or last is None or (not then and key[:2] in ("c.", "g.")):
            return None
        return (last - then) * 3600.0 / span

    found: list[Row] = []
    for part in sorted(book.parts, key=lambda name: (name == "free", -book.parts[name])):
        size = book.parts[part]
        words = "free" if part == "free" else diagnosis.WORDS[part]
        if part == "unaccounted":
            words += ", as usual" if size <= NORMAL * book.total else ", more than usual"
        if not size and part != "free":
            continue
        found.append(Row(0, part, words, size, SOURCES.get(part, part), grown("p." + part)))
        for child in _children(part, proc, sys, now, owners, blind):
            key = {"slab": "c.", "anon": "g."}.get(part.partition("_")[0], "") + child.key
            found.append(child._replace(growth_per_hour=grown(key) if key[1:2] == "." else None))
    return found, blind


def _children(part: str, proc: str, sys: str, now: following.Now, owners: Owners, blind: list[Sight]) -> Iterator[Row]:
    size = now.memory.book.parts[part]
    if part == "anon":
        for group in owners.groups:
            if group.anon:
                words = diagnosis.Group(group.name, group.members, group.anon, group.rss).words + _in(group.unit)
                yield Row(1, group.name, words, group.anon, "smaps Pss_Anon" if group.exact else "statm, not exact", None)
        if owners.anon * 2 < size and size > LEAST:
            blind.append(Sight("processes", "not visible here (hidepid, or another PID namespace)", size - owners.anon))
    elif part == "shmem":
        yield from _shared(proc, now, owners)
    elif part.startswith("slab"):
        if now.slab.denied:
            blind.append(Sight("slabinfo", now.slab.denied.reason, size))
        for cache in now.slab.caches:
            if cache.size and (part == "slab" or cache.reclaimable == (part == "slab_reclaimable")):
                yield Row(1, cache.name, cache.words, cache.size, "slabinfo", None)
    elif part == "hugepages":
        try:
            for pool in hugepages.read(sys):
                if pool.total:
                    used = f"{pool.total - pool.free} used, {pool.reserved} promised"
                    yield Row(1, str(pool.size), f"{pool.total} x {wording.size(pool.size)}: {used}", pool.total * pool.size,
                              "sys hugepages", None)
        except files.ProcfsError:
            pass  # a captured tree
    elif part == "vmalloc":
        try:
            for caller, pages in vmallocinfo.read(proc).owners().items():
                yield Row(1, caller, f"allocated by {wording.clean(caller, 40)}", pages * now.page, "vmallocinfo", None)
        except files.ProcfsError as error:
            blind.append(Sight("vmallocinfo", error.reason, size))
    elif part == "unaccounted":
        yield from _sites(proc, now.page, blind)


LEAST = 8 * 1024**2
"""Bytes of processes below which nobody is missed."""


def _in(unit: str) -> str:
    return f" in {wording.clean(unit, 32)}" if unit else ""


def _shared(proc: str, now: following.Now, owners: Owners) -> Iterator[Row]:
    """Who maps shared memory, and segments that stay whoever maps them. What is left is files in tmpfs."""
    for group in sorted(owners.groups, key=lambda one: -one.shmem):
        if group.shmem:
            words = f"mapped by '{wording.clean(group.name, 24)}'{_in(group.unit)}"
            yield Row(1, group.name, words, group.shmem, "smaps Pss_Shmem", None)
    try:
        for segment in sysvipc_shm.read(proc).segments:
            if segment.rss and not segment.attached:
                words = f"SysV segment {segment.shmid}, used by nobody (ipcrm)"
                yield Row(1, f"shmid {segment.shmid}", words, segment.rss, "sysvipc/shm", None)
    except files.ProcfsError:
        pass  # no SysV in this kernel or namespace
    rest = (now.memory.book.parts.get("shmem") or 0) - sum(group.shmem for group in owners.groups)
    if rest > LEAST:
        words = "files in tmpfs, or mapped unseen" if owners.unreadable else "files in tmpfs"
        yield Row(1, "tmpfs", words, rest, "Shmem, the rest", None)


def _sites(proc: str, page: int, blind: list[Sight]) -> Iterator[Row]:
    """Lines of kernel source that hold pages, where the kernel counts them: what is less than a page is an object, and in slab already.

    So are some of a page or two, by kmalloc. What mm/ and fork.c took stands in page cache, processes, slab, vmalloc and stacks.
    """
    if not os.path.exists(os.path.join(proc, "allocinfo")):
        return
    try:
        sites = allocinfo.read(proc).largest(100_000)
    except files.ProcfsError as error:
        blind.append(Sight("allocinfo", error.reason, None))
        return
    pages = [site for site in sites if site.size >= max(1, site.calls) * page
             and not site.place.startswith(("mm/", "kernel/fork.c")) and "/mm/" not in site.place]
    for site in pages[:10]:
        yield Row(1, site.place, f"allocated by {wording.clean(site.words, 80)}", site.size, "allocinfo", None)


def aliased(now: following.Now, sys: str) -> following.Now:
    """The same with the other names of merged caches."""
    return now._replace(slab=survey.aliased(now.slab, sys))
