import pytest

from memtriage.procfs import inode_nr
from memtriage.procfs.files import Malformed
from tests.procfs import samples


def test_values() -> None:
    assert inode_nr.parse(samples.INODE_NR) == (91160, 271)


@pytest.mark.parametrize("data", [b"", b"91160\n", b"91160\t27", b"x y\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        inode_nr.parse(data)
