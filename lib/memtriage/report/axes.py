"""The parts of a drawn picture: time, ceiling, what is available, gaps, the cone, marks, and the panels below."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from typing import Any

from dateutil import tz
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from memtriage.report.picture import Mark, Picture
from memtriage.wording import duration, durations, size

INK, LINE, ALARM = "#1d2733", "#0b2a4a", "#8a4b00"
AHEAD = 0.45
"""The future takes this share of the past at most."""
UNITS = ((1024.0**4, "TiB"), (1024.0**3, "GiB"), (1024.0**2, "MiB"), (1024.0, "KiB"))


def moments(times: Sequence[float]) -> list[float]:
    """Seconds since 1970 as matplotlib's days."""
    return [time / 86400.0 for time in times]


def widened(picture: Picture) -> Picture:
    """With a moment between two gaps, or the only one there is, as a narrow bar: alone it would have no width."""
    known = [value is not None for value in [None, *picture.total, None]]
    lone = [at for at in range(len(picture.times)) if known[at + 1] and not known[at] and not known[at + 2]]
    half = (picture.times[-1] - picture.times[0]) / 400 or 2.0
    found: list[tuple[int, float]] = []
    for at, time in enumerate(picture.times):
        around = [abs(time - other) * 0.9 for other in picture.times[max(0, at - 1) : at + 2] if other != time] if at in lone else []
        step = min([half, *around])
        found += [(at, time - step), (at, time), (at, time + step)] if at in lone else [(at, time)]

    def each(values: list[float | None]) -> list[float | None]:
        return [values[at] for at, _ in found]

    return picture._replace(
        times=[time for _, time in found], bands=[band._replace(values=each(band.values)) for band in picture.bands],
        total=each(picture.total), available=each(picture.available), swap_used=each(picture.swap_used), psi_some=each(picture.psi_some),
        psi_full=each(picture.psi_full)) if lone else picture


def limits(picture: Picture) -> tuple[float, float]:
    """First and last moment of the picture, with as much of the projection as is worth its room."""
    first, last = picture.times[0], picture.times[-1]
    span = max(last - first, 1.0)
    if picture.cone is not None:
        end = picture.cone.high if picture.cone.high is not None else picture.cone.middle
        last = max(last + 0.12 * span, min(end + 0.02 * span, last + AHEAD * span))
    return first, last if last > first else first + span


def prepare(axis: Any, picture: Picture) -> None:
    first, last = limits(picture)
    axis.set_xlim(*moments([first, last]))
    axis.set_ylim(0, _total(picture))
    for side in ("right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["top"].set_visible(False)


def _total(picture: Picture) -> float:
    return max((value for value in picture.total if value), default=1.0)


def ceiling(axis: Any, picture: Picture, points: float) -> None:
    """MemTotal: nothing goes beyond. A ceiling that moved (hot-plugged memory) is a line with steps."""
    total = [value if value is not None else math.nan for value in picture.total]
    axis.plot(moments(picture.times), total, color=INK, linewidth=4, zorder=6, clip_on=False, solid_capstyle="butt")
    most = _total(picture)
    last = limits(picture)[1]
    if last > picture.times[-1]:
        axis.plot(moments([picture.times[-1], last]), [next(value for value in picture.total[::-1] if value)] * 2, color=INK, linewidth=2,
                  linestyle=(0, (4, 2)), zorder=6, clip_on=False)
    factor, unit = next(((factor, unit) for factor, unit in UNITS if most >= factor), (1.0, "B"))
    step = _step(most / factor) * factor
    ticks = [step * at for at in range(int(most / step) + 1) if step * at < 0.93 * most]
    axis.set_yticks([*ticks, most])
    axis.set_yticklabels([*(f"{tick / factor:g}" for tick in ticks), size(most) if most % factor else f"{most / factor:g} {unit}"])
    axis.tick_params(axis="y", labelsize=points - 2, length=0, pad=4)
    axis.grid(axis="y", color="white", linewidth=0.7, alpha=0.5, zorder=3)


def _step(most: float) -> float:
    """A round distance of about five ticks."""
    steps = (0.1, 0.2, 0.25, 0.5, 1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256)
    return next((step for step in steps if most / step <= 5.5), 512.0)


def available(axis: Any, picture: Picture) -> None:
    """What is above the line can still be had: it meets the ceiling when memory is gone."""
    level = [total - left if total is not None and left is not None else math.nan for total, left in zip(picture.total, picture.available)]
    for colour, width in (("white", 5.0), (LINE, 2.4)):
        axis.plot(moments(picture.times), level, color=colour, linewidth=width, zorder=5, solid_joinstyle="round")


def gaps(every: Sequence[Any], picture: Picture, points: float) -> None:
    """A time without samples is empty but for its name."""
    first, last = limits(picture)
    for place, total in enumerate(picture.total):
        if total is not None or not 0 < place < len(picture.times) - 1:
            continue
        start, end = picture.times[place - 1], picture.times[place + 1]
        for axis in every:
            axis.axvspan(*moments([start, end]), facecolor="white", linewidth=0, zorder=1)
        if end - start > 0.03 * (last - first):
            every[0].text((start + end) / 2 / 86400, _total(picture) * 0.5, f"no samples for {duration(end - start)}", rotation=90,
                          ha="center", va="center", fontsize=points, color="#5a6672", zorder=4)


def cone(axis: Any, picture: Picture, points: float, colour: str) -> None:
    """From what is available now to its earliest and its latest end."""
    found = picture.cone
    if found is None:
        return
    total = next((value for value in picture.total[::-1] if value), 1.0)
    start = max(0.0, total - found.available)
    _, last = limits(picture)
    far = found.start + 50 * (last - found.start)
    high = min(far, found.high) if found.high is not None else far
    axis.fill(moments([found.start, found.low, high]), [start, total, total], facecolor=colour, alpha=0.22, zorder=4, linewidth=0)
    axis.plot(moments([found.start, found.middle]), [start, total], color=colour, linewidth=2.5, linestyle=(0, (3, 1.5)), zorder=5)
    for end in (found.low, high):
        axis.plot(moments([found.start, end]), [start, total], color=colour, linewidth=1.0, zorder=5)


def merged(found: Sequence[Mark], span: tuple[float, float]) -> list[Mark]:
    """Marks of a kind that stand within two hundredths of the picture become one that counts them."""
    near = (span[1] - span[0]) / 50
    groups: list[list[Mark]] = []
    for mark in sorted(found):
        last = next((group for group in groups[::-1] if group[0].kind == mark.kind), None)
        if last is not None and mark.at - last[0].at <= near:
            last.append(mark)
        else:
            groups.append([mark])
    names = {"oom": "OOM kills", "boot": "reboots", "alarm": "alarms", "recorder": "starts of the recorder"}
    return [group[0] if len(group) == 1 else Mark(group[0].at, group[0].kind, f"{len(group)} {names.get(group[0].kind, 'events')}")
            for group in groups]


def marks(every: Sequence[Any], found: Sequence[Mark], lanes: Sequence[Any], points: float) -> None:
    """A line through all panels, and its words above the ceiling where ``lanes`` has a row for them."""
    look = {"oom": (INK, "solid", 2.4), "alarm": (ALARM, (0, (5, 2)), 2.2), "boot": (INK, (0, (1, 1.5)), 2.2), "recorder": ("#5a6672",
            (0, (1, 3)), 1.4)}
    axis = every[0]
    height = axis.get_window_extent().height / axis.figure.dpi
    for mark, lane in zip(found, lanes):
        colour, style, width = look.get(mark.kind, look["recorder"])
        at = mark.at / 86400
        for panel in every:
            panel.axvline(at, color="white", linewidth=width + 2, zorder=6.5, alpha=0.8)
            panel.axvline(at, color=colour, linewidth=width, linestyle=style, zorder=7)
        if lane is None:
            continue
        level = 1 + (0.06 + 0.3 * lane.row) / height
        axis.plot([at, at], [1, level + 0.01], transform=axis.get_xaxis_transform(), color=colour, linewidth=width, clip_on=False, zorder=7)
        axis.text(at, level, f"{mark.words} " if lane.left else f" {mark.words}", transform=axis.get_xaxis_transform(), fontsize=points,
                  ha="right" if lane.left else "left", va="bottom", color=colour, fontweight="bold", zorder=8,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})


def said(axis: Any, picture: Picture, marks: Sequence[Mark], points: float) -> tuple[list[Any], list[Any]]:
    """The names of the line and of the cone; returns boxes other words must not meet: these and the line; then marks, gaps."""
    renderer = axis.figure.canvas.get_renderer()
    known = [(time / 86400, total - left) for total, left, time in zip(picture.total, picture.available, picture.times)
             if total is not None and left is not None]
    line = [Bbox([[x - 3, y - 5], [x + 3, y + 5]]) for x, y in _path(axis.transData.transform(_thinned(known, 240)))] if known else []
    low, high = axis.get_ylim()[0], axis.get_window_extent(renderer)
    walls = [Bbox([[x - 3, high.y0], [x + 3, high.y1]]) for x, _ in axis.transData.transform([(mark.at / 86400, low) for mark in marks])] \
        if marks else []
    holes = [(picture.times[at - 1] / 86400, picture.times[at + 1] / 86400) for at in range(1, len(picture.times) - 1)
             if picture.total[at] is None]
    for start, stop in holes:
        left, right = (axis.transData.transform((edge, low))[0] for edge in (start, stop))
        walls.append(Bbox([[left, high.y0], [right, high.y1]]))
    boxes: list[Any] = line[:]
    if picture.cone is not None:
        found = picture.cone
        until = f"gone in {duration(found.middle - found.start)}"
        low_s = max(0.0, found.low - found.start)
        between = f"{duration(low_s)} to open" if found.high is None else durations(low_s, found.high - found.start)
        spread = f"\n({between})" if " to " in between else ""
        text = axis.text(limits(picture)[1] / 86400, _total(picture) * 0.03, until + spread, fontsize=points, fontweight="bold",
                         linespacing=1.3, ha="right", va="bottom", zorder=8, color=INK,
                         bbox={"facecolor": "white", "edgecolor": "none", "pad": 2, "alpha": 0.8})
        boxes.append(text.get_window_extent(renderer))
    if known:
        text = axis.text(0, 0, "available: above this line", fontsize=points, color=LINE, ha="left", va="bottom", zorder=8,
                         fontweight="bold")
        size = text.get_window_extent(renderer)
        spots = list(_path(axis.transData.transform(_thinned(known, 60))))
        best = None
        end = spots[-1][0]
        for x, y in spots:
            over = max((box.y1 for box in line if x - 4 <= box.x1 and box.x0 <= x + size.width + 8), default=y)
            here = Bbox.from_bounds(x + 4, over + 2, size.width, size.height)
            if here.x1 > end or here.y1 > high.y1 - 2 or any(here.overlaps(box) for box in (*boxes, *walls)):
                continue
            if best is None or over - y < best[0] - 1:
                best = (over - y, here)
        if best is None:
            text.remove()
        else:
            text.set_position(axis.transData.inverted().transform((best[1].x0, best[1].y0)))
            boxes.append(best[1])
    return boxes, walls


def _thinned(pairs: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """About so many of them, the first among them and the last."""
    step = max(1, len(pairs) // most)
    return [*pairs[:-1:step], pairs[-1]]


def _path(spots: Any) -> Iterator[tuple[float, float]]:
    """Points in pixels, and between two that lie apart some more: a line's path."""
    for (x, y), (later, other) in zip(spots, spots[1:]):
        parts = max(1, int(max(later - x, abs(other - y)) / 6))
        yield from ((x + (later - x) * at / parts, y + (other - y) * at / parts) for at in range(parts))
    yield spots[-1][0], spots[-1][1]


def pressure(axis: Any, picture: Picture, points: float) -> None:
    _panel(axis, picture, "some wait for memory, % of time", points, [(picture.psi_some, "#9aabba"), (picture.psi_full, INK)], 100.0, 5.0)
    if any(value for value in picture.psi_full if value):
        axis.texts[0].set_text("waiting for memory, % of time: some, all (dark)")


def swap(axis: Any, picture: Picture, points: float) -> None:
    most = max((value for value in picture.swap_used if value), default=1.0)
    _panel(axis, picture, "swap used", points, [(picture.swap_used, "#9aabba")], math.inf, 1.0)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value) if value else "0"))
    axis.set_yticks([0, most])


def _panel(axis: Any, picture: Picture, words: str, points: float, series: list[tuple[list[float | None], str]], most: float,
           least: float) -> None:
    when = moments(picture.times)
    top = min(most, max(least, 1.25 * max((value for values, _ in series for value in values if value is not None), default=0.0)))
    for values, colour in series:
        axis.fill_between(when, [0.0] * len(when), [math.nan if value is None else value for value in values], facecolor=colour,
                          linewidth=0, zorder=3)
    axis.set_ylim(0, top)
    digit = 10 ** math.floor(math.log10(top))
    axis.set_yticks([0, math.floor(top / digit) * digit])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.tick_params(axis="y", labelsize=points - 2, length=0, pad=4)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.text(0.004, 0.93, words, transform=axis.transAxes, fontsize=points - 2, va="top", zorder=8,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.75})


def times(every: Sequence[Any], picture: Picture, points: float) -> None:
    """Local time of whoever draws it, with its zone."""
    zone = tz.tzlocal()  # with its summer time, if the history is long enough to see it change
    axis = every[-1]
    locator = AutoDateLocator(tz=zone, minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(locator)
    formats, zeros = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"], ["", "%Y", "%b", "%d %b", "%H:%M", "%H:%M"]
    formatter = ConciseDateFormatter(locator, tz=zone, show_offset=False, formats=formats, zero_formats=zeros)  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_formatter(formatter)
    axis.tick_params(axis="x", labelsize=points, length=5, width=1.2)
    low, high = axis.get_xlim()
    for at, label in zip(axis.get_xticks(), axis.get_xticklabels()):
        if at > high - 0.03 * (high - low):  # else half of it is beyond the picture's edge
            label.set_ha("right")
    for other in every[:-1]:
        other.tick_params(axis="x", labelbottom=False, length=0)
    first, last = (datetime.datetime.fromtimestamp(moment, zone) for moment in (picture.times[0], picture.times[-1]))
    same = first.date() == last.date()
    words = f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}" if same else f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
    axis.figure.text(0.985, 0.008, f"{words} {last.tzname()}", ha="right", va="bottom", fontsize=points - 2, color="#4a5662")
