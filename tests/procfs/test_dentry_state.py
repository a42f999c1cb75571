import pytest

from memtriage.procfs import dentry_state
from memtriage.procfs.files import Malformed
from tests.procfs import samples


def test_with_negative_entries() -> None:
    assert dentry_state.parse(samples.DENTRY_STATE) == (96196, 94696, 45, 0, 4878)


def test_the_dummy_of_older_kernels_is_none() -> None:
    assert dentry_state.parse(samples.DENTRY_STATE_4) == (92024, 72390, 45, 0, None)


@pytest.mark.parametrize("data", [b"", b"1\t2\t3\t4\n", b"1\t2\t3\t4\t5\t0", b"1\t2\t-3\t4\t5\t0\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        dentry_state.parse(data)
