"""Samples of a recording as lines: for people, as JSON lines, as CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from memtriage import recorded
from memtriage.procfs import files, loadavg, meminfo, pressure, slabinfo, sockstat, swaps, vmstat, zoneinfo
from memtriage.procfs.pid import stat, statm
from memtriage.recording import Recording, Sample, gap, stepped
from memtriage.wording import clean, line, share, signed, size

SOURCES: dict[str, Any] = {
    "meminfo": meminfo.parse, "vmstat": vmstat.parse, "slabinfo": slabinfo.parse, "pressure/memory": pressure.parse,
    "pressure/io": pressure.parse, "pressure/cpu": pressure.parse, "zoneinfo": zoneinfo.parse, "swaps": swaps.parse,
    "loadavg": loadavg.parse, "net/sockstat": sockstat.parse}
COLUMNS = ("MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "AnonPages", "Shmem", "Slab", "SReclaimable", "SUnreclaim",
           "KernelStack", "PageTables", "Percpu", "SwapTotal", "SwapFree", "Committed_AS")
"""Of meminfo, in CSV."""


class User(NamedTuple):
    """Something that holds memory: a program's processes, or a slab cache."""

    words: str
    processes: int
    held: int


def users(sample: Sample) -> dict[str, User]:
    """Programs by anonymous memory and slab caches by footprint, by a key that stays the same from sample to sample."""
    page = recorded.page_size(sample)
    found: dict[str, User] = {}
    for process in sample.content.processes.values():
        try:
            name, pages = stat.parse(process.stat).comm, statm.parse(process.statm).anon_pages
        except files.ProcfsError:
            continue
        before = found.get("p" + name, User(name, 0, 0))
        found["p" + name] = User(name, before.processes + 1, before.held + pages * page)
    try:
        for cache in recorded.value(sample, "slabinfo", slabinfo.parse).caches:
            found["c" + cache.name] = User(f"slab {cache.name}", 0, cache.footprint(page))
    except files.ProcfsError:
        pass  # denied or late: then no cache is named
    return found


def _unknown(sample: Sample) -> str:
    """Of which kinds of users, by the first letter of their keys, this sample does not tell: what was lost is not gone."""
    slab = sample.content.sources.get("slabinfo")
    return ("p" if sample.content.listing.data is None else "") + ("c" if slab is None or slab.data is None else "")


def printed(recording: Recording, samples: Iterator[Sample], above: int, grew: int) -> Iterator[str]:
    """A line a sample: what is left, then whatever holds ``above`` bytes or more or grew by ``grew`` since the line before."""
    before: dict[str, User] = {}
    last: Sample | None = None
    for sample in samples:
        yield from _between(last, sample)
        found = users(sample)
        listed = []
        for key, user in sorted(found.items(), key=lambda pair: (-pair[1].held, pair[0])):
            change = user.held - before[key].held if key in before else user.held if before else 0
            if user.held >= above or abs(change) >= grew:
                count = f" ({user.processes} processes)" if user.processes > 1 else ""
                listed.append(f"{clean(user.words, 40)}{count} {size(user.held)}" + (f" {signed(change)}" if change else ""))
        unknown = _unknown(sample)
        gone = [f"{clean(user.words, 40)} gone {signed(-user.held)}" for key, user in before.items()
                if key not in found and key[0] not in unknown and user.held >= grew]
        yield f"{_clock(sample)} {_left(sample)}" + "".join("; " + words for words in listed + gone)
        before, last = {**{key: user for key, user in before.items() if key[0] in unknown}, **found}, sample


def _between(last: Sample | None, sample: Sample) -> Iterator[str]:
    """What happened since the sample before: gaps, and kills from the kernel's log."""
    if last is not None:
        hole = gap(last.head, sample.head)
        if hole.restart:
            yield f"{_clock(sample)} -- recorder started after {hole.seconds:.0f} s without"
        elif hole.lost or hole.seconds * 1000 > 1.5 * max(last.head.interval_ms, sample.head.interval_ms):
            yield f"{_clock(sample)} -- gap of {hole.seconds:.1f} s, samples lost: {hole.lost}"
        step = stepped(last.head, sample.head)
        if step:
            yield f"{_clock(sample)} -- clock set {'ahead' if step > 0 else 'back'} by {abs(step):.1f} s"
    log = sample.content.sources.get("kmsg")
    for entry in (log.data or b"").split(b"\n") if log else ():
        if b"Killed process" in entry or b"oom-kill:" in entry:
            yield f"{_clock(sample)} -- kernel: {line(entry.partition(b';')[2].decode('utf-8', 'replace'))}"


def _clock(sample: Sample) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sample.time))


def _left(sample: Sample) -> str:
    try:
        info = recorded.value(sample, "meminfo", meminfo.parse)
    except files.ProcfsError as error:
        return f"meminfo: {error.reason}"
    total, left = info.get("MemTotal"), info.get("MemAvailable")
    if left is None:
        return f"free {size(info.get('MemFree') or 0)}"
    return f"available {size(left)} ({share(left, total or 0)})"


def json_lines(samples: Iterator[Sample]) -> Iterator[str]:
    """An object a sample: ``time`` and ``boot_time`` in seconds, ``gap`` where one lies before it, each source parsed, all
    processes, and of which sources the values are ``earlier`` than the sample."""
    last: Sample | None = None
    for sample in samples:
        row: dict[str, Any] = {"time": sample.time, "boot_time": sample.boot_time, "sample": sample.head.seq,
                               "interval": sample.head.interval_ms / 1000, "boot_id": _boot(sample),
                               "release": _text(sample, "sys/kernel/osrelease")}
        row["gap"] = _gap(last, sample)
        late = (sample.note("late_us", "sample") or "").encode("utf-8", "replace")
        row["late"] = (files.number(late) or 0) / 1e6
        for name, parse in (*SOURCES.items(), ("kmsg", _records)):
            try:
                row[name] = _plain(recorded.value(sample, name, parse))
            except files.Missing:
                row[name] = None
            except files.ProcfsError as error:
                row[name] = {"error": error.reason}
        row["earlier"] = _earlier(sample)
        page = recorded.page_size(sample)
        listing = sample.content.listing
        row["processes"] = list(_processes(sample, page)) if listing.data is not None else {
            "error": os.strerror(listing.errno) if listing.errno else "not recorded"}
        last = sample
        yield json.dumps(row, separators=(",", ":"))


def _records(log: bytes) -> list[str]:
    return files.text(log).rstrip("\n").split("\n") if log else []


def _earlier(sample: Sample) -> dict[str, float]:
    """Seconds before the sample that was read what is not read at every sample, or came late; the rest is of the sample itself."""
    found = {name: -source.begin_us / 1e6 for name, source in sample.content.sources.items() if name in SOURCES and source.earlier}
    threads = sample.note("kernel_threads_us", "sample") or ""
    if threads.startswith("-"):
        found["kernel threads"] = (files.number(threads[1:].encode("utf-8", "replace")) or 0) / 1e6
    return found


def _processes(sample: Sample, page: int) -> Iterator[dict[str, Any]]:
    for pid, process in sample.content.processes.items():
        try:
            one, memory = stat.parse(process.stat), statm.parse(process.statm)
        except files.ProcfsError:
            continue
        cmdline = files.text(process.cmdline.replace(b"\0", b" ").strip())
        yield {"pid": pid, "ppid": one.ppid, "comm": one.comm, "state": one.state, "threads": one.num_threads,
               "rss": memory.resident_pages * page, "anon": memory.anon_pages * page, "cmdline": cmdline}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {key: _plain(part) for key, part in value._asdict().items()}
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


def _text(sample: Sample, name: str) -> str | None:
    try:
        return files.text(recorded.data(sample, name)).rstrip("\n")
    except files.ProcfsError:
        return None


def _boot(sample: Sample) -> str | None:
    return _text(sample, "sys/kernel/random/boot_id")


def _gap(last: Sample | None, sample: Sample) -> dict[str, Any] | None:
    if last is None:
        return None
    hole = gap(last.head, sample.head)
    if hole.restart or hole.lost or hole.seconds * 1000 > 1.5 * max(last.head.interval_ms, sample.head.interval_ms):
        return {"seconds": hole.seconds, "lost": hole.lost, "restart": hole.restart}
    return None


def table(samples: Iterator[Sample]) -> Iterator[str]:
    """CSV: a header, then a row a sample; bytes; empty is unknown. After ``gap`` come meminfo, pressure, the largest."""
    yield _row(["time", "boot_time", "gap", *COLUMNS, "psi_some_avg10", "psi_full_avg10", "pgmajfault", "oom_kill", "processes",
                "largest_program", "largest_program_bytes", "largest_cache", "largest_cache_bytes"])
    last: Sample | None = None
    for sample in samples:
        hole = _gap(last, sample)
        info, stall, counters = (_maybe(sample, name) for name in ("meminfo", "pressure/memory", "vmstat"))
        found = users(sample)
        largest = [max((user for key, user in found.items() if key[0] == kind), key=lambda user: user.held, default=None) for kind in "pc"]
        last = sample
        yield _row([f"{sample.time:.3f}", f"{sample.boot_time:.3f}", f"{hole['seconds']:.3f}" if hole else "",
                    *(info.get(name) if info else None for name in COLUMNS), stall.some.avg10 if stall else None,
                    stall.full.avg10 if stall and stall.full else None,
                    *(counters.get(name) if counters else None for name in ("pgmajfault", "oom_kill")),
                    len(sample.content.processes) if sample.content.listing.data is not None else None,
                    *(cell for user in largest for cell in ([_cell(user.words), user.held] if user else [None, None]))])


def _cell(words: str) -> str:
    """A name that a spreadsheet will not take for a formula."""
    return "'" + words if words[:1] in ("=", "+", "-", "@", "\t", "\r") else words


def _maybe(sample: Sample, name: str) -> Any:
    try:
        return recorded.value(sample, name, SOURCES[name])
    except files.ProcfsError:
        return None


def _row(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()
