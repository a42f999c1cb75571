import pytest

from memtriage.procfs.files import Malformed
from memtriage.procfs.pid import stat
from tests.procfs import samples


def test_values() -> None:
    found = stat.parse(samples.PID_STAT)
    assert found == (6218, "head", "R", 6203, 4194304, 103, 7, 11, 12, 1, 538859, 2998272, 408)
    assert found.ppid == 6203 and found.starttime_ticks == 538859 and found.rss_pages == 408 and found.num_threads == 1
    assert found.kthread is False


def test_kernel_thread() -> None:
    found = stat.parse(samples.PID_STAT_KTHREAD)
    assert (found.comm, found.state, found.ppid, found.rss_pages, found.kthread) == ("kthreadd", "S", 0, 0, True)


@pytest.mark.parametrize("comm", [") R 1 1", "a b", "((", "))", "", "tmux: server", "(sd-pam)", "a\nb", ") Z 1 2 3 4 5 (x)"])
def test_hostile_names(comm: str) -> None:
    found = stat.parse(samples.PID_STAT.replace(b"(head)", b"(" + comm.encode() + b")"))
    assert (found.comm, found.state, found.ppid, found.rss_pages) == (comm, "R", 6203, 408)


def test_name_that_is_not_utf_8() -> None:
    assert stat.parse(samples.PID_STAT.replace(b"head", b"\xff")).comm == "\\xff"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1 (x) R\n",
        b"1 x R 1 2\n",
        samples.PID_STAT[:-1],
        samples.PID_STAT.replace(b"6203 6203", b"-1 6203"),
        samples.PID_STAT.replace(b"6218 (", b"x ("),
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        stat.parse(data)
