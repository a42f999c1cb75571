"""Who allocated what grows, for an evidence bundle: the objects of the slab cache, and all of the kernel's memory by line of source."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memtriage.diagnosis import Cache
from memtriage.explain import sites as shared
from memtriage.procfs import alloc_traces, allocinfo, files, osrelease
from memtriage.report.private import Private
from memtriage.wording import clean, share, size

FILE = "allocation-sites.txt"
FUNCTIONS, WAYS, CALLERS, ALIKE = 8, 3, 10, 5
"""In the report: functions or lines, ways to each, and functions on each way; lines whose objects are of the cache's size."""
TRACES, LARGEST = 100, 50
"""In the file."""
RENAMED = (6, 9)
"""Linux that took ``slab_debug=`` for the boot parameter; the older word is still understood."""
_ADDRESS = re.compile(r"0x[0-9a-f]{8,16}")


def find(cache: Cache | None, objsize: int, release: str, private: Private, texts: dict[str, bytes], lacking: list[tuple[str, str]],
         proc: str = "/proc", sys: str = "/sys") -> list[str]:
    """Sentences for the report, and the file among ``texts``; ``cache`` is the suspect where it is one, of objects of
    ``objsize`` bytes, 0 where that is not known."""
    said: list[str] = []
    rows: list[str] = []
    why: list[str] = []
    if cache is not None:
        try:
            traces = alloc_traces.read(sys, cache.name)
            said += _objects(cache, traces, private)
            rows += _written(cache, traces, private)
        except files.Missing:
            why.append(f"the kernel tracks who allocated '{clean(cache.name, 40)}', and debugfs is not mounted on /sys/kernel/debug"
                       if alloc_traces.tracked(sys, cache.name) else
                       f"the kernel does not track who allocated '{clean(cache.name, 40)}': boot with {_parameter(cache, release)} and "
                       "mount debugfs")
        except files.ProcfsError as error:
            why.append(f"{error.path}: {error.reason}")
    try:
        known = shared.counted(proc)
        largest, alike = known[:LARGEST], shared.alike(known, objsize)
        if cache is not None and alike:
            said.append(f"Lines of source that allocated objects of {objsize} bytes, the size of those of '{clean(cache.name, 40)}' "
                        "(/proc/allocinfo; other caches may have that size too):")
            said += [_line(site, private) for site in alike[:ALIKE]]
        if largest:
            said.append("Lines of source that allocated most of all the kernel's memory, the slab's pages and the objects in them both "
                        f"(/proc/allocinfo; {FILE} has {len(largest)}):")
            said += [_line(site, private) for site in largest[:FUNCTIONS]]
            rows += [f"# /proc/allocinfo, the {len(largest)} largest: bytes, calls, place"]
            rows += [f"{site.size:>12} {site.calls:>8} {_clean(site.place, private)}{'' if site.accurate else ' accurate:no'}"
                     for site in largest]
        else:
            why.append("/proc/allocinfo counts nothing: boot with sysctl.vm.mem_profiling=1")
    except files.Missing:
        why.append("no /proc/allocinfo (Linux 6.10 and later with CONFIG_MEM_ALLOC_PROFILING, booted with sysctl.vm.mem_profiling=1)")
    except files.ProcfsError as error:
        why.append(f"{error.path}: {error.reason}")
    if rows:
        texts[FILE] = "".join(row + "\n" for row in rows).encode("utf-8", "replace")
        return said
    lacking.append((FILE, "; ".join(why)))
    return [f"Allocation sites are not known: {'; '.join(why)}."]


def _line(site: allocinfo.Site, private: Private) -> str:
    missed = "" if site.accurate else " (the kernel missed some)"
    return f"  {size(site.size)} in {site.calls} calls: {_clean(site.place, private)}{missed}"


def _objects(cache: Cache, traces: alloc_traces.Traces, private: Private) -> Iterator[str]:
    """Functions with what they hold, and under each the ways that led to most of it."""
    total = traces.objects
    each = cache.size / max(cache.objects, total, 1)
    functions = traces.functions()
    yield f"Who allocated the {total} objects of '{clean(cache.name, 40)}' that are in use ({FILE} has the stack traces):"
    for name, count, sites in functions[:FUNCTIONS]:
        yield f"  {_clean(name, private)}: {count} objects, {size(count * each)}, {share(count, total)}"
        for site in sites[:WAYS]:
            if site.callers:
                way = ", ".join(site.callers[:CALLERS])
                yield f"  of these {site.objects} called by {_clean(way, private)}"
    if len(functions) > FUNCTIONS:
        rest = sum(count for _, count, _ in functions[FUNCTIONS:])
        yield f"  {len(functions) - FUNCTIONS} more functions: {rest} objects, {size(rest * each)}, {share(rest, total)}"


def _written(cache: Cache, traces: alloc_traces.Traces, private: Private) -> Iterator[str]:
    """As the kernel writes it, most objects first."""
    yield f"# alloc_traces of {clean(cache.name, 40)}: objects, function, age in jiffies (least/mean/greatest), processes; the way to it"
    for site in traces.sites[:TRACES]:
        yield f"{site.objects:>7} {_clean(f'{site.place} {site.more}', private).rstrip()}"
        yield from (f"        {_clean(place, private)}" for place in site.stack)
        yield ""
    if len(traces.sites) > TRACES:
        rest = traces.sites[TRACES:]
        yield f"# {len(rest)} more, {sum(site.objects for site in rest)} objects"


def _clean(text: str, private: Private) -> str:
    """Functions are the kernel's own words, but a module's source may lie in somebody's home; without its name it is an address."""
    return private.text(_ADDRESS.sub("0x0", text), kernels=True)


def _parameter(cache: Cache, release: str) -> str:
    """What to boot with, for all names that share the cache: each of them becomes one of its own."""
    version = osrelease.parse(release.encode("ascii", "replace") + b"\n").version if release else None
    word = "slub_debug" if version is not None and version < RENAMED else "slab_debug"
    return f"{word}=U,{','.join(clean(name, 40) for name in (cache.name, *cache.aliases))}"
