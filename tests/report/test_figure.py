"""The drawn picture, pixel by pixel where it matters; the same every time; nothing in it that points outside."""

from __future__ import annotations

import html
import io
import re
import struct
import time
import zlib
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from memtriage.report import axes, figure
from memtriage.report.picture import Band, Cone, Mark, Picture

GIB = 1024.0**3
CULPRIT = (0xB3, 0x00, 0x1B)


def picture(**more: object) -> Picture:
    """A leak over 200 minutes, nothing known from the 80th to the 119th."""
    times = [1_770_000_000.0 + 60 * at for at in (*range(80), 99.5, *range(120, 200))]
    known = [at != 80 for at in range(161)]
    leak = [(0.3 + 2.5 * at / 160) * GIB if known[at] else None for at in range(161)]
    steady = [3 * GIB if one else None for one in known]
    free = [5 * GIB - value if value is not None else None for value in leak]
    total = [8 * GIB if one else None for one in known]
    bands = [Band("c.leak", "slab cache 'leak'", leak, True), Band("g.httpd", "process group 'httpd'", steady),
             Band("p.free", "free", free)]
    found = Picture("hub", "slab cache 'leak' +2.50 GiB in 3.3 h", ["Memory will be gone in 1.0 h (50 min to 75 min)."], times, bands,
                    total, free, [None] * 161, [None] * 161, [None] * 161, [], None, [], [])
    return found._replace(**more)


def pixels(data: bytes) -> list[list[tuple[int, int, int]]]:
    rows = image.imread(io.BytesIO(data), format="png")
    return [[tuple(round(float(value) * 255) for value in cell[:3]) for cell in row] for row in rows]  # type: ignore[misc]


def test_the_gap_is_empty_and_the_culprit_alone_is_strong() -> None:
    rows = pixels(figure.render(picture(), "png", 600))
    assert (len(rows), len(rows[0])) == (450, 600)
    low = next(y for y in range(449, 0, -1) if rows[y].count(CULPRIT) > 50)
    row = rows[low - 4]
    strong = [x for x, colour in enumerate(row) if colour == CULPRIT]
    hole = [x for x in range(strong[0], strong[-1]) if row[x] == (255, 255, 255)]
    # From 79 to 120 of 199 minutes, give or take the edges' smoothing.
    share = (strong[-1] - strong[0]) / 199
    assert abs(hole[0] - strong[0] - 79 * share) < 3 and abs(hole[-1] - strong[0] - 120 * share) < 3
    middle = (hole[0] + hole[-1]) // 2
    column = {rows[y][middle - 12] for y in range(100, low - 4)}
    assert column == {(255, 255, 255)}
    dark = min(sum(colour) for band, colour in ((None, CULPRIT),))
    for colour in figure.MUTED + tuple(figure.KNOWN.values()):
        assert sum(int(colour[at : at + 2], 16) for at in (1, 3, 5)) > 2 * dark, "a band as dark as the culprit in grey print"


def test_the_growth_is_written_where_it_was() -> None:
    """In the boot of which it is told, however much more room another has; where there is none, an arrow points there."""
    def letters(data: bytes) -> tuple[int, int]:
        rows = pixels(data)
        low = next(y for y in range(449, 0, -1) if rows[y].count(CULPRIT) > 50)
        found = [0, 0]
        for row in rows[low - 110 : low - 3]:
            strong = [x for x, colour in enumerate(row) if colour == CULPRIT]
            for x in range(strong[0], strong[-1]) if strong else ():
                found[x > 300] += row[x] == (255, 255, 255)
        return found[0], found[1]

    times = [1_770_000_000.0 + 60 * at for at in range(200)]
    leak: list[float | None] = [(2.5 - 0.01 * at) * GIB for at in range(200)]
    bands = [Band("c.leak", "leak", leak, True), Band("p.free", "free", [8 * GIB - (value or 0.0) for value in leak])]
    whole = picture(times=times, bands=bands, total=[8 * GIB] * 200, available=[None] * 200, psi_some=[None] * 200, psi_full=[None] * 200,
                    swap_used=[None] * 200, marks=[Mark(times[100], "boot", "reboot")], growth="+1.20 GiB in 2.0 h")
    first, second = (letters(figure.render(whole._replace(grew=(times[at], times[at + 99])), "png", 600)) for at in (0, 100))
    assert first[0] > 10 * first[1] + 200 and second[1] > 10 * second[0] + 200


def test_neighbours_differ_in_lightness() -> None:
    greys = [sum(share * int(colour[at : at + 2], 16) for share, at in ((0.3, 1), (0.59, 3), (0.11, 5))) for colour in figure.MUTED]
    assert all(abs(one - two) > 15 for one, two in zip(greys, greys[1:] + greys[:1]))


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_every_time(kind: str) -> None:
    assert figure.render(picture(), kind) == figure.render(picture(), kind)


def test_an_svg_points_nowhere() -> None:
    marks = [Mark(1_770_003_000.0, "oom", "OOM kill: httpd"), Mark(1_770_009_000.0, "boot", "reboot")]
    data = figure.render(picture(marks=marks), "svg").decode()
    ElementTree.fromstring(data)
    outside = set(re.findall(r"[a-z]+://[^\"' <>]+", data)) - {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not outside and "<!DOCTYPE" not in data and "<image" not in data
    assert set(re.findall(r'(?:href|src)="([^#][^"]*)"', data)) == set()


def test_a_png_says_nothing_of_time_or_place() -> None:
    data = figure.render(picture(), "png", 300)
    words, at = {}, 8
    while at < len(data):
        size, = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"tEXt":
            key, _, value = data[at + 8 : at + 8 + size].partition(b"\0")
            words[key] = value
        assert zlib.crc32(data[at + 4 : at + 8 + size]) == struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        at += 12 + size
    assert words == {b"Software": b"memtriage", b"Title": b"slab cache 'leak' +2.50 GiB in 3.3 h"}


@pytest.mark.parametrize(("most", "words"), [(0.3, "5"), (5.2336, "6"), (7.9, "9"), (39.0, "40"), (100.0, "100")])
def test_a_share_of_time_is_beside_a_round_number(most: float, words: str) -> None:
    waited = [None, *(most * at / 160 for at in range(1, 161))]
    shown = re.findall("<!-- (.*?) -->", figure.render(picture(psi_some=waited, psi_full=[None] * 161), "svg").decode())
    beside = shown[shown.index("some wait for memory, % of time") - 2 :][:2]
    assert beside == ["0", words]


def test_every_band_is_named() -> None:
    """In itself or below, though there be ten too thin for a name."""
    names = [f"process group 'number-{number}'" for number in range(10)]
    times = [1_770_000_000.0 + 60 * at for at in range(100)]
    bands = [Band(f"g.{number}", name, [0.01 * GIB] * 100) for number, name in enumerate(names)]
    bands.append(Band("p.free", "free", [7.9 * GIB] * 100))
    found = figure.render(picture(times=times, bands=bands, total=[8 * GIB] * 100, available=[7.9 * GIB] * 100, psi_some=[None] * 100,
                                  psi_full=[None] * 100, swap_used=[None] * 100), "svg").decode()
    shown = [html.unescape(words) for words in re.findall("<!-- (.*?) -->", found)]
    assert [name for name in [*names, "free"] if shown.count(name) != 1] == []


def test_a_moment_alone_is_seen() -> None:
    """The only one there is fills the picture; one between two gaps is a bar."""
    rows = pixels(figure.render(_only([50]), "png", 600))
    assert sum(row.count(CULPRIT) for row in rows) > 10_000
    rows = pixels(figure.render(_only([*range(30), 50, *range(70, 100)]), "png", 600))
    low = next(y for y in range(449, 0, -1) if rows[y].count(CULPRIT) > 50)
    strong = [x for x, colour in enumerate(rows[low - 4]) if colour == CULPRIT]
    middle = [x for x in strong if x - strong[0] > 0.45 * (strong[-1] - strong[0]) and strong[-1] - x > 0.45 * (strong[-1] - strong[0])]
    assert 1 <= len(middle) <= 4


def _only(minutes: list[int]) -> Picture:
    """Half of the memory is the culprit's at these minutes; of others nothing is known."""
    places: list[float] = []
    for minute, before in zip(minutes, [None, *minutes]):
        places += [minute] if before in (None, minute - 1) else [(minute + (before or 0)) / 2, minute]
    known: list[float | None] = [GIB if place in minutes else None for place in places]
    return Picture("", "half", [], [1_770_000_000.0 + 60 * place for place in places],
                   [Band("c.leak", "leak", known, True), Band("p.free", "free", known)],
                   [None if value is None else 2 * value for value in known], known, [None] * len(known), [None] * len(known),
                   [None] * len(known), [], None, [], [])


def test_any_title_is_text(recwarn: pytest.WarningsRecorder) -> None:
    """Neither a formula nor what XML cannot hold; a letter that the font lacks is a box, and no warning."""
    for title in ("$5 and $6", r"a $\frac$ b", "two\nlines\x01\x1b\udcff", "\u65e5\u672c"):
        whole = picture(title=title)
        assert figure.render(whole, "png", 300).startswith(b"\x89PNG")
        shown = ElementTree.fromstring(figure.render(whole, "svg"))
        assert shown.tag.endswith("svg")
    assert not list(recwarn)


def _boxes(whole: Picture) -> list[tuple[str, float, float, float, float]]:
    """Words of a drawn picture with their left, lower, right and upper edges as shares of it."""
    canvas = Figure(figsize=figure.INCHES, dpi=50)
    FigureCanvasAgg(canvas)
    figure.draw(canvas, whole)
    canvas.draw_without_rendering()
    found = []
    for text in canvas.findobj(Text):
        box = text.get_window_extent()
        if text.get_visible() and text.get_text().strip():
            found.append((text.get_text(), box.x0 / 600, box.y0 / 450, box.x1 / 600, box.y1 / 450))
    return found


def _short(count: int, **more: object) -> Picture:
    """So many samples a minute apart, from midnight."""
    times = [1_770_076_800.0 + 60 * at for at in range(count)]
    leak: list[float | None] = [(0.3 + at / count) * GIB for at in range(count)]
    bands = [Band("c.leak", "leak", leak, True), Band("p.free", "free", [8 * GIB - (value or 0.0) for value in leak])]
    none: list[float | None] = [None] * count
    return picture(times=times, bands=bands, total=[8 * GIB] * count, available=[7.7 * GIB - 4 * at * GIB / count for at in range(count)],
                   psi_some=none, psi_full=none, swap_used=none, **more)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_nothing_is_cut_at_the_edge(count: int) -> None:
    """Not the time at the right end, nor a long name beside a thin band, nor a title that is one word."""
    thin = [Band("c.leak", "slab cache 'long_cache_name_of_thirty_two_ch'", [0.01 * GIB * (at + 1) / count for at in range(count)], True)]
    for whole in (_short(count), _short(count, title="T" * 200, growth="+1.90 GiB in 2.0 h")._replace(bands=thin)):
        beyond = [box for box in _boxes(whole) if box[1] < -0.001 or box[3] > 1.001 or box[2] < -0.001 or box[4] > 1.001]
        assert beyond == []


def test_the_line_does_not_run_through_its_name() -> None:
    """Of two samples, where it is one straight stroke."""
    name, = (box for box in _boxes(_short(2)) if box[0] == "available: above this line")
    canvas = Figure(figsize=figure.INCHES, dpi=50)
    FigureCanvasAgg(canvas)
    figure.draw(canvas, _short(2))
    line = next(line for line in canvas.axes[0].lines if line.get_color() == axes.LINE)
    ends = canvas.axes[0].transData.transform(list(zip(line.get_xdata(), line.get_ydata()))) / (600, 450)
    for share in (at / 1000 for at in range(1001)):
        x, y = ends[0] + (ends[1] - ends[0]) * share
        assert not (name[1] < x < name[3] and name[2] < y < name[4])


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_names_are_no_formulas(kind: str) -> None:
    """Two dollars in any of the words."""
    name = "slab cache '$_^{}$x_{'"
    whole = picture(host="ho$t $x^$", title=f"{name} +1 GiB", verdict=["$\\frac$ _$^$"], growth="$^$", notes=["a $_$ note"],
                    bands=[band._replace(words=name if band.culprit else "process group 'a$_^$'") for band in picture().bands],
                    marks=[Mark(picture().times[30], "oom", "OOM kill: $_^{}$")])
    data = figure.render(whole, kind)
    if kind == "svg":
        shown = {html.unescape(words) for words in re.findall("<!-- (.*?) -->", data.decode(), re.DOTALL)}
        assert {f"{name} +1 GiB", "a $_$ note"} <= shown and any("ho$t $x^$" in words for words in shown)
    else:
        assert f"Title\0{name} +1 GiB".encode() in data


@pytest.mark.parametrize(("zone", "begin", "shown", "ticks"), [
    ("GMT0BST,M3.5.0/1,M10.5.0/2", 1_792_882_800, "2026-10-25 00:00 to 03:58 GMT", {"01:00": 0.2, "02:00": 0.6}),
    ("UTC0", 1_792_882_800, "2026-10-24 23:00 to 2026-10-25 03:58 UTC", {"01:00": 0.4, "02:00": 0.6}),
    ("CET-1CEST,M3.5.0,M10.5.0/3", 1_774_738_800, "2026-03-29 00:00 to 05:58 CEST", {"03:00": 0.4, "04:00": 0.6})])
def test_times_over_midnight_and_a_change_of_clocks(monkeypatch: pytest.MonkeyPatch, zone: str, begin: int, shown: str,
                                                    ticks: dict[str, float]) -> None:
    """Five hours, of which London's winter has no offset, and summer an hour."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        whole = _short(150)
        canvas = Figure(figsize=figure.INCHES, dpi=50)
        FigureCanvasAgg(canvas)
        figure.draw(canvas, whole._replace(times=[begin + 120.0 * at for at in range(150)]))
        main = canvas.axes[0]
        low, high = main.get_xlim()
        found = {label.get_text(): (at - low) / (high - low) for at, label in zip(main.get_xticks(), main.get_xticklabels())}
        assert {words: round(found.get(words, -1.0), 2) for words in ticks} == {
            words: pytest.approx(share, abs=0.011) for words, share in ticks.items()}
        assert shown in {text.get_text() for text in canvas.texts}
    finally:
        monkeypatch.undo()
        time.tzset()


def test_odd_pictures_are_drawn() -> None:
    base = picture()
    last = base.times[-1]
    for more in (
        {"times": base.times[:1], "bands": [band._replace(values=band.values[:1]) for band in base.bands], "total": base.total[:1],
         "available": base.available[:1], "swap_used": [None], "psi_some": [None], "psi_full": [None]},
        {"bands": [], "title": ""},
        {"total": [None] * 161, "available": [None] * 161,
         "bands": [band._replace(values=[None] * 161) for band in base.bands]},
        {"cone": Cone(last, GIB, last + 1, last + 10, None), "psi_some": [50.0] * 161, "psi_full": [9.0] * 161, "swap_used": [GIB] * 161},
        {"cone": Cone(last, GIB, last + 1e7, last + 1e8, 1e12), "title": "long " * 60, "host": "h" * 60},
        {"marks": [Mark(base.times[at], kind, "words that are long enough")
                   for at in range(0, 80, 4) for kind in ("oom", "alarm", "boot")]},
        {"bands": [Band(f"g.{at}", "$x_{1}$ \\frac & <b>", [GIB / 10] * 161) for at in range(20)]},
    ):
        assert len(figure.render(picture(**more), "png", 400)) > 1000
