"""Samples over time -> rates. The trend engine (proof, time to exhaustion) has its place here.

Times are seconds of uptime of one boot, values are any counter; nothing here knows files, states or words.
"""

from __future__ import annotations

from typing import NamedTuple

MIN_SPAN = 60.0
"""Seconds of history below which a rate per hour is noise (or the window, where that is shorter)."""


class Rate(NamedTuple):
    """How much a counter changed over ``span`` seconds."""

    change: int
    span: float

    @property
    def per_hour(self) -> float:
        """Change per hour, in the counter's unit."""
        return self.change * 3600.0 / self.span


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
