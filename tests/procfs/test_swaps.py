import pytest

from memtriage.procfs import swaps
from memtriage.procfs.files import Malformed
from memtriage.procfs.swaps import Swap
from tests.procfs import samples


def test_areas() -> None:
    assert swaps.parse(samples.SWAPS) == (
        [
            Swap("/dev/dm-1", "partition", 8388604 * 1024, 1024 * 1024, -2),
            Swap("/swap files/a\\b", "file", 1048572 * 1024, 0, 5),
            Swap("/swapfile (deleted)", "file", 512000 * 1024, 100 * 1024, -3),
        ],
        [],
    )


def test_no_swap() -> None:
    assert swaps.parse(samples.SWAPS.splitlines(True)[0]) == ([], [])


@pytest.mark.parametrize(
    ("name", "plain"),
    [(b"a\\011b", b"a\tb"), (b"a\\9z", b"a\\9z"), (b"\\777", b"\\777"), (b"\\04", b"\\04"), (b"\\134040", b"\\040"), (b"", b"")],
)
def test_unescape(name: bytes, plain: bytes) -> None:
    assert swaps.unescape(name) == plain


def test_odd_lines() -> None:
    found = swaps.parse(
        b"Filename Type Size Used Priority\n/a partition 1 2 x\n/b file -1 2 3\npartition 1 2 3\n/c file 1 1 --1\n/d file 1 1 1"
    )
    assert found == ([], ["/d file 1 1 1", "/a partition 1 2 x", "/b file -1 2 3", "partition 1 2 3", "/c file 1 1 --1"])


@pytest.mark.parametrize("data", [b"", b"/dev/sda1 partition 1 2 3\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        swaps.parse(data)
