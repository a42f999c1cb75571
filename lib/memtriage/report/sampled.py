"""Samples of a recording as the frames of a history: the same values as the checks take, parsed without a tree of files in between."""

from __future__ import annotations

from typing import Callable, TypeVar

from memtriage import accounting, diagnosis, exhaustion, following, recorded, survey
from memtriage.procfs import (
    dentry_state,
    files,
    inode_nr,
    meminfo,
    osrelease,
    pressure,
    slab_aliases,
    slabinfo,
    sockstat,
    vmstat,
    zoneinfo,
)
from memtriage.procfs.pid import stat, statm
from memtriage.recording import Process, Sample
from memtriage.report.history import Frame

T = TypeVar("T")
_ALIASES = "/sys/kernel/slab"
_BOOT = "sys/kernel/random/boot_id"
SOURCES = frozenset(("meminfo", "vmstat", "slabinfo", "pressure/memory", "net/sockstat", "sys/fs/dentry-state", "sys/fs/inode-nr",
                     "sys/kernel/osrelease", _BOOT, _ALIASES, "meta", "processes"))
"""What a frame is made of where meminfo has MemAvailable."""


class Reader:
    """Turns samples into frames; what does not change from one to the next is parsed once."""

    def __init__(self) -> None:
        self._links: tuple[bytes, dict[str, str]] = (b"", {})
        self._caches: dict[tuple[bool, float | None], exhaustion.Cache] = {}
        self._processes: dict[bytes, tuple[str, int, int]] = {}
        self._lines: dict[bytes, list[slabinfo.Cache]] = {}
        self._page = 0

    def frame(self, sample: Sample, time: float) -> Frame:
        """Raises :class:`~memtriage.procfs.files.ProcfsError` where meminfo cannot be judged."""
        now, anon = self.now(sample)
        row = following.counters(now)
        row.update(_more(sample, now))
        known = {name: self._caches.setdefault((cache.reclaimable, cache.in_use), cache)
                 for name, cache in following.caches(now).items() if "c." + name in row}
        blind = ("c" if now.slab.denied is not None else "") + ("" if now.programs else "g")
        return Frame(time, _text(sample, _BOOT), sample.boot_time, row, anon, known, blind)

    def now(self, sample: Sample) -> tuple[following.Now, dict[str, int]]:
        """What :func:`memtriage.following.read` would have read, of the host as a whole; and each group's own pages."""
        info = recorded.value(sample, "meminfo", meminfo.parse)
        wrong = accounting.problem(info)
        if wrong:
            raise files.Malformed("meminfo", wrong)
        page = recorded.page_size(sample)
        available, estimated = accounting.available(info, _marks(sample, page) if info.get("MemAvailable") is None else None)
        book = accounting.ledger(info, _extra(sample, page))
        programs, anon = self._programs(sample)
        dentries = _maybe(sample, "sys/fs/dentry-state", dentry_state.parse)
        inodes = _maybe(sample, "sys/fs/inode-nr", inode_nr.parse)
        events = _maybe(sample, "vmstat", _counted)
        memory = survey.Memory(info, book, book.total, available, estimated, None)
        return following.Now(memory, page, self._slab(sample, page), programs, dentries, inodes, events.values if events else {}), anon

    def _slab(self, sample: Sample, page: int) -> survey.Slab:
        try:
            known_caches = self._parsed(recorded.data(sample, "slabinfo"), page)
        except files.ProcfsError as error:
            return survey.Slab([], error, [])
        links = self._aliases(sample)
        caches = []
        for cache in known_caches:
            target = links.get(cache.name, "")
            known = slab_aliases.reclaim_account(target) if target.startswith(":") else diagnosis.reclaimable_by_name(cache.name)
            caches.append(diagnosis.Cache(cache.name, cache.footprint(page), known, (), cache.active_objs))
        return survey.Slab(sorted(caches, key=lambda cache: (-cache.size, cache.name)), None, [])

    def _parsed(self, data: bytes, page: int) -> list[slabinfo.Cache]:
        """The caches large enough to be told of. Line by line: most are as they were."""
        head, _, rest = data.partition(b"\n")
        head += b"\n"
        slabinfo.parse(head)
        lines = self._lines
        if len(lines) > 50000 or page != self._page:
            lines.clear()
            self._page = page
        found: list[slabinfo.Cache] = []
        for line in rest.split(b"\n"):
            caches = lines.get(line)
            if caches is None:
                parsed = slabinfo.parse(head + line + b"\n").caches
                caches = lines[line] = [cache for cache in parsed if cache.footprint(page) >= following.CACHE]
            if caches:
                found += caches
        return found

    def _aliases(self, sample: Sample) -> dict[str, str]:
        source = sample.content.sources.get(_ALIASES)
        data = source.data if source is not None and source.data else b""
        if data != self._links[0]:
            self._links = data, dict(line.rpartition(" ")[::2] for line in files.text(data).split("\n") if " " in line)
        return self._links[1]

    def _programs(self, sample: Sample) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
        programs: dict[str, tuple[int, int]] = {}
        anon: dict[str, int] = {}
        known = self._processes
        if len(known) > 50000:
            known.clear()
        for process in sample.content.processes.values():
            key = process.stat + process.statm
            found = known.get(key)
            if found is None:
                found = known[key] = _process(process)
            name, rss, own = found
            if rss > 0:
                members, pages = programs.get(name, (0, 0))
                programs[name] = members + 1, pages + rss
                anon[name] = anon.get(name, 0) + own
        return programs, anon


def _process(process: Process) -> tuple[str, int, int]:
    """Name, resident pages and its own among these; no pages where that cannot be told."""
    try:
        one = stat.parse(process.stat)
    except files.ProcfsError:
        return "", 0, 0
    try:
        return one.comm, one.rss_pages, statm.parse(process.statm).anon_pages
    except files.ProcfsError:
        return one.comm, one.rss_pages, one.rss_pages


def _more(sample: Sample, now: following.Now) -> dict[str, int]:
    """What a picture shows beside what is remembered."""
    info = now.memory.info
    found = {key: value for key, value in (("swap_total", info.get("SwapTotal")), ("swap_free", info.get("SwapFree"))) if value is not None}
    found = {key: value // 1024 for key, value in found.items()}
    stalled = _maybe(sample, "pressure/memory", pressure.parse)
    if stalled is not None:
        found["psi_some"] = stalled.some.total_us
        if stalled.full is not None:
            found["psi_full"] = stalled.full.total_us
    if "oom_kill" in now.events:
        found["oom_kill"] = now.events["oom_kill"]
    return found


def _counted(data: bytes) -> vmstat.Vmstat:
    """Of its two hundred lines those that are used here."""
    return vmstat.parse(b"".join(line + b"\n" for line in data.split(b"\n") if line.startswith((b"pgscan_", b"slabs_", b"oom_kill "))))


def _maybe(sample: Sample, name: str, parse: Callable[[bytes], T]) -> T | None:
    try:
        return recorded.value(sample, name, parse)
    except files.ProcfsError:
        return None


def _marks(sample: Sample, page: int) -> accounting.Watermarks | None:
    found = _maybe(sample, "zoneinfo", zoneinfo.parse)
    if found is None:
        return None
    return accounting.Watermarks(zoneinfo.low_watermark_pages(found.zones) * page, zoneinfo.reserve_pages(found.zones) * page)


def _extra(sample: Sample, page: int) -> accounting.Extra:
    release, network = _maybe(sample, "sys/kernel/osrelease", osrelease.parse), _maybe(sample, "net/sockstat", sockstat.parse)
    sockets = None
    if network is not None:
        known = [network.protocols[name]["mem"] for name in ("TCP", "UDP") if "mem" in network.protocols.get(name, {})]
        sockets = sum(known) * page + network.protocols.get("FRAG", {}).get("memory", 0) if known else None
    version = release.version if release is not None else None
    return accounting.Extra(version is not None and version >= (5, 3), None, None, sockets)


def _text(sample: Sample, name: str) -> str:
    try:
        return files.text(recorded.data(sample, name)).strip()
    except files.ProcfsError:
        return ""
