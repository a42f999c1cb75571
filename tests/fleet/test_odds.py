"""Odds and chances against counting them out, and against published examples."""

from __future__ import annotations

import time
from fractions import Fraction
from math import comb, exp, inf, log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage.fleet import odds
from memtriage.fleet.odds import Table

CELL = st.integers(0, 30)


def counted(a: int, b: int, c: int, d: int) -> Fraction:
    """Fisher's one-sided chance, on the side the table lies: all tables of these margins, counted."""
    if a * d < b * c:
        a, b, c, d = b, a, d, c
    inside, outside, grow = a + b, c + d, a + c
    ways = sum(comb(inside, k) * comb(outside, grow - k) for k in range(a, min(inside, grow) + 1))
    return Fraction(ways, comb(inside + outside, grow))


@given(CELL, CELL, CELL, CELL)
def test_the_exact_test_is_exact(a: int, b: int, c: int, d: int) -> None:
    assert odds.tail(Table(a, b, c, d)) == pytest.approx(float(counted(a, b, c, d)), rel=1e-9)


def test_the_lady_and_the_tea() -> None:
    """Fisher's own example: 3 of 4 cups right, chance 17/70."""
    assert odds.tail(Table(3, 1, 1, 3)) == pytest.approx(17 / 70)


def test_large_tables_are_quick_and_finite() -> None:
    assert odds.tail(Table(7000, 3000, 10, 89990)) < 1e-300
    found = odds.of(Table(700, 300, 0, 9000))
    assert 0 < found.low < found.ratio < found.high < inf and found.p < 1e-300


def test_the_interval_is_woolfs_with_half_a_host_more() -> None:
    found = odds.of(Table(10, 20, 5, 40))
    middle, wide = log(10.5 * 40.5 / (20.5 * 5.5)), 1.959964 * sqrt(1 / 10.5 + 1 / 20.5 + 1 / 5.5 + 1 / 40.5)
    assert found[:3] == pytest.approx((exp(middle), exp(middle - wide), exp(middle + wide)))


@given(CELL, CELL, CELL, CELL)
def test_one_stratum_is_the_plain_odds_ratio(a: int, b: int, c: int, d: int) -> None:
    found = odds.stratified([Table(a, b, c, d)])
    if 0 in (a + b, c + d, a + c, b + d):
        assert found is None
    elif b * c and a * d:
        assert found is not None and found.odds.ratio == pytest.approx(a * d / (b * c))


def test_simpsons_paradox_is_undone() -> None:
    """In each stratum nothing is more frequent; thrown together the odds are 5.4."""
    strata = [Table(80, 20, 8, 2), Table(2, 8, 20, 80)]
    together = odds.of(Table(82, 28, 28, 82))
    within = odds.stratified(strata)
    assert together.ratio > 5 and together.p < 1e-9
    assert within is not None and within.odds.ratio == pytest.approx(1.0) and within.odds.p == pytest.approx(1.0)


def test_mantel_haenszel_by_hand() -> None:
    """Two strata, numbers worked out on paper: R = 10*40/75 + 4*30/50, S = 5*20/75 + 6*10/50."""
    found = odds.stratified([Table(10, 5, 20, 40), Table(4, 6, 10, 30)])
    assert found is not None
    assert found.odds.ratio == pytest.approx((400 / 75 + 120 / 50) / (100 / 75 + 60 / 50))
    excess = 10 - 15 * 30 / 75 + 4 - 10 * 14 / 50
    weight = 15 * 60 * 30 * 45 / (75 * 75 * 74) + 10 * 40 * 14 * 36 / (50 * 50 * 49)
    assert found.weight == pytest.approx(weight)
    assert found.odds.p == pytest.approx(0.029496676866)  # counted out; their test says 0.0278
    assert found.odds.low < found.odds.ratio < found.odds.high
    many = [Table(*(100 * cell for cell in table)) for table in ((10, 9, 20, 21), (14, 16, 10, 14))]
    found = odds.stratified(many)
    assert found is not None and found.weight > odds.FEW
    excess = sum(table.a - (table.a + table.b) * (table.a + table.c) / sum(table) for table in many)
    assert found.odds.p == pytest.approx(1 - _chi2((abs(excess) - 0.5) ** 2 / found.weight), rel=1e-6)


SMALL = st.integers(0, 12)


@given(st.lists(st.tuples(SMALL, SMALL, SMALL, SMALL), min_size=1, max_size=3))
def test_few_hosts_over_strata_are_counted_out(cells: list[tuple[int, int, int, int]]) -> None:
    ways: dict[int, Fraction] = {0: Fraction(1)}
    for a, b, c, d in cells:
        more = {k: Fraction(comb(a + b, k) * comb(c + d, a + c - k), comb(a + b + c + d, a + c))
                for k in range(min(a + b, a + c) + 1) if a + c - k <= c + d}
        summed: dict[int, Fraction] = {}
        for one, share in ways.items():
            for other, way in more.items():
                summed[one + other] = summed.get(one + other, Fraction(0)) + share * way
        ways = summed
    seen = sum(a for a, *_ in cells)
    chance = 2 * min(sum(way for k, way in ways.items() if k >= seen), sum(way for k, way in ways.items() if k <= seen))
    found = odds.stratified(Table(*row) for row in cells)
    if found is not None:
        assert found.odds.p == pytest.approx(min(1.0, float(chance)), rel=1e-9)


def test_four_of_fifty_is_no_one_in_a_million() -> None:
    """0.4 were to be expected. The normal distribution says 2e-6; counted out it is 1e-3."""
    found = odds.stratified([Table(4, 46, 9, 1450)])
    assert found is not None and found.odds.p == pytest.approx(2 * float(counted(4, 46, 9, 1450)))


def test_counting_out_takes_no_time() -> None:
    """The largest tables that are counted out, over all the strata that five causes make; some hundred times in a question."""
    tables = [Table(1, 1200, 2, 3000), Table(3, 2000, 3, 2000), *[Table(0, 9, 100, 100), Table(6, 6, 6, 6)] * 15]
    before = time.process_time()
    found = odds.stratified(tables)
    assert found is not None and found.weight < odds.FEW
    assert time.process_time() - before < 0.5


def _chi2(value: float) -> float:
    """The distribution with one degree of freedom, integrated the slow way."""
    steps, end = 200_000, sqrt(value)
    return sum(exp(-((end * (step + 0.5) / steps) ** 2) / 2) for step in range(steps)) * end / steps * sqrt(2 / 3.141592653589793)


def test_an_outcome_in_one_group_only() -> None:
    found = odds.stratified([Table(10, 10, 0, 50)])
    assert found is not None and found.odds.ratio == inf and found.odds.p < 1e-5


def test_holm() -> None:
    assert odds.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert odds.holm([]) == [] and odds.holm([0.9, 0.8]) == [1.0, 1.0]
