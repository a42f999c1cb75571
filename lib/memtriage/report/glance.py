"""The beginning of a record's payload without the rest: what it says of MemFree and MemAvailable, in two lines of its first file, meminfo.

As :mod:`memtriage.recording.payload` has it (docs/recording-format.md), for few bytes at a time and a million times.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Set

ROOM = 4096
"""Bytes of a payload that are looked at at most."""
Lines = tuple[int, int, int, int]
"""What stands between name and unit in the lines MemFree and MemAvailable, one behind the other, as one number of so many bytes; the
lengths of these lines and of that before them, MemTotal."""
_WHOLE, _SAME, _CHANGED, _GONE = 0, 1, 2, 5
_PLACED = struct.Struct("<BBiII")
_ITEM = _PLACED.unpack_from
_COUNTS = struct.Struct("<II").unpack_from
_SPAN = struct.Struct("<HHH").unpack_from
WRONG = (zlib.error, struct.error, IndexError, ValueError, OverflowError)
"""What damaged bytes raise."""


def further(stored: bytes, base: Lines | None) -> Lines | None:
    """The same of a payload of which more must be looked at."""
    try:
        return first_lines(zlib.decompressobj(-15).decompress(stored, ROOM), base)
    except WRONG:
        return None


def first_lines(raw: bytes, base: Lines | None) -> Lines | None:
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
        lines = raw[at : at + length].split(b"\n", 3)
        return _known(lines[1], lines[2], len(lines[0])) if len(lines) == 4 and lines[0].startswith(b"MemTotal:") else None
    return base if how == _SAME else None


def _known(free: bytes, available: bytes, total: int) -> Lines | None:
    if not (free.startswith(b"MemFree:") and available.startswith(b"MemAvailable: ") and free[-3:] == b" kB" == available[-3:]):
        return None
    return int.from_bytes(free[8:-3] + available[13:-3], "big"), len(free), len(available), total


def _changed(raw: bytes, at: int, base: Lines) -> Lines | None:
    """``base`` with what a list of changed lines says of lines 0 to 2; see ``_apply`` in :mod:`memtriage.recording.payload`."""
    count, whole = _COUNTS(raw, at)
    fronts = at + 8 + 2 * count
    spans = fronts + count
    tail = spans + 6 * whole
    digits, long, wide, total = base
    text = digits.to_bytes(long + wide - 27, "big")
    lines = [bytes(total), b"MemFree:" + text[: long - 11] + b" kB", b"MemAvailable:" + text[long - 11 :] + b" kB"]
    place = 0
    for number in range(min(count, 3)):
        place += raw[at + 8 + 2 * number] | raw[at + 9 + 2 * number] << 8
        if place > 2:
            break
        old, front, back = lines[place], raw[fronts + number], 0
        size = len(old) - front
        if front == 255:
            front, back, size = _SPAN(raw, spans)
            spans += 6
        part = raw[tail : tail + size]
        if size < 0 or len(part) != size or front + back > len(old):
            return None
        tail += size
        if raw[fronts + number] != 255:
            part = (int.from_bytes(old[front:], "big") ^ int.from_bytes(part, "big")).to_bytes(size, "big")
        lines[place] = old[:front] + part + old[len(old) - back :]
    return _known(lines[1], lines[2], len(lines[0]))


def skipped(raw: bytes, known: list[str], wanted: Set[str]) -> bytes:
    """A payload in which sources that are not ``wanted`` pass for unchanged.

    ``known``: the names of the sources of the record leaned on, sorted.
    """
    parts = []
    start = at = 0
    try:
        while at < len(raw):
            width, how, begin, took, length = _ITEM(raw, at)
            body = at + 14 + (width or 2)
            if how == _CHANGED and not width and known[raw[at + 14] | raw[at + 15] << 8] not in wanted:
                parts += [raw[start:at], _PLACED.pack(0, _SAME, begin, took, 0), raw[at + 14 : body]]
                start = body + length
            at = body + length
    except (struct.error, IndexError):
        return raw  # damaged: whoever decodes it says so
    parts.append(raw[start:])
    return b"".join(parts) if start <= len(raw) else raw
