"""Every perfdata label of every check: its unit and what it says. Dashboards and metrics for Prometheus are made of it."""

from __future__ import annotations

from memtriage.record import NamedTuple


class Label(NamedTuple):
    """``unit`` as in perfdata: ``B``, ``s``, ``%``, ``c`` (counter) or nothing; ``us`` is a counter of microseconds (``c`` in perfdata)."""

    unit: str
    about: str


LABELS: dict[str, dict[str, Label]] = {
    "FREE_MEM": {
        "available": Label("B", "memory that programs can have without swapping (MemAvailable, within a cgroup's limit)"),
        "available_pct": Label("%", "available memory as a share of the effective total"),
        "total": Label("B", "the effective total: RAM, or the cgroup's limit"),
        "free": Label("B", "memory not used for anything"),
        "page_cache": Label("B", "file contents kept in memory, without shared memory"),
        "anon": Label("B", "memory of processes that no file backs"),
        "shmem": Label("B", "shared memory and tmpfs"),
        "slab_reclaimable": Label("B", "slab caches the kernel counts as reclaimable"),
        "slab_unreclaimable": Label("B", "slab caches that stay until they are freed"),
        "hugepages": Label("B", "reserved huge pages"),
        "unaccounted": Label("B", "memory that no counter of the kernel explains"),
        "kernel_other": Label("B", "other memory of the kernel: page tables, kernel stacks, per-CPU memory, vmalloc, network buffers"),
        "swap_used": Label("B", "used swap"),
        "swap_used_pct": Label("%", "used swap as a share of all swap"),
        "committed": Label("B", "memory promised to processes (Committed_AS)"),
        "committed_pct": Label("%", "memory promised to processes as a share of CommitLimit"),
        "usable": Label("B", "available memory without what pinned caches hold of it"),
        "usable_pct": Label("%", "usable memory as a share of the effective total"),
        "eta": Label("s", "time until memory is gone, by a proven trend"),
    },
    "SLAB_GROWTH": {
        "slab_total": Label("B", "all slab"),
        "slab_unreclaim": Label("B", "unreclaimable slab"),
        "slab_unreclaim_pct": Label("%", "unreclaimable slab as a share of RAM"),
        "growth_per_hour": Label("B", "growth an hour of the fastest suspect cache"),
        "eta": Label("s", "time until memory is gone, by a proven trend of slab"),
        "pinned": Label("B", "caches that are counted as reclaimable and cannot be shrunk"),
        "s_*": Label("B", "size of one cache"),
        "g_*": Label("B", "growth an hour of one cache"),
    },
    "OOM_KILL": {
        "oom_kills": Label("c", "OOM kills since boot, or since the cgroup was made"),
        "kills_new": Label("", "OOM kills since the last run"),
        "kills_hold": Label("", "OOM kills that alarm"),
    },
    "MEM_PRESSURE": {
        **{f"{kind}_avg{span}": Label("%", f"share of the last {span} s in which {who} waited for memory")
           for kind, who in (("some", "some task"), ("full", "every runnable task")) for span in (10, 60, 300)},
        "some_total": Label("us", "time in which some task waited for memory"),
        "full_total": Label("us", "time in which every runnable task waited for memory"),
        "some_stalled": Label("%", "share of the time since the last run in which some task waited for memory"),
        "full_stalled": Label("%", "share of the time since the last run in which every runnable task waited for memory"),
        "swap_in_per_s": Label("B", "read from swap a second"),
        "swap_out_per_s": Label("B", "written to swap a second"),
        "reclaim_per_s": Label("B", "looked through a second by tasks that had to reclaim memory themselves"),
        "refault_per_s": Label("B", "read back a second soon after it was reclaimed"),
        "major_faults_per_s": Label("", "page faults a second that had to wait for a disk"),
    },
    "MEM_RECORDER": {
        "age": Label("s", "age of the newest sample"),
        "gap_max_1h": Label("s", "the longest time without a sample in the last hour"),
        "samples_lost": Label("", "samples lost in the last hour"),
        "disk_free": Label("B", "free space beside the recording"),
        "disk_free_pct": Label("%", "free space beside the recording as a share of the file system"),
    },
    "PROC_COUNT": {
        "procs": Label("", "matching processes"),
        "threads": Label("", "threads of the matching processes"),
        "rss": Label("B", "resident memory of the matching processes, shared pages counted for each"),
        "rss_avg": Label("B", "resident memory of a matching process on average"),
        "rss_max": Label("B", "resident memory of the largest matching process"),
        "age_min": Label("s", "age of the youngest matching process"),
        "age_max": Label("s", "age of the oldest matching process"),
        "zombies": Label("", "zombies among the matching processes"),
        "uninterruptible": Label("", "matching processes that wait for a disk or a lock and cannot be killed"),
        "pss": Label("B", "proportional memory (PSS) of the matching processes"),
        "budget_used": Label("%", "share of the memory they can have that as many as --max-workers would take"),
        "projected": Label("B", "memory that as many as --max-workers would take"),
        "headroom_workers": Label("", "how many more processes fit"),
    },
}
"""By a check's name in its output. ``*`` stands for a cache's name."""


def find(check: str, label: str) -> Label | None:
    """What is known of ``label``."""
    known = LABELS.get(check, {})
    return known.get(label) or known.get(label[:2] + "*")
