"""Figures of our own checks' perfdata, as Icinga 2 keeps it: a list of ``label=value[unit];warn;crit;min;max``."""

from __future__ import annotations

import re

from memtriage.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

WANTED = frozenset(("eta", "growth_per_hour", "slab_total", "slab_unreclaim", "pinned", "available", "available_pct", "total"))
CACHES = 16
"""Caches taken of one result; check_slab_growth prints five."""
_ITEM = re.compile(r"([a-z0-9_]{1,40})=(-?[0-9]{1,18}(?:\.[0-9]{1,9})?)(?:B|s|%|)(?:;.*)?", re.DOTALL)


class Figures(NamedTuple):
    """What one result says. Bytes, bytes an hour, seconds."""

    values: dict[str, float]
    """Of :data:`WANTED`, those that are there."""
    sizes: dict[str, int]
    """By cache: ``s_NAME``."""
    growth: dict[str, int]
    """By cache, signed: ``g_NAME``, in bytes an hour."""
    odd: int
    """Items that are none of ours: nan, inf, other units, no number; below 0 where only growth may be."""


def parse(items: Any) -> Figures:
    """Whatever the API holds: a list of strings, of other things (they count as odd), or nothing."""
    values: dict[str, float] = {}
    sizes: dict[str, int] = {}
    growth: dict[str, int] = {}
    odd = 0
    for item in items if isinstance(items, list) else ():
        found = _ITEM.fullmatch(item) if isinstance(item, str) else None
        if found is None or (found.group(2)[0] == "-" and not found.group(1).startswith("g")):
            odd += 1
            continue
        label, text = found.group(1), found.group(2)
        if label in WANTED:
            values[label] = float(text)
        elif label.startswith("s_") and len(sizes) < CACHES:
            sizes[label[2:]] = int(float(text))
        elif label.startswith("g_") and len(growth) < CACHES:
            growth[label[2:]] = int(float(text))
    return Figures(values, sizes, growth, odd)
