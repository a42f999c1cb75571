"""What waits while nobody takes it, in which order it goes out, and what is said about it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from memtriage.passive import Failed, Rejected, Result, outbox
from memtriage.passive.outbox import Outbox


class Way:
    """Takes results, or does not."""

    idle_s = 0.05

    def __init__(self) -> None:
        self.taken: list[tuple[str, int, float]] = []
        self.fails: Exception | None = None
        self.pings = 0
        self.closed = False
        self.attempts = 0

    def ping(self) -> None:
        self.pings += 1

    def send(self, result: Result) -> None:
        self.attempts += 1
        if self.fails is not None:
            raise self.fails
        self.taken.append((result.service, result.state, result.ended))

    def close(self) -> None:
        self.closed = True


def result(service: str, state: int, at: float) -> Result:
    return Result(service, state, ["x"], [], at, at)


@pytest.fixture
def box() -> Iterator[tuple[Outbox, Way, list[str]]]:
    way, said = Way(), list[str]()
    made = Outbox(way, said.append)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made, way, said
    made.stop()
    thread.join(5)
    assert not thread.is_alive() and way.closed


def until(true: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def test_in_the_order_in_which_they_were_made(box: tuple[Outbox, Way, list[str]]) -> None:
    made, way, said = box
    for at in range(5):
        made.put(result("a", at % 2, at))
    until(lambda: len(way.taken) == 5)
    assert way.taken == [("a", at % 2, at) for at in range(5)] and said == [] and way.pings == 0


def test_while_the_server_is_away_state_changes_are_kept_and_repetitions_are_not(
        box: tuple[Outbox, Way, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAUSES_S", (0.05,))
    made, way, said = box
    way.fails = Failed("no route")
    made.put(result("a", 0, 1))
    until(lambda: way.attempts > 1)
    for at, state in enumerate((0, 0, 2, 2, 2, 0), start=2):
        made.put(result("a", state, at))
    made.put(result("b", 1, 9))
    assert made.waiting() == 4
    way.fails = None
    until(lambda: made.waiting() == 0)
    assert way.taken == [("a", 0, 3), ("a", 2, 6), ("a", 0, 7), ("b", 1, 9)]
    until(lambda: len(said) == 2)
    assert said == ["results wait: no route", "results are delivered again"]


def test_the_queue_is_bounded_and_keeps_each_services_last_word() -> None:
    made = Outbox(Way(), print)
    made.put(result("quiet", 1, 0))
    for at in range(3 * outbox.MOST):
        made.put(result("restless", at % 2, at))
    assert made.waiting() == outbox.MOST and made.lost == 2 * outbox.MOST + 1
    kept = [(one.service, one.ended) for one in made._waiting]
    assert kept[0] == ("quiet", 0) and kept[-1] == ("restless", 3 * outbox.MOST - 1)


def test_what_will_never_be_taken_does_not_hold_up_the_rest(box: tuple[Outbox, Way, list[str]]) -> None:
    made, way, said = box
    way.fails = Rejected("no service 'a'")
    for at in range(3):
        made.put(result("a", at % 2, at))
    until(lambda: made.waiting() == 0)
    way.fails = None
    made.put(result("b", 0, 9))
    until(lambda: way.taken == [("b", 0, 9)])
    assert said == ["no service 'a'"], "said once"


def test_a_bug_in_a_delivery_is_trouble_and_not_the_end(box: tuple[Outbox, Way, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAUSES_S", (0.05,))
    made, way, said = box
    way.fails = KeyError("oops")
    made.put(result("a", 0, 1))
    until(lambda: bool(said))
    assert said == ["results wait: KeyError: 'oops'"]
    way.fails = None
    until(lambda: bool(way.taken))


def test_while_memory_is_short_the_connection_is_kept_open(box: tuple[Outbox, Way, list[str]]) -> None:
    made, way, _ = box
    made.hurry = True
    made.wake()
    until(lambda: way.pings >= 3)
    assert way.taken == []


def test_while_memory_is_short_no_pause_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAUSES_S", (60.0,))
    monkeypatch.setattr(outbox, "HURRY_S", 0.05)
    way = Way()
    made = Outbox(way, lambda text: None)
    threading.Thread(target=made.run, daemon=True).start()
    way.fails = Failed("away")
    made.put(result("a", 2, 1))
    until(lambda: way.attempts == 1)
    time.sleep(0.1)
    made.hurry, way.fails = True, None
    until(lambda: way.taken == [("a", 2, 1)])
    made.stop()
