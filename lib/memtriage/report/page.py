"""A :class:`~memtriage.report.picture.Picture` as one HTML file that needs nothing else: no network, no server, no second file.

What is in it: the verdict, the legend and the last ledger as text, so that the page says the same without JavaScript; the picture's numbers
as JSON; the script and style of ``static/`` with uPlot, which draws. A Content-Security-Policy of the page itself forbids every request and
every script but this one, named by its hash (W3C, Content Security Policy Level 3), whatever the host's names contain.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import time
from importlib.resources import files
from math import isfinite
from string import Template

from memtriage import wording
from memtriage.record import NamedTuple
from memtriage.report.picture import CULPRIT, Band, Mark, Picture, Row

FREE = "#edf0f3"
REST = "#cfd2d5"
PALE = ("#a9bfd3", "#d8e3ec", "#b5c9a8", "#e1ead6", "#cdbb9a", "#ece2cb", "#bcb2d0", "#e2dcec", "#a3c6c0", "#d5e9e5")
"""All others, in pairs of a darker and a lighter one, so that neighbours differ in grey as well; none as dark as the culprit."""
LINES = (("total", "MemTotal"), ("available", "MemAvailable"), ("psi_some", "PSI memory some"), ("psi_full", "PSI memory full"),
         ("swap_used", "Swap used"))
PERCENT = ("psi_some", "psi_full")
KINDS = ("oom", "boot", "alarm", "recorder")
LONGEST = 300
"""Characters of a text; what is longer is cut."""
SCRIPTS = ("words.js", "drawing.js", "page.js")
_LATEST = 253402300799.0  # the last second of the year 9999
_URL = re.compile(r"/\*! https?:\S+ \((v[0-9.]+)\) \*/\n?")


def render(picture: Picture) -> str:
    """The whole file, printable ASCII and newlines only; the same for the same picture."""
    picture = _orderly(picture)
    script, library = _script(), "uPlot " + _uplot().version
    style = _static("uPlot.min.css") + "\n" + _static("page.css").replace("CULPRIT", CULPRIT)
    last = picture.moments[-1] if picture.moments else None
    total = _total(picture, last.index) if last else None
    return Template(_static("page.html")).substitute(
        name=_text(f"{picture.host}: {picture.title}" if picture.host else picture.title),
        host=_text(picture.host), title=_text(picture.title), verdict=_paragraphs(picture.verdict),
        kind="culprit" if any(band.culprit for band in picture.bands) else "innocent",
        span=_span(picture), when=_when(picture.times[-1]) if picture.times else "Nothing is known of any moment.",
        legend=_legend(picture), events=_events(picture.marks), notes=_notes(picture.notes),
        ledger_when=_when(picture.times[last.index]) if last else "No ledger in this history.",
        said=_paragraphs(last.verdict) if last else "", ledger="".join(_row(row, total) for row in last.rows) if last else "",
        row=_row(Row("", 0.0), None), data=_json(_data(picture)), library=library + ", MIT licence", license=html.escape(_uplot().license),
        script=script, script_hash=_hash(script), style=style, style_hash=_hash(style))


class _Library(NamedTuple):
    code: str
    version: str
    license: str


def _uplot() -> _Library:
    """uPlot as its package ships it, but for its first comment: a page that says it holds no address has none to be found."""
    code = _static("uPlot.iife.min.js")
    found = _URL.match(code)
    if found is None:
        raise ValueError("uPlot.iife.min.js does not begin with the comment that tells its version")
    return _Library(code[found.end() :], found.group(1), _static("uPlot-LICENSE.txt"))


def _script() -> str:
    library = _uplot()
    return f"/* uPlot {library.version}\n{library.license}\n*/\n{library.code}\n{''.join(map(_static, SCRIPTS))}"


def _static(name: str) -> str:
    return files("memtriage.report").joinpath("static", name).read_text(encoding="ascii").replace("\r\n", "\n")


def _hash(text: str) -> str:
    """As the policy names an inline script: of exactly what stands between the tags."""
    return "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode("ascii")).digest()).decode("ascii")


def _orderly(picture: Picture) -> Picture:
    """By time, as a drawing needs it though the host's clock was set back in between, and what is no finite number not known."""
    order = sorted(range(len(picture.times)), key=picture.times.__getitem__)
    place = {old: new for new, old in enumerate(order)}

    def sort(values: list[float | None]) -> list[float | None]:
        return [_number(values[old]) for old in order]

    moments = [moment._replace(index=place[moment.index], rows=[row for row in moment.rows if isfinite(row.size)])
               for moment in picture.moments]
    return picture._replace(
        times=[picture.times[old] for old in order], bands=[band._replace(values=sort(band.values)) for band in picture.bands],
        moments=sorted(moments, key=lambda moment: moment.index), total=sort(picture.total), available=sort(picture.available),
        psi_some=sort(picture.psi_some), psi_full=sort(picture.psi_full), swap_used=sort(picture.swap_used))


def _number(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _plain(text: str) -> str:
    """One line of visible characters: no control, no change of writing direction, no half of a surrogate pair."""
    line = "".join(letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text[: LONGEST + 1])
    return line if len(line) <= LONGEST else line[: LONGEST - 2] + ".."


def _text(text: str) -> str:
    """For an element's content or an attribute's value."""
    return html.escape(_plain(text)).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _json(data: object) -> str:
    """For a script element, which knows no entities: what could end it, or a line of it, is escaped by JSON's own means."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(picture: Picture) -> dict[str, object]:
    """What page.js reads. A ledger's words are numbers into ``words``, since they are the same in most ledgers."""
    words: dict[str, int] = {}

    def number(text: str) -> int:
        return words.setdefault(_plain(text), len(words))

    def whole(values: list[float | None]) -> list[int | None]:
        return [None if value is None else round(value) for value in values]

    def hundredths(values: list[float | None]) -> list[float | None]:
        return [None if value is None else round(value, 2) for value in values]

    return {
        "times": [round(at, 3) for at in picture.times],
        "bands": [{"words": _plain(band.words), "values": whole(band.values), "culprit": band.culprit, "colour": colour,
                   "growth": picture.growth or growth(band, picture) if band.culprit else ""}
                  for band, colour in zip(picture.bands, _colours(picture.bands))],
        **{name: (hundredths if name in PERCENT else whole)(getattr(picture, name)) for name, _ in _lines(picture)},
        "marks": [[round(mark.at, 3), mark.kind, _plain(mark.words)] for mark in _sorted(picture.marks)],
        "cone": None if picture.cone is None else picture.cone._asdict(), "grew": picture.grew,
        "moments": [[moment.index, [number(sentence) for sentence in moment.verdict],
                     [[number(row.words), round(row.size), int(row.culprit)] for row in moment.rows]] for moment in picture.moments],
        "words": list(words), "culprit": CULPRIT,
    }


def _sorted(marks: list[Mark]) -> list[Mark]:
    return sorted(marks, key=lambda mark: mark.at)


def growth(band: Band, picture: Picture) -> str:
    """``+1.93 GiB in 20.3 h``: of what has grown since the last reboot, or since the one before where nothing is known after it.

    Empty where fewer than two values are known.
    """
    for boot in [*(mark.at for mark in reversed(_sorted(picture.marks)) if mark.kind == "boot"), -float("inf")]:
        known = [(at, value) for at, value in zip(picture.times, band.values) if value is not None and at >= boot]
        if len(known) > 1:
            (start, first), (end, last) = known[0], known[-1]
            return f"{wording.signed(last - first)} in {wording.duration(end - start)}"
    return ""


def _colours(bands: list[Band]) -> list[str]:
    pale = 0
    colours = []
    for band in bands:
        if band.culprit:
            colours.append(CULPRIT)
        elif band.key == "rest" or band.key.endswith(".free"):
            colours.append(REST if band.key == "rest" else FREE)
        else:
            colours.append(PALE[pale % len(PALE)])
            pale += 1
    return colours


def _lines(picture: Picture) -> list[tuple[str, str]]:
    """Those of which anything is known."""
    return [(name, words) for name, words in LINES if any(value is not None for value in getattr(picture, name))]


def _legend(picture: Picture) -> str:
    """Top layer first, as in the drawing; each with its value at the last moment."""
    index = len(picture.times) - 1
    total = _total(picture, index)
    lines = _lines(picture)
    rows = [_legend_row(name, words, _swatch(name), False, getattr(picture, name)[index],
                        total if name in ("total", "available") else None, name in PERCENT)
            for name, words in lines]
    swatches = [_legend_row(str(place), band.words, _swatch(colour=colour), band.culprit,
                            band.values[index] if index >= 0 else None, total)
                for place, (band, colour) in enumerate(zip(picture.bands, _colours(picture.bands)))]
    above = sum(name in ("total", "available") for name, _ in lines)
    return "".join([*rows[:above], *reversed(swatches), *rows[above:]])


def _legend_row(key: str, words: str, drawing: str, culprit: bool, value: float | None, total: float | None, percent: bool = False) -> str:
    return (f'<tr data-key="{key}"{_class(culprit)}><th scope="row"><button type="button" aria-pressed="true">'
            f"{drawing}<span>{_text(words)}</span></button></th>"
            f"<td>{'not known' if value is None else wording.percent(value) if percent else wording.size(value)}</td>"
            f"<td>{_share(value, total)}</td></tr>")


def _swatch(line: str = "", colour: str = "") -> str:
    """A piece of an area, or of a line of that class."""
    area, stroke = f'<rect width="100%" height="100%" fill="{colour}"/>', f'<line class="{line}" x1="0" x2="100%" y1="50%" y2="50%"/>'
    return f'<svg class="swatch" aria-hidden="true">{area if colour else stroke}</svg>'


def _class(culprit: bool) -> str:
    return ' class="culprit"' if culprit else ""


def _row(row: Row, total: float | None) -> str:
    """A line of the ledger; what is within the part above begins with a blank. The bar is a drawing, since backgrounds are not printed."""
    part = min(100.0, max(0.0, 100.0 * row.size / total)) if total else 0.0
    bar = f'<svg class="bar" aria-hidden="true"><rect width="{part:.2f}%" height="100%"/></svg>'
    within = ' class="within"' if row.words.startswith(" ") else ""
    return (f'<tr{_class(row.culprit)}><th scope="row"{within}>{_text(row.words.strip())}</th><td>{wording.size(row.size)}</td>'
            f"<td>{_share(row.size, total)}</td><td>{bar}</td></tr>")


def _share(value: float | None, total: float | None) -> str:
    return wording.share(value, total) if value is not None and total else ""


def _total(picture: Picture, index: int) -> float | None:
    return picture.total[index] if 0 <= index < len(picture.total) else None


def _paragraphs(sentences: list[str]) -> str:
    return "".join(f"<p>{_text(sentence)}</p>" for sentence in sentences)


def _when(at: float) -> str:
    """In UTC until the script, which knows the reader's zone, writes its own."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(max(at, 0.0), _LATEST)))


def _span(picture: Picture) -> str:
    return wording.duration(picture.times[-1] - picture.times[0]) + " of history" if len(picture.times) > 1 else ""


def _events(marks: list[Mark]) -> str:
    if not marks:
        return ""
    items = "".join(
        f'<li>{_swatch(mark.kind if mark.kind in KINDS else "")}<button type="button" data-at="{mark.at:.3f}">{_when(mark.at)}</button>'
        f" {_text(mark.words)}</li>" for mark in _sorted(marks))
    return '<section aria-labelledby="events-title"><h2 id="events-title">What happened</h2><ol id="events">%s</ol></section>' % items


def _notes(notes: list[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<section aria-labelledby="notes-title"><h2 id="notes-title">Notes</h2><ul>{items}</ul></section>' if notes else ""
