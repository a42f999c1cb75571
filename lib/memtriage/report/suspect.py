"""What grew over a history, since when, beside what: the comparison that an evidence report stands on."""

from __future__ import annotations

from collections.abc import Sequence

from memtriage import diagnosis, wording
from memtriage.record import NamedTuple
from memtriage.report.case import Case, Point

LEAST = 1024 * 1024
"""Bytes of growth below which nothing is a suspect."""
ONSET = 0.02
"""Share of the rise that still counts as flat: growth begins behind the last sample this low."""
_WHOLES = ("p.anon", "p.slab_reclaimable", "p.slab_unreclaimable", "p.slab", "p.free", "p.page_cache")
"""Parts that are made of programs or caches, or are given back when needed."""


class Series(NamedTuple):
    """One counter over the points of a boot, bytes."""

    times: list[float]
    sizes: list[float]

    @property
    def grown(self) -> float:
        return self.sizes[-1] - self.sizes[0] if self.sizes else 0.0

    @property
    def per_hour(self) -> float:
        span = self.times[-1] - self.times[0] if self.times else 0.0
        return 3600 * self.grown / span if span > 0 else 0.0


class Suspect(NamedTuple):
    """``key`` as in a history; empty where nothing grew."""

    key: str
    proven: bool
    """By the rules of the checks; otherwise it is what grew most."""
    words: str
    since: Series
    """From the onset of the growth on."""
    whole: Series
    """From the first sample of this boot on."""

    @property
    def at_onset(self) -> bool:
        """Whether it was seen flat before it grew: for a tenth of the time at least, and in three samples."""
        before = len(self.whole.times) - len(self.since.times)
        return before >= 2 and (self.since.times[0] - self.whole.times[0]) * 10 >= self.whole.times[-1] - self.whole.times[0]


def size(point: Point, key: str, page: int) -> float | None:
    """Bytes. A cache or program below what is remembered counts as nothing, a part that is not there as unknown."""
    value = point.sample.values.get(key)
    if key[:2] in ("c.", "g."):
        return float((value or 0) * page)
    return None if value is None else value * 1024.0


def series(points: Sequence[Point], key: str, page: int) -> Series:
    """Where it is known."""
    known = [(point.time, value) for point in points if (value := size(point, key, page)) is not None]
    return Series([time for time, _ in known], [value for _, value in known])


def last_boot(case: Case) -> list[Point]:
    """The points of the newest boot."""
    return [point for point in case.points if point.sample.boot == case.points[-1].sample.boot]


def find(case: Case) -> Suspect:
    """The proven cause, else what grew most in this boot."""
    points, page = last_boot(case) if case.points else [], case.answer.now.page
    causes = case.answer.outlook.causes
    if causes:
        key = causes[0].key
    else:
        keys = {key for point in points for key in point.sample.values if key[:2] in ("c.", "g.", "p.") and key not in _WHOLES}
        grown = {key: series(points, key, page).grown for key in sorted(keys)}
        key = max(grown, key=lambda name: grown[name], default="")
        if not key or grown[key] < LEAST:
            return Suspect("", False, "", Series([], []), Series([], []))
    whole = series(points, key, page)
    low, high = min(whole.sizes), whole.sizes[-1]
    start = max((place for place, value in enumerate(whole.sizes) if value <= low + ONSET * (high - low)), default=0)
    found = Suspect(key, bool(causes), words(case, key), Series(whole.times[start:], whole.sizes[start:]), whole)
    return found if found.at_onset and len(found.since.times) > 1 else found._replace(since=whole)


def words(case: Case, key: str) -> str:
    """As the checks name it, without sizes."""
    name = key[2:]
    if key.startswith("c."):
        known = [cache for cache in case.answer.now.slab.caches if cache.name == name]
        return known[0].words if known else f"slab cache '{wording.clean(name, 40)}'"
    return f"process group '{wording.clean(name, 24)}'" if key.startswith("g.") else diagnosis.WORDS.get(name, name)
