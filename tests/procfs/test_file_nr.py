import pytest

from memtriage.procfs import file_nr
from memtriage.procfs.files import Malformed
from tests.procfs import samples


def test_values() -> None:
    assert file_nr.parse(samples.FILE_NR) == (449, 0, 2**63 - 1)


@pytest.mark.parametrize("data", [b"", b"449\t0\n", b"449\t0\t1"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        file_nr.parse(data)
