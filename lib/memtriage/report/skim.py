"""A first look at every record of a recording, however many: when, how much was free and available. Nothing else is unpacked.

meminfo stands first in a record, and MemFree and MemAvailable in its second and third line: of the packed payload only so much is
inflated as holds these, of a record that leans on another only what differs there (docs/recording-format.md). Checksums of payloads are
left to whoever unpacks a record as a whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Iterator

from memtriage.record import NamedTuple
from memtriage.recording import Unreadable, layout
from memtriage.recording.reader import file_head
from memtriage.recording.scan import Entry, Window, next_mark
from memtriage.report.parallel import halves

BLOCK = 4 * 1024 * 1024
ENOUGH = 192
"""Bytes of the inflated payload that are wanted."""
_HEAD = struct.Struct("<8sQqqIIIIIBBH")
_ITEM = struct.Struct("<BBiII")
_COUNTS = struct.Struct("<II")
_WHOLE, _SAME, _CHANGED, _GONE = 0, 1, 2, 5
Lines = tuple[bytes, bytes]


class Skimmed(NamedTuple):
    """A column a fact, in order of the samples' numbers; kB, -1 where not known."""

    seq: array[int]
    real: array[int]
    boot: array[int]
    offset: array[int]
    interval: array[int]
    first: array[int]
    """1 where a run of the recorder begins."""
    base: array[int]
    """How many samples back the record lies that it leans on; 0: none."""
    free: array[int]
    available: array[int]

    def entry(self, handle: int, place: int) -> Entry | None:
        """The record as :mod:`memtriage.recording` knows it, if it is still there."""
        head = layout.unpack(os.pread(handle, layout.ALIGN, self.offset[place]))
        return Entry(self.offset[place], head) if head is not None and head.seq == self.seq[place] else None


def skim(path: str) -> tuple[layout.FileHead, Skimmed]:
    """Raises :class:`~memtriage.recording.Unreadable`. Two processes where the file is large."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: {error.strerror if isinstance(error, OSError) and error.strerror else 'no such file'}") from None
    try:
        file = file_head(handle, path)
        end = file.size - layout.EDGE
        middle = _whole_record(handle, file.name, (layout.EDGE + end) // 2, end) if end > 64 * 1024 * 1024 else end
        parts = halves(_part, [(path, file.name, begin, stop) for begin, stop in ((layout.EDGE, middle), (middle, end)) if begin < stop])
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)
    return file, _ordered(parts)


def _whole_record(handle: int, name: bytes, begin: int, end: int) -> int:
    """Where the first record from ``begin`` on lies that leans on none: what comes behind it never leans on what is before."""
    window = Window(handle)
    offset = layout.padded(begin)
    while offset < end:
        head = layout.unpack(window.at(offset, layout.ALIGN))
        if head is not None and head.name == name:
            if head.kind == layout.KEY:
                return offset
            offset += head.length
        else:
            offset = next_mark(window, offset + layout.ALIGN, end)
    return end


def _part(path: str, name: bytes, begin: int, end: int) -> list[array[int]]:
    """The records that begin in ``begin`` to ``end``, in the order of the file."""
    columns = [array("q") for _ in Skimmed._fields]
    adds = [column.append for column in columns]
    known: dict[int, Lines | None] = {}
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for offset, head, data in _records(handle, name, begin, end):
            seq, kind, back = head[1], head[9], head[11]
            if kind == layout.KEY:
                known.clear()
                lines, back = _first_lines(data, None), 0
            else:
                lines = _first_lines(data, known.get(seq - back))
            known[seq] = lines
            free, available = _numbers(lines)
            for add, value in zip(adds, (seq, head[2], head[3], offset, head[7], head[10] & 1, back, free, available)):
                add(value)
    finally:
        os.close(handle)
    return columns


def _records(handle: int, name: bytes, begin: int, end: int) -> Iterator[tuple[int, tuple[bytes, int, int, int, int, int, int, int, int, int,
                                                                                         int, int], bytes]]:
    """Every record with a sound head: its place, its head as it is, and the first bytes of its payload."""
    offset, start, data = begin, begin, b""
    unpack, crc, align, mark = _HEAD.unpack_from, zlib.crc32, layout.ALIGN, layout.MARK
    window = Window(handle)
    while offset < end:
        at = offset - start
        if at + align + 512 > len(data):
            start, at = offset, 0
            data = os.pread(handle, BLOCK, offset)
            if len(data) < align:
                return
        if data[at : at + 4] == mark and data[at + 4 : at + 8] == crc(data[at + 8 : at + align]).to_bytes(4, "little"):
            head = unpack(data, at + 8)
            stored = head[4]
            length = (align + stored + align - 1) // align * align
            if head[0] == name and stored <= layout.LARGEST and offset + length <= end + layout.LARGEST:
                if head[9] in (layout.KEY, layout.DELTA):
                    yield offset, head, data[at + align : at + align + min(stored, 448)]
                offset += length
                continue
        offset = next_mark(window, offset + align, end)


def _first_lines(packed: bytes, base: Lines | None) -> Lines | None:
    """The lines MemFree and MemAvailable of a payload, against those of the record it leans on."""
    try:
        raw = zlib.decompressobj(-15).decompress(packed, ENOUGH)
        at = 0
        while True:
            width, how, _, _, length = _ITEM.unpack_from(raw, at)
            at += 14 + (width or 2)
            if how != _GONE:
                break
            at += length
        if how == _WHOLE:
            lines = raw[at:].split(b"\n", 3)
            return (lines[1], lines[2]) if len(lines) == 4 and lines[0].startswith(b"MemTotal:") else None
        if base is None or how == _SAME:
            return base if how == _SAME else None
        return _changed(raw, at, base)
    except (zlib.error, struct.error, IndexError, ValueError, OverflowError):
        return None


def _changed(raw: bytes, at: int, base: Lines) -> Lines | None:
    """``base`` with what a list of changed lines says of lines 1 and 2; see ``_apply`` in :mod:`memtriage.recording.payload`."""
    count, whole = _COUNTS.unpack_from(raw, at)
    fronts = at + 8 + 2 * count
    spans = fronts + count
    tail = spans + 6 * whole
    free, available = base
    place = 0
    for number in range(min(count, 2)):
        place += raw[at + 8 + 2 * number] | raw[at + 9 + 2 * number] << 8
        front = raw[fronts + number]
        if place > 2:
            break
        if place == 0 or front == 255:
            return None  # MemTotal changed, or a line its length: rare enough to be unpacked as a whole
        old = free if place == 1 else available
        size = len(old) - front
        part = raw[tail : tail + size]
        if size < 0 or len(part) != size:
            return None
        tail += size
        new = old[:front] + (int.from_bytes(old[front:], "big") ^ int.from_bytes(part, "big")).to_bytes(size, "big")
        if place == 1:
            free = new
        else:
            available = new
    return free, available


def _numbers(lines: Lines | None) -> tuple[int, int]:
    """kB, or -1."""
    if lines is None:
        return -1, -1
    free, available = lines
    one, two = free[8:-3].strip(), available[13:-3].strip()
    return (int(one) if free[:8] == b"MemFree:" and one.isdigit() and len(one) < 16 else -1,
            int(two) if available[:13] == b"MemAvailable:" and two.isdigit() and len(two) < 16 else -1)


def _ordered(parts: list[list[array[int]]]) -> Skimmed:
    """By number of the sample, each once. A ring that has gone round is in two pieces that only need to be swapped."""
    columns = parts[0]
    for part in parts[1:]:
        for column, more in zip(columns, part):
            column.extend(more)
    seq = columns[0]
    breaks = [place for place in range(1, len(seq)) if seq[place] <= seq[place - 1]]
    if len(breaks) == 1 and seq[-1] < seq[0]:
        columns = [column[breaks[0]:] + column[: breaks[0]] for column in columns]
    elif breaks:
        last = {number: place for place, number in enumerate(seq)}
        order = [last[number] for number in sorted(last)]
        columns = [array("q", [column[place] for place in order]) for column in columns]
    return Skimmed(*columns)
