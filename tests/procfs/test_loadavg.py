import pytest

from memtriage.procfs import loadavg
from memtriage.procfs.files import Malformed
from tests.procfs import samples


def test_values() -> None:
    assert loadavg.parse(samples.LOADAVG) == (0.33, 12.11, 0.03, 1, 85, 6213)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0.33 12.11 0.03 1/85 6213",
        b"0.33 12.11 0.03 185 6213\n",
        b"0.33 12.11 x 1/85 6213\n",
        b"0.33 12.11 0.03 1/85\n",
        b"0.33 12.11 0.03 1/2/3 6213\n",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        loadavg.parse(data)
