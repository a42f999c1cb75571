"""A first look at every record of a recording, however many: when, how much was free and available. Nothing else is unpacked.

meminfo stands first in a record, and MemFree and MemAvailable in its second and third line: of the packed payload only so much is
inflated as holds these, of a record that leans on another only what differs there (docs/recording-format.md). Checksums of payloads are
left to whoever unpacks a record as a whole.
"""

from __future__ import annotations

import bisect
import os
import struct
import zlib
from array import array

from memtriage.record import NamedTuple
from memtriage.recording import Unreadable, layout
from memtriage.recording.reader import file_head
from memtriage.recording.scan import Entry, Window, next_mark
from memtriage.report.parallel import halves

BLOCK = 4 * 1024 * 1024
ENOUGH = 192
"""Bytes of the inflated payload that are wanted."""
_HEAD = struct.Struct("<8sQqqIIIIIBBH")
_ITEM = struct.Struct("<BBiII").unpack_from
_COUNTS = struct.Struct("<II").unpack_from
_WHOLE, _SAME, _CHANGED, _GONE = 0, 1, 2, 5
_WRONG = (zlib.error, struct.error, IndexError, ValueError, OverflowError)


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
    odd: list[int]
    """Places of samples that are not the usual step behind the one before, among them the first."""

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


def _part(path: str, name: bytes, begin: int, end: int) -> tuple[list[array[int]], list[int]]:  # noqa: PLR0915 - as it says
    """The records that begin in ``begin`` to ``end``, in the order of the file; and the numbers of those not a usual step from the last.

    One loop without calls: it is what a long recording costs.
    """
    columns = [array("q") for _ in range(9)]
    (add_seq, add_real, add_boot, add_offset, add_interval, add_first, add_base, add_free,
     add_available) = (column.append for column in columns)
    odd: list[int] = []
    known: dict[int, tuple[bytes, bytes] | None] = {}
    unpack, crc, align, mark, key, delta = _HEAD.unpack_from, zlib.crc32, layout.ALIGN, layout.MARK, layout.KEY, layout.DELTA
    inflater, largest = zlib.decompressobj, layout.LARGEST
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    window = Window(handle)
    offset, start, data, size = begin, begin, b"", 0
    last_seq = last_boot = last_interval = 0
    try:
        while offset < end:
            at = offset - start
            if at + 512 > size:
                start, at = offset, 0
                data = os.pread(handle, BLOCK, offset)
                size = len(data)
                if size < align:
                    break
            head_end = at + align
            if data[at : at + 4] != mark or int.from_bytes(data[at + 4 : at + 8], "little") != crc(data[at + 8 : head_end]):
                offset = next_mark(window, offset + align, end)
                continue
            owner, seq, real, boot, stored, _, _, interval, _, kind, flags, back = unpack(data, at + 8)
            if owner != name or stored > largest:
                offset = next_mark(window, offset + align, end)
                continue
            place, offset = offset, offset + (align + stored + 63) // 64 * 64
            if kind == delta:
                base = known.get(seq - back)
            elif kind == key:
                known.clear()
                base, back = None, 0
            else:
                continue
            try:
                lines = _first_lines(inflater(-15).decompress(data[head_end : head_end + (stored if stored < 448 else 448)], ENOUGH), base)
            except _WRONG:
                lines = None
            known[seq] = lines
            add_seq(seq)
            add_real(real)
            add_boot(boot)
            add_offset(place)
            add_interval(interval)
            add_first(flags & 1)
            add_base(back)
            if lines is None:
                add_free(-1)
                add_available(-1)
            else:
                free, available = lines
                one, two = free[8:-3].strip(), available[13:-3].strip()
                add_free(int(one) if free[:8] == b"MemFree:" and one.isdigit() and len(one) < 16 else -1)
                add_available(int(two) if available[:13] == b"MemAvailable:" and two.isdigit() and len(two) < 16 else -1)
            if seq - last_seq != 1 or flags & 1 or interval != last_interval or not 0 <= boot - last_boot <= interval * 1_500_000:
                odd.append(seq)
            last_seq, last_boot, last_interval = seq, boot, interval
    finally:
        os.close(handle)
    return columns, odd


def _first_lines(raw: bytes, base: tuple[bytes, bytes] | None) -> tuple[bytes, bytes] | None:
    """The lines MemFree and MemAvailable of the beginning of a payload, against those of the record it leans on."""
    width, how, _, _, length = _ITEM(raw)
    at = 14 + (width or 2)
    while how == _GONE:
        at += length
        width, how, _, _, length = _ITEM(raw, at)
        at += 14 + (width or 2)
    if how == _CHANGED:
        return _changed(raw, at, base) if base is not None else None
    if how == _WHOLE:
        lines = raw[at:].split(b"\n", 3)
        return (lines[1], lines[2]) if len(lines) == 4 and lines[0].startswith(b"MemTotal:") else None
    return base if how == _SAME else None


def _changed(raw: bytes, at: int, base: tuple[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """``base`` with what a list of changed lines says of lines 1 and 2; see ``_apply`` in :mod:`memtriage.recording.payload`."""
    count, whole = _COUNTS(raw, at)
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


def _ordered(parts: list[tuple[list[array[int]], list[int]]]) -> Skimmed:
    """By number of the sample, each once. A ring that has gone round is in two pieces that only need to be swapped."""
    columns, odd = parts[0]
    for more, others in parts[1:]:
        for column, rest in zip(columns, more):
            column.extend(rest)
        odd += others
    seq = columns[0]
    breaks = [place for place, (before, after) in enumerate(zip(seq, seq[1:]), 1) if after <= before]
    if len(breaks) == 1 and seq[-1] < seq[0]:
        columns = [column[breaks[0]:] + column[: breaks[0]] for column in columns]
    elif breaks:
        last = {number: place for place, number in enumerate(seq)}
        order = [last[number] for number in sorted(last)]
        columns = [array("q", [column[place] for place in order]) for column in columns]
    seq = columns[0]
    if len(breaks) > 1 or (breaks and seq[0] not in odd):
        return Skimmed(*columns, list(range(len(seq))))  # type: ignore[call-arg,arg-type]
    places = sorted({bisect.bisect_left(seq, number) for number in odd} | ({0} if seq else set()))
    return Skimmed(*columns, [place for place in places if place < len(seq)])  # type: ignore[call-arg,arg-type]
