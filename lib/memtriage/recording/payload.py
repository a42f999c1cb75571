"""What one record holds: kernel files as they were read, when each was read, and the processes; whole or against an earlier record.

Text is compared line by line (:mod:`memtriage.recording.lines`). What was read is given back byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Set

from memtriage.record import NamedTuple
from memtriage.recording.lines import WIDEST, apply, differences

WHOLE, SAME, CHANGED, FAILED, LOST, GONE = range(6)
"""How an item is stored. An item that a record compressed against another does not name is as it was there, time stamps included."""
PROCESSES = "processes"


class Source(NamedTuple):
    """One kernel file as read, or why it was not."""

    data: bytes | None
    """``None`` where it could not be read, or did not answer in time."""
    errno: int
    """Why it could not be read, 0 where it was or where it did not answer."""
    begin_us: int
    """When reading began, microseconds after the record's own time stamp; negative where it was read before: see :attr:`earlier`."""
    took_us: int

    @property
    def earlier(self) -> bool:
        """Whether this is of before the sample: an answer that came late, or of a source that is not read at every sample."""
        return self.begin_us < 0

    @property
    def lost(self) -> bool:
        return self.data is None and self.errno == 0


class Process(NamedTuple):
    """Files of /proc/<pid>/; empty where they could not be read. ``cmdline`` and ``cgroup`` are of when it was first seen."""

    stat: bytes
    statm: bytes
    cmdline: bytes = b""
    cgroup: bytes = b""


class Content(NamedTuple):
    """One sample. ``processes`` is ordered by number; ``listing`` says when, or why there are none."""

    sources: dict[str, Source]
    processes: dict[int, Process]
    listing: Source


class Damaged(Exception):
    """Bytes that are no payload, or one that needs another base."""


_ITEM = struct.Struct("<BBiII")
_PLACE = struct.Struct("<H")
"""With a width of 0 instead of its name: the source's place among those of the record it is compressed against, sorted by name."""
_TABLE = struct.Struct("<III")
_ENTRY = struct.Struct("<IHHHH")
_NO_LISTING = Source(None, 0, 0, 0)


def encode(content: Content, base: Content | None) -> bytes:
    """The payload of ``content`` before it is packed, against ``base`` or alone."""
    parts: list[bytes] = []
    known = {name: _PLACE.pack(place) for place, name in enumerate(sorted(base.sources))} if base else {}
    for name, place in known.items():
        if name not in content.sources:
            _add(parts, place, GONE, _NO_LISTING, b"", 0)
    for name, source in content.sources.items():
        if base is not None and base.sources.get(name) is source:
            continue
        how, body = _encode_source(source, base.sources.get(name) if base else None)
        if name in known:
            _add(parts, known[name], how, source, body, 0)
        else:
            _add(parts, name.encode(), how, source, body)
    if content.listing.data is None:
        how, body = _encode_source(content.listing, None)
    else:
        how, body = _encode_processes(content.processes, base.processes if base else {})
    _add(parts, PROCESSES.encode(), how, content.listing, body)
    return b"".join(parts)


def _add(parts: list[bytes], name: bytes, how: int, source: Source, body: bytes, width: int | None = None) -> None:
    begin = min(max(source.begin_us, -(2**31)), 2**31 - 1)
    parts.append(_ITEM.pack(len(name) if width is None else width, how, begin, min(max(source.took_us, 0), 2**32 - 1), len(body)))
    parts.append(name)
    parts.append(body)


def _encode_source(source: Source, old: Source | None) -> tuple[int, bytes]:
    new = source.data
    if new is None:
        return (FAILED, source.errno.to_bytes(4, "little")) if source.errno else (LOST, b"")
    if old is None or old.data is None:
        return WHOLE, new
    if old.data == new:
        return SAME, b""
    before, after = old.data.split(b"\n"), new.split(b"\n")
    if len(before) != len(after) or len(after) > WIDEST:
        return WHOLE, new
    body = differences([(place, x, y) for place, (x, y) in enumerate(zip(before, after)) if x != y])
    return (CHANGED, body) if body is not None and len(body) < len(new) else (WHOLE, new)


def _encode_processes(new: dict[int, Process], old: dict[int, Process]) -> tuple[int, bytes]:
    if old and len(old) > WIDEST:
        old = {}
    gone = [pid for pid in old if pid not in new]
    fresh = [(pid, process) for pid, process in new.items() if pid not in old]
    changed: list[tuple[int, bytes, bytes]] = []
    for place, (pid, before) in enumerate(old.items()):
        after = new.get(pid)
        if after is None or after is before or after == before:
            continue
        # Both stand in one line of the comparison; it is parted again at the newline that ends stat.
        if after[2:] != before[2:] or not (_regular(before) and _regular(after)):
            fresh.append((pid, after))
        else:
            changed.append((place, before.stat + before.statm, after.stat + after.statm))
    parts = [_TABLE.pack(len(gone), len(fresh), len(changed)), struct.pack("<%dI" % len(gone), *gone)]
    for pid, process in fresh:
        texts = [text[:WIDEST] for text in process]
        parts.append(_ENTRY.pack(pid, *map(len, texts)))
        parts += texts
    body = differences(changed)
    parts.append(body if body is not None else b"")
    return (CHANGED if old else WHOLE), b"".join(parts)


def _regular(process: Process) -> bool:
    statm = process.statm
    return process.stat.endswith(b"\n") and statm.endswith(b"\n") and statm.find(b"\n") == len(statm) - 1 and len(process.stat) < 60000


def decode(raw: bytes, base: Content | None, wanted: Set[str] | None = None) -> Content:
    """Raises :class:`Damaged` for whatever is not a payload; unknown ways of storing an item cost that item only.

    Sources that are not ``wanted`` need not be right: they may stay as they are in ``base``, which saves half of the work.
    """
    try:
        return _decode(raw, base, wanted)
    except (struct.error, IndexError, ValueError, OverflowError, StopIteration) as error:
        raise Damaged(str(error)) from None


def _decode(raw: bytes, base: Content | None, wanted: Set[str] | None) -> Content:
    sources: dict[str, Source] = dict(base.sources) if base else {}
    processes: dict[int, Process] = {}
    listing = _NO_LISTING
    at = 0
    known = sorted(base.sources) if base else []
    while at < len(raw):
        width, how, begin, took, length = _ITEM.unpack_from(raw, at)
        at += _ITEM.size
        if width:
            name = raw[at : at + width].decode()
            at += width
        else:
            name = known[_PLACE.unpack_from(raw, at)[0]]
            at += _PLACE.size
        body = raw[at : at + length]
        at += length
        if len(body) != length:
            raise Damaged("cut short")
        if how == GONE:
            sources.pop(name, None)
        elif how == CHANGED and wanted is not None and name not in wanted and name in sources:
            continue
        elif name != PROCESSES:
            source = _decode_source(how, body, begin, took, base.sources.get(name) if base else None)
            if source is not None:
                sources[name] = source
        elif how in (WHOLE, CHANGED):
            if how == CHANGED and base is None:
                raise Damaged("no base")
            processes = _decode_processes(body, base.processes if base is not None and how == CHANGED else {})
            listing = Source(b"", 0, begin, took)
        else:
            listing = _decode_source(how, body, begin, took, None) or _NO_LISTING
    return Content(sources, processes, listing)


def _decode_source(how: int, body: bytes, begin: int, took: int, old: Source | None) -> Source | None:
    if how == WHOLE:
        return Source(body, 0, begin, took)
    if how == LOST:
        return Source(None, 0, begin, took)
    if how == FAILED:
        return Source(None, int.from_bytes(body[:4], "little") or 5, begin, took)
    if how not in (SAME, CHANGED):
        return None
    if old is None or old.data is None:
        raise Damaged("no base")
    if how == SAME:
        return Source(old.data, 0, begin, took)
    lines = old.data.split(b"\n")
    apply(body, 0, lines)
    return Source(b"\n".join(lines), 0, begin, took)


def _decode_processes(body: bytes, old: dict[int, Process]) -> dict[int, Process]:
    found = dict(old)
    count_gone, count_fresh, count_changed = _TABLE.unpack_from(body)
    at = _TABLE.size
    if max(count_gone, count_fresh, count_changed) > len(body):
        raise Damaged("counts")
    for pid in struct.unpack_from("<%dI" % count_gone, body, at):
        found.pop(pid, None)
    at += 4 * count_gone
    for _ in range(count_fresh):
        pid, *sizes = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        texts = []
        for size in sizes:
            texts.append(body[at : at + size])
            at += size
        if at > len(body):
            raise Damaged("cut short")
        found[pid] = Process(*texts)
    if count_changed:
        pids = list(old)
        lines = [process.stat + process.statm for process in old.values()]
        before = lines[:]
        apply(body, at, lines)
        for pid, was, now in zip(pids, before, lines):
            if was is not now and was != now:
                end = now.rfind(b"\n", 0, -1) + 1
                found[pid] = Process(now[:end], now[end:], *old[pid][2:])
    return dict(sorted(found.items()))
