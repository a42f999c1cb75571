"""Recordings of any length: what is looked at is what is there, peaks and kills are never missed, damage and gaps are told."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memtriage.procfs import meminfo
from memtriage.recording import FIRST, Damaged, Recording, Ring, Unreadable, layout
from memtriage.report import compose, inputs, page, recordings, skim
from memtriage.report.history import Unusable
from memtriage.report.picture import Mark
from tests.bench import bench_plot
from tests.recording.made import Author

MEMINFO = """MemTotal:       1000000 kB
MemFree:  {free:14d} kB
MemAvailable: {available:10d} kB
Buffers:              0 kB
Cached:          100000 kB
SwapCached:           0 kB
SwapTotal:       200000 kB
SwapFree:        150000 kB
AnonPages:       200000 kB
Shmem:            10000 kB
Slab:             60000 kB
SReclaimable:     10000 kB
SUnreclaim:       50000 kB
"""
BOOT = b"11111111-2222-3333-4444-555555555555\n"
OTHER = b"aaaaaaaa-2222-3333-4444-555555555555\n"


def sample(free: int = 500_000, boot: bytes = BOOT, kills: int = 0, log: bytes = b"", waited: int = 0) -> dict[str, bytes]:
    pressure = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=%d\n" % (waited, waited // 2)
    return {"meminfo": MEMINFO.format(free=free, available=free + 50_000).encode(), "sys/kernel/random/boot_id": boot, "kmsg": log,
            "vmstat": b"pgscan_kswapd 5\noom_kill %d\n" % kills, "pressure/memory": pressure,
            "slabinfo": b"slabinfo - version: 2.1\nkmalloc-512 1 1 512 8 1 : tunables 0 0 0 : slabdata 2000 2000 0\n"}


def author(path: Path, size: int = 4 * 1024 * 1024) -> Author:
    return Author(Ring.open(str(path), size))


def check(path: Path, whole: bool = True) -> None:
    """Every number that was skimmed is that of the record unpacked as a whole, if it can be."""
    found = skim.skim(str(path))
    with Recording(str(path)) as recording:
        assert list(found.seq) == [entry.head.seq for entry in recording.entries]
        for place, entry in enumerate(recording.entries):
            try:
                info = meminfo.parse(recording.content(entry).sources["meminfo"].data or b"")
            except Damaged:  # what it leans on is gone
                assert not whole
                continue
            assert found.available[place] == info.get("MemAvailable")
            assert found.free[place] == info.get("MemFree")
            assert (found.real[place], found.boot[place], found.base[place]) == (entry.head.real_ns, entry.head.boot_ns, entry.head.base)
        assert min(found.free, default=0) >= 0


@pytest.mark.parametrize("samples", [1, 3, 70, 700])
def test_what_is_skimmed_is_what_is_recorded(tmp_path: Path, samples: int) -> None:
    """With 700 the ring has gone round."""
    made = author(tmp_path / "r", 512 * 1024)
    chance = random.Random(samples)
    for _ in range(samples):
        made.write(more=sample(chance.choice((7, 99_999, 500_000, 500_001, 812_345))))
    made.ring.close()
    check(tmp_path / "r")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 512), st.sampled_from((1, 60, 64, 640, 9000)), st.sampled_from((b"\0", layout.MARK, b"x"))),
                max_size=9),
       st.integers(0, 600), st.sampled_from((4096 * 3, 70_000, skim.BLOCK)))
def test_of_a_damaged_file_as_much_is_seen_as_there_is(tmp_path: Path, holes: list[tuple[int, int, bytes]], cut: int, block: int) -> None:
    """Also of records that lie across what is read at a time."""
    path = tmp_path / "r"
    if not path.exists():
        made = author(path, 256 * 1024)
        for number in range(350):
            made.write(more=sample(500_000 - number))
        made.ring.close()
    data = bytearray(path.read_bytes())
    for place, length, what in holes:
        data[place * 500 : place * 500 + length] = (what * length)[:length]
    (tmp_path / "damaged").write_bytes(data[: len(data) - cut * 400])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skim, "BLOCK", block)
        try:
            check(tmp_path / "damaged", whole=False)
        except Unreadable:
            assert cut * 400 > 240_000 or holes


SIZES = st.one_of(st.integers(0, 30), st.integers(99_999_900, 100_000_100), st.integers(0, 10**13))
"""kB: numbers of all widths, and those where meminfo's columns become wider, at 100 GB."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(SIZES, SIZES, st.sampled_from((16_000_000, 99_999_999, 128_000_000))), min_size=1, max_size=40))
def test_numbers_of_any_width(tmp_path: Path, rows: list[tuple[int, int, int]]) -> None:
    """Nothing is left unknown, also where a line became longer, or MemTotal is another: of a guest whose balloon moves."""
    (tmp_path / "r").unlink(missing_ok=True)
    made = author(tmp_path / "r", 1024 * 1024)
    for number, (free, available, total) in enumerate(rows):
        text = b"MemTotal:       %8d kB\nMemFree:        %8d kB\nMemAvailable:   %8d kB\n" % (total, free, available)
        made.write(more={"meminfo": text + b"".join(b"Line%d:  %d kB\n" % (line, number * line) for line in range(free % 60))})
    made.ring.close()
    found = skim.skim(str(tmp_path / "r"))
    assert list(zip(found.free, found.available)) == [(row[0] * 1024, row[1] * 1024) for row in rows]


def test_meminfo_that_is_no_meminfo_is_unknown(tmp_path: Path) -> None:
    """Neither made up nor taken from another sample; what follows is known again."""
    texts = [MEMINFO.format(free=7, available=9), "", MEMINFO.format(free=7, available=9).replace("      7 kB", "   7  7 kB"),
             MEMINFO.format(free=8, available=9).replace("MemFree:", "MemFoo: "),
             MEMINFO.format(free=5, available=9).replace("5 kB", "5 MB"), MEMINFO.format(free=6, available=8)]
    made = Author(Ring.open(str(tmp_path / "r"), 1 << 20))
    for text in texts:
        made.write(more={"meminfo": text.encode()})
    known = [(7168, 9216), (-1, -1), (-1, 9216), (-1, 9216), (-1, 9216), (6144, 8192)]
    found = skim.skim(str(tmp_path / "r"))
    assert list(zip(found.free, found.available)) == known


def test_sources_that_are_not_shown_are_not_put_together(tmp_path: Path) -> None:
    """What is wanted is as without the short cut, of each sample, whatever it leans on."""
    made = author(tmp_path / "r")
    for number in range(60):
        made.write(more=sample(500_000 - number, kills=number))
    made.ring.close()
    found = skim.skim(str(tmp_path / "r"))
    wanted = frozenset(("meminfo", "processes", "sys/kernel/random/boot_id"))
    with recordings._Chosen(str(tmp_path / "r"), found, list(range(60)), wanted) as some, Recording(str(tmp_path / "r")) as whole:
        stale = 0
        for (_, one), entry in zip(some.chosen(), whole.entries):
            right = whole.content(entry)
            assert one.content.processes == right.processes and one.content.sources.keys() == right.sources.keys()
            assert all(one.content.sources[name] == right.sources[name] for name in wanted & right.sources.keys())
            stale += one.content.sources["vmstat"].data != right.sources["vmstat"].data
    assert stale > 20


def test_damage_costs_what_it_hit(tmp_path: Path) -> None:
    made = author(tmp_path / "r")
    first = made.seq
    for number in range(200):
        made.write(more=sample(500_000 - number))
    made.ring.close()
    chance = random.Random(5)
    with open(tmp_path / "r", "r+b") as handle:
        for _ in range(12):
            handle.seek(chance.randrange(4096, 900_000))
            handle.write(bytes(chance.randrange(256) for _ in range(200)))
    history = inputs.read([str(tmp_path / "r")])
    assert 20 < len(history.frames) < 200
    for frame in history.frames:
        assert frame.row["p.free"] == 500_000 - round(frame.time - 1_700_000_000 - first)
    assert compose.picture(history).total.count(None) >= 1


def test_frames_gaps_kills_and_starts(tmp_path: Path) -> None:
    made = author(tmp_path / "r")
    for number in range(20):
        made.write(more=sample(500_000 - 1000 * number, waited=100_000 * number))
    made.seq += 30  # lost
    killed = b"4,1,1,-;Out of memory: Killed process 7 (httpd) total-vm:900kB, anon-rss:20480kB, file-rss:0kB, shmem-rss:0kB, UID:0\n"
    for number in range(10):
        made.write(more=sample(300_000, kills=number > 4, log=killed if number == 5 else b""))
    made.flags = FIRST
    start = 1_700_000_000 + made.seq + 600
    for number in range(10):
        made.write((start + number) * 10**9, (50 + number) * 10**9, more=sample(900_000, OTHER))
    made.ring.close()
    history = inputs.read([str(tmp_path / "r")])
    picture = compose.picture(history, "hub")
    assert len(history.frames) == 40 and len(picture.times) == 42
    holes = [place for place, total in enumerate(picture.total) if total is None]
    assert holes == [20, 31] and [gap.booted for gap in history.gaps] == [False, True]
    assert all(band.values[hole] is None for band in picture.bands for hole in holes)
    killed_at = picture.times[26]
    assert [mark for mark in picture.marks if mark.kind != "alarm"] == [
        Mark(killed_at, "oom", "OOM kill: httpd, 20 MiB"), Mark(float(start), "boot", "reboot")]
    assert picture.psi_some[:3] == [None, pytest.approx(10.0), pytest.approx(10.0)]
    assert picture.psi_full[1] == pytest.approx(5.0) and picture.psi_some[21] is None
    assert picture.swap_used[0] == 50_000 * 1024
    assert "30 of 70 samples are missing, in 2 gaps; those wider than a line are drawn" in picture.notes
    for place, total in enumerate(picture.total):
        if total is not None:
            assert sum(band.values[place] or 0 for band in picture.bands) == pytest.approx(1_000_000 * 1024)


def test_what_could_not_be_read_is_a_gap(tmp_path: Path) -> None:
    """As what was not recorded is: nothing is drawn across it."""
    for count, lacking in ((60, (5, 20, 21, 22, 59)), (3000, tuple(range(1500, 1520)))):
        made = author(tmp_path / f"{count}")
        for number in range(count):
            made.write(more=sample(500_000 - number) if number not in lacking else {**sample(1), "meminfo": b"MemTotal: no\n"})
        made.ring.close()
        history = inputs.read([str(tmp_path / f"{count}")])
        first = history.frames[0].time
        assert [(gap.start - first, gap.end - first) for gap in history.gaps] == (
            [(4.0, 6.0), (19.0, 23.0)] if count == 60 else [(1499.0, 1520.0)])
        assert compose.picture(history).total.count(None) == len(history.gaps)


def test_a_recorder_started_anew_is_no_reboot(tmp_path: Path) -> None:
    made = author(tmp_path / "r")
    for number in range(40):
        made.flags = FIRST if number in (0, 20) else 0
        made.write(more=sample(500_000 - number))
    made.ring.close()
    picture = compose.picture(inputs.read([str(tmp_path / "r")]))
    assert picture.marks == [Mark(picture.times[20], "recorder", "recorder started")]


def test_a_peak_among_thousands_is_shown(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    spike = bench_plot.make(path, 1600, 2)
    history = inputs.read([path])
    assert len(history.frames) < 1400
    lowest = min(history.frames, key=lambda frame: frame.row["p.free"])
    assert (lowest.time, lowest.row["p.free"]) == (spike, 60_000)
    kill, = [event for event in history.events if event.at == spike]
    assert (kill.kind, kill.words) == ("oom", "OOM kill: httpd, 5 MiB")
    picture = compose.picture(history)
    assert [band.key for band in picture.bands if band.culprit] == ["c.nfsd4_stateids"]


def test_one_that_is_being_written(tmp_path: Path) -> None:
    made = author(tmp_path / "r")
    counts = []
    for number in range(3):
        made.write(more=sample(500_000 - number))
        counts.append(len(inputs.read([str(tmp_path / "r")]).frames))
    assert counts == [1, 2, 3]


def test_several_of_one_host(tmp_path: Path) -> None:
    for name, start in (("b", 1_700_001_000), ("a", 1_700_000_000)):
        made = author(tmp_path / name)
        for number in range(10):
            made.write((start + number) * 10**9, (start - 1_600_000_000 + number) * 10**9, more=sample())
        made.ring.close()
    history = inputs.read([str(tmp_path / "b"), str(tmp_path / "a"), str(tmp_path / "b")])
    assert len(history.frames) == 20
    assert [(gap.start, gap.end) for gap in history.gaps] == [(1_700_000_009.0, 1_700_001_000.0)]
    part = inputs.read([str(tmp_path / "a"), str(tmp_path / "b")][:1], 1_700_000_003.0, 1_700_000_004.0)
    assert [frame.time for frame in part.frames] == [1_700_000_003.0, 1_700_000_004.0]


def test_a_gap_of_all_files_stays_one_however_their_times_overlap(tmp_path: Path) -> None:
    """The same file twice; and one that knows the middle of another's gap."""
    made = author(tmp_path / "a")
    for number in (*range(10), *range(1000, 1010)):
        made.write((1_700_000_000 + number) * 10**9, (100_000_000 + number) * 10**9, more=sample())
    made.ring.close()
    made = author(tmp_path / "b")
    for number in range(500, 510):
        made.write((1_700_000_000 + number) * 10**9, (100_000_000 + number) * 10**9, more=sample())
    made.ring.close()
    for names, gaps in (("aa", [(9, 1000)]), ("ab", [(9, 500), (509, 1000)]), ("bab", [(9, 500), (509, 1000)])):
        history = inputs.read([str(tmp_path / name) for name in names])
        assert [(gap.start - 1_700_000_000, gap.end - 1_700_000_000) for gap in history.gaps] == gaps
        assert compose.picture(history).total.count(None) == len(gaps)


def test_slabinfo_that_was_late_once_is_not_zero(tmp_path: Path) -> None:
    made = author(tmp_path / "r")
    for number in range(9):
        one = sample()
        if number == 4:
            one["slabinfo"] = b""
        made.write(more=one)
    picture = compose.picture(inputs.read([str(tmp_path / "r")]))
    assert [band.values[4] for band in picture.bands] == [None] * len(picture.bands)
    assert picture.total[4] is not None and picture.available[4] is not None
    assert any("1 of 9 moments" in note for note in picture.notes)


def test_the_ledger_of_explain(tmp_path: Path) -> None:
    made = author(tmp_path / "r")
    for number in range(12):
        made.write(more=sample(500_000 - number))
    moments = compose.picture(inputs.read([str(tmp_path / "r")]), moments=True).moments
    assert [moment.index for moment in moments] == list(range(12))
    assert moments[0].verdict[0] == "Out of memory? No: 537 MiB of 977 MiB can still be had, 55.0%."
    assert sum(row.size for row in moments[0].rows if not row.words.startswith(" ")) == pytest.approx(1_000_000 * 1024, rel=0.02)


def test_the_ledgers_sentences_of_a_real_night_are_whole() -> None:
    """One that has no full stop is not run into the next, and none is so long that a page cuts it."""
    night = str(Path(__file__).parents[1] / "fixtures/story/recording")
    said = [sentence for moment in compose.picture(inputs.read([night]), moments=True).moments for sentence in moment.verdict]
    assert any(sentence.startswith("Pinned: slab cache") and sentence.endswith("counts it all the same.") for sentence in said)
    assert not [sentence for sentence in said if "growth Pinned:" in sentence or len(sentence) > page.LONGEST]


def test_the_ledgers_of_two_recordings_in_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each moment's is that of its own file, in order; nothing is left behind where they were put together."""
    (tmp_path / "room").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "room"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name, start, free in (("a", 1_700_000_000, 500_000), ("b", 1_700_000_500, 300_000)):
        made = author(tmp_path / name)
        for number in range(12):
            made.write((start + number) * 10**9, (start - 1_600_000_000 + number) * 10**9, more=sample(free - 10_000 * number))
        made.ring.close()
    picture = compose.picture(inputs.read([str(tmp_path / "a"), str(tmp_path / "b")]), moments=True)
    said = [moment.verdict[0] for moment in picture.moments]
    assert len(said) == 24
    for place, words in enumerate(said):
        left = ((500_000 if place < 12 else 300_000) - 10_000 * (place % 12) + 50_000) / 1024
        assert f" {left:.0f} MiB of 977 MiB" in words
    assert list((tmp_path / "room").iterdir()) == []


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    author(tmp_path / "fresh").ring.close()
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("empty", "empty"), ("zeros", "not a recording"), ("fresh", "no sample in this recording yet"),
                        ("none", "No such file"), (".", "Is a directory"), ("pipe", "Illegal seek")):
        with pytest.raises(Unusable, match=words):
            inputs.read([str(tmp_path / name)])


def test_without_meminfo(tmp_path: Path) -> None:
    made = author(tmp_path / "r")
    made.write(more={"meminfo": b""})
    with pytest.raises(Unusable, match="meminfo is missing"):
        recordings.read(str(tmp_path / "r"))
