from memtriage.procfs import keyed
from tests.procfs import samples


def test_white_space_separates() -> None:
    assert keyed.parse(b"a 1\nb\t2\n  c   3\n") == ({"a": 1, "b": 2, "c": 3}, [])


def test_no_more_than_64_bits() -> None:
    found = keyed.parse(b"a 18446744073709551615\nb 100000000000000000000000\n")
    assert found.values == {"a": 2**64 - 1}
    assert found.odd == ["b 100000000000000000000000"]


def test_memory_stat() -> None:
    found = keyed.parse(samples.CGROUP_V2_STAT)
    assert found.get("slab_reclaimable") == 600
    assert found.odd == []
