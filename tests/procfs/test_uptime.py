import pytest

from memtriage.procfs import uptime
from memtriage.procfs.files import Malformed
from tests.procfs import samples


def test_seconds() -> None:
    assert uptime.parse(samples.UPTIME) == (5388.58, 9885.29)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"5388.58 9885.29", b"5388.58\n", b"5388.58 x\n", b"inf 1.0\n", b"-1.0 1.0\n", b"1.0 2.0 3.0\n"]
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        uptime.parse(data)
