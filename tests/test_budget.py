"""How many workers fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage import budget
from memtriage.budget import Sample

MIB = 1024 * 1024
ONE = st.builds(Sample, st.integers(0, 10**12), st.none() | st.integers(0, 10**12), st.integers(0, 10**9))


def test_what_is_shared_counts_once() -> None:
    """100 MiB shared by ten workers that have 20 MiB each of their own: one more adds 20, not 30."""
    found = budget.budget([Sample(30 * MIB, 20 * MIB)] * 10)
    assert (found.workers, found.total, found.mean, found.largest) == (10, 300 * MIB, 30 * MIB, 30 * MIB)
    assert (found.shared, found.each) == (100 * MIB, 20 * MIB)
    assert budget.projected(found, 10) == 300 * MIB
    assert budget.projected(found, 40) == 900 * MIB
    assert budget.fits(found, 900 * MIB) == 40
    assert budget.fits(found, 900 * MIB - 1) == 39
    assert budget.fits(found, 99 * MIB) == 0


def test_page_tables_are_each_workers_own() -> None:
    found = budget.budget([Sample(30 * MIB, 20 * MIB, MIB)] * 10)
    assert (found.total, found.shared, found.each) == (310 * MIB, 100 * MIB, 21 * MIB)


def test_a_few_large_ones() -> None:
    found = budget.budget([Sample(10, 10)] * 95 + [Sample(1000, 1000)] * 5)
    assert (found.percentile_95, found.each, found.largest) == (10, 10, 1000)
    assert budget.budget([Sample(10, 10)] * 94 + [Sample(1000, 1000)] * 6).each == 1000


def test_private_unknown_is_all_of_it() -> None:
    assert budget.budget([Sample(7, None), Sample(5, None)]) == budget.Budget(2, 12, 6.0, 7, 7, 0, 7)


def test_workers_that_take_nothing() -> None:
    assert budget.fits(budget.budget([Sample(0, 0)]), 10) is None


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="no samples"):
        budget.budget([])


@given(st.lists(ONE, min_size=1, max_size=30), st.integers(0, 10**14))
def test_what_fits_fits_and_no_more(samples: list[Sample], room: int) -> None:
    found = budget.budget(samples)
    assert 0 <= found.shared <= found.total
    assert min(sample.pss for sample in samples) <= found.mean * (1 + 1e-9) <= (found.largest + 1) * (1 + 1e-9)
    count = budget.fits(found, room)
    if count is not None:
        assert budget.projected(found, count) <= room or count == 0
        assert budget.projected(found, count + 1) > room
