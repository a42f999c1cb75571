"""Ranges with units: what is taken, what it means, and all that is refused."""

import nagiosplugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage import threshold

TAKEN = [
    ("10", threshold.COUNT, (False, 0, 10), ""),
    ("10:", threshold.COUNT, (False, 10, float("inf")), ""),
    ("~:10", threshold.COUNT, (False, float("-inf"), 10), ""),
    ("10:20", threshold.COUNT, (False, 10, 20), ""),
    ("@10:20", threshold.COUNT, (True, 10, 20), ""),
    ("~:", threshold.COUNT, (False, float("-inf"), float("inf")), ""),
    ("-5:5", threshold.COUNT, (False, -5, 5), ""),
    ("10%:", threshold.SHARE_OR_BYTES, (False, 10, float("inf")), "%"),
    ("10:", threshold.SHARE_OR_BYTES, (False, 10, float("inf")), "%"),
    ("400MiB:", threshold.SHARE_OR_BYTES, (False, 400 * 1024**2, float("inf")), ""),
    ("1GiB", threshold.BYTES, (False, 0, 1024**3), ""),
    ("0:1.5GiB", threshold.SHARE_OR_BYTES, (False, 0, 1.5 * 1024**3), ""),
    ("2h:3d", threshold.SECONDS, (False, 7200, 259200), ""),
    ("90", threshold.SECONDS, (False, 0, 90), ""),
]
REFUSED = [
    "", "@", "~", ":", ":10", "@~", " 5 ", "5 ", "abc", "1e3", "nan", "inf", "1:2:3", "10:5", "1_000", "\u0663", "0x10", "+5", "5,5",
    "10:~", "--5", "9" * 30, "1.", ".5", "/root:10", "10%%", "5kB", "5MB", "10\n", "1%:2GiB", "101%", "5%:200%",
]


@pytest.mark.parametrize(("spec", "units", "expected", "kind"), TAKEN)
def test_taken(spec, units, expected, kind):
    found = threshold.parse(spec, units)
    assert tuple(found.range) == expected
    assert found.kind == kind


@pytest.mark.parametrize("spec", REFUSED)
def test_refused(spec):
    with pytest.raises(ValueError, match=r"."):
        threshold.parse(spec, threshold.SHARE_OR_BYTES)


@given(st.text(max_size=12))
def test_any_text_is_taken_or_refused(spec):
    try:
        found = threshold.parse(spec, threshold.SHARE_OR_BYTES)
    except ValueError:
        return
    assert found.range.start <= found.range.end


@given(st.integers(-10**6, 10**6), st.integers(-10**6, 10**6), st.integers(-10**6, 10**6), st.booleans())
def test_agrees_with_nagiosplugin(low, high, value, inverted):
    low, high = sorted((low, high))
    spec = f"{'@' if inverted else ''}{low}:{high}"
    assert threshold.parse(spec).alarms(value) == (not nagiosplugin.Range(spec).match(value))


def test_ends_belong_to_the_range():
    limit = threshold.parse("10:20")
    assert [limit.alarms(value) for value in (9.99, 10, 20, 20.01)] == [True, False, False, True]


@pytest.mark.parametrize(("spec", "text"), [("10", "10"), ("~:10", "10"), ("10:", "10:"), ("@1:3", "@1:3"), ("5:10", "5:10"), ("~:", ""),
                                            ("10%", "")])
def test_perfdata_is_plain_where_the_bound_is(spec, text):
    assert threshold.perfdata(threshold.parse(spec, threshold.SHARE_OR_BYTES if "%" in spec else threshold.COUNT)) == text


@pytest.mark.parametrize(("warning", "critical", "fine"), [
    ("10:", "5:", True), ("5:", "10:", False), ("10", "20", True), ("20", "10", False), ("10", "10", True), ("@1:2", "10", True),
    ("5:10", "1:20", True), ("1:20", "5:10", False), ("~:", "10", True), ("~:", "5:", True)])
def test_a_warning_that_can_never_be_seen_is_refused(warning, critical, fine):
    pair = threshold.parse(warning), threshold.parse(critical)
    if fine:
        threshold.check_order(*pair)
    else:
        with pytest.raises(ValueError, match="never be seen"):
            threshold.check_order(*pair)


@pytest.mark.parametrize(("value", "text"), [(0.0000001, "0"), (0.001, "0.001"),
                                              (123456789012, "123456789012"), (4.98, "4.98"), (1e15, "1000000000000000")])
def test_fixed_notation(value, text):
    assert threshold.fixed(value) == text
