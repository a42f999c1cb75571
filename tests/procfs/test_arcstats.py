import pytest

from memtriage.procfs import arcstats
from memtriage.procfs.files import Malformed
from tests.procfs import samples


def test_values() -> None:
    found = arcstats.parse(samples.ARCSTATS)
    assert found.odd == []
    assert found.values == {
        "hits": 8771612,
        "c_min": 1050000000,
        "c_max": 16800000000,
        "size": 1603939792,
        "memory_available_bytes": -1072697344,
        "arc_no_grow": 1,
    }


def test_odd_lines() -> None:
    head = b"".join(samples.ARCSTATS.splitlines(True)[:2])
    found = arcstats.parse(head + b"size 4 1\nsize 4 2\nc 9 1\nc_min 4\nc_max 4 x\nhits 4 --5\nmisses 4 1")
    assert found == ({"size": 1}, ["misses 4 1", "size 4 2", "c 9 1", "c_min 4", "c_max 4 x", "hits 4 --5"])


@pytest.mark.parametrize("data", [b"", b"size 4 1\n", b"name type data\nsize 4 1\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        arcstats.parse(data)
