"""How large a page was where a file comes from that does not say it: 4 KiB on most machines, 16 or 64 KiB on some of arm64 and ppc64."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from memtriage.procfs.slabinfo import Cache

USUAL = 4096
SIZES = (4096, 8192, 16384, 65536)
SMALL = 2048
"""Bytes of an object from which on a slab may be left half empty, which says little of its pages."""
LEAST = 5
"""Caches that must tell."""
UNSEEN = 96 * 1024**2
"""Bytes of slab in caches too small to be remembered: 384 of less than 256 KiB."""


def of_slabs(caches: Iterable[Cache]) -> int | None:
    """By the objects in a slab: they fill more than half of its pages, and never more than these.

    ``None`` where fewer than nine in ten of the caches say the same.
    """
    votes = [next((size for size in SIZES if size // 2 < each <= size), 0) for cache in caches if 0 < cache.objsize <= SMALL
             and (each := _filled(cache)) > 0]
    best = max(SIZES, key=votes.count)
    return best if len(votes) >= LEAST and votes.count(best) * 10 >= len(votes) * 9 else None


def _filled(cache: Cache) -> float:
    """Bytes of objects in each page of a slab; 0 where that cannot be told."""
    each = cache.objperslab or (cache.num_objs / cache.num_slabs if cache.num_slabs else 0)  # version 1.1 tells objects and slabs only
    return each * cache.objsize / cache.pagesperslab if cache.pagesperslab else 0.0


def of_sums(rows: Sequence[Mapping[str, int]]) -> int | None:
    """By what the caches (``c.``, pages) are together and what slab is (``p.``, kB): the only size, or the usual one among several, with
    which the first are within the second and nearly all of it. ``None`` where no size is."""
    known = [(pages, slab) for row in rows if (pages := sum(value for key, value in row.items() if key.startswith("c.")))
             and (slab := 1024 * sum(row.get(key, 0) for key in ("p.slab_reclaimable", "p.slab_unreclaimable", "p.slab")))]
    if not known:
        return None
    pages, slab = max(known, key=lambda pair: pair[1])
    fitting = [size for size in SIZES if -0.05 * slab <= slab - pages * size <= UNSEEN + 0.05 * slab]
    return USUAL if USUAL in fitting else fitting[0] if len(fitting) == 1 else None


def note(page: int | None) -> list[str]:
    """What a picture says of it."""
    if page is None:
        return ["pages are taken to be 4 KiB, which is not sure here: slab caches may be larger"]
    return [f"pages are of {page // 1024} KiB, by the slab caches"] if page != USUAL else []
