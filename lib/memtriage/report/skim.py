"""A first look at every record of a recording, however many: when, how much was free and available. Nothing else is unpacked.

meminfo stands first in a record, and MemFree and MemAvailable in its second and third line: of the packed payload only so much is
inflated as holds these, of a record that leans on another only what differs there (docs/recording-format.md). Checksums of payloads are
left to whoever unpacks a record as a whole.
"""

from __future__ import annotations

import operator
import os
import struct
import sys
import zlib
from array import array

from memtriage.record import NamedTuple
from memtriage.recording import Unreadable, layout
from memtriage.recording.reader import file_head
from memtriage.recording.scan import Entry, Window, next_mark
from memtriage.report import glance
from memtriage.report.parallel import halves

BLOCK = 4 * 1024 * 1024
ENOUGH, MORE, MOST = 128, 1024, 448
"""Bytes of the packed payload that are inflated, as a rule and where that did not do; and bytes that come of it, as a rule."""
MARGIN = layout.ALIGN + MORE
_HEAD = struct.Struct("<II8sQ16xI16xBxH")
"""Of a record's head mark, checksum, name, number, length, kind, base."""
_CHANGED_FIRST = struct.Struct("<BB14xIIHH")
"""Beginning of a payload whose first item is a file that changed: width, how, counts, and which are the first two lines that did."""
CODES = "qqqIBHqqq"
"""What the columns of :class:`Skimmed` are made of; and where, counted in such, each of the first lies in a record's head."""
STEPS = (2, 3, 4, 13, 61, 31, None, None, None)
SEQ, REAL, BOOT, INTERVAL, FLAGS, BASE, OFFSET, FREE, AVAILABLE = range(9)


class Skimmed(NamedTuple):
    """A column a fact, in order of the samples' numbers; kB, -1 where not known."""

    seq: array[int]
    real: array[int]
    boot: array[int]
    interval: array[int]
    flags: array[int]
    """:data:`~memtriage.recording.FIRST` where a run of the recorder begins."""
    base: array[int]
    """How many samples back the record lies that it leans on; 0: none."""
    offset: array[int]
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
    """The records that begin in ``begin`` to ``end``, in the order of the file; and the places of those not a usual step from the last.

    One loop that calls little: it is what a long recording costs.
    """
    columns = [array(code) for code in CODES]
    odd: list[int] = []
    known: dict[int, glance.Lines | None] = {}
    heads: list[bytes] = []
    texts: list[bytes] = []
    add_head, add_text, add_offset = heads.append, texts.append, columns[OFFSET].append
    unpack, changed, number, crc, align, key, delta = (
        _HEAD.unpack_from, _CHANGED_FIRST.unpack_from, int.from_bytes, zlib.crc32, layout.ALIGN, layout.KEY, layout.DELTA)
    inflater, largest, mark = zlib.decompressobj, layout.LARGEST, int.from_bytes(layout.MARK, "little")
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    window = Window(handle)
    offset, start, data, size = begin, begin, b"", 0
    enough, short = ENOUGH, 0
    try:
        while offset < end:
            at = offset - start
            if at + MARGIN > size:
                enough, short = min(MORE, enough + 32 * (short * 16 > len(texts))), 0
                _gathered(columns, odd, heads, texts)
                start, at = offset, 0
                data = os.pread(handle, BLOCK, offset)
                size = len(data)
                if size < align:
                    break
            body = at + align
            here, check, owner, seq, stored, kind, back = unpack(data, at)
            if here != mark or check != crc(data[at + 8 : body]) or owner != name or stored > largest:
                offset = next_mark(window, offset + align, end)
                continue
            place, offset = offset, offset + (align + stored + 63) // 64 * 64
            if kind == delta:
                base = known.get(seq - back)
            elif kind == key:
                known.clear()
                base = None
            else:
                continue
            lines = None
            try:
                raw = inflater(-15).decompress(data[body : body + enough], MOST)
                if base is not None:
                    width, how, count, whole, one, two = changed(raw)
                    fronts = 24 + 2 * count
                    front, other = raw[fronts], raw[fronts + 1]
                    if width == 0 and how == 2 and one == 1 == two and 8 <= front < 255 > other >= 13:  # the usual case
                        digits, long, wide, total = base
                        tail = fronts + count + 6 * whole
                        middle = tail + long - front
                        stop = middle + wide - other
                        if tail < middle < stop <= len(raw):
                            lines = (digits ^ number(raw[tail:middle], "big") >> 24 << 8 * wide - 128
                                     ^ number(raw[middle:stop], "big") >> 24, long, wide, total)
                if lines is None:
                    lines = glance.first_lines(raw, base)
            except glance.WRONG:
                lines = None
            if lines is None:
                short += kind == delta
                lines = glance.further(data[body : body + MORE], base)
            known[seq] = lines
            add_head(data[at:body])
            add_offset(place)
            add_text(lines[0].to_bytes(lines[1] + lines[2] - 27, "big") if lines is not None else b"-1 -1")
    finally:
        os.close(handle)
    _gathered(columns, odd, heads, texts)
    return columns, odd


def _gathered(columns: list[array[int]], odd: list[int], heads: list[bytes], texts: list[bytes]) -> None:
    """Appends to ``columns`` and ``odd`` what was found in a block, and empties the lists of it."""
    begin = len(columns[0])
    whole = b"".join(heads)
    for column, step in zip(columns, STEPS):
        if step is not None:
            words = array(column.typecode, whole)
            if sys.byteorder == "big":
                words.byteswap()
            column.extend(words[step :: layout.ALIGN // column.itemsize])
    _numbers(texts, columns[FREE], columns[AVAILABLE])
    heads.clear()
    texts.clear()
    _odd(columns, odd, begin)


def _odd(columns: list[array[int]], odd: list[int], begin: int) -> None:
    """The places from ``begin`` on of samples that are not the usual step behind the one before."""
    count = len(columns[0])
    if begin == count:
        return
    if begin == 0:
        odd.append(0)
        begin = 1
    seq, boot, interval, flags = (column[begin - 1 :] for column in (columns[SEQ], columns[BOOT], columns[INTERVAL], columns[FLAGS]))
    steps = list(map(operator.sub, boot[1:], boot))
    if (not steps or (min(steps) >= 0 and max(steps) <= interval[0] * 1_500_000)) and interval.count(interval[0]) == len(interval) and (
            seq == array("q", range(seq[0], seq[0] + len(seq))) and flags[1:].count(0) == len(flags) - 1):
        return
    odd += [begin + at for at, step in enumerate(steps) if seq[at + 1] - seq[at] != 1 or flags[at + 1] & 1
            or interval[at + 1] != interval[at] or not 0 <= step <= interval[at + 1] * 1_500_000]


def _numbers(texts: list[bytes], free: array[int], available: array[int]) -> None:
    """Appends the two numbers of each of ``texts``; -1 where it does not hold two."""
    whole = b" ".join(texts)
    try:
        if whole.translate(None, b"0123456789- "):
            raise ValueError
        found = array("q", map(int, whole.split()))
        if len(found) != 2 * len(texts):
            raise ValueError
    except (ValueError, OverflowError):
        found = array("q")
        for text in texts:
            words = text.split()
            sound = len(words) == 2 and all(word.isdigit() and len(word) < 16 for word in words)
            found.extend([int(word) for word in words] if sound else (-1, -1))
    free.extend(found[::2])
    available.extend(found[1::2])


def _ordered(parts: list[tuple[list[array[int]], list[int]]]) -> Skimmed:
    """By number of the sample, each once. A ring that has gone round is in two pieces that only need to be swapped."""
    columns, odd = parts[0]
    for more, others in parts[1:]:
        odd += [len(columns[0]) + place for place in others]
        for column, rest in zip(columns, more):
            column.extend(rest)
    seq = columns[SEQ]
    breaks = [place for place in odd if place and seq[place] <= seq[place - 1]]
    if len(breaks) == 1 and seq[-1] < seq[0]:
        columns = [column[breaks[0]:] + column[: breaks[0]] for column in columns]
        odd = sorted((place - breaks[0]) % len(seq) for place in odd)
    elif breaks:
        last = {number: place for place, number in enumerate(seq)}
        order = [last[number] for number in sorted(last)]
        columns = [array(column.typecode, [column[place] for place in order]) for column in columns]
        odd = list(range(len(order)))
    return Skimmed(*columns, odd)  # type: ignore[call-arg,arg-type]  # how many a star gives is not known to mypy
