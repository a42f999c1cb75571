"""Reads from a host (or a captured tree) what accounting and diagnosis need. The same functions serve every check and command.

Sources that a verdict does not depend on may be missing or denied: then their part of the answer is absent, and ``gaps`` says why.
"""

from __future__ import annotations

import os

from memtriage import accounting, diagnosis
from memtriage.procfs import files, meminfo, slab_aliases, slabinfo
from memtriage.record import NamedTuple


class Memory(NamedTuple):
    """The state of memory as it limits this host, or the cgroup the check runs in. Bytes."""

    info: meminfo.Meminfo
    book: accounting.Ledger
    total: int
    available: int
    estimated: bool
    limited_by: str | None
    """The cgroup whose limit is the effective total, ``None`` for the host itself."""


def page_size(proc: str, info: meminfo.Meminfo | None = None) -> int:
    """Bytes of a page. A captured tree tells it by ``self/auxv``, else by MemFree in bytes over nr_free_pages, mostly the same counter."""
    own: int = os.sysconf("SC_PAGE_SIZE")
    if os.path.abspath(proc) == "/proc":
        return own
    from memtriage.procfs import auxv, vmstat  # noqa: PLC0415 - only a captured tree needs it

    try:
        return auxv.read(proc).page_size
    except files.ProcfsError:
        pass  # a tree that was copied with less
    try:
        pages = vmstat.read(proc).get("nr_free_pages")
        info = info or meminfo.read(proc)
    except files.ProcfsError:
        return own
    free = info.get("MemFree")
    if not pages or not free:
        return own
    return min((4096, 8192, 16384, 65536), key=lambda size: abs(size - free / pages))


def memory(proc: str, sys: str) -> Memory:
    """Raises :class:`~memtriage.procfs.files.ProcfsError`, also for counters that contradict each other too much to be judged."""
    info = meminfo.read(proc)
    wrong = accounting.problem(info)
    if wrong:
        raise files.Malformed(os.path.join(proc, "meminfo"), wrong)
    page = page_size(proc, info)
    marks = None if info.get("MemAvailable") is not None else _watermarks(proc, page)
    available, estimated = accounting.available(info, marks)
    book = accounting.ledger(info, _extra(proc, sys, page))
    found = Memory(info, book, book.total, available, estimated, None)
    return _within_cgroup(found, proc, sys)


def _watermarks(proc: str, page: int) -> accounting.Watermarks | None:
    from memtriage.procfs import zoneinfo  # noqa: PLC0415 - only kernels before 3.14 need it

    try:
        zones = zoneinfo.read(proc).zones
    except files.ProcfsError:
        return None
    return accounting.Watermarks(zoneinfo.low_watermark_pages(zones) * page, zoneinfo.reserve_pages(zones) * page)


def _extra(proc: str, sys: str, page: int) -> accounting.Extra:
    from memtriage.procfs import osrelease, sockstat  # noqa: PLC0415 - slab_growth never comes here

    version = arc = compressed = sockets = None
    try:
        version = osrelease.read(proc).version
    except files.ProcfsError:
        pass  # then VmallocUsed is left out rather than guessed
    if os.path.exists(os.path.join(proc, "spl/kstat/zfs/arcstats")):
        arc = _arc(proc)
    if os.path.exists(os.path.join(sys, "block/zram0")):
        compressed = _zram(sys)
    try:
        network = sockstat.read(proc).protocols
        known = [network[name]["mem"] for name in ("TCP", "UDP") if "mem" in network.get(name, {})]
        sockets = sum(known) * page + network.get("FRAG", {}).get("memory", 0) if known else None
    except files.ProcfsError:
        pass  # no network in this namespace
    return accounting.Extra(version is not None and version >= (5, 3), arc, compressed, sockets)


def _arc(proc: str) -> int | None:
    from memtriage.procfs import arcstats  # noqa: PLC0415 - few hosts have ZFS

    try:
        return arcstats.read(proc).get("size")
    except files.ProcfsError:
        return None


def _zram(sys: str) -> int | None:
    from memtriage.procfs import zram  # noqa: PLC0415 - few hosts have zram

    try:
        return sum(device.mm_stat.mem_used_total for device in zram.read(sys))
    except files.ProcfsError:
        return None


def _within_cgroup(host: Memory, proc: str, sys: str) -> Memory:
    from memtriage.procfs import cgroup  # noqa: PLC0415 - as above
    from memtriage.procfs.pid import cgroup as membership  # noqa: PLC0415 - as above

    try:
        groups = cgroup.read_limits(sys, membership.read(proc, "self"))
    except files.ProcfsError:
        return host  # no cgroups here: the host is the limit
    smallest = min((group for group in groups if group.limit is not None), key=lambda group: group.limit or 0, default=None)
    if smallest is None or (smallest.limit or 0) >= host.total:
        return host
    # What the whole path can still have: the tightest of all limits on it, since each of them stops the process.
    left = host.available
    for group in groups:
        if group.limit is not None and group.usage is not None:
            cache = (group.inactive_file or 0) + (group.active_file or 0) + (group.slab_reclaimable or 0)
            left = min(left, max(0, group.limit - max(0, group.usage - cache)))
    return host._replace(total=smallest.limit or 0, available=left, limited_by=smallest.path)


DETAILS = 16
"""The largest caches, of which /sys is asked."""


class Slab(NamedTuple):
    """The slab caches by size, largest first; ``caches`` is empty and ``denied`` says why where they cannot be read."""

    caches: list[diagnosis.Cache]
    denied: files.ProcfsError | None
    odd: list[str]


def slab(proc: str, sys: str, page: int, aliases: bool = True) -> Slab:
    """Reads slabinfo, and for the largest caches what /sys says of them: whether they are reclaimable, and their other names."""
    try:
        info = slabinfo.read(proc)
    except files.ProcfsError as error:
        copy = _published(proc) if isinstance(error, files.Denied) else None
        if copy is None:
            return Slab([], error, [])
        info = copy
    ordered = sorted(info.caches, key=lambda cache: (-cache.footprint(page), cache.name))
    caches = []
    for place, cache in enumerate(ordered):
        known = slab_aliases.reclaimable(sys, cache.name) if place < DETAILS else None
        reclaimable = diagnosis.reclaimable_by_name(cache.name) if known is None else known
        caches.append(diagnosis.Cache(cache.name, cache.footprint(page), reclaimable, (), cache.active_objs))
    found = Slab(caches, None, info.odd)
    return aliased(found, sys) if aliases else found


def _published(proc: str) -> slabinfo.Slabinfo | None:
    """The copy that the flight recorder keeps for the monitoring group, if there is a fresh one of this boot."""
    from memtriage import published  # noqa: PLC0415 - only where slabinfo itself is denied
    from memtriage.procfs import boot_id  # noqa: PLC0415 - as above

    if os.path.abspath(proc) != "/proc":
        return None
    try:
        data = published.published(published.SLABINFO, boot_id.read(proc), published.MAX_AGE)
        return slabinfo.parse(data) if data is not None else None
    except files.ProcfsError:
        return None


def aliased(found: Slab, sys: str) -> Slab:
    """The same with the other names of the largest caches, for printing: takes a look at every cache's link."""
    try:
        links = slab_aliases.read(sys)
    except files.ProcfsError:
        return found  # a kernel with SLAB or SLOB, or a captured tree without /sys
    named = [cache._replace(aliases=tuple(links.aliases(cache.name))) for cache in found.caches[:DETAILS]]
    return found._replace(caches=named + found.caches[DETAILS:])


def programs(proc: str) -> dict[str, tuple[int, int]]:
    """Processes by program: how many, and their resident pages together, with one small file read for each. Kernel threads hold nothing."""
    from memtriage.procfs import pid  # noqa: PLC0415 - not every check asks for processes
    from memtriage.procfs.pid import stat  # noqa: PLC0415 - as above

    found: dict[str, tuple[int, int]] = {}
    for data in pid.stats(proc):
        try:
            process = stat.parse(data)
        except files.ProcfsError:
            continue
        if process.rss_pages > 0:
            members, pages = found.get(process.comm, (0, 0))
            found[process.comm] = members + 1, pages + process.rss_pages
    return found


def groups(proc: str, page: int, below: str | None = None) -> list[diagnosis.Group]:
    """Processes by program, largest first, all or those in the cgroup ``below`` and under it.

    Those that end while being read are left out; kernel threads hold nothing. Empty where /proc hides processes of other users (its
    option ``hidepid``): the largest of the few that are left would be named as if it were the largest of all.
    """
    from memtriage.procfs import pid  # noqa: PLC0415 - only an alarm asks for processes
    from memtriage.procfs.pid import cgroup, stat, statm  # noqa: PLC0415 - as above

    found: dict[str, list[int]] = {}
    try:
        stat.read(proc, 1)  # every PID namespace has its 1
    except (files.Missing, files.Denied):
        return []
    except files.ProcfsError:
        pass  # one odd file costs that process
    for number in pid.pids(proc):
        try:
            process = stat.read(proc, number)
            if process.rss_pages <= 0:
                continue
            pages = statm.read(proc, number)
            if below is not None and not any(entry.within(below) for entry in cgroup.read(proc, number)):
                continue
        except files.ProcfsError:
            continue
        entry = found.setdefault(process.comm, [0, 0, 0])
        entry[0] += 1
        entry[1] += pages.anon_pages * page
        entry[2] += pages.resident_pages * page
    listed = [diagnosis.Group(name, *entry) for name, entry in found.items()]
    return sorted(listed, key=lambda group: (-group.anon, group.name))
