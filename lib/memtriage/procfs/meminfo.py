"""/proc/meminfo: where the memory is, by the kernel's own counters (Documentation/filesystems/proc.rst, "meminfo").

The counters overlap and leave gaps; :mod:`memtriage.accounting` makes disjoint parts of them.
"""

from __future__ import annotations

from memtriage.procfs import files, keyed

Meminfo = keyed.Keyed

FIELDS = {
    "MemTotal": "bytes; usable RAM: physical memory less reserved bits and the kernel image",
    "MemFree": "bytes; in no use at all (LowFree + HighFree on 32-bit)",
    "MemShared": "bytes; always 0 since Linux 2.4",
    "MemAvailable": "bytes; estimate of what new programs can have without swapping; since Linux 3.14",
    "Buffers": "bytes; page cache of raw block devices",
    "Cached": "bytes; page cache without SwapCached; holds Shmem",
    "SwapCached": "bytes; anonymous pages in memory that also still stand in the swap area",
    "Active": "bytes; LRU: used lately",
    "Inactive": "bytes; LRU: first to be reclaimed",
    "Active(anon)": "bytes; LRU, anonymous and shmem pages; since Linux 2.6.28",
    "Inactive(anon)": "bytes; LRU, anonymous and shmem pages; since Linux 2.6.28",
    "Active(file)": "bytes; LRU, file pages; since Linux 2.6.28",
    "Inactive(file)": "bytes; LRU, file pages; since Linux 2.6.28",
    "Unevictable": "bytes; LRU: mlocked, ramfs, secret memory; overlaps Cached and AnonPages",
    "Mlocked": "bytes; locked with mlock(2)",
    "HighTotal": "bytes; 32-bit: memory the kernel cannot address directly",
    "HighFree": "bytes; 32-bit: free part of HighTotal",
    "LowTotal": "bytes; 32-bit: memory the kernel addresses directly; slab lives here",
    "LowFree": "bytes; 32-bit: free part of LowTotal",
    "MmapCopy": "bytes; no-MMU kernels: private copies of mappings",
    "SwapTotal": "bytes",
    "SwapFree": "bytes",
    "Zswap": "bytes; compressed swap cache in RAM; since Linux 5.19",
    "Zswapped": "bytes; what stands in Zswap, before compression; since Linux 5.19",
    "Dirty": "bytes; waits to be written back",
    "Writeback": "bytes; being written back",
    "AnonPages": "bytes; anonymous pages mapped into processes; since Linux 2.6.18",
    "Mapped": "bytes; files mapped into processes; part of Cached",
    "Shmem": "bytes; tmpfs, SysV shared memory, memfd; part of Cached; goes only to swap; since Linux 2.6.32",
    "KReclaimable": "bytes; SReclaimable and other kernel memory with a shrinker; since Linux 4.20",
    "Slab": "bytes; SReclaimable + SUnreclaim",
    "SReclaimable": "bytes; slab caches that may be reclaimed, such as dentries and inodes; since Linux 2.6.19",
    "SUnreclaim": "bytes; slab caches that cannot be reclaimed; since Linux 2.6.19",
    "KernelStack": "bytes; stacks of all tasks; since Linux 2.6.32",
    "ShadowCallStack": "bytes; arm64 shadow call stacks; since Linux 5.8",
    "PageTables": "bytes; lowest (since Linux 6.6 all) levels of page tables",
    "SecPageTables": "bytes; page tables of KVM and IOMMUs; since Linux 6.1",
    "Quicklists": "bytes; cached page tables, Linux 2.6.27 to 5.1",
    "NFS_Unstable": "bytes; sent to the server, not yet on its disk; 0 since Linux 5.8",
    "Bounce": "bytes; bounce buffers of block devices; 0 since Linux 6.16",
    "WritebackTmp": "bytes; FUSE write-back buffers; 0 since Linux 6.16",
    "CommitLimit": "bytes; what may be promised under vm.overcommit_memory=2",
    "Committed_AS": "bytes; promised to processes, used or not",
    "VmallocTotal": "bytes of address space",
    "VmallocUsed": "bytes; real pages since Linux 5.3, 0 from 4.4 to 5.2, address space before",
    "VmallocChunk": "bytes of address space; 0 since Linux 4.4",
    "Percpu": "bytes; per-CPU allocator, without its metadata; since Linux 4.21",
    "EarlyMemtestBad": "bytes; found bad by memtest; since Linux 6.5",
    "HardwareCorrupted": "bytes; taken out of service as broken; since Linux 2.6.32",
    "AnonHugePages": "bytes; transparent huge pages, part of AnonPages; since Linux 2.6.38",
    "ShmemHugePages": "bytes; part of Shmem; since Linux 4.8",
    "ShmemPmdMapped": "bytes; part of ShmemHugePages; since Linux 4.8",
    "FileHugePages": "bytes; part of Cached; since Linux 5.4",
    "FilePmdMapped": "bytes; part of FileHugePages; since Linux 5.4",
    "CmaTotal": "bytes; contiguous memory allocator; since Linux 3.19",
    "CmaFree": "bytes; since Linux 3.19",
    "Unaccepted": "bytes; guest memory not yet accepted; since Linux 6.5",
    "Balloon": "bytes; handed back to the hypervisor by a balloon driver; since Linux 6.16",
    "GPUActive": "bytes; system memory of GPU drivers in use; since Linux 6.19",
    "GPUReclaim": "bytes; system memory of GPU drivers in their pools; since Linux 6.19",
    "HugePages_Total": "pages of Hugepagesize, used or not",
    "HugePages_Free": "pages of Hugepagesize",
    "HugePages_Rsvd": "pages of Hugepagesize, promised and not yet used",
    "HugePages_Surp": "pages of Hugepagesize above vm.nr_hugepages",
    "Hugepagesize": "bytes; the default size",
    "Hugetlb": "bytes; huge pages of all sizes; since Linux 4.19",
    "DirectMap4k": "bytes; how the kernel maps RAM for itself (x86)",
    "DirectMap4M": "bytes; x86, 32-bit without PAE",
    "DirectMap2M": "bytes; x86",
    "DirectMap1G": "bytes; x86-64",
}
"""Every line known up to Linux 6.19: unit, meaning, first kernel. A line not listed here is kept all the same."""


def parse(data: bytes) -> Meminfo:
    """Returns all lines as numbers by their names; lines in kB are bytes here. Never raises: an empty file gives no values."""
    return keyed.parse(data, b":")


def read(proc: str = "/proc") -> Meminfo:
    """Reads ``proc/meminfo``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "meminfo"))
