import pytest

from memtriage.procfs.files import Malformed
from memtriage.procfs.pid import limits
from memtriage.procfs.pid.limits import Limit
from tests.procfs import samples


def test_values() -> None:
    found = limits.parse(samples.LIMITS)
    assert found.odd == []
    assert found.values == {
        "Max cpu time": Limit(None, None, "seconds"),
        "Max stack size": Limit(8388608, None, "bytes"),
        "Max processes": Limit(96365, 96365, "processes"),
        "Max address space": Limit(18446744073709551614, 18446744073709551614, "bytes"),
        "Max nice priority": Limit(0, 0, ""),
        "Max realtime timeout": Limit(None, None, "us"),
    }
    assert found.get("Max open files") is None


def test_odd_lines() -> None:
    pad = "{:<25} {}\n".format
    data = "".join(
        [
            pad("Limit", "Soft Limit Hard Limit Units"),
            pad("Max a", "x 1 bytes"),
            pad("Max b", "1"),
            pad("Max c", "1 2 3 4"),
            pad("Max d", "1 2"),
            pad("Max d", "3 4"),
            "Max e 1",
        ]
    )
    found = limits.parse(data.encode())
    assert found.values == {"Max d": Limit(1, 2, "")}
    assert [" ".join(line.split()) for line in found.odd] == ["Max e 1", "Max a x 1 bytes", "Max b 1", "Max c 1 2 3 4", "Max d 3 4"]


@pytest.mark.parametrize("data", [b"", b"Max cpu time unlimited unlimited seconds\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        limits.parse(data)
