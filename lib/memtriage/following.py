"""What is followed over time: reads it from a host, turns it into a sample of raw counters, and a list of samples into a history.

Both checks of memory remember the same under one name, so that either knows what the other saw. Sources that are missing or denied leave
their counters out of the sample; they are absent, not 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from memtriage import diagnosis, exhaustion, survey
from memtriage.procfs import boot_id, cgroup, dentry_state, files, inode_nr, uptime, vmstat
from memtriage.record import NamedTuple
from memtriage.state import Sample

NAME = "memory"
"""Of the state file."""
CACHE = 256 * 1024
"""Bytes from which on a slab cache is stored: those below are followed in slab_unreclaimable."""
GROUPS = 40
"""Process groups stored at most."""
FOLLOWERS = frozenset(("radix_tree_node", "buffer_head"))
"""Reclaimable caches that belong to the pages of the page cache: they stay while those stay, which pins nothing."""


RESIDENT = ("inode_cache", "shmem_inode_cache", "sock_inode_cache")
"""Inode caches of what exists in memory only (sysfs, debugfs, pipes, tmpfs, sockets): their inodes are held, and are nobody else's."""


class Now(NamedTuple):
    """One reading of all that is followed."""

    memory: survey.Memory
    page: int
    slab: survey.Slab
    """Without aliases: see :func:`memtriage.survey.aliased`."""
    programs: dict[str, tuple[int, int]]
    """Processes by program name: how many, and their resident pages together."""
    dentries: dentry_state.DentryState | None
    inodes: inode_nr.InodeNr | None
    events: Mapping[str, int]
    """Event counters of /proc/vmstat."""
    dying: int | None = None
    """Removed control groups that are still in memory."""


def read(proc: str, sys: str, programs: dict[str, tuple[int, int]] | None = None) -> Now:
    """Raises :class:`~memtriage.procfs.files.ProcfsError` where not even meminfo can be judged. ``programs``: if read already."""
    memory = survey.memory(proc, sys)
    page = survey.page_size(proc, memory.info)
    dentries = inodes = None
    try:
        dentries = dentry_state.read(proc)
        inodes = inode_nr.read(proc)
    except files.ProcfsError:
        pass  # a captured tree without them
    try:
        events: Mapping[str, int] = vmstat.read(proc).values
    except files.ProcfsError:
        events = {}
    if programs is None:
        try:
            programs = survey.programs(proc)
        except files.ProcfsError:
            programs = {}
    return Now(memory, page, survey.slab(proc, sys, page, aliases=False), programs, dentries, inodes, events, cgroup.dying(sys))


def sample(proc: str, now: Now) -> Sample:
    """The raw counters to remember, under the boot and uptime of the tree they came from.

    Raises :class:`~memtriage.procfs.files.ProcfsError` where boot or uptime are not to be had: then nothing can be compared.
    """
    return Sample(boot_id.read(proc), uptime.read(proc).up_s, counters(now))


def counters(now: Now) -> dict[str, int]:
    """What of one reading is remembered; the keys are told in :mod:`~.exhaustion`."""
    memory, page = now.memory, now.page
    values = {"available": memory.available // 1024, "total": memory.total // 1024}
    values.update({"p." + name: size // 1024 for name, size in memory.book.parts.items()})
    for cache in now.slab.caches:
        if cache.size >= CACHE:
            values["c." + cache.name] = cache.size // page
    least = max(4 * 1024**2, memory.total // 1000) // page
    programs = sorted(now.programs.items(), key=lambda item: -item[1][1])[:GROUPS]
    for name, (members, pages) in programs:
        if pages >= least:
            values["g." + name] = pages
            values["n." + name] = members
    # pgscan_kswapd, pgscan_direct and the like; per zone before Linux 4.8. Throttling counts no pages.
    scans = [count for name, count in now.events.items() if name.startswith(("pgscan_kswapd", "pgscan_direct")) and "throttle" not in name]
    if scans:
        values["pgscan"] = sum(scans)
    if "slabs_scanned" in now.events:
        values["slabs_scanned"] = now.events["slabs_scanned"]
    if now.dentries:
        values["dentries"], values["dentries_unused"] = now.dentries.nr_dentry, now.dentries.nr_unused
    if now.dying is not None:
        values["dying"] = now.dying
    if now.inodes:
        values["inodes"] = now.inodes.nr_inodes
    return values


def history(samples: list[Sample], page: int) -> exhaustion.History:
    """The samples of the last one's boot; earlier boots had other processes, and their counters started anew."""
    boot = [found for found in samples if found.boot == samples[-1].boot]  # none where not even this run's sample was taken
    return exhaustion.History([found.uptime for found in boot], [found.values for found in boot], page)


def outlook(now: Now, past: exhaustion.History, rules: exhaustion.Rules) -> exhaustion.Outlook:
    """What grows, and when memory will be gone."""
    return exhaustion.outlook(past, caches(now), now.memory.available, now.memory.total, rules)


def caches(now: Now) -> dict[str, exhaustion.Cache]:
    """What is known of each slab cache beside its size."""
    return {cache.name: exhaustion.Cache(cache.reclaimable, _in_use(cache, now)) for cache in now.slab.caches}


def _in_use(cache: diagnosis.Cache, now: Now) -> float | None:
    """The share of a cache's objects that something holds, as far as the host's dentry and inode counters tell it.

    An unused dentry keeps its inode in memory without holding it: inodes beyond those are held by open files, marks, mounts or leaks.
    """
    if cache.name in FOLLOWERS:
        return 0.0
    if not cache.objects or now.dentries is None:
        return None
    if cache.name in ("dentry", "dentry_cache"):
        held = now.dentries.nr_dentry - now.dentries.nr_unused
    elif now.inodes is not None and (cache.name.endswith("inode_cache") or cache.name in ("xfs_inode", "btrfs_inode", "fuse_inode")):
        kept = max(0, now.dentries.nr_unused - (now.dentries.nr_negative or 0))
        others = sum(other.objects for other in now.slab.caches if other.name in RESIDENT and cache.name not in RESIDENT)
        held = max(0, now.inodes.nr_inodes - now.inodes.nr_free - kept - others)
    else:
        return None
    return min(1.0, held / cache.objects)
