"""What earlier runs saw: one file, rewritten by each run, a few points a host. It proves slow growth, and says when growth began.

A check proves a trend only when a third of the headroom is gone, and forgets after a week. Here the size of unreclaimable slab is kept as
at most :data:`POINTS` points a host, thinned as they get old, and the same gates (:func:`memtriage.growth.prove`) are asked about them.
"""

from __future__ import annotations

import json

from memtriage import growth, wholefile
from memtriage.fleet.hosts import OK, Fleet, Host
from memtriage.fleet.trouble import Trouble
from memtriage.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

FORMAT = "memtriage fleet history 1"
POINTS = 32
LEAST = 6
"""Points that prove growth."""
DAY = 86400.0
FORGET = 90 * DAY
"""After so long without a result a host is forgotten."""
LARGEST = 256 << 20
"""Bytes of such a file; 10,000 hosts take about 5 MB."""
RISE = 0.1
"""Share of its first size that slab must have grown by, and :data:`STEP` bytes, before anything is asked."""
STEP = 32 << 20


class Series(NamedTuple):
    """One host: when growth was first seen (seconds since 1970, 0: never), and its points, oldest first; sizes in KiB."""

    since: float
    times: list[float]
    sizes: list[float]


class Past(NamedTuple):
    started: float
    """The first run, seconds since 1970."""
    hosts: dict[str, Series]


def read(path: str, now: float) -> Past:
    """An empty past where there is no such file. Raises :class:`~memtriage.fleet.trouble.Trouble` for one that is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return Past(now, {})
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}") from None
    try:
        if len(data) > LARGEST:
            raise ValueError("too long")
        tree = json.loads(data)
        if tree["format"] != FORMAT:
            raise ValueError("another format")
        return Past(_number(tree["started"]), {name: _series(row) for name, row in tree["hosts"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Trouble(f"{path}: it is no history of memtriage fleet, or damaged; move it away to begin a new one") from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        raise ValueError("no number")
    return value


def _series(row: Any) -> Series:
    since, times, sizes = row
    if len(times) != len(sizes) or len(times) > 2 * POINTS or any(later <= earlier for earlier, later in zip(times, times[1:])):
        raise ValueError("no series")
    return Series(_number(since), [_number(time) for time in times], [_number(size) for size in sizes])


AHEAD = 300.0
"""Seconds that another clock may be ahead. What claims to be of later is not kept: nothing that comes in time would be newer."""


def follow(past: Past, fleet: Fleet) -> Past:
    """Adds this run to the past, and tells the fleet's hosts what the past proves of them (``steady``, ``since``)."""
    hosts: dict[str, Series] = {name: series for name, series in past.hosts.items()
                                if series.times and -AHEAD <= fleet.now - series.times[-1] < FORGET}
    for host in fleet.hosts.values():
        if host.slab is None or host.slab.state != OK:
            continue
        series = _longer(hosts.get(host.name, Series(0, [], [])), host, fleet.now)
        host.steady = _proven(series)
        if host.kernel_grows:
            host.since = series.since or fleet.now
            series = series._replace(since=int(host.since))
        hosts[host.name] = series
    return Past(past.started, hosts)


def _longer(series: Series, host: Host, now: float) -> Series:
    size, at = host.figure("slab_unreclaim", host.slab), round(host.slab.at) if host.slab else 0
    if size is None or at > now + AHEAD or (series.times and at <= series.times[-1]):
        return series
    kib = round(size / 1024)
    if series.sizes and kib < max(series.sizes) / 2:  # a reboot, or the leak was undone: what comes is another story
        series = Series(0, [], [])
    times, sizes = [*series.times, at], [*series.sizes, kib]
    if len(times) > POINTS:  # every other point but the last few, which are the dense ones
        keep = [place for place in range(len(times)) if place % 2 == 0 or place >= len(times) - POINTS // 4]
        times, sizes = [times[place] for place in keep], [sizes[place] for place in keep]
    return Series(series.since, times, sizes)


def _proven(series: Series) -> bool:
    times, sizes = series.times, series.sizes
    if len(times) < LEAST or times[-1] - times[0] < DAY:
        return False
    change = sizes[-1] - sizes[0]
    if change < max(RISE * sizes[0], STEP / 1024):
        return False
    # It must not be about to level off before it has grown by as much again.
    return isinstance(growth.prove(times, sizes, change, LEAST), growth.Trend)


def write(path: str, past: Past) -> None:
    """Replaces the file in one step. Raises :class:`~memtriage.fleet.trouble.Trouble`."""
    tree = {"format": FORMAT, "started": past.started, "hosts": past.hosts}
    try:
        wholefile.write(path, json.dumps(tree, separators=(",", ":")).encode("ascii"), 0o600)
    except OSError as error:
        raise Trouble(f"{path}: the history cannot be written: {error.strerror}") from None
