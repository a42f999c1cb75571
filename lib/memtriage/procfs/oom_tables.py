"""The tables inside an OOM killer's report: memory, zones, free blocks, slab caches, processes (mm/show_mem.c, lib/show_mem.c,
mm/slab_common.c, mm/oom_kill.c). Each line is understood by itself; columns of the process table are told by its heading."""

from __future__ import annotations

import re

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Zone(NamedTuple):
    """One zone's watermarks, in bytes."""

    node: int
    """0 where the kernel does not write it."""
    name: str
    free: int
    min: int
    low: int
    blocks: dict[int, int]
    """Free blocks by their size in bytes; empty where the line is missing."""


class Task(NamedTuple):
    """A process that could have been killed. Bytes; ``None`` where this kernel has no such column."""

    pid: int
    uid: int
    rss: int
    anon: int | None
    """Since Linux 6.9."""
    swap: int | None
    """Since Linux 3.7."""
    name: str


class Tables(NamedTuple):
    pages: dict[str, int]
    """The numbers of Mem-Info, in pages."""
    sizes: dict[str, int]
    """Sums over nodes and zones, in bytes: managed, kernel_stack, hugetlb; and swap."""
    zones: list[Zone]
    caches: list[tuple[str, int]]
    tasks: list[Task]
    page: int


_COUNT = re.compile(r"\b([A-Za-z]+(?:_[a-z]+)*):([0-9]{1,18})(?=\s|$)")
_COUNTS = frozenset(("active_anon", "inactive_anon", "isolated_anon", "active_file", "inactive_file", "isolated_file", "unevictable",
                     "slab", "slab_reclaimable", "slab_unreclaimable", "shmem", "pagetables", "free", "Active", "inactive"))
_ZONE = re.compile(r"(?:Node ([0-9]{1,4}) )?(DMA|DMA32|Normal|HighMem|Movable|Device) free:([0-9]{1,18})kB (?:boost:[0-9]+kB )?"
                   r"min:([0-9]{1,18})kB low:([0-9]{1,18})kB")
_BLOCKS = re.compile(r"(?:Node ([0-9]{1,4}) )?(DMA|DMA32|Normal|HighMem|Movable|Device): ([0-9]+\*[0-9]+kB .*)")
_BLOCK = re.compile(r"([0-9]{1,18})\*([0-9]{1,9})kB")
_HUGE = re.compile(r"(?:Node [0-9]+ )?hugepages_total=([0-9]{1,18}) .*hugepages_size=([0-9]{1,18})kB")
_TOTAL = re.compile(r"([0-9]{1,18}) (?:pages (of RAM|RAM|reserved)|(reserved) pages|(?:total )?(pagecache) pages)$")
_SWAP = re.compile(r"(Free|Total) swap *[=:] *([0-9]{1,18})kB")
_OF_ZONE = re.compile(r"\b(managed|kernel_stack):([0-9]{1,18})kB")
_CACHE = re.compile(r"(\S.*?)\s+([0-9]{1,18})KB\s+([0-9]{1,18})KB$")
_HEADING = re.compile(r"\[ *pid *\] +uid +tgid +total_vm +(rss .*name)$")
_TASK = re.compile(r"\[ *([0-9]{1,10})\] +([0-9]{1,10}) +[0-9]{1,10} +[0-9]{1,18} +([0-9]{1,18}) +(.*)", re.DOTALL)


def tables(lines: list[str]) -> Tables:
    """Never raises. The first value of a name counts. Two tables of processes mean two reports mixed: then nobody knows whose is which."""
    pages: dict[str, int] = {}
    sizes: dict[str, int] = {}
    zones: dict[tuple[int, str], Zone] = {}
    free_blocks: dict[tuple[int, str], dict[int, int]] = {}
    caches: dict[str, int] = {}
    rows: list[tuple[int, int, int, list[str], str]] = []
    columns: list[str] | None = None
    headings = 0
    for line in lines:
        if line.startswith("["):
            heading = _HEADING.match(line)
            if heading:
                columns, headings = heading[1].split()[1:-1], headings + 1
            row = _TASK.match(line)
            if row and columns is not None:
                words = row[4].split(None, len(columns))
                if len(words) == len(columns) + 1:
                    rows.append((int(row[1]), int(row[2]), int(row[3]), words[:-1], words[-1]))
        elif line.endswith("KB"):
            cache = _CACHE.match(line)
            if cache:
                caches.setdefault(cache[1], int(cache[3]) * 1024)
        else:
            _memory_line(line, pages, sizes, zones, free_blocks)
    sized = [size for blocks in free_blocks.values() for size in blocks]
    page = min(sized, default=4096)
    found = [zone._replace(blocks=free_blocks.get(key, {})) for key, zone in zones.items()]
    return Tables(pages, sizes, found, list(caches.items()), _tasks(rows, columns or [], page) if headings < 2 else [], page)


def _memory_line(line: str, pages: dict[str, int], sizes: dict[str, int], zones: dict[tuple[int, str], Zone],
                 free_blocks: dict[tuple[int, str], dict[int, int]]) -> None:
    zone, blocks = _ZONE.match(line), _BLOCKS.match(line)
    if zone:
        free, least, low = (int(word) * 1024 for word in zone.groups()[2:])
        key = int(zone[1] or 0), zone[2]
        if key not in zones:
            zones[key] = Zone(*key, free, least, low, {})
            _add(sizes, line)
    elif blocks:
        key = int(blocks[1] or 0), blocks[2]
        free_blocks.setdefault(key, {int(size) * 1024: int(count) for count, size in _BLOCK.findall(blocks[3]) if int(size)})
    elif line.startswith("Node ") and "kernel_stack:" in line:
        _add(sizes, line)  # by node since Linux 6.0, by zone before
    elif "hugepages_total=" in line:
        huge = _HUGE.match(line)
        if huge:
            sizes["hugetlb"] = sizes.get("hugetlb", 0) + int(huge[1]) * int(huge[2]) * 1024
    elif line[:1].isdigit() or "swap" in line:
        total, swap = _TOTAL.match(line), _SWAP.match(line)
        if total:
            pages.setdefault((total[2] or total[3] or total[4]).replace("of RAM", "RAM"), int(total[1]))
        elif swap:
            sizes.setdefault(swap[1] + "Swap", int(swap[2]) * 1024)
    elif ":" in line and "kB" not in line:
        for name, count in _COUNT.findall(line):
            if name in _COUNTS:
                pages.setdefault(name, int(count))


def _add(sizes: dict[str, int], line: str) -> None:
    for name, value in _OF_ZONE.findall(line):
        sizes[name] = sizes.get(name, 0) + int(value) * 1024


def _tasks(rows: list[tuple[int, int, int, list[str], str]], columns: list[str], page: int) -> list[Task]:
    found = []
    for pid, uid, rss, words, name in rows:
        values = {column: files.number(word.encode()) for column, word in zip(columns, words)}
        anon, swap = values.get("rss_anon"), values.get("swapents")
        found.append(Task(pid, uid, rss * page, None if anon is None else anon * page, None if swap is None else swap * page, name))
    return found


def memory(found: Tables) -> dict[str, int]:
    """Bytes by the names of /proc/meminfo, so that the same ledger serves both; empty where total or free are missing.

    A report has no AnonPages: they are what is on the LRU lists and not in the page cache.
    """
    get, page = found.pages.get, found.page
    ram, free = get("RAM"), get("free")
    total = found.sizes.get("managed") or (ram - get("reserved", 0)) * page if ram is not None else found.sizes.get("managed", 0)
    if total <= 0 or free is None or free * page > total:
        return {}
    values = {"MemTotal": total, "MemFree": free * page}
    lru = [get(name) for name in ("active_anon", "inactive_anon", "isolated_anon", "active_file", "inactive_file", "isolated_file",
                                  "unevictable", "Active", "inactive")]
    listed = sum(value for value in lru if value is not None) if any(value is not None for value in lru) else None
    cache, shmem = get("pagecache"), get("shmem")
    if cache is None and get("active_file") is not None:
        cache = get("active_file", 0) + get("inactive_file", 0) + (shmem or 0)
    anon = max(0, listed - cache) if listed is not None and cache is not None else None
    table = get("pagetables")
    for name, count in (("Cached", cache), ("Shmem", shmem), ("AnonPages", anon), ("SReclaimable", get("slab_reclaimable")),
                        ("SUnreclaim", get("slab_unreclaimable")), ("Slab", get("slab")), ("PageTables", table)):
        if count is not None:
            values[name] = count * page
    for name, key in (("KernelStack", "kernel_stack"), ("Hugetlb", "hugetlb"), ("SwapTotal", "TotalSwap"), ("SwapFree", "FreeSwap")):
        if key in found.sizes:
            values[name] = found.sizes[key]
    return values
