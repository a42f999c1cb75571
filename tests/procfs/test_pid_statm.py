import pytest

from memtriage.procfs.files import Malformed
from memtriage.procfs.pid import statm
from tests.procfs import samples


def test_values() -> None:
    found = statm.parse(samples.STATM)
    assert found == (732, 428, 399, 6, 89)
    assert found.anon_pages == 29


def test_anon_is_never_negative() -> None:
    assert statm.parse(b"10 3 5 1 0 2 0\n").anon_pages == 0


@pytest.mark.parametrize("data", [b"", b"1 2 3\n", b"732 428 399 6 0 89 0", b"732 -428 399 6 0 89 0\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        statm.parse(data)
