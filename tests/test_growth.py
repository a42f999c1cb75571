"""Trends: known series, each gate with what it keeps out, and whatever numbers come."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage import growth
from memtriage.growth import Trend, Unproven, prove, theil_sen

HOUR = 3600.0


def times(count: int = 48, step: float = 300.0) -> list[float]:
    return [place * step for place in range(count)]


def proven(values: list[float], headroom: float = 1000.0, least: int = 6, peak: float | None = None) -> Trend:
    found = prove(times(len(values)), values, headroom, least, peak)
    assert isinstance(found, Trend), found
    return found


def reason(values: list[float], headroom: float = 1000.0, least: int = 6, peak: float | None = None) -> str:
    found = prove(times(len(values)), values, headroom, least, peak)
    assert isinstance(found, Unproven), found
    return found.reason


def test_the_slope_of_a_public_report() -> None:
    """SUnreclaim of a router, kB at hours of uptime, as its owner posted it; he reckoned about 190 kB an hour."""
    found = theil_sen([0.75, 1.0, 3.0, 5.0, 6.5], [16244.0, 16296.0, 16572.0, 17176.0, 17368.0])
    assert found.slope == pytest.approx(202, abs=2)
    assert found.low < 190 < found.high and found.tau == 1


def test_a_straight_line_is_proven_with_its_slope() -> None:
    found = proven([1000 + 10.0 * place for place in range(48)])
    assert found.slope * 300 == pytest.approx(10) and found.low * 300 == pytest.approx(10) and found.high * 300 == pytest.approx(10)
    assert (found.tau, found.points) == (1, growth.BINS)
    assert found.change == pytest.approx(420)  # between the medians of three at each end


@pytest.mark.parametrize("seed", range(5))
def test_noise_widens_the_interval_and_not_the_slope(seed: int) -> None:
    chance = random.Random(seed)
    found = proven([10.0 * place + chance.gauss(0, 25) for place in range(96)], headroom=500)
    assert found.slope * 300 == pytest.approx(10, rel=0.1)
    assert found.low * 300 < 10 < found.high * 300 and found.low < found.high


def test_outliers_do_not_move_it() -> None:
    values = [10.0 * place for place in range(96)]
    values[20] = values[50] = 1e9
    assert proven(values).slope * 300 == pytest.approx(10, rel=0.02)


def test_steps_are_proven_when_there_are_many() -> None:
    assert proven([100.0 * (place // 4) for place in range(96)]).slope * 300 == pytest.approx(25, rel=0.1)


@pytest.mark.parametrize(("values", "why"), [
    ([5.0] * 48, "it does not grow"),
    ([1000.0 - place for place in range(48)], "it does not grow"),
    ([0.0] * 24 + [1000.0] * 24, "it does not grow all the time"),
    ([0.0] * 40 + [100.0 * place for place in range(8)], "it does not grow all the time"),
    ([100.0 * min(place, 24) for place in range(48)], "it does not grow all the time"),
    ([1000 * (1 - math.exp(-place / 6)) for place in range(48)], "it does not grow all the time"),
    ([1000 * (1 - math.exp(-place / 12)) for place in range(48)], "it slows down and would level off"),
    ([1000 * (1 - math.exp(-place / 24)) for place in range(48)], "it slows down and would level off"),
    ([10.0, 20.0, 30.0, 40.0, 50.0], "too few samples"),
    ([float(place + 400 * (place % 4 == 0)) for place in range(24)], "it goes up and down"),
])
def test_what_each_gate_keeps_out(values: list[float], why: str) -> None:
    assert reason(values) == why


def test_what_was_held_before_is_no_news() -> None:
    values = [10.0 * place for place in range(48)]
    assert reason(values, peak=600.0) == "it held as much before and gave it back"
    assert proven(values, peak=300.0)


def test_slowing_down_is_growth_where_it_still_fills_what_is_left() -> None:
    values = [1000 * (1 - math.exp(-place / 40)) for place in range(48)]
    assert reason(values, headroom=2000).endswith("would level off")
    assert proven(values, headroom=50)


def test_two_points_are_no_verdict() -> None:
    assert reason([1.0, 1000.0], least=2) == "too few samples"


def test_spans_reach_from_all_history_to_a_quarter_window() -> None:
    found = growth.spans([0.0, 100 * HOUR], 4 * HOUR)
    assert found[0] == 100 * HOUR and HOUR <= found[-1] < 1.5 * HOUR
    assert growth.spans([0.0, 0.5 * HOUR], 4 * HOUR) == [] == growth.spans([], 4 * HOUR)


def test_bins_are_medians_and_gaps_stay_gaps() -> None:
    moments = [*times(30), *[time + 50000 for time in times(30)]]
    middles, values = growth.binned(moments, [1.0] * 30 + [3.0] * 30)
    assert len(middles) == len(values) < growth.BINS
    assert set(values) == {1.0, 3.0} and not any(9000 < middle < 49999 for middle in middles)


finite = st.floats(min_value=-1e15, max_value=1e15, allow_nan=False)


@given(st.lists(finite, min_size=1, max_size=60), st.floats(0, 1e15), st.integers(3, 10))
def test_any_numbers_get_an_answer(values: list[float], headroom: float, least: int) -> None:
    found = prove(times(len(values)), values, headroom, least)
    if isinstance(found, Trend):
        assert 0 < found.low <= found.slope <= found.high
        assert found.change > 0 and -1 <= found.tau <= 1


@given(st.lists(st.tuples(st.floats(1, 3600), st.integers(0, 10**6)), min_size=8, max_size=60), st.sampled_from([2.0, 1024.0]))
def test_the_unit_does_not_matter(steps: list[tuple[float, int]], factor: float) -> None:
    moments, values, time = [], [], 0.0
    for step, value in steps:
        time += step
        moments.append(time)
        values.append(float(value))
    one = prove(moments, values, 1000.0, 6)
    other = prove(moments, [value * factor for value in values], 1000.0 * factor, 6)
    assert type(one) is type(other)
    if isinstance(one, Trend) and isinstance(other, Trend):
        assert other.slope == pytest.approx(one.slope * factor)
