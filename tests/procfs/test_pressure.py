from pathlib import Path

import pytest

from memtriage.procfs import pressure
from memtriage.procfs.files import Malformed
from memtriage.procfs.pressure import Stall
from tests.procfs import samples


def test_some_and_full() -> None:
    found = pressure.parse(samples.PRESSURE)
    assert found.some == Stall(12.34, 5.6, 0.99, 123456789)
    assert found.full == Stall(1.0, 100.0, 0.0, 98765432109876)
    assert found.odd == []


def test_full_may_be_absent() -> None:
    assert pressure.parse(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n") == (Stall(0.0, 0.0, 0.0, 0), None, [])


def test_a_cut_full_line_is_odd() -> None:
    found = pressure.parse(samples.PRESSURE[:-4])
    assert found.full is None
    assert found.odd == ["full avg10=1.00 avg60=100.00 avg300=0.00 total=98765432109"]


def test_more_columns_pass() -> None:
    assert pressure.parse(b"some avg10=0.00 avg60=0.00 avg300=0.00 avg900=1.00 total=7\n").some.total_us == 7


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        b"some avg10=nan avg60=0.00 avg300=0.00 total=0\n",
        b"some avg10=-1.00 avg60=0.00 avg300=0.00 total=0\n",
        b"some avg10=0.00 avg60=0.00 avg300=0.00\n",
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=",
    ],
)
def test_without_some_it_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        pressure.parse(data)


def test_of_a_control_group(tmp_path: Path) -> None:
    (tmp_path / "memory.pressure").write_bytes(samples.PRESSURE)
    assert pressure.read(str(tmp_path), "memory.pressure").some.avg10 == 12.34
