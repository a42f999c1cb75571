"""/proc/<pid>/smaps_rollup: the memory of a process with shared pages divided among those who share them (proc_pid_smaps(5)).

Since Linux 4.14. Exact and dear: the kernel walks all page tables of the process. Others' files need CAP_SYS_PTRACE.
"""

from __future__ import annotations

from memtriage.procfs import files, keyed

Rollup = keyed.Keyed

FIELDS = {
    "Rss": "bytes in memory",
    "Pss": "bytes in memory, each page divided by the number of its users: adds up over processes",
    "Pss_Dirty": "bytes; since Linux 6.1",
    "Pss_Anon": "bytes; since Linux 5.3",
    "Pss_File": "bytes; since Linux 5.3",
    "Pss_Shmem": "bytes; since Linux 5.3",
    "Shared_Clean": "bytes",
    "Shared_Dirty": "bytes",
    "Private_Clean": "bytes; with Private_Dirty the USS, what would be free without this process",
    "Private_Dirty": "bytes",
    "Referenced": "bytes",
    "Anonymous": "bytes",
    "KSM": "bytes merged by KSM; since Linux 6.7",
    "LazyFree": "bytes given back with MADV_FREE and not yet taken",
    "AnonHugePages": "bytes of transparent huge pages",
    "ShmemPmdMapped": "bytes",
    "FilePmdMapped": "bytes; since Linux 5.4",
    "Shared_Hugetlb": "bytes, not in Rss",
    "Private_Hugetlb": "bytes, not in Rss",
    "Swap": "bytes",
    "SwapPss": "bytes of swap, each divided by the number of its users",
    "Locked": "bytes, Pss of locked memory",
}
"""Every line known up to Linux 6.18: unit, meaning, first kernel. Lines not listed here are kept all the same."""


def parse(data: bytes) -> Rollup:
    """Returns all lines in bytes. Raises :class:`~memtriage.procfs.files.Malformed` where the first is not that of a rollup."""
    head, _, rest = data.partition(b"\n")
    if not head.endswith(b"[rollup]"):
        raise files.Malformed("smaps_rollup", "no heading" if data.strip() else "empty")
    return keyed.parse(rest, b":")


def read(proc: str = "/proc", pid: int | str = "self") -> Rollup:
    """Reads ``proc/<pid>/smaps_rollup``. Raises :class:`~memtriage.procfs.files.ProcfsError`; kernel threads are ``Missing``."""
    return parse(files.read(proc, f"{pid}/smaps_rollup"))
