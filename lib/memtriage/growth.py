"""Samples over time -> rates and trends: how fast something grows, and whether that is proven.

Times are seconds of uptime of one boot, values any counter; nothing here knows files, states or words. A trend is Theil-Sen's: the median
of the slopes between all pairs of points, with the interval that Kendall's statistic gives it (Sen 1968), ties corrected. A slope alone
proves nothing, so :func:`prove` has gates: what each keeps out stands at the gate.
"""

from __future__ import annotations

from bisect import bisect_left
from math import exp, log, sqrt

from memtriage.record import NamedTuple

MIN_SPAN = 60.0
"""Seconds of history below which a rate per hour is noise (or the window, where that is shorter)."""
REACH = 2.0
"""How many times the observed span may be extrapolated. With 2 no alarm comes before a third of the headroom has been eaten."""
BINS = 24
"""Points that a span is reduced to, each a median: bounds the cost (276 pairs) and outvotes single outliers."""
CONCORDANT = 0.6
"""Kendall's tau below this is no steady growth: days that go up and down, bursts."""
EVERY_THIRD = 0.2
"""Each third of the span must grow by this share of the mean rate: a step, or growth that began or ended within the span, does not."""
_Z = 1.96


class Rate(NamedTuple):
    """How much a counter changed over ``span`` seconds."""

    change: int
    span: float

    @property
    def per_hour(self) -> float:
        """Change per hour, in the counter's unit."""
        return self.change * 3600.0 / self.span


class Trend(NamedTuple):
    """Growth per second with its 95 % interval, over ``span`` seconds and ``points`` medians of samples."""

    slope: float
    low: float
    high: float
    span: float
    points: int
    change: float
    """Growth over the span, between medians at its ends."""
    tau: float
    """Kendall's tau: 1 where every later point is higher."""


class Unproven(NamedTuple):
    """Why growth is no proven trend, in words that fit after "because"."""

    reason: str


def baseline(times: list[float], window: float) -> int | None:
    """Index of the sample to compare the last one with: the latest that is at least ``window`` old, else the oldest; ``None`` alone."""
    if len(times) < 2:
        return None
    old = [index for index, time in enumerate(times[:-1]) if times[-1] - time >= window]
    return old[-1] if old else 0


def rate(before: int, now: int, span: float) -> Rate | None:
    """The change between two readings, ``None`` where no time has passed."""
    return Rate(now - before, span) if span > 0 else None


def judged(span: float, window: float) -> bool:
    """Whether ``span`` seconds carry a rate per hour."""
    return span >= min(MIN_SPAN, window)


def spans(times: list[float], window: float) -> list[float]:
    """The spans to look for a trend in, longest first: all of the history, then shorter by the square root of 2, down to a quarter window.

    One length would be wrong for nearly every leak: too long, and the quiet days before drown it; too short, and it is noise.
    """
    span = times[-1] - times[0] if times else 0.0
    found = []
    while span >= window / 4:
        found.append(span)
        span /= sqrt(2)
    return found


def cut(times: list[float], span: float) -> int:
    """Index of the first sample within the last ``span`` seconds."""
    return bisect_left(times, times[-1] - span - 1e-6)


def binned(times: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """Medians of at most :data:`BINS` equal stretches of time; a stretch without a sample (a gap) gives no point."""
    if len(times) <= BINS:
        return times, values
    start, width = times[0], (times[-1] - times[0]) / BINS
    points: list[list[int]] = [[] for _ in range(BINS)]
    for place, time in enumerate(times):
        points[min(BINS - 1, int((time - start) / width))].append(place)
    full = [found for found in points if found]
    middles = [sum(times[place] for place in found) / len(found) for found in full]
    return middles, [_median([values[place] for place in found]) for found in full]


def ends(values: list[float]) -> tuple[float, float]:
    """Medians of the first and of the last three values: the level at either end without a single outlier's weight."""
    return _median(values[:3]), _median(values[-3:])


def prove(times: list[float], values: list[float], headroom: float, least: int, peak: float | None = None) -> Trend | Unproven:
    """The trend of one series, or which gate it does not pass.

    ``headroom`` is what is left for it to grow into, ``least`` how many points make a trend, ``peak`` the highest value of the same
    boot before these samples.
    """
    times, values = binned(times, values)
    count = len(times)
    if count < max(3, least):
        return Unproven("too few samples")
    first, last = ends(values)
    span = times[-1] - times[0]
    change = last - first
    if change <= 0 or span <= 0:
        return Unproven("it does not grow")
    if peak is not None and last < peak + 0.1 * change:
        return Unproven("it held as much before and gave it back")  # days up and down, deploys, a cache that fills again
    thirds = _thirds(times, values)
    if min(thirds) < EVERY_THIRD * change / span:
        return Unproven("it does not grow all the time")  # a step, a burst, growth that has stopped
    if _left(thirds, span) < headroom:
        return Unproven("it slows down and would level off")  # after a start or a deploy
    trend = theil_sen(times, values)
    if trend.tau < CONCORDANT:
        return Unproven("it goes up and down")
    if trend.low <= 0:
        return Unproven("it may as well not grow")  # few steps among many equal values: the median of the slopes is no proof
    return trend._replace(change=change)


def theil_sen(times: list[float], values: list[float]) -> Trend:
    """Slope, interval and Kendall's tau of two or more points with different times."""
    count = len(times)
    slopes: list[float] = []
    statistic = 0
    for place in range(count - 1):
        time, value = times[place], values[place]
        for later in range(place + 1, count):
            slopes.append((values[later] - value) / (times[later] - time))
    slopes.sort()
    statistic = len(slopes) - bisect_left(slopes, 1e-300) - bisect_left(slopes, 0.0)
    ties: dict[float, int] = {}
    for value in values:
        ties[value] = ties.get(value, 0) + 1
    variance = count * (count - 1) * (2 * count + 5) - sum(same * (same - 1) * (2 * same + 5) for same in ties.values())
    wide = _Z * sqrt(variance / 18)
    low = slopes[max(0, int((len(slopes) - wide) / 2))]
    high = slopes[min(len(slopes) - 1, int((len(slopes) + wide) / 2) + 1)]
    return Trend(_median(slopes, ordered=True), low, high, times[-1] - times[0], count, 0.0, statistic / len(slopes))


def _thirds(times: list[float], values: list[float]) -> list[float]:
    """Mean growth per second in each third of the points."""
    last = len(times) - 1
    places = [0, round(last / 3), round(2 * last / 3), last]
    # Three points around each place, at the ends within the series.
    rows = [range(max(0, min(last - 2, place - 1)), max(0, min(last - 2, place - 1)) + 3) for place in places]
    levels = [(_median([times[at] for at in row if at <= last]), _median([values[at] for at in row if at <= last])) for row in rows]
    return [(after[1] - before[1]) / max(1e-9, after[0] - before[0]) for before, after in zip(levels, levels[1:])]


def _left(thirds: list[float], span: float) -> float:
    """How much growth is still to come if it goes on slowing down as it does: of an exponential with the rates of first and last third."""
    first, _, last = thirds
    if last >= first:
        return float("inf")
    time = span * 2 / 3 / log(first / last)
    return last * exp(-span / 6 / time) * time


def _median(values: list[float], ordered: bool = False) -> float:
    if not ordered:
        values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
