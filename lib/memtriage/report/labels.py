"""Words on a drawn picture: where they fit, and what is left over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.transforms import Bbox

from memtriage.record import NamedTuple
from memtriage.report.axes import moments
from memtriage.report.picture import Band, Mark, Picture


def width(figure: Any, words: str, points: float, bold: bool = False) -> float:
    """Inches."""
    text = figure.text(0, 0, words, fontsize=points, fontweight="bold" if bold else "normal")
    found = text.get_window_extent(figure.canvas.get_renderer()).width / figure.dpi
    text.remove()
    return float(found)


def wrapped(figure: Any, words: str, points: float, inches: float, bold: bool) -> list[str]:
    """The words in lines of at most so many inches; of a word that is longer its beginning."""
    lines: list[str] = []
    for whole in words.split(" "):
        word = whole
        while len(word) > 3 and width(figure, word, points, bold) > inches:
            word = word[: len(word) * 9 // 10 - 2].rstrip("\\") + ".."
        if lines and width(figure, f"{lines[-1]} {word}", points, bold) <= inches:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


class Lane(NamedTuple):
    """Where a mark's words stand: in which row above the picture, and whether to the left of their line."""

    row: int
    left: bool


def lanes(figure: Any, marks: Sequence[Mark], span: tuple[float, float], points: float) -> list[Lane | None]:
    """A place for each mark's words such that none meets another or, if that can be, another's line; ``None``: no room in three rows."""
    room = 0.89 * figure.get_figwidth()
    taken: list[tuple[int, float, float, float]] = []
    """Row, left and right edge, and where the line is: it runs from the picture up to the row."""
    order = sorted(range(len(marks)), key=lambda at: ({"oom": 0, "alarm": 1, "boot": 2}.get(marks[at].kind, 3), marks[at].at))
    found: list[Lane | None] = [None] * len(marks)
    for at, strict in [*((at, True) for at in order), *((at, False) for at in order)]:
        if found[at] is not None:
            continue
        place = (marks[at].at - span[0]) / (span[1] - span[0]) * room
        wide = width(figure, f" {marks[at].words} ", points, True)
        for row in range(3):
            for left in (True, False) if place > 0.6 * room else (False, True):
                begin = place - wide if left else place
                if begin < -0.6 or begin + wide > room + 0.1:
                    continue
                free = all(not (row == other and begin < right and begin + wide > start)
                           and not (strict and row < other and begin - 0.05 < line < begin + wide + 0.05)
                           and not (strict and row > other and start - 0.05 < place < right + 0.05) for other, start, right, line in taken)
                if free and found[at] is None:
                    found[at] = Lane(row, left)
                    taken.append((row, begin, begin + wide, place))
    return found


def bands(axis: Any, picture: Picture, colours: dict[str, tuple[str, str]], boxes: list[Any], walls: list[Any], points: float,
          strong: str) -> list[Band]:
    """Names each band where it is thick enough, along its slope if need be; the culprit always. Returns those that have no name yet."""
    left = []
    edges = _edges(axis, picture)
    most = {band.key: max((value for value in band.values if value is not None), default=0.0) for band in picture.bands}
    for band in sorted(picture.bands, key=lambda band: (not band.culprit, -most[band.key])):
        if most[band.key] <= 0:
            continue
        lower, upper = edges[band.key]
        lines = [band.words]
        if band.culprit:
            lower, upper = _of_its_boot(picture, lower), _of_its_boot(picture, upper)
            lines = [band.words, picture.growth] if picture.growth else [band.words]
        look = colours[band.key][0]
        if not (_name(axis, picture, lines, lower, upper, boxes, walls, points, band, look)
                or _name(axis, picture, lines, lower, upper, boxes, [], points, band, look)):
            if band.culprit:
                _point_at(axis, picture, "\n".join(lines), lower, upper, boxes, points, strong)
            else:
                left.append(band)
    return [band for band in picture.bands if band in left]


def _of_its_boot(picture: Picture, edge: list[float]) -> list[float]:
    """An edge as far as it is of the boot in which the culprit grew as it says: before or after that it grew by something else."""
    if picture.grew is None:
        return edge
    boots = [mark.at for mark in picture.marks if mark.kind == "boot"]
    start = max((at for at in boots if at <= picture.grew[1]), default=-math.inf)
    end = min((at for at in boots if at > picture.grew[1]), default=math.inf)
    return [value if start <= at < end else math.nan for at, value in zip(picture.times, edge)]


def _edges(axis: Any, picture: Picture) -> dict[str, tuple[list[float], list[float]]]:
    """Lower and upper edge of each band in pixels."""
    scale, base = axis.transData.transform((0, 1))[1] - axis.transData.transform((0, 0))[1], axis.transData.transform((0, 0))[1]
    floor = [0.0] * len(picture.times)
    found = {}
    for band in picture.bands:
        upper = [low + value if value is not None else math.nan for low, value in zip(floor, band.values)]
        found[band.key] = ([base + scale * low for low in floor], [base + scale * high for high in upper])
        floor = upper
    return found


def _name(axis: Any, picture: Picture, lines: list[str], lower: list[float], upper: list[float], boxes: list[Any], walls: list[Any],
          points: float, band: Band, colour: str) -> bool:
    """Tries the whole words, then smaller letters; ``False`` where neither fits beside other words (``boxes``) and lines (``walls``)."""
    across = [axis.transData.transform((time, 0))[0] for time in moments(picture.times)]
    renderer = axis.figure.canvas.get_renderer()
    dark = _lightness(colour) < 0.5
    for size in ((points + 3, points, points - 2.5) if band.culprit else (points, points - 2, points - 3.5)):
        for words in dict.fromkeys(("\n".join(lines), ", ".join(lines))):
            text = axis.text(0, 0, words, fontsize=size, ha="center", va="center", zorder=8, color="white" if dark else "#1d2733",
                             fontweight="bold" if band.culprit else "normal", rotation_mode="anchor",
                             bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5})
            box = text.get_window_extent(renderer)
            spot = _spot(across, lower, upper, box.width + 10, box.height + 2, [*boxes, *walls])
            if spot is not None:
                text.set_position(axis.transData.inverted().transform(spot[:2]))
                text.set_rotation(spot[2])
                boxes.append(text.get_window_extent(renderer))
                return True
            text.remove()
    return False


def _lightness(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue


def _spot(across: list[float], lower: list[float], upper: list[float], wide: float, high: float,
          boxes: list[Any]) -> tuple[float, float, float] | None:
    """The middle of the roomiest place in the band for a box of this size that meets no other, and its angle in degrees.

    Level where that fits, else along the band.
    """
    best: tuple[float, float, float, float] | None = None
    count = len(across)
    step = max(1, count // 90)
    stop = 0
    for start in range(0, count, step):
        while stop < count and across[stop] - across[start] < wide:
            stop += 1
        if stop >= count or across[stop] - across[start] > 2.5 * wide:
            continue
        inner = max(1, (stop - start) // 24)
        places = [*range(start, stop, inner), stop]
        middles = [(lower[at] + upper[at]) / 2 for at in places]
        if any(math.isnan(middle) for middle in middles):
            continue
        slope = (middles[-1] - middles[0]) / (across[stop] - across[start])
        for lean in (0.0, slope) if abs(slope) > 0.02 else (0.0,):
            if abs(lean) > 0.6:
                continue
            bottom = max(lower[at] - lean * (across[at] - across[start]) for at in places)
            top = min(upper[at] - lean * (across[at] - across[start]) for at in places)
            room = top - bottom - high * math.hypot(1, lean)
            worth = room - (200.0 if lean else 0.0)
            if room < 0 or (best is not None and worth <= best[0]):
                continue
            middle = (across[start] + wide / 2, (bottom + top) / 2 + lean * wide / 2)
            tall = high + abs(lean) * wide
            here = Bbox.from_bounds(middle[0] - wide / 2, middle[1] - tall / 2, wide, tall)
            if lean and not any(here.overlaps(other) for other in boxes):
                best = (worth, *middle, math.degrees(math.atan(lean)))
            elif not lean and not any(here.overlaps(other) for other in boxes):
                best = (worth, *middle, 0.0)
    return best[1:] if best is not None else None


def _point_at(axis: Any, picture: Picture, words: str, lower: list[float], upper: list[float], boxes: list[Any], points: float,
              colour: str) -> None:
    """The culprit is too thin for its name: it stands beside, with an arrow."""
    known = [at for at in range(len(upper)) if not math.isnan(upper[at])]
    if not known:
        return
    thickest = max(known, key=lambda at: upper[at] - lower[at])
    spot = axis.transData.inverted().transform((0, (lower[thickest] + upper[thickest]) / 2))[1]
    at = moments(picture.times)[thickest]
    low, high = axis.get_xlim()
    right = (at - low) / (high - low) > 0.5
    beside = low + (high - low) * (0.3 if right else 0.7), axis.get_ylim()[1] * 0.3
    text = axis.annotate(words, (at, spot), xytext=beside, fontsize=points + 1, fontweight="bold", color=colour, ha="center",
                         va="center", zorder=9, bbox={"facecolor": "white", "edgecolor": colour, "pad": 4, "alpha": 0.92},
                         arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.5})
    renderer, frame = axis.figure.canvas.get_renderer(), axis.get_window_extent()
    box = text.get_window_extent(renderer)
    while box.width > frame.width - 20 and text.get_fontsize() > 8:
        text.set_fontsize(text.get_fontsize() - 1)
        box = text.get_window_extent(renderer)
    if box.x0 < frame.x0 + 8 or box.x1 > frame.x1 - 8:  # beyond an edge
        text.set_x(high - 0.01 * (high - low) if not right else low + 0.01 * (high - low))
        text.set_ha("left" if right else "right")
    boxes.append(text.get_window_extent(renderer))
