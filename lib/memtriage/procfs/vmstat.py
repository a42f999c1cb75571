"""/proc/vmstat: counters of the memory management, of all nodes and zones together (mm/vmstat.c; proc_vmstat(5)).

Names that start with ``nr_`` are the state at this moment, mostly in pages; the others count events since boot and only ever rise.
"""

from __future__ import annotations

from memtriage.procfs import files, keyed

Vmstat = keyed.Keyed

FIELDS = {
    "nr_free_pages": "pages in no use at all",
    "nr_inactive_anon": "pages; LRU",
    "nr_active_anon": "pages; LRU",
    "nr_inactive_file": "pages; LRU",
    "nr_active_file": "pages; LRU",
    "nr_unevictable": "pages; LRU",
    "nr_mlock": "pages locked with mlock(2)",
    "nr_anon_pages": "pages mapped and anonymous",
    "nr_mapped": "pages of files, mapped",
    "nr_file_pages": "pages of the page cache, swap cache and shmem",
    "nr_shmem": "pages; part of nr_file_pages; since Linux 2.6.32",
    "nr_slab": "pages; up to Linux 2.6.18",
    "nr_slab_reclaimable": "pages (bytes inside the kernel since Linux 5.9, pages here all the same); since Linux 2.6.19",
    "nr_slab_unreclaimable": "pages; see nr_slab_reclaimable",
    "nr_kernel_misc_reclaimable": "pages with a shrinker, other than slab; since Linux 4.20",
    "nr_kernel_stack": "kB, not pages; stacks of all tasks; since Linux 4.12, number of stacks before",
    "nr_page_table_pages": "pages",
    "nr_sec_page_table_pages": "pages of KVM and IOMMU tables; since Linux 6.1",
    "nr_iommu_pages": "pages; since Linux 6.11",
    "nr_vmalloc": "pages; since Linux 6.19",
    "nr_hugetlb": "pages; since Linux 6.13",
    "nr_balloon_pages": "pages; since Linux 6.16",
    "nr_zspages": "pages of zsmalloc: zram and zswap; since Linux 4.8",
    "nr_swapcached": "pages; since Linux 5.12",
    "nr_dirty": "pages waiting to be written",
    "nr_writeback": "pages being written",
    "nr_memmap_pages": "pages of the kernel's page descriptors; since Linux 6.12",
    "nr_memmap_boot_pages": "pages of page descriptors from boot, outside MemTotal; since Linux 6.12",
    "nr_dirty_threshold": "pages; writers are held up from here on; since Linux 2.6.37",
    "pswpin": "pages read from swap",
    "pswpout": "pages written to swap",
    "pgpgin": "kB read from block devices",
    "pgpgout": "kB written to block devices",
    "pgfault": "page faults, minor and major",
    "pgmajfault": "page faults that had to wait for a disk",
    "pgscan_kswapd": "pages looked at by kswapd; one counter per zone before Linux 4.8",
    "pgscan_direct": "pages looked at by programs that needed memory themselves; one counter per zone before Linux 4.8",
    "pgsteal_kswapd": "pages reclaimed by kswapd; one counter per zone before Linux 4.8",
    "pgsteal_direct": "pages reclaimed by programs themselves; one counter per zone before Linux 4.8",
    "slabs_scanned": "slab objects looked at by shrinkers",
    "allocstall": "times a program had to reclaim memory itself; up to Linux 4.9",
    "allocstall_dma": "as allocstall, by zone; since Linux 4.10",
    "allocstall_dma32": "as allocstall, by zone; since Linux 4.10",
    "allocstall_normal": "as allocstall, by zone; since Linux 4.10",
    "allocstall_movable": "as allocstall, by zone; since Linux 4.10",
    "workingset_refault": "pages read again soon after their reclaim: thrashing; Linux 3.15 to 5.8",
    "workingset_refault_anon": "as workingset_refault, from swap; since Linux 5.9",
    "workingset_refault_file": "as workingset_refault, from files; since Linux 5.9",
    "compact_stall": "times a program waited for compaction; since Linux 2.6.35",
    "drop_pagecache": "times somebody wrote 1 or 3 to drop_caches; since Linux 3.15",
    "drop_slab": "times somebody wrote 2 or 3 to drop_caches; since Linux 3.15",
    "oom_kill": "processes killed by the OOM killer, of the host and of control groups; since Linux 4.13",
}
"""The counters that tell about memory: unit, meaning, first kernel. Lines not listed here are kept all the same."""


def parse(data: bytes) -> Vmstat:
    """Returns all counters by name. Never raises: an empty file gives no values."""
    return keyed.parse(data)


def read(proc: str = "/proc") -> Vmstat:
    """Reads ``proc/vmstat``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "vmstat"))
