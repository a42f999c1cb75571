"""Two texts compared line by line: what a record needs to say of a file of which an earlier one has most.

A line of unchanged length is stored as the exclusive or of its old and new bytes, without the zeros in front; of one that became longer or
shorter what differs between its beginning and its end. Most counters change in their last digits only.
"""

from __future__ import annotations

import struct

WIDEST = 65535
"""Bytes of a line, and lines of a text, that can be compared."""
_COUNTS = struct.Struct("<II")


def differences(changed: list[tuple[int, bytes, bytes]]) -> bytes | None:
    """Lines as place, old and new; places ascend. ``None`` where a line is too long for the form."""
    gaps: list[int] = []
    fronts = bytearray()
    spans: list[int] = []
    tails: list[bytes] = []
    last = 0
    for place, old, new in changed:
        gaps.append(place - last)
        last = place
        size = len(new)
        if size == len(old):
            bits = int.from_bytes(old, "big") ^ int.from_bytes(new, "big")
            front = min(size - ((bits.bit_length() + 7) >> 3), 254)
            fronts.append(front)
            tails.append(bits.to_bytes(size - front, "big"))
        else:
            if max(size, len(old)) > WIDEST:
                return None
            front, back = _common(old, new)
            fronts.append(255)
            spans += (front, back, size - front - back)
            tails.append(new[front : size - back])
    return b"".join((_COUNTS.pack(len(gaps), len(spans) // 3), struct.pack("<%dH" % len(gaps), *gaps), fronts,
                     struct.pack("<%dH" % len(spans), *spans), *tails))


def _common(one: bytes, two: bytes) -> tuple[int, int]:
    """How many bytes two lines of different length share at their beginning, and beyond these at their end."""
    size = min(len(one), len(two))
    bits = int.from_bytes(one[:size], "big") ^ int.from_bytes(two[:size], "big")
    front = size - ((bits.bit_length() + 7) >> 3)
    rest = size - front
    bits = int.from_bytes(one[len(one) - rest :], "big") ^ int.from_bytes(two[len(two) - rest :], "big")
    return front, ((bits & -bits).bit_length() - 1) >> 3 if bits else rest


def apply(body: bytes, at: int, lines: list[bytes]) -> None:
    """Does to ``lines`` what :func:`differences` found; ``ValueError``, ``IndexError`` or ``struct.error`` where that cannot be."""
    count, whole = _COUNTS.unpack_from(body, at)
    at += _COUNTS.size
    if count > len(body) or whole > count:
        raise ValueError("counts")
    gaps = struct.unpack_from("<%dH" % count, body, at)
    at += 2 * count
    fronts = body[at : at + count]
    at += count
    spans = struct.iter_unpack("<HHH", body[at : at + 6 * whole])
    at += 6 * whole
    place = 0
    for gap, front in zip(gaps, fronts):
        place += gap
        old = lines[place]
        if front == 255:
            start, back, size = next(spans)
        else:
            start, back, size = front, 0, len(old) - front
        tail = body[at : at + size]
        if size < 0 or len(tail) != size or start + back > len(old):
            raise ValueError("cut short")
        at += size
        if front != 255:
            bits = int.from_bytes(old[front:], "big") ^ int.from_bytes(tail, "big")
            tail = bits.to_bytes(size, "big")
        lines[place] = old[:start] + tail + old[len(old) - back :]
