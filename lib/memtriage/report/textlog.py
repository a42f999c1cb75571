"""The log many admins have on disk: ``while true; do date; free; ps aux; cat /proc/slabinfo; echo ----; sleep 1; done``.

Hours of it are gigabytes: the rows of free are looked for first, then only the samples that are shown are read. Parts may be missing, the
end may be cut, ``date`` and ``free`` may speak any language. What such a log does not say is told in the history's notes."""

from __future__ import annotations

import mmap
import re
from array import array
from collections.abc import Iterator

from memtriage import diagnosis, exhaustion, following
from memtriage.procfs import files, slabinfo
from memtriage.record import NamedTuple
from memtriage.report import choose, dateline, freetext, pagesize, pstext
from memtriage.report.history import Event, Frame, Gap, History, Progress, Unusable

PAGE = 4096
"""The unit of what is counted in pages here, whatever the host's were: ps counts in KiB."""
HEAD = 1 << 20
"""Bytes in which the language of free is found out."""
LONGEST = 8 << 20
"""Bytes of one sample at most."""
LINE = 400
KERNEL = 64 * 1024**2
"""A host with less memory is none: the number is in another unit."""


class _Found(NamedTuple):
    """A column a fact: where samples begin and end, when, and in kB what was free and available."""

    start: array[int]
    row: array[int]
    time: array[float]
    free: array[int]
    available: array[int]


def read(path: str, start: float | None = None, end: float | None = None, progress: Progress | None = None) -> History:
    """Raises :class:`~memtriage.report.history.Unusable`."""
    say = progress or (lambda what, share: None)
    try:
        with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as data:
            return _read(path, data, start, end, say)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unusable(f"{path}: {reason}") from None


def _read(path: str, data: mmap.mmap, start: float | None, end: float | None, say: Progress) -> History:
    label = _label(bytes(data[:HEAD]))
    if label is None:
        raise Unusable(f"{path}: neither a recording, a state file nor a log with the output of date and free in it")
    notes: list[str] = []
    found, unit = _skim(path, data, label, notes, say)
    span = [place for place, time in enumerate(found.time) if (start is None or time >= start) and (end is None or time <= end)]
    if not span:
        raise Unusable(f"{path}: no sample between these times")
    low, high = span[0], span[-1] + 1
    found = _Found(found.start[low:high], found.row[low:high], found.time[low:high], found.free[low:high], found.available[low:high])
    gaps = _gaps(found.time)
    edges = [side for place, _ in gaps for side in (place - 1, place)]
    places = choose.places(found.time, (found.available, found.free), edges)
    separated = data.find(b"\n----", 0, 8 * HEAD) >= 0
    page = _page(data, found.start[0])
    frames: dict[int, Frame] = {}
    crowds: dict[int, frozenset[bytes]] = {}
    boot = "1"
    behind = dict(gaps)
    previous: int | None = None
    last = len(found.start) - 1
    for count, place in enumerate(places):
        if count % 50 == 0:
            say("reading what is shown", 0.4 + 0.4 * count / len(places))
            data.madvise(mmap.MADV_DONTNEED)
        stop = found.start[place + 1] if place < last else min(len(data), found.start[place] + LONGEST)
        text = bytes(data[found.start[place] : min(stop, found.start[place] + LONGEST)])
        row = found.row[place] - found.start[place]
        frame, crowd = _frame(text, row, found.time[place], found.time[0], unit, page or pagesize.USUAL,
                              separated or place == last, boot)
        if frame is None:
            continue
        if place in behind and previous is not None and pstext.others(crowds[previous], crowd):
            boot = str(int(boot) + 1)
            frame = frame._replace(boot=boot)
            behind[place] = behind[place]._replace(booted=True)
        frames[place], crowds[place] = frame, crowd
        previous = place
    if not frames:
        raise Unusable(f"{path}: no sample can be read")
    events = [Event(gap.end, "boot", "reboot (new processes)") for gap in behind.values() if gap.booted]
    if any("available" in frame.row and frame.row.get("estimated") for frame in frames.values()):
        notes.append("this free does not say what is available: free, buffers and cache are taken for it")
    notes.append("a log of free and ps: shared pages of processes count in each")
    if any("c" not in frame.blind for frame in frames.values()):
        notes += pagesize.note(page)
    return History("", PAGE, [frame._replace(row={key: value for key, value in frame.row.items() if key != "estimated"})
                              for _, frame in sorted(frames.items())], sorted(behind.values()), events, notes)


def _label(head: bytes) -> bytes | None:
    """How the row of memory begins in this log: a row of at least six numbers of which the first is the largest."""
    for place in re.finditer(rb"^[^\s\d/+#-][^\n\d]{0,40}?(?::|\xef\xbc\x9a)\s*\d[^\n]*$", head, re.MULTILINE):
        if freetext.parse(b"", place[0], b"") is not None:
            row = place[0]
            stop = row.find(b":")
            return row[: stop + 1] if stop >= 0 else row[: row.find(b"\xef\xbc\x9a") + 3]
    return None


def _rows(data: mmap.mmap, label: bytes) -> Iterator[int]:
    """Where lines begin that begin with ``label``."""
    mark = b"\n" + label
    if data[: len(label)] == label:
        yield 0
    place = data.find(mark)
    while place >= 0:
        yield place + 1
        place = data.find(mark, place + 1)


def _skim(path: str, data: mmap.mmap, label: bytes, notes: list[str], say: Progress) -> tuple[_Found, float]:
    found = _Found(array("q"), array("q"), array("d"), array("q"), array("q"))
    shift, undated, back, broken = 0.0, 0, 0, 0
    unit = 0.0
    for count, row in enumerate(_rows(data, label)):
        if count % 500 == 0:
            say("looking at every sample", 0.4 * row / max(1, len(data)))
            data.madvise(mmap.MADV_DONTNEED)  # or all of a log of gigabytes would count as resident
        before = bytes(data[max(0, row - 2 * LINE) : row])
        date, begin = _date(before, row, found.time[-1] - shift if found.time else None)
        line_end = data.find(b"\n", row, row + LINE)
        if date is None or line_end < 0:
            undated += date is None
            continue
        header, after = before.rstrip(b"\n").rpartition(b"\n")[2], bytes(data[line_end + 1 : line_end + LINE])
        values = freetext.parse(header, bytes(data[row:line_end]), after)
        if values is None:
            broken += 1
            continue
        if not unit:
            unit = _unit(values, bytes(data[row : row + HEAD]))
        time = date + shift
        if found.time and time < found.time[-1]:
            # Set back, or the end of summer time without a zone: goes on where it was.
            back += 1
            shift += found.time[-1] + 1.0 - time
            time = date + shift
        scale = (unit if values.plain else 1.0) / 1024.0
        available = values.available if values.available is not None else values.free + values.cached - values.shared
        found.start.append(begin)
        found.row.append(row)
        found.time.append(time)
        found.free.append(int(values.free * scale))
        found.available.append(int(max(0.0, available) * scale))
    if not found.time:
        raise Unusable(f"{path}: the output of free is there, but no line of date before it that could be understood")
    if undated or broken:
        notes.append(f"{undated + broken} samples without a date or with an unreadable row of free are left out")
    if back:
        notes.append(f"the log's clock was set back {back} times: times behind that are as if it had not been")
    return found, unit


def _date(before: bytes, row: int, last: float | None) -> tuple[float | None, int]:
    """The time in the lines before a row, nearest first, and where its line begins; ``last``: that of the sample before."""
    lines = before.split(b"\n")
    offset = row - len(before)
    begins = []
    for line in lines:
        begins.append(offset)
        offset += len(line) + 1
    for line, begin in list(zip(lines, begins))[-2:-8:-1]:
        if line[:4] == b"----":
            break
        if b":" in line or b"." in line or line.strip().isdigit() or b"\xe6" in line:
            time = dateline.parse(line[-200:], last)
            if time is not None:
                return time, begin
    return None, row


def _unit(values: freetext.Free, text: bytes) -> float:
    """Bytes of free's unit, which it writes only with -h: by what ps says is 1 % of memory, else by what is likely."""
    if not values.plain:
        return 1.0
    resident = share = 0.0
    for line in text.partition(b"\nslabinfo - version")[0].split(b"\n")[:3000]:
        words = line.split(None, 10)
        if len(words) > 10 and words[1].isdigit() and words[5].isdigit():
            try:
                percent = float(words[3].replace(b",", b"."))
            except ValueError:
                continue
            if percent >= 0.5:
                resident, share = resident + int(words[5]) * 1024.0, share + percent
    units = (1.0, 1024.0, 1024.0**2, 1024.0**3)
    if share >= 2:
        total = resident / share * 100
        return min(units, key=lambda unit: abs(values.total * unit / total - 1))
    return next((unit for unit in (1024.0, 1024.0**2, 1024.0**3) if values.total * unit >= KERNEL), 1024.0) if values.total < 2**36 else 1.0


def _gaps(times: array[float]) -> list[tuple[int, Gap]]:
    """Times without a sample that are longer than the loop's own slowness, and wide enough to be seen."""
    if len(times) < 3:
        return []
    steps = sorted(after - before for before, after in zip(times[:2000], times[1:2001]))
    least = max(3 * steps[len(steps) // 2], 5.0, (times[-1] - times[0]) / 1000)
    found = [place for place in range(1, len(times)) if times[place] - times[place - 1] > least]
    return [(place, Gap(times[place - 1], times[place], False)) for place in found[:400]]


def _page(data: mmap.mmap, start: int) -> int | None:
    """Of the host the log comes from, by the first slabinfo in it; ``None`` where that does not tell."""
    place = data.find(b"\nslabinfo - version", start)
    if place < 0:
        return None
    try:
        return pagesize.of_slabs(slabinfo.parse(bytes(data[place + 1 : place + HEAD]).partition(b"\n----")[0] + b"\n").caches)
    except files.ProcfsError:
        return None


def _frame(text: bytes, row: int, time: float, first: float, unit: float, page: int, separated: bool,
           boot: str) -> tuple[Frame | None, frozenset[bytes]]:
    """One sample; and who ran, to tell a reboot. ``separated``: what is not followed by ``----`` was cut off."""
    line_end = text.find(b"\n", row)
    if line_end < 0:
        return None, frozenset()
    values = freetext.parse(text[:row].rstrip(b"\n").rpartition(b"\n")[2], text[row:line_end], text[line_end + 1 : line_end + LINE])
    if values is None:
        return None, frozenset()
    whole = not separated or b"\n----" in text[line_end:]
    kib = (unit if values.plain else 1.0) / 1024.0
    body = text[line_end:].partition(b"\n----")[0]
    table = body.find(b"\nslabinfo - version")
    listing = body[: table + 1] if table >= 0 else body + b"\n" if whole and separated else body
    groups, crowd, seen = pstext.groups(listing, PAGE)
    caches, slab_seen = _caches(body[table + 1 :], page) if table >= 0 else ([], False)
    blind = ("c" if not slab_seen or not whole else "") + ("g" if not seen or not (whole or table >= 0) else "")
    total = int(values.total * kib)
    parts = {"p.free": int(values.free * kib)}
    shared = int(values.shared * kib)
    slab = {True: 0, False: 0}
    for cache in caches:
        slab[cache.reclaimable] += cache.size // 1024
    parts["p.shmem"] = shared
    parts["p.page_cache"] = max(0, int(values.cached * kib) - shared - (slab[True] if values.slab_in_cached else 0))
    if caches and "c" not in blind:
        parts["p.slab_reclaimable"], parts["p.slab_unreclaimable"] = slab[True], slab[False]
    rest = max(0, total - sum(parts.values()))
    held = min(rest, sum(pages for _, pages in groups.values()) * PAGE // 1024) if "g" not in blind else 0
    if not blind:
        parts["p.unaccounted"] = rest - held
    available = values.available if values.available is not None else values.free + values.cached - values.shared
    found: dict[str, int] = {"total": total, "available": min(total, int(max(0.0, available) * kib)), **parts}
    if values.available is None:
        found["estimated"] = 1
    if values.swap_total is not None and values.swap_free is not None:
        found["swap_total"], found["swap_free"] = int(values.swap_total * kib), int(values.swap_free * kib)
    if "c" not in blind:
        found.update(("c." + cache.name, cache.size // PAGE) for cache in caches if cache.size >= following.CACHE)
    if "g" not in blind:
        for name, (members, pages) in sorted(groups.items(), key=lambda item: -item[1][1])[: following.GROUPS]:
            if pages * PAGE >= max(4 * 1024**2, total):
                found["g." + name], found["n." + name] = pages, members
    known = {cache.name: exhaustion.Cache(cache.reclaimable) for cache in caches if "c." + cache.name in found}
    return Frame(time, boot, time - first + 86400.0, found, {}, known, blind), crowd


def _caches(text: bytes, page: int) -> tuple[list[diagnosis.Cache], bool]:
    try:
        info = slabinfo.parse(text if text.endswith(b"\n") else text + b"\n")
    except files.ProcfsError:
        return [], False
    return [diagnosis.Cache(cache.name, cache.footprint(page), diagnosis.reclaimable_by_name(cache.name)) for cache in info.caches], True
