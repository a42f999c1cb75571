"""What free(1) prints, of procps 2 to 4 and in its translations, in bytes.

The names of rows and columns are translated (``Mem:``, ``Speicher:``, ``Pamięć:``; procps-ng's po files), their order is not: total, used,
free, shared, then ``buff/cache available`` (since procps 3.3.10), ``buffers cache available`` (-w), or ``buffers cached`` and a row
``-/+ buffers/cache`` before that. The unit is written only with -h.
"""

from __future__ import annotations

from memtriage.record import NamedTuple

_UNITS = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}


class Free(NamedTuple):
    """As printed, in the unit it is printed in; ``None`` where this version does not say."""

    total: float
    free: float
    shared: float
    cached: float
    """Buffers and page cache, with shared memory; since procps 3.3.10 (there printed as ``buff/cache``) reclaimable slab is in it too."""
    slab_in_cached: bool
    available: float | None
    swap_total: float | None
    swap_free: float | None
    plain: bool
    """Plain numbers, whose unit is not written."""


def number(word: str) -> float | None:
    """``15Gi`` -> 16106127360.0, ``1,5G`` in a locale with a decimal comma, ``123`` as it is."""
    digits = word.rstrip("BKMGTPkmgi")
    unit = word[len(digits):].upper().replace("I", "").replace("B", "") if word[len(digits):] not in ("B",) else "B"
    digits = digits.replace(",", ".")
    if digits.count(".") > 1 or not digits.replace(".", "", 1).isdigit() or len(digits) > 20 or unit not in _UNITS:
        return None
    return float(digits) * _UNITS[unit]


def parse(header: bytes, memory: bytes, after: bytes) -> Free | None:
    """``memory`` is the row of memory, ``header`` the line above it, ``after`` the lines below. ``None`` where it is no such row."""
    words = _numbers(memory)
    if words is None or len(words) < 6:
        return None
    values = [number(word) for word in words]
    known = [value for value in values if value is not None]
    if len(known) != len(values) or not known[0] or max(known[1:]) > known[0] * 1.05:
        return None
    lines = after.split(b"\n")[:3]
    old = any(line.lstrip().startswith(b"-/+") for line in lines[:1]) or header.rstrip().lower().endswith(b"cached")
    total, _, free, shared = known[:4]
    if len(known) >= 7:
        cached, available, slab = known[4] + known[5], known[6], True
    elif old:
        cached, available, slab = known[4] + known[5], None, False
    else:
        cached, available, slab = known[4], known[5], True
    below = [_numbers(line) for line in lines if not line.lstrip().startswith(b"-/+")]
    swap = next((row for row in below if row is not None and 3 <= len(row) <= 6), None)
    swapped = [number(word) for word in swap[:3]] if swap is not None else [None, None, None]
    return Free(total, free, shared, cached, slab, available, swapped[0], swapped[2],
                all(word.replace(".", "", 1).isdigit() for word in words))


def _numbers(line: bytes) -> list[str] | None:
    """What stands behind the first colon, if all of it are numbers."""
    text = line.decode("utf-8", "replace").replace("\uff1a", ":")
    label, colon, rest = text.partition(":")
    words = rest.split()
    if not colon or not label.strip() or len(label) > 40 or not words or any(number(word) is None for word in words):
        return None
    return words
