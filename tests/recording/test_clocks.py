"""A wall clock that is set, ahead, back and to 1971, and a host that sleeps: order, gaps and ages go by boot time."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from memtriage.recording import Recording, stepped
from tests.checks.command import run
from tests.checks.test_mem_recorder import UUID, tree
from tests.recorder.runs import command
from tests.recording import made

START = 1_700_000_000.0
SLEPT = 3000.0


class Moment(NamedTuple):
    boot: float
    wall: float


def moments() -> list[Moment]:
    """A sample a second for 50 s each: right, 2 h ahead, an hour back, in 1971, right again, and after a sleep."""
    found = []
    boot = 1000.0
    for offset in (0.0, 7200.0, 3600.0, 31_600_000.0 - START, 0.0):
        for _ in range(50):
            found.append(Moment(boot, START + boot + offset))
            boot += 1
    boot += SLEPT
    return found + [Moment(boot + number, START + boot + number) for number in range(50)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    name = str(tmp_path / "recording")
    author = made.Author(made.Ring.open(name, 2 * 1024**2))
    for moment in moments():
        author.write(int(moment.wall * 1e9), int(moment.boot * 1e9), 1000, {
            "meta": (made.META % 1000).encode(), "sys/kernel/random/boot_id": UUID,
            "sample": b"late_us 12\nlost 0\nwaiting 0\ndisk 50000000000 100000000000\ndisk_problem -\n"})
    author.ring.close()
    return name


def test_in_order_and_with_the_true_gap(path: str) -> None:
    with Recording(path) as recording:
        samples = list(recording.samples())
        assert [(round(one.boot_time), round(one.time)) for one in samples] == [(round(one.boot), round(one.wall)) for one in moments()]
        gap, = recording.gaps()
        assert (round(gap.seconds, 3), gap.lost, gap.restart) == (SLEPT + 1, 0, False)
        steps = [stepped(one.head, two.head) for one, two in zip(samples, samples[1:])]
        assert [round(step) for step in steps if step] == [7200, -3600, 31_600_000 - round(START) - 3600, round(START) - 31_600_000]


@pytest.mark.parametrize("seconds", [0.0, 49.0, 49.5, 3050.0, 3099.0, 3200.0, 1e6])
def test_so_long_before_the_newest_is_so_long(path: str, seconds: float) -> None:
    newest = moments()[-1].boot
    wanted = [moment.boot for moment in moments() if newest - moment.boot <= seconds]
    with Recording(path) as recording:
        assert [entry.head.boot_ns / 1e9 for entry in recording.last(seconds)] == wanted
    with Recording(path, seconds) as recording:  # and found without reading the whole file
        assert [entry.head.boot_ns / 1e9 for entry in recording.last(seconds)] == wanted
        assert len(list(recording.samples_of(recording.last(seconds)))) == len(wanted)


def test_a_moment_is_what_the_clock_showed(path: str) -> None:
    """1971 came later and lies before all others; what was shown twice, at two hours, is the later one."""
    with Recording(path) as recording:
        for moment in (moments()[10], moments()[60], moments()[160], moments()[-1]):
            found = recording.at(moment.wall + 0.5)
            assert found is not None and (found.boot_time, found.time) == (moment.boot, moment.wall)
        newest = recording.at(float("inf"))
        assert newest is not None and newest.boot_time == moments()[-1].boot
        assert recording.at(0.0) is None


def test_what_is_printed_and_exported(path: str) -> None:
    lines = command("--print", "--output", path).stdout.splitlines()
    said = [line.partition(" -- ")[2] for line in lines if " -- " in line]
    assert said == ["clock set ahead by 7200.0 s", "clock set back by 3600.0 s", f"clock set back by {START + 3600 - 31_600_000:.1f} s",
                    f"clock set ahead by {START - 31_600_000:.1f} s", f"gap of {SLEPT + 1:.1f} s, samples lost: 0"]
    assert len(lines) == 300 + len(said)
    wanted = [moment.boot for moment in moments()]
    rows = [json.loads(line) for line in command("--export", "jsonl", "--output", path).stdout.splitlines()]
    assert [row["boot_time"] for row in rows] == wanted
    assert [row["gap"] for row in rows if row["gap"]] == [{"seconds": SLEPT + 1, "lost": 0, "restart": False}]
    table = list(csv.DictReader(command("--export", "csv", "--output", path).stdout.splitlines()))
    assert [float(row["boot_time"]) for row in table] == wanted and [row["gap"] for row in table if row["gap"]] == ["3001.000"]
    newest = command("--export", "jsonl", "--since", "51m", "--output", path).stdout.splitlines()
    recent = [json.loads(line)["boot_time"] for line in newest]
    assert recent == [boot for boot in wanted if wanted[-1] - boot <= 51 * 60]


def test_the_check_sees_the_hour_before_whatever_the_clock_did(path: str, tmp_path: Path) -> None:
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, moments()[-1].boot + 1), "--file", path, "--gap-warning", "60").sound()
    assert answer.code == 1
    assert answer.first == ("MEM_RECORDER WARNING - newest sample 1 s old (every 1 s); longest gap in 1 h 3001.0 s, 0 samples lost;"
                            " memory locked")
    assert answer.out.splitlines()[-1] == "Gap of 3001.0 s, 49 s before the newest: the next one late"
