"""Who allocated the objects of a slab cache that are not freed: by function, since Linux 5.19 by stack trace too.

``alloc_traces`` in /sys/kernel/debug/slab/CACHE (Linux 5.14; Documentation/admin-guide/mm/slab.rst, "DebugFS files for SLUB"; mm/slub.c),
before that ``alloc_calls`` in /sys/kernel/slab/CACHE, cut at a page. Only of caches that were booted with user tracking:
``slab_debug=U,CACHE``, before Linux 6.9 ``slub_debug=U,CACHE``. Root only. Reading holds the lock of the cache's lists for as long as they
are.
"""

from __future__ import annotations

import re

from memtriage.procfs import files
from memtriage.record import NamedTuple

_HEAD = re.compile(r"([0-9]{1,20}) (\S.*)", re.DOTALL)
_MORE = re.compile(r" (?:waste|age|pid|cpus|nodes)=")
_SYMBOL = re.compile(r"(.*?)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[(\S+)\])?")
"""As ``%pS`` writes it: function+offset/size [module]; an address where the kernel has no name for it."""


class Site(NamedTuple):
    """Objects that were allocated in one place, by one way."""

    objects: int
    place: str
    """``nfs_alloc_inode+0x1d/0x60 [nfs]``, or ``<not-available>``."""
    more: str
    """``age=2182/7901/13117 pid=138``: least, mean and greatest age in jiffies, processes; of kmalloc's what is wasted, CPUs, nodes."""
    stack: tuple[str, ...]
    """Places, the innermost first; empty where the kernel does not tell."""

    @property
    def function(self) -> str:
        """``nfs_alloc_inode [nfs]``."""
        return function(self.place)

    @property
    def callers(self) -> tuple[str, ...]:
        """The functions that led to it, the nearest first: without the allocator's own, which some kernels write before it."""
        names = tuple(function(place) for place in self.stack)
        return names[names.index(self.function) + 1:] if self.function in names else names


class Traces(NamedTuple):
    sites: list[Site]
    """Most objects first."""
    odd: list[str]
    """Lines that could not be understood, as text."""

    @property
    def objects(self) -> int:
        return sum(site.objects for site in self.sites)

    def functions(self) -> list[tuple[str, int, list[Site]]]:
        """Function with module, its objects, and its sites; most objects first."""
        found: dict[str, list[Site]] = {}
        for site in self.sites:
            found.setdefault(site.function, []).append(site)
        rows = [(name, sum(site.objects for site in sites), sites) for name, sites in found.items()]
        return sorted(rows, key=lambda row: -row[1])


def function(place: str) -> str:
    """``nfs_fhget+0xd5/0x6f0 [nfs]`` without where in it: ``nfs_fhget [nfs]``."""
    found = _SYMBOL.fullmatch(place)
    return place if found is None else found[1] + (f" [{found[2]}]" if found[2] else "")


def parse(data: bytes) -> Traces:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there is nothing in it: of a cache without objects it says ``No data``."""
    lines, odd = files.whole_lines(data)
    if not data.strip():
        raise files.Malformed("alloc_traces", "empty")
    sites: list[Site] = []
    stacks: list[list[str]] = []
    reading = False
    for line in lines:
        text = files.text(line).strip()
        head = _HEAD.fullmatch(text)
        if head:
            more = _MORE.search(head[2])
            place = head[2][: more.start()] if more else head[2]
            sites.append(Site(int(head[1]), place, head[2][len(place):].strip(), ()))
            stacks.append([])
            reading = True
        elif not text:
            reading = False  # a blank line ends a stack
        elif reading and line[:1] in (b" ", b"\t"):
            stacks[-1].append(text)
        elif text != "No data":
            odd.append(text)
    whole = [site._replace(stack=tuple(stack)) for site, stack in zip(sites, stacks)]
    return Traces(sorted(whole, key=lambda site: -site.objects), odd)


def tracked(sys: str, cache: str) -> bool:
    """Whether the kernel keeps who allocated the cache's objects, wherever it shows that."""
    try:
        return files.read(sys, f"kernel/slab/{cache}/store_user").strip() == b"1"
    except files.ProcfsError:
        return False


def read(sys: str = "/sys", cache: str = "dentry") -> Traces:
    """Reads what the kernel has of ``cache``, the newer file first.

    Raises :class:`~memtriage.procfs.files.Missing` where the cache is not tracked or debugfs is not mounted, else as
    :func:`~memtriage.procfs.files.read`.
    """
    try:
        return parse(files.read(sys, f"kernel/debug/slab/{cache}/alloc_traces"))
    except files.Missing as error:
        missing = error
    try:
        return parse(files.read(sys, f"kernel/slab/{cache}/alloc_calls"))
    except files.Missing:
        raise missing from None
    except files.Unreadable as error:  # ENOSYS: it is there for every cache
        raise files.Missing(error.path, "not tracked") from None
