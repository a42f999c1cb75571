"""Sizes, rates and spans as typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage import quantity, wording


@pytest.mark.parametrize(("text", "value"), [("1B", 1), ("512MiB", 512 * 2**20), ("1.5GiB", 3 * 2**29), ("0.5KiB", 512)])
def test_sizes(text: str, value: int) -> None:
    assert quantity.size(text) == value


@pytest.mark.parametrize("text", ["", "0B", "512", "MiB", "1 MiB", "1mib", "1MB", "-1MiB", "1e3B", "\u0661B", "0.1B", "1MiB\n"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is no size such as 512MiB"):
        quantity.size(text)


@pytest.mark.parametrize(("text", "value"), [("1MiB/s", 2**20), ("64MiB/h", 64 * 2**20 / 3600), ("6KiB/m", 102.4),
                                             ("24KiB/d", 24576 / 86400)])
def test_rates(text: str, value: float) -> None:
    assert quantity.rate(text) == value


@pytest.mark.parametrize("text", ["", "1MiB", "1MiB/", "/s", "1MiB/y", "0MiB/s", "1MiB/s/s", "1/s"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no rate such as 1MiB/s or 64MiB/h"):
        quantity.rate(text)


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("10m", 600), ("1.5h", 5400), ("7d", 604800), ("0.2s", 0.2)])
def test_spans(text: str, value: float) -> None:
    assert quantity.seconds(text) == value


@pytest.mark.parametrize("text", ["", "0", "7.1d", "-1", "nan", "inf", "1w", "1 m"])
def test_no_spans(text: str) -> None:
    with pytest.raises(ValueError, match="is no time span"):
        quantity.seconds(text)


@given(st.text(max_size=30))
def test_whatever_is_typed(text: str) -> None:
    for convert in (quantity.size, quantity.rate, quantity.seconds):
        try:
            assert convert(text) > 0
        except ValueError:
            pass


def test_primes() -> None:
    assert [number for number in range(20) if quantity.prime(number)] == [2, 3, 5, 7, 11, 13, 17, 19]
    assert quantity.prime_mib(100 * quantity.MIB) == 97 * quantity.MIB
    assert quantity.prime_mib(2 * quantity.MIB - 1) is None


@pytest.mark.parametrize("low, high, said", [
    (119, 121.2, "2.0 min"), (100, 150, "1.7 min to 2.5 min"), (8.2 * 3600, 10.4 * 3600, "8.2 h to 10.4 h"),
    (33, 34, "33 s to 34 s"), (3000, 3700, "0.8 h to 1.0 h"), (40 * 3600, 50 * 3600, "1.7 d to 2.1 d")])
def test_a_range_has_the_unit_of_its_larger_end(low: float, high: float, said: str) -> None:
    assert wording.durations(low, high) == said
