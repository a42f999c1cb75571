"""The history: slow growth that no check can prove yet, since when, and a file that may be anything."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage.fleet import hosts, past, perfdata
from memtriage.fleet.trouble import Trouble

HOUR, DAY, MIB = 3600.0, 86400.0, 1 << 20
NOW = 1_780_000_000.0


def look(before: past.Past, now: float, sizes: dict[str, float], eta: frozenset[str] = frozenset()) -> tuple[past.Past, hosts.Fleet]:
    fleet = hosts.Fleet(now)
    for name, size in sizes.items():
        host = fleet.hosts[name] = hosts.Host(name, {})
        values = {"slab_unreclaim": size, **({"eta": 9.0} if name in eta else {})}
        host.slab = hosts.Result(hosts.OK, perfdata.Figures(values, {}, {}, 0), now - 20)
    return past.follow(before, fleet), fleet


def test_slow_growth_and_no_other() -> None:
    """5 MiB an hour, for four days, looked at every three hours; beside it what must not be taken for growth."""
    before = past.Past(NOW, {})
    said: dict[str, list[float]] = {}
    for step in range(33):
        now = NOW + step * 3 * HOUR
        sizes = {"leak": 200 * MIB + step * 15 * MIB, "flat": 500 * MIB + step % 3 * MIB,
                 "daily": (600 + 300 * math.sin(step * math.pi / 4)) * MIB, "step": (200 + 300 * (step > 10)) * MIB,
                 "warm": (900 - 700 * math.exp(-step / 4)) * MIB, "late": (200 + 40 * max(0, step - 28)) * MIB}
        before, fleet = look(before, now, sizes)
        for name, host in fleet.hosts.items():
            if host.kernel_grows:
                said.setdefault(name, []).append((now - NOW) / HOUR)
    assert list(said) == ["leak"]
    assert said["leak"][0] == 24.0 and len(said["leak"]) == 33 - 8
    assert before.hosts["leak"].since == NOW + DAY


def test_since_when_and_a_reboot() -> None:
    before, _ = look(past.Past(NOW, {}), NOW, {"a": 900 * MIB}, frozenset("a"))
    before, fleet = look(before, NOW + HOUR, {"a": 950 * MIB}, frozenset("a"))
    assert fleet.hosts["a"].since == NOW
    before, fleet = look(before, NOW + 2 * HOUR, {"a": 100 * MIB})
    assert fleet.hosts["a"].since is None and before.hosts["a"].since == 0
    before, fleet = look(before, NOW + 3 * HOUR, {"a": 110 * MIB}, frozenset("a"))
    assert fleet.hosts["a"].since == NOW + 3 * HOUR


def test_the_same_result_twice_is_one_point_and_many_runs_are_few() -> None:
    before, fleet = look(past.Past(NOW, {}), NOW, {"a": MIB})
    again = past.follow(before, fleet)
    assert again.hosts["a"].times == before.hosts["a"].times
    for step in range(1, 500):
        before, _ = look(before, NOW + step * HOUR, {"a": 500 * MIB})
    times = before.hosts["a"].times
    assert len(times) <= past.POINTS and times[0] == NOW - 20 and times[-1] == NOW + 499 * HOUR - 20


def one(name: str, size: float, at: float, now: float, before: past.Past) -> past.Past:
    fleet = hosts.Fleet(now)
    host = fleet.hosts[name] = hosts.Host(name, {})
    host.slab = hosts.Result(hosts.OK, perfdata.Figures({"slab_unreclaim": size}, {}, {}, 0), at)
    return past.follow(before, fleet)


def test_a_clock_that_was_years_ahead_for_a_minute() -> None:
    """Its host goes on being followed, and what an older version kept of it is forgotten."""
    before = one("a", MIB, NOW + 9000 * DAY, NOW, past.Past(NOW, {}))
    assert before.hosts["a"].times == []
    poisoned = past.Past(NOW, {"a": past.Series(0, [NOW + 9000 * DAY], [1024])})
    for start in (before, poisoned):
        after = one("a", 2 * MIB, NOW + HOUR, NOW + HOUR, start)
        assert after.hosts["a"].times == [NOW + HOUR] and after.hosts["a"].sizes == [2048]
    assert one("a", MIB, NOW + 200, NOW, past.Past(NOW, {})).hosts["a"].times == [NOW + 200]


def test_two_results_within_a_second_leave_a_file_that_can_be_read(tmp_path: Path) -> None:
    before = past.Past(NOW, {})
    for at in (NOW + 0.2, NOW + 0.4, NOW + 0.6, NOW + 1.2, NOW + 2.4):
        before = one("a", MIB, at, NOW + 3, before)
    past.write(str(tmp_path / "h"), before)
    assert past.read(str(tmp_path / "h"), 0).hosts["a"].times == [NOW, NOW + 1, NOW + 2]


def test_hosts_that_are_gone_are_forgotten() -> None:
    before, _ = look(past.Past(NOW, {}), NOW, {"a": MIB, "b": MIB})
    before, _ = look(before, NOW + 80 * DAY, {"b": MIB})
    assert set(before.hosts) == {"a", "b"}
    before, _ = look(before, NOW + 91 * DAY, {"b": MIB})
    assert set(before.hosts) == {"b"}


def test_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "h")
    assert past.read(path, NOW) == (NOW, {})
    before, _ = look(past.Past(NOW, {}), NOW, {"a\u202e\n": 3 * MIB}, frozenset(["a\u202e\n"]))
    past.write(path, before)
    assert past.read(path, 0) == (NOW, {"a\u202e\n": (int(NOW), [round(NOW - 20)], [3072])})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and os.listdir(tmp_path) == ["h"]


@pytest.mark.parametrize("text", [
    "", "{}", "[]", "null", "x", '{"format":"memtriage fleet history 2","started":1,"hosts":{}}',
    *(json.dumps({"format": past.FORMAT, "started": 1, "hosts": {"a": row}}) for row in (
        None, [], [0, [1], []], [0, [2, 1], [1, 1]], [0, ["1"], [1]], [0, [1], [None]], [0, list(range(99)), [0] * 99],
        [-1, [], []], [0, 1, 2])),
    '{"format":"memtriage fleet history 1","started":NaN,"hosts":{}}', "[" * 100_000])
def test_a_damaged_file_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "h").write_text(text)
    with pytest.raises(Trouble, match="it is no history of memtriage fleet, or damaged; move it away to begin a new one"):
        past.read(str(tmp_path / "h"), NOW)
    assert (tmp_path / "h").read_text() == text


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    path = "/dev/shm/memtriage-test-past" if os.path.isdir("/dev/shm") else "/tmp/memtriage-test-past"
    with open(path, "wb") as file:
        file.write(data)
    try:
        past.read(path, NOW)
    except Trouble:
        pass
    finally:
        os.unlink(path)


def test_no_room_for_it(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="the history cannot be written: No such file or directory"):
        past.write(str(tmp_path / "no" / "h"), past.Past(NOW, {}))
    (tmp_path / "h").mkdir()
    with pytest.raises(Trouble, match="the history cannot be written"):
        past.write(str(tmp_path / "h"), past.Past(NOW, {}))
    assert os.listdir(tmp_path) == ["h"]
    with pytest.raises(Trouble):
        past.read(str(tmp_path / "h"), NOW)
