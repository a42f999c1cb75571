"""What a picture says of a history made by hand, number by number."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from memtriage import exhaustion, following
from memtriage.report import bands, compose, inputs, verdict
from memtriage.report.history import Event, Frame, Gap, History, Unusable
from memtriage.state import Sample
from memtriage.thinning import fitted

HELD = {"leak": exhaustion.Cache(False)}


def frame(minute: float, leaked: int, boot: str = "a", **more: int) -> Frame:
    """A host of 1,000,000 kB; ``leaked`` pages in a cache."""
    slab, anon, cache = leaked * 4 + 1000, 200_000, 100_000
    free = 1_000_000 - slab - anon - cache - 10_000 - 20_000
    row = {"total": 1_000_000, "available": free + 80_000, "p.free": free, "p.page_cache": cache, "p.shmem": 10_000, "p.anon": anon,
           "p.slab_reclaimable": 0, "p.slab_unreclaimable": slab, "p.unaccounted": 20_000, "c.leak": leaked, "g.httpd": 45_000,
           "n.httpd": 9, **more}
    return Frame(1_700_000_000 + 60 * minute, boot, 90_000 + 60 * minute, row, {"httpd": 40_000}, HELD)


def history(*frames: Frame, gaps: tuple[Gap, ...] = (), events: tuple[Event, ...] = ()) -> History:
    return History("", 4096, frames, gaps, events, ())


def test_every_byte_has_one_band() -> None:
    found = bands.split(frame(0, 10_000), 4096)
    kib = {"p.free": 629_000, "p.page_cache": 100_000, "p.shmem": 10_000, "p.unaccounted": 20_000, "c.leak": 40_000, "o.slab": 1000,
           "g.httpd": 160_000, "o.anon": 40_000}
    assert found == {key: size * 1024.0 for key, size in kib.items()}
    assert sum(found.values()) == 1_000_000 * 1024


def test_groups_that_count_pages_twice_are_scaled() -> None:
    twice = frame(0, 0)._replace(anon={"httpd": 100_000})
    found = bands.split(twice, 4096)
    assert (found["g.httpd"], found["o.anon"]) == (200_000 * 1024.0, 0.0)


def test_counters_that_overlap() -> None:
    odd = frame(0, 0)
    odd = odd._replace(row={**odd.row, "p.hugepages": 500_000, "p.unaccounted": -500_000})
    found = bands.split(odd, 4096)
    assert found["p.free"] == odd.row["p.free"] * 1024.0 and found["p.unaccounted"] == 0.0
    assert sum(found.values()) == pytest.approx(1_000_000 * 1024)


def test_the_culprit_its_growth_its_end_and_its_alarm() -> None:
    picture = compose.picture(history(*(frame(minute, 300 * minute) for minute in range(360))))
    assert picture.title == "slab cache 'leak' +420 MiB in 6.0 h"
    assert [(band.key, band.culprit) for band in picture.bands[:1]] == [("c.leak", True)]
    assert (picture.growth, picture.grew) == ("+420 MiB in 6.0 h", (picture.times[1], picture.times[-1]))
    assert picture.cone is not None
    assert (picture.cone.start, picture.cone.available) == (picture.times[-1], picture.available[-1])
    left = picture.cone.available / (300 * 4096 / 60)
    assert picture.cone.middle - picture.cone.start == pytest.approx(left, rel=0.01)
    alarm, = picture.marks
    assert alarm.kind == "alarm" and picture.times[60] < alarm.at < picture.times[-1]


def test_before_a_kill() -> None:
    frames = [frame(minute, 500 * minute) for minute in range(300)] + [frame(minute, 0) for minute in range(301, 400)]
    at = frames[300].time
    picture = compose.picture(history(*frames, events=(Event(at, "oom", "OOM kill: httpd"),)))
    assert picture.title.startswith("slab cache 'leak' +") and picture.cone is None
    assert picture.title == f"slab cache 'leak' {picture.growth}" and picture.grew is not None and picture.grew[1] == frames[299].time
    assert picture.verdict[0] == "Judged before the OOM kill: 147 MiB of 977 MiB were available."


def test_a_kill_of_long_ago_does_not_hide_what_grows_now() -> None:
    """Of an earlier boot, or longer ago than the window: the end decides, and its projection is shown."""
    before = [frame(minute, 500 * minute) for minute in range(300)]
    kill = Event(before[-1].time + 1, "oom", "OOM kill: httpd")
    after = [frame(minute, 300 * (minute - 310), "b")._replace(uptime=60.0 * (minute - 309)) for minute in range(310, 610)]
    picture = compose.picture(history(*before, *after, events=(kill,)))
    assert picture.title == "slab cache 'leak' +336 MiB in 4.8 h" and picture.cone is not None
    steady = [frame(minute, 200 * minute) for minute in range(600)]
    for minute, ended in ((100, True), (590, False)):
        picture = compose.picture(history(*steady, events=(Event(steady[minute].time, "oom", "OOM kill: httpd"),)))
        assert (picture.cone is not None) == ended


def test_nothing_to_blame() -> None:
    picture = compose.picture(history(*(frame(minute, 100) for minute in range(100))))
    assert picture.title == "No shortage of memory: 731 MiB of 977 MiB available"
    assert picture.verdict == ["Nothing grows provenly; 75% can still be had."]
    assert not any(band.culprit for band in picture.bands) and picture.cone is None and not picture.marks


def test_a_gap_is_one_moment_of_nothing() -> None:
    one, two = frame(0, 100), frame(60, 100)
    picture = compose.picture(history(one, two, gaps=(Gap(one.time, two.time, False),)))
    assert picture.times == [one.time, (one.time + two.time) / 2, two.time]
    assert [value is None for value in picture.total] == [False, True, False]
    for series in (picture.available, picture.swap_used, picture.psi_some, picture.psi_full, *(band.values for band in picture.bands)):
        assert series[1] is None


def test_pressure_is_not_reckoned_across_a_boot() -> None:
    frames = [frame(0, 0, psi_some=0, psi_full=0), frame(1, 0, psi_some=6_000_000, psi_full=3_000_000),
              frame(2, 0, "b", psi_some=1, psi_full=1)]
    picture = compose.picture(history(*frames))
    assert (picture.psi_some, picture.psi_full) == ([None, 10.0, None], [None, 5.0, None])


def test_moments_without_explain() -> None:
    picture = compose.picture(history(*(frame(minute, 300 * minute) for minute in range(360))), moments=True)
    last = picture.moments[-1]
    assert last.index == 359
    assert (last.rows[0].words, last.rows[0].culprit) == ("slab cache 'leak'", True)
    assert sum(row.size for row in last.rows) == pytest.approx(1_000_000 * 1024, rel=0.01)


def test_hostile_words() -> None:
    picture = compose.picture(history(frame(0, 0)), "ho|st\n<b>", None)
    assert picture.host == "ho?st??b?"


def test_a_part_as_the_culprit_is_a_band_of_its_own() -> None:
    for key in ("p.anon", "p.slab_unreclaimable", "p.shmem"):
        found = bands.split(frame(0, 10_000), 4096, key)
        assert found[key] == frame(0, 10_000).row[key] * 1024.0 and sum(found.values()) == 1_000_000 * 1024


def test_a_state_file(tmp_path: Path) -> None:
    samples = [Sample("a", 1000.0 + 300 * at, dict(frame(at, 0).row)) for at in range(10)]
    samples += [Sample("b", 500.0 + 300 * at, dict(frame(at, 0).row)) for at in range(10)]
    path = tmp_path / "memory.json"
    path.write_bytes(fitted(following.NAME, samples, samples[-1])[0])
    os.utime(path, (1_700_100_000, 1_700_100_000))
    picture = compose.picture(inputs.read([str(path)]))
    assert picture.times[-1] == 1_700_100_000 and len(picture.times) == 21 and picture.total[10] is None
    assert [mark.kind for mark in picture.marks] == ["boot"]


@pytest.mark.parametrize(("data", "words"), [
    (b'{"format":1,"name":"memory"', "not whole"), (json.dumps({"format": 1, "name": "other", "keys": [], "boots": [], "rows": []},
                                                               separators=(",", ":")).encode(), "not one of memory"),
    (b'{"format":1,"name":"memory","keys":[],"boots":[],"rows":[]}', "no sample in it")])
def test_odd_state_files(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "memory.json").write_bytes(data)
    with pytest.raises(Unusable, match=words):
        inputs.read([str(tmp_path / "memory.json")])


def test_rules_are_those_of_the_checks_for_a_long_history() -> None:
    long = history(*(frame(minute, 100) for minute in range(0, 2000, 10)))
    assert verdict.rules(long.frames[0].uptime, long.frames[-1].uptime) == exhaustion.Rules(4 * 3600.0, 3600.0, 6)
    assert verdict.rules(long.frames[0].uptime, long.frames[6].uptime).window == 3600.0


@pytest.mark.parametrize(("page", "told", "note"), [
    (4096, 4096, []), (65536, 65536, ["pages are of 64 KiB, by the slab caches"]),
    (32768, 4096, ["pages are taken to be 4 KiB, which is not sure here: slab caches may be larger"])])
def test_pages_of_a_state_file(tmp_path: Path, page: int, told: int, note: list[str]) -> None:
    """It counts caches in pages and slab in kB: only one size of a page makes the first nearly all of the second."""
    caches = {"c.leak": 1_800 * 1024**2 // page, "c.dentry": 200 * 1024**2 // page, "c.filp": 30 * 1024**2 // page}
    slab = sum(caches.values()) * page // 1024 + 20_000
    samples = [Sample("b", 4000.0 + 300 * at, {"total": 8_000_000, "available": 4_000_000, "p.free": 3_000_000,
                                               "p.slab_reclaimable": 100_000, "p.slab_unreclaimable": slab - 100_000,
                                               "p.anon": 500_000, **caches}) for at in range(5)]
    (tmp_path / "memory.json").write_bytes(fitted("memory", samples, samples[-1])[0])
    history = inputs.read([str(tmp_path / "memory.json")])
    assert (history.page, [words for words in history.notes if "pages are" in words]) == (told, note)


def test_what_grew_most_is_named_where_nothing_is_proven() -> None:
    """A fifth of memory in a step: no trend, no shortage, and yet what somebody asks for who looks at it."""
    grown = history(*(frame(minute, 1_000 if minute < 20 else 50_000) for minute in range(40)))
    found = verdict.judge(grown)
    assert (found.key, found.title) == (None, "No shortage of memory: 536 MiB of 977 MiB available")
    assert found.lines == ["Nothing grows provenly; most by slab cache 'leak', +191 MiB in 39.0 min; 55% can still be had."]
    still = verdict.judge(history(*(frame(minute, 1_000) for minute in range(40))))
    assert still.lines == ["Nothing grows provenly; 74% can still be had."]
