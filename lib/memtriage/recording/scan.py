"""Finding records in a ring, whatever happened to the file: cut, zeroed, torn, being overwritten at this moment.

:func:`scan` reads all of it. :func:`newest` needs a few blocks, by halving: along the ring the samples' numbers ascend, but for one place.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

from memtriage.record import NamedTuple
from memtriage.recording import layout

_BLOCK = 1024 * 1024
_PROBE = 64 * 1024


class Entry(NamedTuple):
    """Where a record begins, and its head."""

    offset: int
    head: layout.Head


class Window:
    """Bytes of a file by place, read a block at a time. Beyond the file's end there are none."""

    def __init__(self, handle: int, block: int = _BLOCK) -> None:
        self.handle = handle
        self.block = block
        self.start = 0
        self.data = b""

    def at(self, offset: int, size: int) -> bytes:
        begin = offset - self.start
        if begin < 0 or begin + size > len(self.data):
            self.start = offset
            self.data = os.pread(self.handle, max(self.block, size), offset)
            begin = 0
        return self.data[begin : begin + size]


def sound(window: Window, name: bytes, offset: int, end: int) -> layout.Head | None:
    """The head of the record at ``offset`` if it is one of this file, whole, and its checksum is right."""
    head = layout.unpack(window.at(offset, layout.ALIGN))
    if head is None or head.name != name or offset + head.length > end:
        return None
    if head.kind != layout.FILLER and zlib.crc32(window.at(offset + layout.ALIGN, head.stored)) != head.check:
        return None
    return head


def scan(window: Window, name: bytes, begin: int, end: int) -> Iterator[Entry]:
    """All sound records that begin in ``begin`` to ``end``, in the order of the file. A damaged one hides none behind it."""
    offset = layout.padded(begin)
    while offset < end:
        head = sound(window, name, offset, end)
        if head is not None:
            if head.kind != layout.FILLER:
                yield Entry(offset, head)
            offset += head.length
            continue
        offset = next_mark(window, offset + layout.ALIGN, end)


def next_mark(window: Window, offset: int, end: int) -> int:
    """The next place, at ``offset`` or behind it, where a record may begin; ``end`` where there is none."""
    while offset < end:
        data = window.at(offset, min(_PROBE, end - offset))
        if not data:
            return end
        place = data.find(layout.MARK)
        while place >= 0 and (offset + place) % layout.ALIGN:
            place = data.find(layout.MARK, place + 1)
        if place >= 0:
            return offset + place
        offset = layout.padded(offset + len(data) - 3)  # a mark that straddles the end is not aligned
        if len(data) < _PROBE:
            return end
    return end


def commonest(handle: int, size: int) -> bytes | None:
    """The file name that most record heads carry: for a file whose own head is gone at both ends."""
    names: dict[bytes, int] = {}
    window = Window(handle)
    offset = 0
    while offset < size:
        found = layout.unpack(window.at(offset, layout.ALIGN))
        if found is not None:
            names[found.name] = names.get(found.name, 0) + 1
        offset = next_mark(window, offset + layout.ALIGN, size)
    return max(names, key=lambda name: names[name], default=None)


def first(window: Window, name: bytes, begin: int, end: int) -> Entry | None:
    """The first sound record from ``begin`` on, or ``None``; where a block holds only zeros nothing was ever written from there on."""
    if not window.at(layout.padded(begin), _PROBE).strip(b"\0"):
        return None
    return next(scan(window, name, begin, end), None)


def newest(handle: int, name: bytes, size: int) -> Entry | None:
    """The record with the highest number, found by halving. Where the file is damaged it may be an older one, or ``None``."""
    begin, end = layout.EDGE, size - layout.EDGE
    window = Window(handle, _PROBE)
    found = first(window, name, begin, end)
    if found is None:
        return None
    least, low, high = found.head.seq, found, end
    while high - low.offset > 2 * _PROBE:
        middle = layout.padded((low.offset + high) // 2)
        entry = first(window, name, middle, high)
        if entry is None or entry.head.seq < least:
            high = middle
        else:
            low = entry
    best = low
    for entry in scan(Window(handle, _PROBE), name, low.offset, end):
        if entry.head.seq < best.head.seq:
            break
        best = entry
        if entry.offset > high + layout.LARGEST:
            break
    return best


def backwards(handle: int, name: bytes, size: int, entry: Entry, most: int) -> Iterator[Entry]:
    """``entry`` and the records written before it, newest first, ``most`` of them at most."""
    window = Window(handle, layout.ALIGN)
    for _ in range(most):
        yield entry
        offset = entry.head.back * layout.ALIGN
        if not layout.EDGE <= offset < size - layout.EDGE:
            return
        head = layout.unpack(window.at(offset, layout.ALIGN))
        if head is None or head.name != name or head.seq >= entry.head.seq or head.kind == layout.FILLER:
            return
        entry = Entry(offset, head)
