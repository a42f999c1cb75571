"""First principles: MemTotal as disjoint named parts, and what no counter explains.

/proc/meminfo's lines overlap (Shmem lies inside Cached, KernelStack inside VmallocUsed) and leave gaps (pages that drivers take).
Here every byte stands in exactly one part, and the parts always sum to MemTotal: ``unaccounted`` is the rest, and is negative where
an old kernel's counters overlap more than is known.
"""

from __future__ import annotations

from memtriage.procfs.meminfo import Meminfo
from memtriage.record import NamedTuple

SLAB = ("slab_reclaimable", "slab_unreclaimable", "slab")
KERNEL_OTHER = ("kernel_stacks", "page_tables", "per_cpu", "vmalloc", "kernel_reclaimable", "balloon", "gpu", "network_buffers",
                "zswap", "zram", "zfs_arc", "bounce", "hardware_corrupted")
"""The parts that perfdata sums up as ``kernel_other``."""


PART_OF = (
    *((key, "MemTotal") for key in ("MemFree", "MemAvailable", "Buffers", "Cached", "AnonPages", "Shmem", "Slab")),
    ("SReclaimable", "Slab"), ("SUnreclaim", "Slab"), ("SwapFree", "SwapTotal"),
)
"""Lines of meminfo that no kernel shows larger than another one."""


class Ledger(NamedTuple):
    """``parts`` in bytes by name; a part whose counter this kernel lacks is not there at all."""

    total: int
    parts: dict[str, int]
    notes: list[str]
    """Contradictions found in the source, as sentences."""

    def get(self, name: str) -> int | None:
        return self.parts.get(name)

    def slab_is_largest(self) -> bool:
        """Whether slab is the largest part of what is in use."""
        return max((name for name in self.parts if name != "free"), key=lambda name: self.parts[name]).startswith("slab")


class Extra(NamedTuple):
    """Counters outside meminfo, in bytes; ``None`` where there are none."""

    vmalloc_is_pages: bool = False
    """VmallocUsed counts real pages since Linux 5.3; before, address space or 0."""
    arc: int | None = None
    zram: int | None = None
    sockets: int | None = None


def ledger(memory: Meminfo, extra: Extra | None = None) -> Ledger:
    """Splits MemTotal. ``memory`` must have MemTotal and MemFree (:func:`problem` says so)."""
    get = memory.get
    extra = extra or Extra()
    total = get("MemTotal") or 0
    notes: list[str] = []
    parts: dict[str, int] = {"free": get("MemFree") or 0}
    cached, shmem = get("Cached"), get("Shmem")
    if cached is not None:
        files = cached + (get("Buffers") or 0) + (get("SwapCached") or 0) - (shmem or 0)
        if files < 0:
            notes.append("Shmem is larger than Cached: a container's view, not the host's counters")
        parts["page_cache"] = max(0, files)
    _add(parts, "shmem", shmem)
    _add(parts, "anon", get("AnonPages"))
    split = (get("SReclaimable"), get("SUnreclaim"))
    if split[0] is not None and split[1] is not None:
        parts["slab_reclaimable"], parts["slab_unreclaimable"] = split[0], split[1]
        reclaimable = get("KReclaimable")
        if reclaimable is not None:
            parts["kernel_reclaimable"] = max(0, reclaimable - split[0])
    else:
        _add(parts, "slab", get("Slab"))
    _add(parts, "hugepages", _hugepages(memory))
    _add(parts, "page_tables", _sum(get("PageTables"), get("SecPageTables")))
    _add(parts, "kernel_stacks", _sum(get("KernelStack"), get("ShadowCallStack")))
    _add(parts, "per_cpu", get("Percpu"))
    if extra.vmalloc_is_pages and get("VmallocUsed") is not None:
        parts["vmalloc"] = max(0, (get("VmallocUsed") or 0) - (get("KernelStack") or 0))  # stacks are vmalloc pages too
    _add(parts, "balloon", get("Balloon"))
    _add(parts, "gpu", _sum(get("GPUActive"), get("GPUReclaim")))
    _add(parts, "zswap", get("Zswap"))
    _add(parts, "bounce", get("Bounce"))
    _add(parts, "hardware_corrupted", get("HardwareCorrupted"))
    # These lie partly in slab, and how much cannot be told: they get at most what nothing else explains.
    for name, value in (("zram", extra.zram), ("zfs_arc", extra.arc), ("network_buffers", extra.sockets)):
        if value is not None:
            parts[name] = max(0, min(value, total - sum(parts.values())))
    parts["unaccounted"] = total - sum(parts.values())
    return Ledger(total, parts, notes)


def _add(parts: dict[str, int], name: str, value: int | None) -> None:
    if value is not None:
        parts[name] = value


def _sum(*values: int | None) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _hugepages(memory: Meminfo) -> int | None:
    if memory.get("Hugetlb") is not None:
        return memory.get("Hugetlb")
    pages, size = memory.get("HugePages_Total"), memory.get("Hugepagesize")
    return pages * size if pages is not None and size is not None else None


def problem(memory: Meminfo) -> str | None:
    """Says why these counters cannot carry a verdict, or ``None``. A missing line is not 0, and half a file is not a host."""
    if not memory.values:
        return "it is empty" if not memory.odd else f"it holds no counter, only '{memory.odd[0][:40]}'"
    for key in ("MemTotal", "MemFree", "Cached", "SwapTotal", "SwapFree", "MemAvailable"):
        if memory.get(key) is None:
            for line in memory.odd:
                if line.startswith(key + ":"):
                    return f"{key} is not a number: '{line[:60]}'"
            if key != "MemAvailable":  # which old kernels do not have
                return f"it has no line {key}: cut short or not a meminfo file"
    if not memory.get("MemTotal"):
        return "MemTotal is 0"
    for key, whole in PART_OF:
        part, most = memory.get(key), memory.get(whole)
        if part is not None and most is not None and part > most:
            return f"{key} ({part} B) is larger than {whole} ({most} B): a container's view, not the host's counters"
    return None


class Watermarks(NamedTuple):
    """Sums over all zones, in bytes (from /proc/zoneinfo)."""

    low: int
    reserve: int


def available(memory: Meminfo, marks: Watermarks | None) -> tuple[int, bool]:
    """MemAvailable in bytes, and whether it had to be estimated (before Linux 3.14) as si_mem_available() in mm/show_mem.c does."""
    known = memory.get("MemAvailable")
    if known is not None:
        return known, False
    get = memory.get
    low, reserve = (marks.low, marks.reserve) if marks else (0, 0)
    lru = _sum(get("Active(file)"), get("Inactive(file)"))
    cache = lru if lru is not None else max(0, (get("Cached") or 0) + (get("Buffers") or 0) - (get("Shmem") or 0))
    slab = get("SReclaimable") or 0
    free = (get("MemFree") or 0) - reserve
    return max(0, free + cache - min(cache // 2, low) + slab - min(slab // 2, low)), True
