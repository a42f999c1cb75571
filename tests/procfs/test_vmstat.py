from memtriage.procfs import vmstat
from tests.procfs import samples


def test_counters() -> None:
    found = vmstat.parse(samples.VMSTAT_6)
    assert found.odd == []
    assert found.values == {
        "nr_free_pages": 826129,
        "nr_slab_reclaimable": 37675,
        "pgmajfault": 1034,
        "oom_kill": 3,
        "thp_fault_alloc": 2**64 - 1,
    }


def test_oom_kill_is_absent_before_4_13() -> None:
    found = vmstat.parse(samples.VMSTAT_2_6_32)
    assert found.get("oom_kill") is None
    assert found.get("allocstall") == 12


def test_odd_and_cut_lines() -> None:
    found = vmstat.parse(b"oom_kill\nnr_dirty 1 2\npgfault x\npswpin 5\noom_kill 1")
    assert found.values == {"pswpin": 5}
    assert found.odd == ["oom_kill 1", "oom_kill", "nr_dirty 1 2", "pgfault x"]
