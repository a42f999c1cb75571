import pytest

from memtriage.procfs.files import Malformed
from memtriage.procfs.pid import smaps_rollup
from tests.procfs import samples


def test_values() -> None:
    found = smaps_rollup.parse(samples.SMAPS_ROLLUP)
    assert found == ({"Rss": 1768 * 1024, "Pss": 473 * 1024, "Pss_Anon": 116 * 1024, "Private_Dirty": 116 * 1024, "Swap": 8192}, [])


@pytest.mark.parametrize("data", [b"", b"Rss: 1 kB\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        smaps_rollup.parse(data)
