"""When the speaker asks and what it says: a change at once, the rest at its heartbeat, all that is wrong again while memory is short."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from memtriage import inprocess
from memtriage.passive import Result, Service, speaker
from memtriage.passive.outbox import Outbox
from memtriage.passive.settings import Settings
from memtriage.passive.speaker import Speaker
from memtriage.procfs import files
from memtriage.recorder import shortage
from tests.checks.command import FIXTURES

MEMORY = Service("memory", "check_free_mem", ("--eta-warning", "~:", "--eta-critical", "~:"))
PROCESSES = Service("processes", "check_proc_count", ())
PRESSURE = Service("pressure", "check_mem_pressure", ())


class Box(Outbox):
    """Takes what is handed over, and delivers nothing."""

    def __init__(self) -> None:
        self.taken: list[Result] = []
        self.hurry = False

    def put(self, result: Result) -> None:
        self.taken.append(result)

    def of(self, name: str) -> list[int]:
        return [result.state for result in list(self.taken) if result.service == name]

    def wake(self) -> None: ...

    def watch(self) -> None: ...

    def run(self) -> None: ...

    def stop(self) -> None: ...


class Talk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.box = Box()
        shutil.copytree(FIXTURES / "healthy", folder / "host")
        self.running: list[tuple[Speaker, threading.Thread]] = []

    def like(self, scenario: str) -> None:
        """The host's memory is from now on what another tree says."""
        shutil.copyfile(FIXTURES / scenario / "proc/meminfo", self.folder / "new")
        (self.folder / "new").replace(self.folder / "host/proc/meminfo")

    def start(self, *services: Service, every: float = 0.1, fast: float = 0.05, beat: float = 60.0) -> None:
        settings = Settings("file", {}, list(services), every, fast, beat, str(self.folder / "state"))
        one = Speaker(settings, self.box, str(self.folder / "host/proc"))
        thread = threading.Thread(target=one.run, daemon=True)
        thread.start()
        self.running.append((one, thread))

    def end(self) -> None:
        for one, thread in self.running:
            one.stop.set()
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    monkeypatch.setattr(speaker, "LOOK_S", 0.05)
    one = Talk(tmp_path)
    yield one
    one.end()


def until(true: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_change_is_said_at_once_and_the_same_only_at_the_heartbeat(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortage, "LEFT", 0.0)  # not short, whatever is left
    asked: list[str] = []
    really = inprocess.run
    monkeypatch.setattr(inprocess, "run", lambda check, argv: (asked.append(check), really(check, argv))[1])
    talk.start(MEMORY)
    until(lambda: len(asked) >= 4)
    assert talk.box.of("memory") == [0]
    talk.like("c-unreclaimable-slab")
    until(lambda: len(talk.box.of("memory")) == 2)
    count = len(asked)
    until(lambda: len(asked) >= count + 4)
    assert talk.box.of("memory") == [0, 2]
    assert talk.box.taken[1].lines[0].startswith("FREE_MEM CRITICAL - 4.50% of 3.84 GiB available (177 MiB); ")


@pytest.mark.slow
def test_heartbeats_come_together(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long each check takes: one connection carries them all."""
    monkeypatch.setattr(shortage, "LEFT", 0.0)
    really = inprocess.run

    def run(check: str, argv: list[str]) -> inprocess.Outcome:
        time.sleep(0.15 if check == "check_proc_count" else 0)
        return really(check, argv)

    monkeypatch.setattr(inprocess, "run", run)
    talk.start(MEMORY, PROCESSES, every=0.45, beat=0.7)
    until(lambda: min(len(talk.box.of("memory")), len(talk.box.of("processes"))) >= 6)
    first, second = ([result.began for result in talk.box.taken if result.service == name][1:6] for name in ("memory", "processes"))
    assert max(abs(one - other) for one, other in zip(first, second)) < 0.4, (first, second)
    assert all(after - before > 0.5 for before, after in zip(first, first[1:]))


def test_while_memory_is_short_what_is_wrong_is_said_again_and_all_is_asked_at_once(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker, "ALARM_S", 0.3)
    monkeypatch.setattr(shortage, "HOLD_S", 0.5)
    talk.start(MEMORY, PROCESSES, every=3600.0)
    until(lambda: talk.box.of("memory") == [0] and talk.box.of("processes") == [0])
    assert not talk.box.hurry
    talk.like("c-unreclaimable-slab")
    until(lambda: len(talk.box.of("memory")) >= 4)  # it waited for an hour, and does not
    assert talk.box.hurry
    assert set(talk.box.of("memory")[1:]) == {2} and talk.box.of("processes") == [0]
    talk.like("healthy")
    until(lambda: talk.box.of("memory")[-1] == 0 and not talk.box.hurry)


def test_a_check_that_stands_still_is_unknown_with_its_file_and_stops_no_other(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker, "STUCK_S", 0.6)
    monkeypatch.setattr(speaker, "ALARM_S", 0.2)
    blocked, really = threading.Event(), inprocess.run

    def run(check: str, argv: list[str]) -> inprocess.Outcome:
        if check == "check_mem_pressure":
            files.at("/proc/pressure/memory")
            blocked.wait(30)
            files.at("")
        return really(check, argv)

    monkeypatch.setattr(inprocess, "run", run)
    talk.like("c-unreclaimable-slab")
    talk.start(PRESSURE, MEMORY)
    try:
        until(lambda: talk.box.of("pressure"))
        told = next(result for result in talk.box.taken if result.service == "pressure")
        assert (told.state, told.lines) == (
            3, ["MEM_PRESSURE UNKNOWN - no answer for 1 s inside the recorder; reading /proc/pressure/memory"])
        assert 0.5 < told.ended - told.began < 5 and told.perfdata == []
        count = len(talk.box.of("memory"))
        until(lambda: len(talk.box.of("memory")) >= count + 2)
    finally:
        blocked.set()
    until(lambda: talk.box.of("pressure")[-1] != 3)


def test_a_second_signal_within_the_first_ones_handler_is_no_deadlock(talk: Talk) -> None:
    """systemd tells all processes of a unit, and the keeper its speaker once more: at each step of the handler it may come again."""
    one = Speaker(Settings("file", {}, [MEMORY], state_dir=str(talk.folder / "state")), talk.box,
                  str(talk.folder / "host/proc"))

    def again(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        sys.settrace(None)
        one.stop.set()
        sys.settrace(again)
        return step

    def step(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        again(frame, event, argument)
        return step

    def handler() -> None:
        sys.settrace(again)
        one.stop.set()
        sys.settrace(None)

    thread = threading.Thread(target=handler, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive() and one.stop.is_set()
