"""The scoreboard in small: one host of each kind, and what must hold of all of them. The whole of it is ``make bench-detection``."""

from __future__ import annotations

import pytest

from tests.bench.bench_detection import judged
from tests.detection import hosts

LEAKS = list(hosts.leaks(1))
BENIGN = list(hosts.benign(1))


@pytest.mark.parametrize(("story", "total"), LEAKS, ids=[story.name for story, _ in LEAKS])
def test_a_leak_is_found_and_named(story: hosts.Story, total: float) -> None:
    host = hosts.host(story, 1, total, step=900.0)
    assert host.exhausted is not None
    found = judged(host, 6)
    first = found.first["memtriage"]
    assert story.start <= first < host.exhausted
    assert found.named in story.truth


@pytest.mark.parametrize(("story", "total"), BENIGN, ids=[story.name for story, _ in BENIGN])
def test_what_is_no_leak_is_left_alone(story: hosts.Story, total: float) -> None:
    host = hosts.host(story, 1, total, step=900.0)
    assert host.exhausted is None
    assert "memtriage" not in judged(host, 6).first
