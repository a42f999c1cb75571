"""Names the culprit, from the ledger, the slab caches and the process groups. Returns data and words; reads and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping

from memtriage import exhaustion, wording
from memtriage.accounting import Ledger
from memtriage.record import NamedTuple

WORDS = {
    "page_cache": "page cache", "shmem": "shared memory/tmpfs", "hugepages": "hugepages", "page_tables": "page tables",
    "kernel_stacks": "kernel stacks", "per_cpu": "per-CPU memory", "vmalloc": "vmalloc", "zram": "zram/zswap", "zswap": "zram/zswap",
    "zfs_arc": "ZFS ARC", "network_buffers": "network buffers", "unaccounted": "memory no counter explains", "anon": "processes",
    "slab_reclaimable": "reclaimable slab", "slab_unreclaimable": "unreclaimable slab", "slab": "slab",
    "kernel_reclaimable": "reclaimable kernel memory outside slab", "balloon": "balloon", "gpu": "GPU memory", "bounce": "bounce buffers",
    "hardware_corrupted": "broken memory taken out of service",
}
MEANING = {
    "page_cache": "File contents kept in memory; the kernel gives them back when programs need the room.",
    "shmem": "Files in tmpfs, SysV or POSIX shared memory: they belong to no process, and only deleting them or swap frees them.",
    "hugepages": "Reserved huge pages: nobody else can use them, used or not. See vm.nr_hugepages.",
    "anon": "Memory of processes, not of the kernel.",
    "unaccounted": "Pages taken straight from the page allocator (drivers, DMA, network rings, a balloon): no process and no slab cache.",
    "slab_reclaimable": "Kernel memory, not a process: dentries and inodes, free to be reclaimed unless something holds them.",
    "slab_unreclaimable": "Kernel memory, not a process: no program's end gives it back unless it held the objects.",
    "page_tables": "Page tables: many processes mapping much memory, not what they store in it.",
}
REMOVED = "Kernel memory, not a process: control groups that were removed, and stay in memory because something holds them."
PINNED = "Kernel memory, not a process: reclaimable by its flag, but held, so the kernel cannot give it back."
DYING = frozenset(("p.per_cpu", "c.kmem_cache", "c.kmem_cache_node"))
"""Causes that tell of dying cgroups: each has per-CPU counters, and up to Linux 5.8 caches of its own."""
OF_REMOVED = ("slab_unreclaimable", "per_cpu", "vmalloc")
"""Parts in which a removed control group holds memory."""
_INODES = ("inode_cache", "_inode", "_dentry_cache", "kmalloc-rcl-")
_RECLAIMABLE = frozenset(("dentry", "dentry_cache", "radix_tree_node", "xfs_ili", "buffer_head", "ext4_extent_status", "nfs_inode_cache"))


class Cache(NamedTuple):
    """One slab cache as diagnosis sees it: bytes, and what is known of it."""

    name: str
    size: int
    reclaimable: bool
    aliases: tuple[str, ...] = ()
    objects: int = 0
    """Objects that count as active: on SLUB those cached per CPU too."""

    @property
    def words(self) -> str:
        """``slab cache 'pid' (+ eventpoll_epi, tcp_bind_bucket)``: a merged cache may belong to any of its names."""
        shown = ", ".join(wording.clean(name, 24) for name in self.aliases[:3])
        more = f", {len(self.aliases) - 3} more" if len(self.aliases) > 3 else ""
        return f"slab cache '{wording.clean(self.name, 40)}'" + (f" (+ {shown}{more})" if shown else "")


class Group(NamedTuple):
    """Processes of one program: ``anon`` is what they hold of AnonPages, counted once for each process that maps it."""

    name: str
    members: int
    anon: int
    rss: int

    @property
    def words(self) -> str:
        return f"process group '{wording.clean(self.name, 24)}' ({self.members} x {wording.size(self.anon / max(1, self.members))})"


class Culprit(NamedTuple):
    """Who holds the memory: ``part`` of the ledger, ``words`` for the alert, ``size`` in bytes, ``meaning`` in a sentence."""

    part: str
    words: str
    size: int
    meaning: str


def reclaimable_by_name(name: str) -> bool:
    """A guess from the cache's name, for kernels and rights where nothing says it."""
    return name in _RECLAIMABLE or name.startswith(_INODES) or name.split("(", 1)[0].endswith(_INODES)


def culprit(book: Ledger, caches: list[Cache], groups: list[Group], short: bool, locked: int = 0) -> Culprit:
    """The largest holder of memory. Free memory never is; of the page cache only ``locked`` bytes are while memory is ``short``."""
    weights = {name: value for name, value in book.parts.items() if name != "free"}
    if short and "page_cache" in weights:
        weights["page_cache"] = min(weights["page_cache"], locked)
    part = max(weights, key=lambda name: weights[name])
    size = weights[part]
    words, meaning = WORDS[part], MEANING.get(part, "Kernel memory, not a process.")
    if part.startswith("slab"):
        fitting = [cache for cache in caches if part == "slab" or cache.reclaimable == (part == "slab_reclaimable")]
        largest = max(fitting, key=lambda cache: cache.size, default=None)
        kind = part[5:] or "slab"
        if largest is not None and largest.size * 10 >= size:
            return Culprit(part, f"{largest.words} {wording.size(largest.size)}, {kind}", largest.size, meaning)
    elif part == "anon" and groups:
        top = max(groups, key=lambda group: group.anon)
        if top.anon * 10 >= size:
            return Culprit(part, f"{top.words}, {wording.size(min(top.anon, size))}", top.anon, meaning)
        words = f"processes, no program above 10% (largest: {top.words})"
    elif part == "anon" and short:
        words = "processes this check cannot see (/proc with hidepid, or another PID namespace)"
    return Culprit(part, f"{words} {wording.size(size)}", size, meaning)


def limit_culprit(path: str, limit: int, groups: list[Group]) -> Culprit:
    """Inside a limited cgroup: the limit itself, and who in that cgroup holds most of it."""
    words = f"cgroup limit of '{wording.clean_end(path, 40)}'"
    top = max(groups, key=lambda group: group.anon, default=None)
    if top is not None and top.anon * 10 >= limit:
        meaning = "It is the limit of a cgroup that counts here, not the host's memory."
        return Culprit("cgroup", f"{words}, most held by {top.words}", top.anon, meaning)
    return Culprit("cgroup", f"{words}, no process group in it above 10%", limit,
                   "The limit of a cgroup, not the host's memory: files, shared or kernel memory charged to it.")


class Limit(NamedTuple):
    """The cgroup whose limit is the effective total, and that limit in bytes."""

    path: str
    size: int


def blame(book: Ledger, limit: Limit | None, found: exhaustion.Outlook, row: Mapping[str, int], caches: list[Cache], groups: list[Group],
          short: bool, locked: int = 0) -> Culprit:
    """The culprit, for every check and command alike: what grows while memory is ``short``, else a cgroup's limit, else the largest."""
    if found.causes and short:
        return cause_culprit(found.causes[0], row, caches)
    if limit is not None:
        return limit_culprit(limit.path, limit.size, groups)
    return of_removed(culprit(book, caches, groups, short, locked), row.get("dying", 0))


def of_removed(found: Culprit, dying: int) -> Culprit:
    """The same, said to be what so many removed cgroups hold where they explain it; they are in no process and in no list."""
    if found.part not in OF_REMOVED or dying * exhaustion.GROUP < found.size:
        return found
    return found._replace(words=f"{found.words}, of {dying} dying cgroups", meaning=REMOVED)


def contrast(book: Ledger, found: Culprit, groups: list[Group]) -> str:
    """What it is not: the other suspects a person would think of first, with their shares of memory."""
    total, said = book.total, []
    if not found.part.startswith("slab"):
        slab = sum(book.parts.get(name, 0) for name in ("slab_reclaimable", "slab_unreclaimable", "slab"))
        said.append(f"slab ({wording.share(slab, total)})")
    if found.part != "anon" and "anon" in book.parts:
        top = max(groups, key=lambda group: group.anon, default=None)
        largest = f", largest {top.words}" if top else ""
        said.append(f"processes ({wording.share(book.parts['anon'], total)}{largest})")
    if found.part != "unaccounted":
        said.append(f"memory no counter explains ({wording.share(max(0, book.parts.get('unaccounted', 0)), total)})")
    return "It is not " + ", not ".join(said) + "."


def cause_words(cause: exhaustion.Cause, row: Mapping[str, int], caches: list[Cache]) -> str:
    """``slab cache 'filp' (+ aliases) 310 MiB, +52.0 MiB/h``: a cause with its size and growth, from its key in the row of counters."""
    name, part = cause.key[2:], cause.key
    if part.startswith("c."):
        known = [cache for cache in caches if cache.name == name]
        words = known[0].words if known else Cache(name, 0, False).words
    elif part.startswith("g."):
        words = Group(name, row.get("n." + name, 1), int(cause.size), int(cause.size)).words
    else:
        words = WORDS.get(name, name)
    return f"{words} {wording.size(cause.size)}, {wording.signed(cause.slope * 3600)}/h"


def cause_culprit(cause: exhaustion.Cause, row: Mapping[str, int], caches: list[Cache]) -> Culprit:
    """A cause that grows as the culprit, whatever is larger beside it."""
    part = {"c.": "slab_unreclaimable", "g.": "anon"}.get(cause.key[:2], cause.key[2:])
    meaning = PINNED if cause.pinned else MEANING.get(part, "Kernel memory, not a process.")
    kind = {"c.": ", pinned" if cause.pinned else ", unreclaimable"}.get(cause.key[:2], "")
    if cause.dying:
        kind, meaning = f"{kind}, of {cause.dying} dying cgroups", REMOVED
    return Culprit(part, cause_words(cause, row, caches) + kind, int(cause.size), meaning)


def growth_lines(found: exhaustion.Outlook, row: Mapping[str, int], caches: list[Cache]) -> list[str]:
    """What grows, in order, with each one's share; what is pinned; what grows and is no cause, with the reason."""
    lines = []
    for cause in found.causes:
        low, high = wording.size(cause.low * 3600), wording.size(cause.high * 3600)
        lines.append(f"Grows: {cause_words(cause, row, caches)} ({low} to {high}) over {wording.duration(cause.span)}, "
                     f"{cause.share:.0%} of the growth")
    if DYING.intersection(cause.key for cause in found.causes):
        lines.append("Per-CPU memory and these caches are what removed cgroups leave behind while something holds them: dying cgroups.")
    for held in found.pinned[:3]:
        words, part = _pinned(held, caches)
        part = f" ({part} of it)" if part else ""
        lines.append(f"Pinned: {words}{part} did not shrink while the kernel reclaimed; MemAvailable counts it all the same.")
    lines += [dying(caches)] if dying(caches) else []
    doubts = [f"{_key_words(key)} ({reason})" for key, reason in found.doubts[:3] if key not in {cause.key for cause in found.causes}]
    if doubts:
        lines.append("Grows, but no cause: " + ", ".join(doubts))
    return lines


def pinned_words(held: exhaustion.Pinned, caches: list[Cache]) -> str:
    """``slab cache 'nfs_inode_cache' 27.5 MiB, 22.0 MiB of it pinned``: objects nobody holds are in it, too."""
    words, part = _pinned(held, caches)
    return f"{words}, {part} of it pinned" if part else f"{words}, pinned"


def _pinned(held: exhaustion.Pinned, caches: list[Cache]) -> tuple[str, str]:
    """The cache with its whole size, and what of that is held where it is less."""
    known = [cache for cache in caches if "c." + cache.name == held.key]
    name, whole = (known[0].words, known[0].size) if known else (f"slab cache '{wording.clean(held.key[2:])}'", held.size)
    part = wording.size(held.size)
    return f"{name} {wording.size(whole)}", part if part != wording.size(whole) else ""


def dying(caches: list[Cache]) -> str:
    """A sentence where the cache of caches is large: up to Linux 5.8 each removed cgroup that is still held keeps some. Else nothing."""
    size = sum(cache.size for cache in caches if cache.name in ("kmem_cache", "kmem_cache_node"))
    if size < exhaustion.LARGE:
        return ""
    return f"Dying cgroups: 'kmem_cache' holds {wording.size(size)}, the caches of removed cgroups that something holds."


def eta_words(found: exhaustion.Outlook) -> str:
    """``gone in 9.1 h (8.2 h to 10.4 h)``, or nothing where nothing is proven."""
    if found.eta is None or found.eta_low is None or found.eta_high is None:
        return ""
    between = wording.durations(found.eta_low, found.eta_high)
    return f"gone in {wording.duration(found.eta)}" + (f" ({between})" if " to " in between else "")


def _key_words(key: str) -> str:
    name = wording.clean(key[2:], 32)
    return {"c.": f"slab cache '{name}'", "g.": f"process group '{name}'"}.get(key[:2], WORDS.get(key[2:], name))
