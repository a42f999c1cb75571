"""A picture as PNG or SVG, by matplotlib's object interface (extra ``report``). The same picture gives the same bytes.

Laid out for 1,200 pixels; letters are large enough to be read when it is shrunk to a third of that, on a phone. The culprit alone has
a strong colour, which is the darkest of all bands too, so that it stands out in grey print; all else is light, neighbours of different
lightness.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from memtriage.report import axes, labels
from memtriage.report.picture import CULPRIT, Band, Picture

NOTHING = {"Date": None, "Creator": None, "Format": None, "Type": None}
"""Of the metadata that an SVG would carry: a date, addresses of vocabularies."""
INCHES = (12.0, 9.0)
UNKNOWN = "#cfd6dd"
MUTED = ("#7f93a6", "#c3ced8", "#9aabba", "#d8e0e7", "#8a9dae", "#b3c0cc")
"""Of programs and the kernel, from the bottom; two that touch differ in lightness."""
KNOWN = {"p.free": "#f7f9fa", "p.page_cache": "#e6edf2", "p.shmem": "#aebfce", "p.unaccounted": UNKNOWN, "rest": "#dfe4e8"}
INK, LINE = "#1d2733", "#0b2a4a"
ROW, ROWS = 0.3, 4
"""Inches of a row of names below the picture, and so many at most."""
LARGE, MIDDLE, SMALL = 21.0, 17.0, 15.0
"""Points: title, labels, ticks and small print."""


def render(picture: Picture, kind: str, width: int = 1200) -> bytes:
    """``kind`` is ``png`` or ``svg``; ``width`` in pixels."""
    picture = picture._replace(title="".join(letter if letter.isprintable() else "?" for letter in picture.title))
    title, picture = picture.title, _plain(picture)
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks: it is seen
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.family": "DejaVu Sans", "svg.hashsalt": "memtriage", "hatch.linewidth": 0.7,
                                    "path.simplify": False, "axes.edgecolor": INK, "text.color": INK, "xtick.color": INK,
                                    "ytick.color": INK})
        figure = Figure(figsize=INCHES, dpi=width / INCHES[0], facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure, picture)
        out = io.BytesIO()
        if kind == "png":
            figure.savefig(out, format="png", dpi=width / INCHES[0], metadata={"Software": "memtriage", "Title": title})
            return out.getvalue()
        FigureCanvasSVG(figure).print_svg(out, metadata=NOTHING)  # type: ignore[no-untyped-call]
        # A reference to the DTD is an address, which no viewer needs.
        return re.sub(rb"<!DOCTYPE[^>]*>\n?", b"", out.getvalue(), count=1)


def _plain(picture: Picture) -> Picture:
    """Without formulas: between two dollars matplotlib would read one, or fail."""

    def plain(words: str) -> str:
        return words.replace("$", r"\$")

    return picture._replace(
        host=plain(picture.host), title=plain(picture.title), verdict=[plain(line) for line in picture.verdict],
        bands=[band._replace(words=plain(band.words)) for band in picture.bands],
        marks=[mark._replace(words=plain(mark.words)) for mark in picture.marks],
        notes=[plain(note) for note in picture.notes], growth=plain(picture.growth))


def draw(figure: Any, picture: Picture, rows: int = 1) -> None:
    """The stack and, on the same time axis below it, pressure and swap where there is something to be seen. At the bottom are ``rows`` for
    names of bands that are too thin for one, more if need be."""
    picture = axes.widened(picture)
    below = [(name, series) for name, series in (("psi", picture.psi_some), ("swap", picture.swap_used))
             if any(value for value in series if value)]
    title = labels.wrapped(figure, picture.title or " ", LARGE, INCHES[0] - 0.5, True)[:2]
    marks = axes.merged(picture.marks, axes.limits(picture))
    lanes = labels.lanes(figure, marks, axes.limits(picture), SMALL) if marks else []
    top = 0.4 * len(title) + 0.42 + 0.3 * (1 + max((lane.row for lane in lanes if lane is not None), default=-1)) + 0.12
    heights = [1.0] + [0.17] * len(below)
    bottom = 0.87 + ROW * rows
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=0.12, left=0.095, right=0.985,
                               top=1 - top / INCHES[1], bottom=bottom / INCHES[1])
    main = figure.add_subplot(grid[0])
    others = [figure.add_subplot(grid[place + 1], sharex=main) for place in range(len(below))]
    _title(figure, picture, title)
    axes.prepare(main, picture)
    colours = _stack(main, picture)
    axes.ceiling(main, picture, MIDDLE)
    axes.available(main, picture)
    axes.gaps([main, *others], picture, SMALL)
    for axis, (name, _) in zip(others, below):
        (axes.pressure if name == "psi" else axes.swap)(axis, picture, SMALL)
    axes.times([main, *others], picture, SMALL)
    axes.cone(main, picture, MIDDLE, CULPRIT)
    axes.marks([main, *others], marks, lanes, SMALL)
    boxes, walls = axes.said(main, picture, marks, SMALL)
    left = labels.bands(main, picture, colours, boxes, walls, MIDDLE, CULPRIT)
    _notes(figure, picture)
    if not _legend(figure, left, colours, rows) and rows < ROWS:
        figure.clear()
        draw(figure, picture, rows + 1)


def _title(figure: Any, picture: Picture, lines: list[str]) -> None:
    height = INCHES[1]
    strong = any(band.culprit for band in picture.bands)
    for place, line in enumerate(lines):
        figure.text(0.02, 1 - (0.12 + 0.4 * place) / height, line, fontsize=LARGE, fontweight="bold", va="top",
                    color=CULPRIT if strong else INK)
    about = [picture.host] if picture.host else []
    about += picture.verdict[:1]
    small = labels.wrapped(figure, "   ".join(about) or " ", SMALL, INCHES[0] - 0.5, False)[:1]
    figure.text(0.02, 1 - (0.15 + 0.4 * len(lines)) / height, small[0] if small else "", fontsize=SMALL, va="top")


def _notes(figure: Any, picture: Picture) -> None:
    """What this history does not know, as far as it has room beside the dates."""
    fitting = ""
    for note in picture.notes:
        words = f"{fitting}; {note}" if fitting else note
        if labels.width(figure, words, SMALL - 4) <= 0.6 * INCHES[0]:
            fitting = words
    figure.text(0.015, 0.008, fitting, ha="left", va="bottom", fontsize=SMALL - 4, color="#4a5662")


def _stack(axis: Any, picture: Picture) -> dict[str, tuple[str, str]]:
    """Draws the bands; returns colour and hatch of each."""
    colours: dict[str, tuple[str, str]] = {}
    muted = 0
    floor = [0.0 for _ in picture.times]
    when = axes.moments(picture.times)
    for band in picture.bands:
        if band.culprit:
            look = (CULPRIT, "")
        elif band.key in KNOWN:
            look = (KNOWN[band.key], "//" if band.key == "p.unaccounted" else "")
        else:
            look = (MUTED[muted % len(MUTED)], "" if muted < len(MUTED) else "..")
            muted += 1
        colours[band.key] = look
        upper = _over(floor, band)
        axis.fill_between(when, floor, upper, facecolor=look[0], hatch=look[1] or None, edgecolor="#8795a3" if look[1] else "none",
                          linewidth=0.0, zorder=2)
        axis.plot(when, upper, color="white", linewidth=0.8, zorder=2.5, solid_joinstyle="round")
        floor = upper
    return colours


def _over(floor: list[float], band: Band) -> list[float]:
    return [below + value if value is not None else math.nan for below, value in zip(floor, band.values)]


def _legend(figure: Any, left: list[Band], colours: dict[str, tuple[str, str]], rows: int) -> bool:
    """Bands that have no room for their name, in rows below; whether all of them have found a place."""
    waiting = [Patch(facecolor=colours[band.key][0], hatch=colours[band.key][1] or None, edgecolor="#8795a3", linewidth=0.6,
                     label=band.words) for band in left]
    for row in range(rows):
        handles = waiting[:6]
        while handles:
            found = figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.012, 0.028 + ROW * (rows - 1 - row) / INCHES[1]),
                                  ncol=len(handles), fontsize=SMALL - 1, frameon=False, handlelength=1.1, handletextpad=0.4,
                                  columnspacing=1.0, borderaxespad=0.2)
            if found.get_window_extent(figure.canvas.get_renderer()).width <= figure.bbox.width * 0.985 or len(handles) == 1:
                break
            found.remove()
            handles.pop()
        waiting = waiting[len(handles) :]
    return not waiting
