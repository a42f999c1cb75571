"""The table of kinds."""

from __future__ import annotations

import os
from typing import Callable, NamedTuple

from memtriage.diagnosis import WORDS
from memtriage.procfs import files, slab_aliases
from memtriage.simulate import groups, objects, processes, sockets, trees
from memtriage.simulate.place import Leak, Place
from memtriage.wording import clean

LIMITED = "none; as many descriptors as ulimit -Hn, more as root"
_UNRECLAIMABLE, _RECLAIMABLE = "slab_unreclaimable", "slab_reclaimable"


class Kind(NamedTuple):
    name: str
    about: str
    parts: tuple[str, ...]
    """Of the ledger; the size asked for is their sum."""
    mib: int
    """The default size, a prime number of MiB, another one for each kind."""
    make: Callable[[Place], Leak]
    unit: str
    guess: float
    """Bytes a unit costs on Linux 6.18, x86-64."""
    exact: bool = False
    """The guess is right by definition and needs no measuring."""
    rights: str = "none"
    caches: tuple[str, ...] = ()
    """Slab caches by the names the kernel's source gives them; which of them a kernel has, and merged with what, differs."""
    also: tuple[str, ...] = ()
    """Other parts that cannot but grow with it."""
    overhead: float = 1.1
    """Memory taken in all, as a multiple of the size asked for."""
    folder: bool = False
    """Needs a temporary folder."""
    groups: bool = False
    """Needs a cgroup."""
    most: int | None = None
    """Units that can be made at most."""

    @property
    def process(self) -> str:
        """The name of the process that holds it: the kernel keeps 15 bytes of one."""
        return f"simulate-{self.name}"[:15]

    def alarm(self) -> str:
        """What check_slab_growth makes of it."""
        if _UNRECLAIMABLE in self.parts:
            return "an unreclaimable cache grows: a suspect; limits on growth (-w, -c) and on size (25%/40% of RAM) apply to it"
        if self.name == "pinned":
            return "grows as reclaimable; no suspect by its flag, although drop_caches gives nothing of it back"
        if self.parts == (_RECLAIMABLE,):
            return "grows as reclaimable: named as fastest, no suspect, no alarm"
        return "no alarm: " + ("the stacks are not slab; task_struct grows with them" if self.name == "threads" else "it is not slab")

    def story(self) -> str:
        """What explain and check_free_mem make of it."""
        words = {"heap": f"processes; process group '{self.process}' (1 x all of it)",
                 "workers": f"processes; process group '{self.process}', many of 7 MiB each",
                 "network_buffers": "network buffers; no process has them in its RSS"}
        said = words.get(self.name) or words.get(self.parts[0]) or WORDS[self.parts[0]]
        return f"{' + '.join(self.parts)} grows: {said}" + (f" (with it some {', '.join(self.also)})" if self.also else "")


def _descriptor(name: str, about: str, mib: int, make: Callable[[Place], Leak], guess: float, *caches: str) -> Kind:
    parts = (_UNRECLAIMABLE, _RECLAIMABLE)
    return Kind(name, about, parts, mib, make, "descriptor", guess, rights=LIMITED, caches=("filp", "dentry", *caches))


_TABLE = (
    Kind("heap", "one process that allocates and never frees", ("anon",), 521, processes.Heap, "page", processes.PAGE, True, overhead=1.02),
    Kind("workers", "fan-out: one worker process of 7 MiB after the other", ("anon",), 509, processes.Workers, "page", processes.PAGE, True,
         also=("page_tables",)),
    Kind("shmem", "shared memory, as a file in tmpfs", ("shmem",), 523, processes.SharedMemory, "page", processes.PAGE, True,
         overhead=1.02),
    Kind("page-tables", "much address space mapped and nothing in it", ("page_tables",), 131, processes.PageTables, "page of page tables",
         processes.PAGE, True, overhead=1.02),
    Kind("slab-lock", "POSIX record locks", (_UNRECLAIMABLE,), 251, objects.Locks, "lock", 196, caches=("file_lock_cache",)),
    Kind("slab-file", "open files", (_UNRECLAIMABLE,), 241, objects.files, "descriptor", 253, rights=LIMITED,
         caches=("filp", "lsm_file_cache")),
    Kind("slab-message", "unread one-byte messages in unix sockets", (_UNRECLAIMABLE,), 239, objects.Messages, "message", 789,
         caches=("skbuff_head_cache", "skbuff_small_head", "kmalloc-cg-512")),
    _descriptor("slab-eventfd", "eventfds", 233, objects.eventfds, 510, "kmalloc-64"),
    _descriptor("slab-epoll", "epoll instances", 229, objects.epolls, 701, "kmalloc-256"),
    _descriptor("slab-timerfd", "timerfds", 227, objects.timerfds, 698, "kmalloc-256"),
    Kind("cache", "a tree of files walked: only cache, given back when needed", (_RECLAIMABLE,), 223, trees.Walked, "file", 903,
         caches=("proc_inode_cache", "dentry"), overhead=1.2),
    Kind("pinned", "a tree held open: flagged as reclaimable, given back by nothing", (_RECLAIMABLE,), 211, trees.Pinned, "folder", 823,
         rights="root, or user namespaces", caches=("inode_cache", "dentry"), overhead=1.2, folder=True),
    Kind("negative", "names looked up that do not exist", (_RECLAIMABLE,), 199, trees.Absent, "name", 195, caches=("dentry",), overhead=1.2,
         folder=True),
    Kind("sockets", "TCP connections full of data nobody reads", ("network_buffers",), 197, sockets.Unread, "chunk of 4 KiB",
         sockets.UNIT, True, caches=("skbuff_fclone_cache", "skbuff_small_head"), overhead=1.2),
    Kind("cgroups", "cgroups created and abandoned", (_UNRECLAIMABLE,), 31, groups.Abandoned, "cgroup", 11000,
         rights="root", caches=("mem_cgroup", "kernfs_node_cache", "kmalloc-4k", "kmalloc-1k", "kmalloc-cg-2k"),
         also=("shmem", "per_cpu", "vmalloc"), overhead=2.0, groups=True, most=30000),
    Kind("threads", "sleeping threads: a kernel stack each", ("kernel_stacks",), 61, processes.Threads, "thread", 16384,
         caches=("task_struct",), also=("anon", _UNRECLAIMABLE, "page_tables"), overhead=2.5),
)
KINDS = {kind.name: kind for kind in _TABLE}
CHOICE = ("slab-lock", "slab-file", "slab-message")
"""What ``slab`` tries in turn: objects that are in unreclaimable slab and nowhere else, where this kernel counts them."""


def expected_caches(kind: Kind, sys: str = "/sys", shown: frozenset[str] = frozenset()) -> str:
    """The kind's caches as this kernel has them: under the name slabinfo ``shown`` has, where it may be read, with what they share it with.

    Without slabinfo the kernel's own name stands, and its aliases; a cache that /sys does not have is left out.
    """
    try:
        links = slab_aliases.read(sys)
        known = set(files.listing(sys, "kernel/slab"))
    except files.ProcfsError:
        return "unknown: this kernel has no /sys/kernel/slab"
    said = []
    for name in kind.caches:
        if name not in known and name not in shown:
            continue
        others = links.aliases(name)
        first = next((other for other in (name, *others) if other in shown), name)
        rest = [other for other in (name, *others) if other != first]
        more = f" (+ {', '.join(clean(other, 24) for other in rest[:2])}{', ...' if len(rest) > 2 else ''})" if rest else ""
        said.append(clean(first, 32) + more)
    return "; ".join(said) if said else ("none" if not kind.caches else "none of " + ", ".join(kind.caches))


def capacity(kind: Kind, cost: float) -> int | None:
    """Bytes of this kind that can exist at most, where a limit outside memory says so."""
    if kind.name == "sockets":
        # Below the first of the three numbers TCP is not under pressure and drops nothing (Documentation/networking/ip-sysctl.rst).
        try:
            low = int(files.read("/proc", "sys/net/ipv4/tcp_mem").split()[0])
        except (files.ProcfsError, ValueError, IndexError):
            return None
        return low * os.sysconf("SC_PAGE_SIZE")
    return int(kind.most * cost) if kind.most else None
