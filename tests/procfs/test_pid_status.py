import pytest

from memtriage.procfs.files import Malformed
from memtriage.procfs.pid import status
from tests.procfs import samples


def test_values() -> None:
    found = status.parse(samples.STATUS)
    assert found.name == "my\\prog\nx "
    assert found.uids == (1000, 1001, 1002, 1003)
    assert found.values == {
        "Tgid": 6220,
        "Pid": 6220,
        "PPid": 6203,
        "VmPeak": 2928 * 1024,
        "VmLck": 4096,
        "VmRSS": 1776 * 1024,
        "RssAnon": 112 * 1024,
        "RssFile": 1660 * 1024,
        "RssShmem": 4096,
        "VmSwap": 20480,
        "Threads": 17,
    }
    assert found.odd == []
    assert found.get("VmHWM") is None


def test_kernel_thread_has_no_memory() -> None:
    found = status.parse(samples.STATUS_KTHREAD)
    assert found == ("kworker/u8:2-events_unbound", (0, 0, 0, 0), {"Pid": 33, "PPid": 2, "Threads": 1}, [])


@pytest.mark.parametrize(
    ("name", "plain"), [(b"a\\nb", b"a\nb"), (b"a\\\\nb", b"a\\nb"), (b"\\\\\\n", b"\\\n"), (b"\\", b"\\"), (b"\\t", b"\\t"), (b"", b"")]
)
def test_unescape(name: bytes, plain: bytes) -> None:
    assert status.unescape(name) == plain


def test_a_name_cannot_pass_for_another_line() -> None:
    found = status.parse(b"Name:\tx\\nVmRSS:\\t999999 kB\nVmRSS:\t1 kB\n")
    assert found.get("VmRSS") == 1024


def test_odd_lines() -> None:
    found = status.parse(
        b"Name:\tx\nName:\ty\nUid:\t1 2 3\nUid:\t1 2 3 4\nUid:\t1 2 3 4\n"
        b"VmRSS:\t12\nVmSwap:\tx kB\nThreads:\t-1\nnonsense\nVmLck:\t1 kB\nVmLck:\t2 kB\nVmPTE:\t1 k"
    )
    assert (found.name, found.uids, found.values) == ("x", (1, 2, 3, 4), {"VmLck": 1024})
    assert found.odd == [
        "VmPTE:\t1 k",
        "Name:\ty",
        "Uid:\t1 2 3",
        "Uid:\t1 2 3 4",
        "VmRSS:\t12",
        "VmSwap:\tx kB",
        "Threads:\t-1",
        "nonsense",
        "VmLck:\t2 kB",
    ]


@pytest.mark.parametrize("data", [b"", b"VmRSS:\t1 kB\n", b"Name:\tx"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        status.parse(data)
