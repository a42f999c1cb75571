"""The stack of a picture: every byte of MemTotal in one band, at each moment, whatever the source of the history could see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memtriage import diagnosis
from memtriage.report.history import Frame
from memtriage.report.picture import Band
from memtriage.wording import clean

GROUPS, CACHES = 3, 3
LEAST = 0.03
"""A band below this share of memory at all times is part of the rest."""
ALWAYS = ("p.page_cache", "p.shmem", "p.unaccounted")
"""Shown where they are known, however small: somebody will ask."""
SLAB = ("p.slab_reclaimable", "p.slab_unreclaimable", "p.slab")
NAMES = {"p.page_cache": "page cache", "p.shmem": "shared memory", "p.free": "free", "p.unaccounted": "no counter explains",
         "rest": "everything else", "o.anon": "other processes", "o.slab": "other slab"}


def words(key: str) -> str:
    """For a legend."""
    name = key[2:]
    if key.startswith("c."):
        return f"slab cache '{clean(name, 32)}'"
    if key.startswith("g."):
        return f"process group '{clean(name, 24)}'"
    return NAMES.get(key) or diagnosis.WORDS.get(name, clean(name, 24))


def split(frame: Frame, page: int, whole: str | None = None) -> dict[str, float]:
    """Every byte of memory at one moment by its holder. Keys of a row, and ``o.anon`` and ``o.slab`` for what is in none of these.

    ``whole``: a part that is not to be divided, since it is itself to blame and nobody in it.
    """
    row = frame.row
    total = row["total"] * 1024.0
    found = {key: value * 1024.0 for key, value in row.items() if key.startswith("p.") and key != "p.anon" and not key.startswith("p.slab")}
    slab = sum(row.get(key, 0) for key in SLAB if key != whole) * 1024.0
    caches = {key: value * float(page) for key, value in row.items() if key.startswith("c.")}
    if whole in SLAB:
        found[whole] = row.get(whole, 0) * 1024.0
        other = whole == "p.slab_unreclaimable"
        caches = {key: value for key, value in caches.items() if key[2:] in frame.caches and frame.caches[key[2:]].reclaimable == other}
    found.update(_within(caches, slab, "o.slab"))
    # A group's own pages where the source tells them from what it shares; else all it has, as far as there is so much.
    groups = {key: frame.anon.get(key[2:], value) * float(page) for key, value in row.items() if key.startswith("g.")}
    anon = row["p.anon"] * 1024.0 if "p.anon" in row else max(0.0, min(sum(groups.values()), total - sum(found.values())))
    if whole == "p.anon":
        found[whole] = anon
    else:
        found.update(_within(groups, anon, "o.anon"))
    found["p.unaccounted"] = max(0.0, found.get("p.unaccounted", 0.0))
    over = sum(found.values()) - total
    if over > 0:  # counters that overlap: what is free is sure, the others give way alike
        used = sum(found.values()) - found.get("p.free", 0.0)
        factor = max(0.0, (used - over) / used) if used else 1.0
        found = {key: value if key == "p.free" else value * factor for key, value in found.items()}
    return found


def _within(parts: dict[str, float], whole: float, rest: str) -> dict[str, float]:
    """``parts`` as shares of ``whole``, scaled down where they count a page twice, and what none of them holds."""
    known = sum(parts.values())
    if known > whole:
        parts = {key: value * whole / known for key, value in parts.items()} if known else {}
        known = whole
    return {**parts, rest: whole - known}


def stack(frames: Sequence[Frame | None], page: int, culprit: str | None) -> list[Band]:
    """The bands, bottom first: the culprit, what else the kernel and programs hold, caches that can be had back, what is free.

    A moment at which the caches or the processes could not be seen has ``None`` in every band, as its column cannot be divided.
    """
    columns = [split(frame, page, culprit) if frame is not None and not _blind(frame, frames) else None for frame in frames]
    known = [column for column in columns if column is not None]
    if not known:
        return []
    totals = [frame.row["total"] * 1024.0 for frame in frames if frame is not None]
    chosen = _chosen(known, max(totals, default=1.0), culprit)
    order = sorted(chosen, key=lambda key: (_place(key, culprit), -max(column.get(key, 0.0) for column in known), key))
    bands = [Band(key, words(key), [column.get(key, 0.0) if column is not None else None for column in columns], key == culprit)
             for key in order]
    rest: list[float | None] = []
    for frame, column in zip(frames, columns):
        rest.append(None if frame is None or column is None
                    else max(0.0, frame.row["total"] * 1024.0 - sum(column.get(key, 0.0) for key in chosen)))
    middle = next((place for place, band in enumerate(bands) if _place(band.key, culprit) > 3), len(bands))
    return [*bands[:middle], Band("rest", NAMES["rest"], rest), *bands[middle:]]


def _blind(frame: Frame, frames: Sequence[Frame | None]) -> bool:
    """Whether this moment lacks what others have. What none could see (slabinfo without root) is part of the rest in all."""
    return any(letter for letter in frame.blind if any(other is not None and letter not in other.blind for other in frames))


def _place(key: str, culprit: str | None) -> int:
    if key == culprit:
        return 0
    return {"p.unaccounted": 4, "p.shmem": 5, "p.page_cache": 6, "p.free": 7, "o.slab": 1, "o.anon": 3, "p.anon": 3}.get(
        key, {"c.": 1, "g.": 3}.get(key[:2], 2))


def _chosen(columns: Sequence[Mapping[str, float]], total: float, culprit: str | None) -> set[str]:
    peaks: dict[str, float] = {}
    lows: dict[str, float] = {}
    for column in columns:
        for key, value in column.items():
            if value > peaks.get(key, -1.0):
                peaks[key] = value
    for key in peaks:
        lows[key] = min(column.get(key, 0.0) for column in columns)
    # What changes counts as much as what is large.
    weight = {key: peak + 2 * (peak - lows[key]) for key, peak in peaks.items()}
    chosen = {key for key in ALWAYS if peaks.get(key, 0.0) > 0.002 * total} | {key for key in ("p.free",) if key in peaks}
    for prefix, most in (("g.", GROUPS), ("c.", CACHES), ("p.", 3), ("o.", 2)):
        fitting = sorted((key for key in peaks if key.startswith(prefix) and peaks[key] >= LEAST * total and key not in chosen),
                         key=lambda key: -weight[key])
        chosen.update(fitting[:most])
    if culprit is not None and culprit in peaks:
        chosen.add(culprit)
    return chosen
