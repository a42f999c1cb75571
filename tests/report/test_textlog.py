"""Plain logs: every form of free, missing parts, cut ends, clocks that jump, and whatever else stands in a file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memtriage.report import compose, inputs
from memtriage.report.history import Event, Gap, History, Unusable
from tests.report import logs
from tests.report.logs import START, date, free, ps, sample, slab


def read(folder: Path, text: str | bytes, **more: float) -> History:
    path = folder / "memory.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return inputs.read([str(path)], more.get("start"), more.get("end"))


def test_a_sample_in_full(tmp_path: Path) -> None:
    frame, = read(tmp_path, sample(START)).frames
    assert frame.time == START
    assert dict(frame.row) == {
        "total": 8_000_000, "available": 5_500_000, "p.free": 4_000_000, "p.shmem": 100_000, "p.page_cache": 1_840_000,
        "p.slab_reclaimable": 60_000, "p.slab_unreclaimable": 50_000, "p.unaccounted": 1_950_000 - 1_328_000, "swap_total": 1_000_000,
        "swap_free": 750_000, "c.kmalloc_leak": 12_500, "c.dentry": 15_000, "g.httpd": 250_000, "n.httpd": 2, "g.mysqld": 75_000,
        "n.mysqld": 1, "g.init": 3_000, "n.init": 1, "g.bash": 2_000, "n.bash": 1, "g.a": 2_000, "n.a": 1}
    assert frame.caches["dentry"].reclaimable and not frame.caches["kmalloc_leak"].reclaimable


@pytest.mark.parametrize(("form", "available", "cache"), [
    (logs.NEW, 5_500_000, 1_840_000), (logs.WIDE, 5_500_000, 1_840_000), (logs.OLD, 6_000_000, 2_000_000),
    (logs.GERMAN, 5_500_000, 1_840_000), (logs.CHINESE, 5_500_000, 1_840_000)], ids=["new", "wide", "old", "german", "chinese"])
def test_every_form_of_free(tmp_path: Path, form: str, available: int, cache: int) -> None:
    history = read(tmp_path, sample(START, 0, form) + sample(START + 1, 0, form))
    for frame in history.frames:
        assert [frame.row[key] for key in ("total", "available", "p.page_cache", "swap_free")] == [8_000_000, available, cache, 750_000]
    assert any("does not say what is available" in note for note in history.notes) == (form == logs.OLD)


@pytest.mark.parametrize(("divisor", "words"), [(1024, "MiB by ps"), (1024 * 1024, "GiB by ps")])
def test_other_units_are_told_by_the_processes(tmp_path: Path, divisor: int, words: str) -> None:
    lines = free().split("\n")
    rows = [" ".join([line.split()[0], *(str(int(word) // divisor) for word in line.split()[1:])]) for line in lines[1:3]]
    text = "\n".join([lines[0], *rows, ""])
    frame, = read(tmp_path, date(START) + "\n" + text + ps(*logs.USUAL) + slab(x_cache=500_000) + "----\n").frames
    assert frame.row["total"] == 8_000_000 // divisor * divisor, words


def test_human_units(tmp_path: Path) -> None:
    text = ("               total        used        free      shared  buff/cache   available\n"
            "Mem:           7.6Gi       1.9Gi       3.8Gi        98Mi       1.9Gi       5.2Gi\n"
            "Swap:          976Mi          0B       976Mi\n")
    frame, = read(tmp_path, date(START) + "\n" + text + ps(*logs.USUAL) + "----\n").frames
    assert (frame.row["total"], frame.row["available"], frame.row["swap_free"]) == (int(7.6 * 2**20), int(5.2 * 2**20), 976 * 1024)


def test_the_culprit_of_hours(tmp_path: Path) -> None:
    history = read(tmp_path, "".join(sample(START + 60 * at, 9_000 * at) for at in range(400)))
    picture = compose.picture(history)
    assert picture.title == "slab cache 'kmalloc_leak' +3.42 GiB in 6.6 h"
    assert [band.key for band in picture.bands if band.culprit] == ["c.kmalloc_leak"]
    for place, total in enumerate(picture.total):
        assert sum(band.values[place] or 0.0 for band in picture.bands) == pytest.approx(total)


def test_missing_parts(tmp_path: Path) -> None:
    only, = read(tmp_path, date(START) + "\n" + free() + "----\n").frames
    assert only.blind == "cg" and not any(key[:2] in ("c.", "g.") for key in only.row)
    processes, = read(tmp_path, date(START) + "\n" + free() + ps(*logs.USUAL) + "----\n").frames
    assert processes.blind == "c" and processes.row["g.httpd"] == 250_000


MANY = {"kmalloc_leak": 900_032, "dentry": 60_032, "filp": 6_400, "vm_area": 6_400, "anon_vma": 6_400, "proc_inode": 6_400}


@pytest.mark.parametrize(("page", "note"), [(4096, None), (16384, "pages are of 16 KiB, by the slab caches"),
                                            (65536, "pages are of 64 KiB, by the slab caches")])
def test_the_size_of_a_page(tmp_path: Path, page: int, note: str | None) -> None:
    """By how many objects are in a slab: on arm64 and ppc64 a slab is as many times larger."""
    history = read(tmp_path, date(START) + "\n" + free() + ps(*logs.USUAL) + logs.paged(page, **MANY) + "----\n")
    frame, = history.frames
    assert frame.row["c.kmalloc_leak"] * history.page == 900_032 * 1024
    assert frame.row["p.slab_unreclaimable"] == 900_032 + 3 * 6_400 and frame.row["g.httpd"] * history.page == 1_000_000 * 1024
    assert [words for words in history.notes if "pages are" in words] == ([note] if note else [])


def test_a_page_that_nothing_tells(tmp_path: Path) -> None:
    """Too few caches, or such as contradict each other: said, in the picture too."""
    doubt = "pages are taken to be 4 KiB, which is not sure here: slab caches may be larger"
    one = read(tmp_path, date(START) + "\n" + free() + ps(*logs.USUAL) + logs.paged(65536, a_cache=900_032) + "----\n")
    mixed = logs.paged(65536, **MANY) + logs.paged(4096, **{name + "_2": size for name, size in MANY.items()}).partition("slabdata\n")[2]
    two = read(tmp_path, date(START) + "\n" + free() + ps(*logs.USUAL) + mixed + "----\n")
    assert doubt in one.notes and doubt in two.notes
    assert doubt in compose.picture(two).notes


def test_the_last_process_counts(tmp_path: Path) -> None:
    """Where no table of slabs stands between the list and the line of dashes, and where one does."""
    last = ps(*logs.USUAL).rpartition("root           9")[0] + "root      999  0.0 12.5 1 900000 ?  S 1 1 leaky\n"
    for more in ("", slab(dentry=60_000)):
        frame, = read(tmp_path, date(START) + "\n" + free() + last + more + "----\n").frames
        assert frame.row["g.leaky"] == 225_000
    cut = date(START) + "\n" + free() + last + "----\n" + date(START + 1) + "\n" + free() + last[:-12]
    assert "g.leaky" not in read(tmp_path, cut).frames[-1].row


@pytest.mark.parametrize("form", ["%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S", "%a %b %d %H:%M:%S %Z %Y"])
def test_the_hour_that_comes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """At the end of summer time, in a zone whose name says nothing (CST) or without its name: no gap, and right behind it."""
    monkeypatch.setenv("TZ", "CST6CDT,M3.2.0,M11.1.0")
    time.tzset()
    try:
        begin = 1_793_509_200  # 2026-11-01 00:00:00 CDT
        at = [begin + 300 * step for step in range(48)]
        text = "".join(f"{time.strftime(form, time.localtime(moment))}\n{free()}----\n" for moment in at)
        history = read(tmp_path, text)
        assert [frame.time for frame in history.frames] == at and not history.gaps
        assert not any("set back" in note for note in history.notes)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_cut_end_is_not_taken_for_less(tmp_path: Path) -> None:
    whole = sample(START) + sample(START + 1)
    one, _ = read(tmp_path, whole).frames
    for cut in range(1, len(sample(START)) - 1, 9):
        frames = read(tmp_path, whole[:-cut]).frames
        assert frames[0].row == one.row
        assert len(frames) == 1 or (frames[1].blind and not any(key.startswith("c.") for key in frames[1].row)) or cut <= 2


def test_gap_and_reboot(tmp_path: Path) -> None:
    before = "".join(sample(START + at) for at in range(60))
    others = "".join(date(START + 600 + at) + "\n" + free() + ps(*((pid + 5000, rss, words) for pid, rss, words in logs.USUAL)) + slab(
        dentry=1024) + "----\n" for at in range(60))
    history = read(tmp_path, before + others)
    assert list(history.gaps) == [Gap(START + 59, START + 600, True)]
    assert list(history.events) == [Event(START + 600, "boot", "reboot (new processes)")]
    picture = compose.picture(history)
    hole, = [place for place, total in enumerate(picture.total) if total is None]
    assert (picture.times[hole - 1], picture.times[hole + 1]) == (START + 59, START + 600)
    assert all(band.values[hole] is None for band in picture.bands) and picture.available[hole] is None


def test_a_clock_set_back(tmp_path: Path) -> None:
    history = read(tmp_path, sample(START) + sample(START + 1) + sample(START - 3600) + sample(START - 3599))
    assert [frame.time for frame in history.frames] == [START, START + 1, START + 2, START + 3]
    assert any("set back 1 times" in note for note in history.notes)


def test_part_of_it(tmp_path: Path) -> None:
    text = "".join(sample(START + at) for at in range(20))
    assert [frame.time for frame in read(tmp_path, text, start=START + 5, end=START + 7).frames] == [START + 5, START + 6, START + 7]
    with pytest.raises(Unusable, match="no sample between these times"):
        read(tmp_path, text, start=START + 500)


@pytest.mark.parametrize("text", ["", "hello\n", "Mem: 1 2 3 4 5 6\n", free(), "Tue May 12 03:04:05 UTC 2026\n"])
def test_what_is_no_log(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unusable, match=r"memory\.log: "):
        read(tmp_path, text)


def test_hostile_names(tmp_path: Path) -> None:
    nasty = ("/usr/bin/Mem:", "----", "<b>|evil</b>\x1b[31m", "a" * 5000, "slabinfo - version: 9", "Tue May 12 03:04:05 UTC 2020")
    text = date(START) + "\n" + free() + ps(*((at + 300, 400_000, name) for at, name in enumerate(nasty))) + slab(dentry=4096) + "----\n"
    history = read(tmp_path, text + sample(START + 1))
    assert [frame.time for frame in history.frames] == [START, START + 1]
    for band in compose.picture(history).bands:
        assert band.words.isprintable() and band.words.isascii() and not set("|<>") & set(band.words)


WHOLE = "".join(sample(START + at, 1000 * at) for at in range(3)).encode()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.one_of(st.binary(max_size=3), st.sampled_from(
    [b"\n----\n", b"\nMem: 9 9 9 9 9 9\n", b"\0", b"99999999999999999999", date(0).encode() + b"\n"]))), max_size=8),
    st.integers(0, len(WHOLE)))
def test_bent_logs(tmp_path: Path, changes: list[tuple[int, bytes]], cut: int) -> None:
    text = bytearray(WHOLE[:cut])
    for place, new in changes:
        text[place : place + len(new)] = new
    try:
        history = read(tmp_path, bytes(text))
        picture = compose.picture(history)
    except Unusable:
        return
    for place, total in enumerate(picture.total):
        known = [band.values[place] for band in picture.bands]
        if total is not None and None not in known and known:
            assert sum(value or 0.0 for value in known) == pytest.approx(total, rel=0.02)
