import pytest

from memtriage.procfs import osrelease
from memtriage.procfs.files import Malformed


@pytest.mark.parametrize(
    ("data", "text", "version"),
    [
        (b"6.18.44-fc-v669\n", "6.18.44-fc-v669", (6, 18)),
        (b"2.6.32-754.el6.x86_64\n", "2.6.32-754.el6.x86_64", (2, 6)),
        (b"5.10\n", "5.10", (5, 10)),
        (b"6.1-rc3\n", "6.1-rc3", (6, 1)),
        (b"6.19+\n", "6.19+", (6, 19)),
        (b"linux-next\n", "linux-next", None),
        (b"6.x\n", "6.x", None),
        (b"6\n", "6", None),
    ],
)
def test_version(data: bytes, text: str, version: "tuple[int, int] | None") -> None:
    assert osrelease.parse(data) == (text, version)


@pytest.mark.parametrize("data", [b"", b"\n", b"6.1"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        osrelease.parse(data)
