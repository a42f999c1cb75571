"""Who allocated the objects of a slab cache, where the kernel keeps that: by function (slab debug), or by line of source (allocinfo).

One sentence for a screen; an evidence bundle (:mod:`memtriage.report.sites`) tells the same at length.
"""

from __future__ import annotations

import os

from memtriage import wording
from memtriage.diagnosis import Cache, Culprit
from memtriage.procfs import alloc_traces, allocinfo, files, slabinfo

MANY = 1_000_000
"""Objects from which on only ``--all`` asks: the kernel looks at each, holding the lock of the cache's lists."""
CALLERS = 3


def cache_of(culprit: Culprit, caches: list[Cache]) -> Cache | None:
    """The cache that is blamed, if one is."""
    return next((cache for cache in caches if culprit.words.startswith(cache.words + " ")), None)


def counted(proc: str) -> list[allocinfo.Site]:
    """Lines of source that hold memory, most first. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return [site for site in allocinfo.read(proc).largest(100_000) if site.size > 0]


def alike(known: list[allocinfo.Site], objsize: int) -> list[allocinfo.Site]:
    """Of these the ones whose every allocation took ``objsize`` bytes; none where that is 0."""
    return [site for site in known if site.size == site.calls * objsize]


def sentence(cache: Cache, proc: str, sys: str, thorough: bool) -> str:
    """Empty where it is not known, or with ``thorough`` why."""
    if not thorough and cache.objects > MANY and os.path.exists(f"{sys}/kernel/debug/slab/{cache.name}/alloc_traces"):
        return f"The kernel knows who allocated its {cache.objects} objects: --all asks it."
    why = "the kernel does not track it (memtriage evidence says what to boot with)"
    try:
        traces = alloc_traces.read(sys, cache.name)
        if traces.objects:
            return _traced(traces)
    except files.Missing:
        pass
    except files.ProcfsError as error:
        why = f"{error.path}: {error.reason}"
    try:
        size = next((one.objsize for one in slabinfo.read(proc).caches if one.name == cache.name), 0)
        found = alike(counted(proc), size) if size else []
        if found:
            return f"Objects of its size, {size} bytes, are allocated by {wording.clean(found[0].words, 60)}: " \
                   f"{wording.size(found[0].size)} in {found[0].calls} calls."
    except files.Missing:
        pass
    except files.ProcfsError as error:
        why = f"{error.path}: {error.reason}"
    return f"Who allocated its objects is not known: {why}." if thorough else ""


def _traced(traces: alloc_traces.Traces) -> str:
    name, count, found = traces.functions()[0]
    way = ", ".join(wording.clean(caller, 40) for caller in found[0].callers[:CALLERS])
    through = f", {found[0].objects} through {way}" if way else ""
    return f"Allocated by {wording.clean(name, 40)}: {count} of {traces.objects} objects{through}."
