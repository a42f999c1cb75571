"""What grew over a history, since when, beside what: the comparison that an evidence report stands on."""

from __future__ import annotations

from collections.abc import Sequence

from memtriage import diagnosis, exhaustion, wording
from memtriage.record import NamedTuple
from memtriage.report.case import Case, Point
from memtriage.report.verdict import Verdict

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
    """From the first sample of its boot on, up to the moment at which it was judged."""
    why: str = "now"
    """When it was judged, as :class:`memtriage.report.verdict.Verdict` has it."""
    pictured: str = ""
    """By how much it grew in what time, as the picture has it."""

    @property
    def at_onset(self) -> bool:
        """Whether it was seen flat before it grew: for a tenth of the time at least, and in three samples."""
        before = len(self.whole.times) - len(self.since.times)
        return before >= 2 and (self.since.times[0] - self.whole.times[0]) * 10 >= self.whole.times[-1] - self.whole.times[0]


NONE = Suspect("", False, "", Series([], []), Series([], []))


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


def agreed(case: Case, outlook: exhaustion.Outlook) -> Case:
    """The case with the outlook that its picture has: of other samples of the same history it might be another one."""
    row = case.points[-1].sample.values
    return case._replace(answer=case.answer._replace(
        outlook=outlook, growth=diagnosis.growth_lines(outlook, row, case.answer.now.slab.caches)))


def find(case: Case, judged: Verdict | None = None) -> Suspect:
    """The culprit of the picture where it names one; else the proven cause, else what grew most in this boot."""
    page = case.answer.now.page
    points, causes = last_boot(case), case.answer.outlook.causes
    proven, why, pictured = bool(causes), "now", ""
    if judged is not None and judged.key is not None and judged.grew is not None:
        key, proven, why, pictured = judged.key, judged.proven, judged.why, judged.growth
        if why != "now":
            before = [point for point in case.points if point.time <= judged.grew[1] + 0.001]
            points = [point for point in before if point.sample.boot == before[-1].sample.boot]
    elif causes:
        key = causes[0].key
    else:
        keys = {key for point in points for key in point.sample.values if key[:2] in ("c.", "g.", "p.") and key not in _WHOLES}
        grown = {key: _grown(points, key, page) for key in sorted(keys)}
        key = max(grown, key=lambda name: grown[name], default="")
        if not key or grown[key] < LEAST:
            return NONE
    whole = series(points, key, page)
    if not whole.sizes:
        return NONE
    low, high = min(whole.sizes), whole.sizes[-1]
    start = max((place for place, value in enumerate(whole.sizes) if value <= low + ONSET * (high - low)), default=0)
    found = Suspect(key, proven, words(case, key), Series(whole.times[start:], whole.sizes[start:]), whole, why, pictured)
    return found if found.at_onset and len(found.since.times) > 1 else found._replace(since=whole)


def _grown(points: Sequence[Point], key: str, page: int) -> float:
    """Bytes. Of a program its share of what all hold: pages that are shared after a fork are resident in each of its processes."""
    line = series(points, key, page)
    if key[:2] != "g." or len(line.sizes) < 2:
        return line.grown
    first, last = (_divided(point, page) for point in (points[0], points[-1]))
    return line.sizes[-1] * last - line.sizes[0] * first


def _divided(point: Point, page: int) -> float:
    resident = sum(value for key, value in point.sample.values.items() if key.startswith("g.")) * page
    anon = point.sample.values.get("p.anon")
    return min(1.0, anon * 1024 / resident) if resident and anon is not None else 1.0


def words(case: Case, key: str) -> str:
    """As the checks name it, without sizes."""
    name = key[2:]
    if key.startswith("c."):
        known = [cache for cache in case.answer.now.slab.caches if cache.name == name]
        return known[0].words if known else f"slab cache '{wording.clean(name, 40)}'"
    return f"process group '{wording.clean(name, 24)}'" if key.startswith("g.") else diagnosis.WORDS.get(name, name)
