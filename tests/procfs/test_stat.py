from memtriage.procfs import stat
from memtriage.procfs.stat import Cpu
from tests.procfs import samples


def test_linux_6() -> None:
    assert stat.parse(samples.STAT_6) == (Cpu(27404, 1, 59562, 988529, 536, 2, 49, 20, 3, 4), 1795571946, 6209, 1, 2, [])


def test_linux_2_4_has_fewer_columns_and_lines() -> None:
    assert stat.parse(samples.STAT_2_4) == (Cpu(1, 2, 3, 4, None, None, None, None, None, None), 1062191376, 460, None, None, [])


def test_more_columns_pass() -> None:
    found = stat.parse(b"cpu 1 2 3 4 5 6 7 8 9 10 11 12\n")
    assert found.cpu == Cpu(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


def test_odd_lines() -> None:
    found = stat.parse(b"cpu 1 2 3\nbtime x\nbtime 5\nbtime 6\nprocesses 7\nprocs_running 1")
    assert found == (None, 5, 7, None, None, ["procs_running 1", "cpu 1 2 3", "btime x", "btime 6"])


def test_empty() -> None:
    assert stat.parse(b"") == (None, None, None, None, None, [])
