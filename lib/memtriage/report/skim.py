"""A first look at every record of a recording, however many: when, how much was free and available. Nothing is unpacked.

What is looked at stands before the packed payload (:mod:`memtriage.recording.glance`). Only recordings of version 1 have no such thing:
of these every record is unpacked.
"""

from __future__ import annotations

import bisect
import os
import struct
import sys
import zlib
from array import array

from memtriage.record import NamedTuple
from memtriage.recording import FIRST, Recording, Unreadable, glance, layout
from memtriage.recording.reader import file_head
from memtriage.recording.scan import Entry, Window, scan
from memtriage.report.parallel import halves

BLOCK = layout.LARGEST + layout.ALIGN
ROW = layout.ALIGN + glance.SIZE
LARGE = 64 * 1024 * 1024
"""Bytes from which on two processes are worth their start."""
CODES = "qqqIBHqqq"
"""What the columns of :class:`Skimmed` are made of; and where, counted in such, each of them lies in a record's head and glance."""
STEPS = (2, 3, 4, 13, 61, 31, None, 8, 9)
OFFSET = 6
_HEAD = struct.Struct("<II8s24xI4xI8xBB2x")
"""Of a record's head mark, checksum, name, length and checksum of the payload, kind, flags."""
_UNKNOWN = struct.pack("<qq", glance.UNKNOWN, glance.UNKNOWN)


class Skimmed(NamedTuple):
    """A column a fact, in order of the samples' numbers."""

    seq: array[int]
    real: array[int]
    boot: array[int]
    interval: array[int]
    flags: array[int]
    """As in :mod:`memtriage.recording.layout`."""
    base: array[int]
    """How many samples back the record lies that it leans on; 0: none."""
    offset: array[int]
    free: array[int]
    """Bytes; -1 where not known."""
    available: array[int]
    """As ``free``."""
    odd: list[int]
    """Places of samples that are not the usual step behind the one before, among them the first."""

    def entry(self, handle: int, place: int) -> Entry | None:
        """The record as :mod:`memtriage.recording` knows it, if it is still there."""
        head = layout.unpack(os.pread(handle, layout.ALIGN, self.offset[place]))
        return Entry(self.offset[place], head) if head is not None and head.seq == self.seq[place] else None


def skim(path: str) -> Skimmed:
    """Raises :class:`~memtriage.recording.Unreadable`. Two processes where the file is large."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: {error.strerror if isinstance(error, OSError) and error.strerror else 'no such file'}") from None
    try:
        file = file_head(handle, path)
        end = file.size - layout.EDGE
        later = scan(Window(handle), file.name, (layout.EDGE + end) // 2, end) if end > LARGE else iter(())
        middle = next((entry.offset for entry in later), end)
        parts = halves(_part, [(path, file.name, begin, stop) for begin, stop in ((layout.EDGE, middle), (middle, end)) if begin < stop])
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)
    seq, real, boot, interval, flags, base, offset, free, available = _ordered(parts)
    found = Skimmed(seq, real, boot, interval, flags, base, offset, free, available, _odd(seq, boot, interval, flags))
    if not all(flags & layout.PLAIN for flags in set(found.flags)):
        _unpack(path, found)
    return found


def _part(path: str, name: bytes, begin: int, end: int) -> list[array[int]]:
    """The sound records that begin in ``begin`` to ``end``, in the order of the file, as :func:`memtriage.recording.scan.scan`; in bulk."""
    columns = [array(code) for code in CODES]
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        offset = layout.padded(begin)
        while offset < end:
            data = os.pread(handle, BLOCK, offset)
            if len(data) < layout.ALIGN:
                break
            rows, places, done = _rows(data, name, end - offset)
            whole = b"".join(rows)
            for column, step in zip(columns, STEPS):
                if step is not None:
                    words = array(column.typecode, whole)
                    if sys.byteorder == "big":
                        words.byteswap()
                    column.extend(words[step :: ROW // column.itemsize])
            columns[OFFSET].extend([offset + place for place in places])
            offset += done
    finally:
        os.close(handle)
    return columns


def _rows(data: bytes, name: bytes, end: int) -> tuple[list[bytes], list[int], int]:
    """Of the sound records of a block that begin before ``end`` head and glance, and their places; and how far it was looked at.

    At a record that is not whole in the block it ends, unless that is the first.
    """
    rows: list[bytes] = []
    places: list[int] = []
    unpack, crc, align, size, mark = _HEAD.unpack_from, zlib.crc32, layout.ALIGN, len(data), int.from_bytes(layout.MARK, "little")
    at = 0
    while at < end and at + align <= size:
        here, check, owner, stored, packed, kind, flags = unpack(data, at)
        body = at + align
        if here == mark and owner == name and check == crc(data[at + 8 : body]) and stored <= layout.LARGEST:
            stop = body + stored
            if stop > size and at:
                return rows, places, at
            if kind == layout.FILLER:
                at = layout.padded(stop)
                continue
            if packed == crc(data[body:stop]):
                rows.append(data[at : at + ROW] if flags & layout.PLAIN and stored >= glance.SIZE else data[at:body] + _UNKNOWN)
                places.append(at)
                at = (stop + align - 1) // align * align
                continue
        at = data.find(layout.MARK, body)
        while at >= 0 and at % align:
            at = data.find(layout.MARK, at + 1)
        if at < 0:
            at = layout.padded(size)
    return rows, places, at


def _ordered(parts: list[list[array[int]]]) -> list[array[int]]:
    """By number of the sample, each once: that behind in the file where two have the same."""
    columns = parts[0]
    for more in parts[1:]:
        for column, rest in zip(columns, more):
            column.extend(rest)
    seq = columns[0]
    if all(map(int.__lt__, seq, seq[1:])):
        return columns
    last = {number: place for place, number in enumerate(seq)}
    order = [last[number] for number in sorted(last)]
    return [array(column.typecode, [column[place] for place in order]) for column in columns]


def _odd(seq: array[int], boot: array[int], interval: array[int], flags: array[int]) -> list[int]:
    rows = zip(range(1, len(seq)), seq, seq[1:], boot, boot[1:], interval, interval[1:], flags[1:])
    return [0] * bool(seq) + [place for place, number, later, then, now, before, after, flag in rows
                              if later - number != 1 or flag & FIRST or before != after or not 0 <= now - then <= after * 1_500_000]


def _unpack(path: str, found: Skimmed) -> None:
    """What the records without it hold all the same."""
    with Recording(path) as recording:
        for sample in recording.samples_of([entry for entry in recording.entries if not entry.head.flags & layout.PLAIN]):
            place = bisect.bisect_left(found.seq, sample.head.seq)
            if found.seq[place : place + 1] == array("q", [sample.head.seq]):
                found.free[place], found.available[place] = glance.read(glance.of(sample.content))
