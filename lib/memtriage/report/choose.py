"""Which moments of a long history are shown: as many as a picture has columns, and every peak and trough among them."""

from __future__ import annotations

from collections.abc import Sequence

COLUMNS = 270
"""Stretches of time, each of which gives its first and last moment and its extremes: a column is four pixels wide."""

NEAR = 8
"""What lies in the first eighth of a stretch is its beginning: half a pixel."""


def places(times: Sequence[float], series: Sequence[Sequence[int]], always: Sequence[int] = (), costs: Sequence[int] = (),
           columns: int = COLUMNS) -> list[int]:
    """The places to show, ascending: of each stretch one at its beginning, and where each of ``series`` is lowest and highest.

    In ``series`` -1 stands for what is not known.

    ``always`` are kept in any case: either side of a gap, what stands at an event. ``times`` ascend. Where ``costs`` says that one of the
    first places of a stretch costs nothing (0) it is taken for its beginning.
    """
    count = len(times)
    if count <= 3 * columns:
        return list(range(count))
    start, width = times[0], (times[-1] - times[0]) / columns or 1.0
    found = {0, count - 1, *always}
    place = 0
    for column in range(columns):
        end = start + (column + 1) * width
        stop = _reach(times, end, place) if column < columns - 1 else count
        if stop > place:
            cheap = range(place, min(place + (stop - place) // NEAR, len(costs)))
            found.add(next((at for at in cheap if not costs[at]), place))
            for values in series:
                part = values[place:stop]
                least = min(part)
                if least < 0:  # not known somewhere: look at the others
                    known = [at for at in range(place, stop) if values[at] >= 0]
                    if known:
                        found.update((min(known, key=values.__getitem__), max(known, key=values.__getitem__)))
                    continue
                found.update((place + part.index(least), place + part.index(max(part))))
        place = stop
    return sorted(found)


def _reach(times: Sequence[float], end: float, low: int) -> int:
    """The first place from ``low`` on whose time is ``end`` or later."""
    high = len(times)
    while low < high:
        middle = (low + high) // 2
        if times[middle] < end:
            low = middle + 1
        else:
            high = middle
    return low
