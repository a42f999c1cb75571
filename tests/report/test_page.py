"""The HTML page as text: whole, closed to the outside, the same each time, and true without its script."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage import wording
from memtriage.report import page
from memtriage.report.picture import Band, Mark, Picture
from tests.conftest import ROOT
from tests.report import pictures

STATIC = ROOT / "lib" / "memtriage" / "report" / "static"
POLICY = "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'"
BETWEEN = "&\u2028\u2029\u202e\ud800"


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text between as (element, text)."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def within(text: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", text, re.DOTALL)


def data(text: str) -> Any:
    found, = re.findall(r'<script type="application/json" id="picture">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@pytest.mark.parametrize("name", pictures.ALL)
def test_page_is_closed_to_the_outside(name: str) -> None:
    text = page.render(pictures.ALL[name]())
    elements = Elements(text)
    assert text.isascii() and "\r" not in text and "\0" not in text
    script, style = within(text, "script")[-1], within(text, "style")[0]
    policy = [each["content"] for each in elements.of("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy == [POLICY.format(digest(script), digest(style))]
    # The policy counts for what comes after it.
    assert [tag for tag, _ in elements.tags[:4]] == ["html", "head", "meta", "meta"]
    assert "://" not in text and "@import" not in text and "url(" not in text
    allowed = """html head meta title style body header p span h1 h2 noscript main div section button table thead tbody tr th td
        svg rect line ol ul li footer details summary pre template script"""
    assert {tag for tag, _ in elements.tags} <= set(allowed.split())
    names = {attribute for _, attributes in elements.tags for attribute in attributes}
    assert not names & {"src", "href", "srcset", "action", "style", "xlink:href", "data", "ping"}
    assert not [attribute for attribute in names if attribute.startswith("on")]
    assert len(elements.of("script")) == 2 and len(elements.of("style")) == 1 and not elements.comments


@pytest.mark.parametrize("name", pictures.ALL)
def test_same_picture_same_page(name: str) -> None:
    assert page.render(pictures.ALL[name]()) == page.render(pictures.ALL[name]())


def test_numbers_of_the_page_are_those_of_the_picture() -> None:
    picture = pictures.slab_leak()
    found = data(page.render(picture))
    assert found["times"] == picture.times
    assert [band["words"] for band in found["bands"]] == [band.words for band in picture.bands]
    assert [band["values"] for band in found["bands"]] == [[None if value is None else round(value) for value in band.values]
                                                           for band in picture.bands]
    assert [band["culprit"] for band in found["bands"]] == [False, True] + [False] * 7
    assert found["available"] == [None if value is None else round(value) for value in picture.available]
    assert found["total"][0] == 8 * 1024**3 and found["total"][80] is None
    assert found["marks"] == [[mark.at, mark.kind, mark.words] for mark in picture.marks]
    assert picture.cone is not None and found["cone"] == picture.cone._asdict()
    moment = picture.moments[3]
    index, said, rows = found["moments"][3]
    assert (index, [found["words"][each] for each in said]) == (moment.index, moment.verdict)
    assert [(found["words"][word], size, bool(culprit)) for word, size, culprit in rows] == [
        (row.words, round(row.size), row.culprit) for row in moment.rows]


def test_without_script_the_page_says_the_verdict_and_the_last_ledger() -> None:
    picture = pictures.slab_leak()
    text = page.render(picture).split("<template", 1)[0]
    assert within(text, "h1") == [html.escape(picture.title)]
    assert [html.escape(sentence) in text for sentence in [*picture.verdict, *picture.notes]] == [True] * 4
    ledger = text.split('<tbody id="ledger">', 1)[1].split("</tbody>", 1)[0]
    last = picture.moments[-1]
    assert [html.unescape(cell) for cell in within(ledger, "th")] == [row.words.strip() for row in last.rows]
    assert ['class="within"' in line for line in ledger.split("<tr")[1:]] == [row.words.startswith(" ") for row in last.rows]
    assert within(ledger, "td")[0::3] == [wording.size(row.size) for row in last.rows]
    assert within(ledger, "td")[1::3] == [wording.share(row.size, pictures.TOTAL) for row in last.rows]
    assert re.findall(r'width="([0-9.]+)%"', ledger) == [f"{100 * row.size / pictures.TOTAL:.2f}" for row in last.rows]
    assert ledger.count('class="culprit"') == 1 and '<tr class="culprit"><th scope="row">slab cache &#x27;nfs_inode_cache&#x27;' in ledger
    legend = text.split('<tbody id="legend">', 1)[1].split("</tbody>", 1)[0]
    assert re.findall(r"<span>(.*?)</span>", legend) == [
        "MemTotal", "MemAvailable", *(html.escape(band.words) for band in reversed(picture.bands)),
        "PSI memory some", "PSI memory full", "Swap used"]
    assert "<noscript>" in text
    assert "2024-03-05 20:00:00 UTC" in text


def test_growth_is_since_the_last_reboot() -> None:
    picture = pictures.slab_leak()
    culprit = picture.bands[1]
    assert page.growth(culprit, picture) == "+4.54 GiB in 12.9 h"
    assert page.growth(culprit, picture._replace(marks=[])) == "+4.54 GiB in 20.0 h"
    # Nothing is known after this reboot: it is what grew before.
    late = picture._replace(marks=[*picture.marks, Mark(picture.times[-1] + 1, "boot", "Reboot")])
    assert page.growth(culprit, late) == "+4.54 GiB in 12.9 h"
    assert page.growth(culprit._replace(values=[None] * len(culprit.values)), picture) == ""


def test_names_stay_text() -> None:
    text = page.render(pictures.hostile())
    elements = Elements(text)
    assert not elements.of("img") and "onerror" not in {name for _, attributes in elements.tags for name in attributes}
    found = data(text)
    assert found["bands"][0]["words"] == pictures.HOSTILE[0]
    assert found["bands"][3]["words"] == "two lines  and three ?back? ?[31mred ? ?"
    assert found["bands"][6]["words"] == ("very" + " long" * 100)[:298] + ".."
    assert [word["colour"] for word in found["bands"]].count(page.CULPRIT) == 1
    assert "psi_some" not in found and "swap_used" not in found  # not a number is not known
    heading, = within(text, "h1")
    assert html.unescape(heading) == pictures.HOSTILE[1]
    assert "$title" not in text.split("<script", 1)[0].replace("${title} $$", "") and "${title} $$ {{x}} %s" in text


@given(st.text(st.characters() | st.sampled_from("<>&\"'/!-$\\" + BETWEEN), max_size=60))
def test_no_text_leaves_its_place(name: str) -> None:
    """Whatever a host calls its things, the page has the same elements and the same JSON but for the words."""
    plain, bent = (page.render(Picture(
        word, word, [word], [0.0], [Band("g.x", word, [1.0], True)], [2.0], [1.0], [None], [None], [None], [Mark(0.0, "oom", word)],
        None, [], [word])) for word in ("x", name))
    assert Elements(bent).tags == Elements(plain).tags
    assert Elements(bent).comments == []
    expected = data(plain)
    shown = data(bent)["bands"][0]["words"]
    expected["bands"][0]["words"] = expected["marks"][0][2] = shown
    assert data(bent) == expected
    assert html.unescape(within(bent, "h1")[0]) == shown and len(shown) == len(name)


def test_clock_set_back_keeps_each_ledger_with_its_moment() -> None:
    found = data(page.render(pictures.clock_set_back()))
    assert found["times"] == [pictures.START + each for each in (0, 300, 600, 900)]
    assert found["bands"][0]["values"] == [each * 1024**3 for each in (1, 3, 2, 4)]
    assert [(index, found["words"][said[0]], rows[0][1]) for index, said, rows in found["moments"]] == [
        (0, "moment 0", 1024**3), (1, "moment 2", 3 * 1024**3), (2, "moment 1", 2 * 1024**3), (3, "moment 3", 4 * 1024**3)]


def test_nothing_known_is_not_nought() -> None:
    text = page.render(pictures.nothing_known())
    assert "not known" in text and "0 B" not in text.split("<template", 1)[0]
    assert "total" not in data(text)
    assert "No ledger in this history." in text


def test_library_is_shipped_with_its_licence() -> None:
    code = (STATIC / "uPlot.iife.min.js").read_text()
    licence = (STATIC / "uPlot-LICENSE.txt").read_text()
    assert code.startswith("/*! https:") and "(v1.6.32) */" in code.splitlines()[0]
    assert hashlib.sha256(code.encode()).hexdigest() == UPLOT
    text = page.render(pictures.innocent_day())
    assert code.split("*/\n", 1)[1] in text
    assert text.count(licence.strip().splitlines()[2]) == 2 and "uPlot v1.6.32, MIT licence" in text
    assert "Permission is hereby granted, free of charge" in licence


UPLOT = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"


def test_own_script_is_small() -> None:
    assert all(len((STATIC / name).read_text().splitlines()) < 300 for name in page.SCRIPTS)
    assert len(page.render(pictures.no_moments())) < 100_000
