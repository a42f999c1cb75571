"""The HTML page in a headless Chromium: what it draws, what it says at the moment pointed at, and that it asks for nothing.

Screenshots are kept in the folder MEMTRIAGE_SCREENSHOTS, if set, to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from memtriage import wording
from memtriage.report import page
from memtriage.report.picture import Picture
from tests.report import pictures
from tests.report.browser import Browser, chromium

pytestmark = [pytest.mark.engine, pytest.mark.slow]
ZONE = "Europe/Berlin"
HEADROOM = 1.03
"""The memory chart ends this much above its highest value."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile"), ZONE) as started:
        yield started


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("MEMTRIAGE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shown(browser: Browser, picture: Picture, folder: Path, width: int = 1280, dots: int = 1) -> None:
    file = folder / "page.html"
    file.write_text(page.render(picture), encoding="ascii")
    browser.open(file, width, dots=dots)


def quiet(browser: Browser, folder: Path) -> None:
    """Nothing went wrong on the page, and nothing but the file itself was asked for."""
    assert browser.console() == []
    assert browser.requests() == [(folder / "page.html").as_uri()]


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, ZoneInfo(ZONE)).strftime("%Y-%m-%d %H:%M:%S CET")


def legend(browser: Browser) -> dict[str, tuple[str, str]]:
    rows = browser.js("return [...document.querySelectorAll('#legend tr')].map((row) => [...row.cells].map((cell) => cell.textContent))")
    return {name: (size, share) for name, size, share in rows}


def expected_legend(picture: Picture, index: int) -> dict[str, tuple[str, str]]:
    def sized(value: float | None, shared: bool = True) -> tuple[str, str]:
        return ("not known", "") if value is None else (wording.size(round(value)), wording.share(value, pictures.TOTAL) if shared else "")

    def stalled(value: float | None) -> tuple[str, str]:
        return ("not known" if value is None else wording.percent(round(value, 2)), "")

    return {"MemTotal": sized(picture.total[index]), "MemAvailable": sized(picture.available[index]),
            **{band.words: sized(band.values[index]) for band in picture.bands},
            "PSI memory some": stalled(picture.psi_some[index]), "PSI memory full": stalled(picture.psi_full[index]),
            "Swap used": sized(picture.swap_used[index], False)}


def ledger(browser: Browser) -> list[list[str]]:
    rows = browser.js("""return [...document.querySelectorAll('#ledger tr')].map((row) =>
        [...[...row.cells].slice(0, 3).map((cell) => cell.textContent), row.className, row.querySelector('rect').getAttribute('width')])""")
    return [[str(cell) for cell in row] for row in rows]


def expected_ledger(picture: Picture, number: int) -> list[list[str]]:
    return [[row.words.strip(), wording.size(round(row.size)), wording.share(row.size, pictures.TOTAL), "culprit" if row.culprit else "",
             f"{100 * round(row.size) / pictures.TOTAL:.17g}%"] for row in picture.moments[number].rows]


def close(found: list[list[str]], expected: list[list[str]]) -> bool:
    """The same, the bars to a thousandth of a percent."""
    return [row[:4] for row in found] == [row[:4] for row in expected] and all(
        abs(float(one[4][:-1]) - float(other[4][:-1])) < 1e-3 for one, other in zip(found, expected))


def end(picture: Picture) -> float:
    """Where the time shown ends: with the cone, or 40% beyond the last moment."""
    first, last = picture.times[0], picture.times[-1]
    return last if picture.cone is None else min(picture.cone.high or picture.cone.middle, last + 0.4 * (last - first))


def across(picture: Picture, at: float) -> float:
    return (at - picture.times[0]) / (end(picture) - picture.times[0])


def point(browser: Browser, picture: Picture, index: int, chart: int = 0) -> None:
    plot = browser.plot(chart)
    browser.move(plot["x"] + plot["width"] * across(picture, picture.times[index]), plot["y"] + plot["height"] / 2)


def middles(picture: Picture, index: int, hidden: tuple[int, ...] = ()) -> list[float]:
    """Of each layer, as a share of the memory chart's height."""
    found, below = [], 0.0
    for place, band in enumerate(picture.bands):
        value = 0.0 if place in hidden else band.values[index] or 0.0
        found.append((below + value / 2) / (pictures.TOTAL * HEADROOM))
        below += value
    return found


def near(colour: str, other: str, most: int = 24) -> bool:
    """The same but for the grid drawn over it."""
    return all(abs(int(colour[at:at + 2], 16) - int(other[at:at + 2], 16)) <= most for at in (1, 3, 5))


def colours(browser: Browser) -> list[str]:
    """Of the layers, bottom first, as the legend shows them."""
    return list(browser.js("return [...document.querySelectorAll('#legend rect')].reverse().map((area) => area.getAttribute('fill'))"))


@pytest.mark.parametrize(("width", "dots"), [(1280, 1), (390, 2)])
@pytest.mark.parametrize("name", pictures.ALL)
def test_every_picture_is_shown(browser: Browser, tmp_path: Path, shots: Path, name: str, width: int, dots: int) -> None:
    picture = pictures.ALL[name]()
    shown(browser, picture, tmp_path, width, dots)
    assert browser.overflow() <= 0
    assert browser.js("return document.querySelectorAll('.uplot canvas').length") == (
        0 if not picture.times else 1 + any(value is not None for value in picture.psi_some) * (name != "hostile")
        + any(value is not None for value in picture.swap_used) * (name != "hostile"))
    browser.keep(shots / f"{name}-{width}.png")
    assert browser.js("return document.title") != "owned"
    quiet(browser, tmp_path)


def test_sizes_beside_an_axis_lose_no_nought_that_counts(browser: Browser, tmp_path: Path) -> None:
    shown(browser, pictures.slab_leak(), tmp_path)
    mib, gib = 1024**2, 1024**3
    sizes = [0, 512, 1024, 1.5 * mib, 64 * mib, 320 * mib, 640 * mib, 960 * mib, 1.25 * gib, 2.5 * gib, 20 * gib, 100 * gib]
    assert browser.js("return sizeLabels(null, arguments[0])", sizes) == [
        "0", "512 B", "1 KiB", "1.5 MiB", "64 MiB", "320 MiB", "640 MiB", "960 MiB", "1.25 GiB", "2.5 GiB", "20 GiB", "100 GiB"]


@pytest.mark.parametrize("index", [5, 50, 100, 150])
def test_layers_are_drawn_where_the_numbers_put_them(browser: Browser, tmp_path: Path, index: int) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path)
    found = colours(browser)
    assert found[1] == page.CULPRIT and found.count(page.CULPRIT) == 1
    # A little aside, where no mark, no name and no line of the grid is.
    at = across(picture, picture.times[index] + 60)
    heights = middles(picture, index)
    assert near(browser.pixel(at, heights[1]), page.CULPRIT)
    assert near(browser.pixel(at, heights[0]), found[0])
    assert near(browser.pixel(at, heights[-2]), found[-2])


def test_growth_is_written_where_it_was(browser: Browser, tmp_path: Path) -> None:
    """At the end of the time that the verdict speaks of, and in its words, though the culprit holds more in another boot."""
    picture = pictures.slab_leak()
    watch = """const seen = [], draw = drawLabel;
        window.drawLabel = (...words) => { seen.push([(words[2] - words[1].left) / words[1].width, words[4]]); draw(...words); };
        charts[0].redraw();
        return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(seen))));"""
    for grew, growth, place in ((None, "", 240), ((picture.times[0], picture.times[73]), "+2.14 GiB in 6.1 h", 73)):
        shown(browser, picture._replace(growth=growth, grew=grew), tmp_path)
        x, words = next(label for label in browser.js(watch) if label[1][0] == pictures.CACHE)
        assert x == pytest.approx(across(picture, picture.times[place]), abs=0.005)
        assert words == [pictures.CACHE, growth or "+4.54 GiB in 12.9 h"]


def test_gap_and_future_are_empty(browser: Browser, tmp_path: Path) -> None:
    picture = pictures.slab_leak()._replace(marks=[])
    shown(browser, picture, tmp_path)
    # From the last moment before it to the first after it: nothing is joined, and nothing fades.
    for at in (picture.times[73] + 150, picture.times[78] + 100, picture.times[82] + 100, picture.times[84] + 150):
        assert near(browser.pixel(across(picture, at), 0.03), "#ffffff")
        assert near(browser.pixel(across(picture, at), 0.4), "#ffffff")
    assert near(browser.pixel(across(picture, picture.times[-1] + 3600), 0.5), "#ffffff")
    # In the cone, between the earliest end and the latest.
    assert not near(browser.pixel(across(picture, picture.times[-1] + 4.2 * 3600), 0.02), "#ffffff", 8)
    assert near(browser.pixel(across(picture, picture.times[-1] + 2.7 * 3600), 0.02), "#ffffff", 8)


@pytest.mark.parametrize("index", [0, 12, 13, 66, 78, 84, 85, 128, 239, 240])
def test_values_at_the_moment_pointed_at(browser: Browser, tmp_path: Path, index: int) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path)
    for chart in (0, 1, 2):
        point(browser, picture, 30, chart)
        point(browser, picture, index, chart)
        assert browser.text("#when") == stamp(picture.times[index])
        assert legend(browser) == expected_legend(picture, index)
        number = max(at for at, moment in enumerate(picture.moments) if moment.index <= index)
        assert close(ledger(browser), expected_ledger(picture, number))
        assert browser.text("#ledger-when") == stamp(picture.times[picture.moments[number].index])
        said = browser.js("return [...document.querySelectorAll('#said p')].map((each) => each.textContent)")
        assert said == picture.moments[number].verdict
        lines = browser.js("return [...document.querySelectorAll('.u-cursor-x')].map((line) => line.getBoundingClientRect().x)")
        assert max(lines) - min(lines) < 1.5  # the cursors of all charts are in step
    quiet(browser, tmp_path)


def test_no_ledger_before_the_first(browser: Browser, tmp_path: Path) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture._replace(moments=picture.moments[2:]), tmp_path)
    point(browser, picture, 10)
    assert ledger(browser) == [] and browser.text("#ledger-when") == "No ledger at this moment or before it."
    point(browser, picture, 30)
    assert close(ledger(browser), expected_ledger(picture, 2))


def test_last_moment_pointed_at_stays_when_the_mouse_leaves_and_a_click_holds_it(browser: Browser, tmp_path: Path) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path)
    point(browser, picture, 130)
    browser.move(5, 5)
    assert browser.text("#when") == stamp(picture.times[130])
    point(browser, picture, 140)
    plot = browser.plot()
    browser.click(plot["x"] + plot["width"] * across(picture, picture.times[140]), plot["y"] + 50)
    assert browser.text("#when") == stamp(picture.times[140]) + " (held, click lets go)"
    point(browser, picture, 20)
    point(browser, picture, 20, chart=2)
    assert browser.text("#when").startswith(stamp(picture.times[140]))
    plot = browser.plot()
    browser.click(plot["x"] + plot["width"] * across(picture, picture.times[20]), plot["y"] + 50)
    point(browser, picture, 21)
    assert browser.text("#when") == stamp(picture.times[21])


def test_legend_hides_layers_and_the_rest_comes_down(browser: Browser, tmp_path: Path, shots: Path) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path)
    found, at = colours(browser), across(picture, picture.times[180] + 60)

    def press(words: str) -> None:
        browser.js("[...document.querySelectorAll('#legend button')].find((each) => each.textContent === arguments[0]).click()", words)
        browser.settle()

    httpd = picture.bands[3]
    before, after = middles(picture, 180)[3], middles(picture, 180, hidden=(1,))[3]
    assert near(browser.pixel(at, before), found[3]) and not near(browser.pixel(at, after), found[3])
    press(pictures.CACHE)
    assert near(browser.pixel(at, after), found[3]) and not near(browser.pixel(at, before), found[3])
    assert near(browser.pixel(at, middles(picture, 180, hidden=(1,))[7]), found[7])  # page cache
    pressed = browser.js("return [...document.querySelectorAll('#legend [aria-pressed=false]')].map((each) => each.textContent)")
    assert pressed == [pictures.CACHE]
    browser.keep(shots / "layer-hidden-1280.png", whole=False)
    point(browser, picture, 180)
    assert legend(browser) == expected_legend(picture, 180)  # values are told all the same
    press(httpd.words)
    press(pictures.CACHE)
    press(httpd.words)
    assert near(browser.pixel(at, before), found[3])
    # Without the total and what is free the chart is as high as the layers left.
    for words in ("MemTotal", "MemAvailable", *(band.words for band in picture.bands if not band.culprit)):
        press(words)
    held = [value for value in picture.bands[1].values if value is not None]
    top = (picture.bands[1].values[180] or 0) / (max(held) * HEADROOM)
    assert near(browser.pixel(at, top - 0.02), page.CULPRIT) and near(browser.pixel(at, top + 0.02), "#ffffff")
    press("PSI memory some")
    press("Swap used")
    quiet(browser, tmp_path)


def test_zoom_of_all_charts_and_back(browser: Browser, tmp_path: Path, shots: Path) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path)
    start, stop = picture.times[96], picture.times[192]

    def edges() -> list[str]:
        found = []
        for chart in (0, 1, 2):
            plot = browser.plot(chart)
            for place in (plot["x"] + 1, plot["x"] + plot["width"] - 1):
                browser.move(place, plot["y"] + 40)
                found.append(browser.text("#when"))
        return found

    whole = edges()
    assert whole == [stamp(picture.times[0]), stamp(picture.times[-1])] * 3
    plot = browser.plot(1)
    browser.drag(plot["x"] + plot["width"] * across(picture, start), plot["x"] + plot["width"] * across(picture, stop), plot["y"] + 30)
    browser.keep(shots / "zoomed-1280.png", whole=False)
    for found, wanted in zip(edges(), [96, 192] * 3):  # a dot more or less is a moment more or less
        assert found in [stamp(picture.times[index]) for index in (wanted - 1, wanted, wanted + 1)]
    plot = browser.plot()
    browser.move(plot["x"] + plot["width"] / 4, plot["y"] + 50)
    index = [stamp(at) for at in picture.times].index(browser.text("#when"))
    assert abs(index - 120) <= 1
    assert legend(browser) == expected_legend(picture, index)
    browser.click(plot["x"] + 100, plot["y"] + 50, times=2)
    assert edges() == whole
    for button, expected in (("Zoom in", False), ("Zoom out", True), ("Zoom in", False), ("Whole time", True), ("Zoom out", True)):
        browser.js("[...document.querySelectorAll('button')].find((each) => each.textContent === arguments[0]).click()", button)
        browser.settle()
        assert (edges() == whole) is expected, button
    quiet(browser, tmp_path)


def test_keys(browser: Browser, tmp_path: Path) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path)
    browser.js("document.getElementById('charts').focus()")
    for key, index in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("PageDown", 14), ("PageUp", 2), ("ArrowLeft", 1), ("End", 240),
                       ("ArrowRight", 240), ("ArrowLeft", 239)):
        browser.key(key)
        assert browser.text("#when") == stamp(picture.times[index]), key
        assert legend(browser) == expected_legend(picture, index)
    for _ in range(4):
        browser.key("+", "+")
    browser.key("Home")  # out of the window: it moves along
    assert browser.text("#when") == stamp(picture.times[0])
    assert browser.js("return document.querySelector('.u-cursor-x').getBoundingClientRect().x >= "
                      "document.querySelector('.u-over').getBoundingClientRect().x - 1")
    browser.key("0", "0")
    plot = browser.plot()
    browser.move(plot["x"] + plot["width"] - 1, plot["y"] + 40)
    assert browser.text("#when") == stamp(picture.times[-1])
    quiet(browser, tmp_path)


def test_events_lead_to_their_moment(browser: Browser, tmp_path: Path) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path)
    events = browser.js("return [...document.querySelectorAll('#events li')].map((each) => each.innerText.trim())")
    assert events == [f"{stamp(mark.at)} {mark.words}" for mark in picture.marks]
    browser.js("document.querySelectorAll('#events button')[1].click()")
    assert browser.text("#when") == stamp(picture.times[72])


def test_fingers(browser: Browser, tmp_path: Path, shots: Path) -> None:
    picture = pictures.slab_leak()
    shown(browser, picture, tmp_path, 390, 2)
    plot = browser.plot()
    y = plot["y"] + 60

    def x(index: int) -> float:
        return plot["x"] + plot["width"] * across(picture, picture.times[index])

    browser.touch("touchStart", (x(120), y))
    browser.touch("touchEnd")
    told = datetime.strptime(browser.text("#when")[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo(ZONE)).timestamp()
    assert abs(told - picture.times[120]) <= 600  # two moments share a dot
    browser.keep(shots / "tapped-390.png", whole=False)
    browser.touch("touchStart", (x(100), y))
    browser.touch("touchMove", (x(150), y))
    browser.touch("touchEnd")
    told = datetime.strptime(browser.text("#when")[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo(ZONE)).timestamp()
    assert abs(told - picture.times[150]) <= 600
    browser.touch("touchStart", (x(140), y), (x(160), y))
    for step in range(1, 6):
        browser.touch("touchMove", (x(140) - 10 * step, y), (x(160) + 10 * step, y))
    browser.touch("touchEnd")
    browser.js("document.getElementById('charts').focus()")
    browser.keep(shots / "pinched-390.png", whole=False)
    browser.mouse("mouseMoved", plot["x"] + 2, y)
    assert browser.text("#when") > stamp(picture.times[60])  # what was at the left edge is out of the window
    for _ in range(2):
        browser.touch("touchStart", (x(100), y))
        browser.touch("touchEnd")
    browser.mouse("mouseMoved", plot["x"] + 3, y)
    browser.mouse("mouseMoved", plot["x"] + 1, y)
    browser.settle()
    assert browser.text("#when") <= stamp(picture.times[2])
    quiet(browser, tmp_path)


def test_peak_of_one_moment_is_seen_among_20000(browser: Browser, tmp_path: Path) -> None:
    picture = pictures.long_history()
    shown(browser, picture, tmp_path)
    at = across(picture, picture.times[12345])
    height = sum(band.values[12345] or 0 for band in picture.bands) - 3 * pictures.GIB
    dots = [browser.pixel(at + step / 2000, height / (pictures.TOTAL * HEADROOM)) for step in range(-3, 4)]
    assert any(int(dot[1:3], 16) > int(dot[3:5], 16) + 40 for dot in dots), dots  # red, be it pale
    quiet(browser, tmp_path)


def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path) -> None:
    picture = pictures.hostile()
    shown(browser, picture, tmp_path)
    for index in range(0, len(picture.times), 3):
        point(browser, picture, index)
    browser.js("document.querySelectorAll('button').forEach((each) => each.click())")
    browser.settle()
    assert browser.js("return document.title").startswith("</script><img src=x onerror=")
    assert browser.js("return document.querySelectorAll('img, script[src], link, iframe, object, embed').length") == 0
    assert ledger(browser)[0][0] == pictures.HOSTILE[0]
    quiet(browser, tmp_path)


def test_without_script(browser: Browser, tmp_path: Path, shots: Path) -> None:
    picture = pictures.slab_leak()
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        (tmp_path / "page.html").write_text(page.render(picture), encoding="ascii")
        browser.chrome.get((tmp_path / "page.html").as_uri())
        browser.keep(shots / "no-script-1280.png")
        text = browser.chrome.find_element("tag name", "body").text
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)
    assert "The chart needs JavaScript" in text and picture.title in text
    assert all(row.words.strip() in text and wording.size(row.size) in text for row in picture.moments[-1].rows)


def test_printed(browser: Browser, tmp_path: Path, shots: Path) -> None:
    """On paper the charts fit its width; the file is kept to be looked at."""
    import base64  # noqa: PLC0415

    shown(browser, pictures.slab_leak(), tmp_path)
    browser.js("addEventListener('beforeprint', () => queueMicrotask(() => "
               "(document.body.dataset.printed = document.querySelector('.uplot canvas').width)))")
    printed = browser.cdp("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
    (shots / "printed.pdf").write_bytes(base64.b64decode(printed["data"]))
    browser.settle()
    assert browser.js("return document.body.dataset.printed") == "680"
    assert browser.js("return document.querySelector('.uplot canvas').width") > 700
    quiet(browser, tmp_path)
