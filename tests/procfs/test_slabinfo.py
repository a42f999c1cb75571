import pytest

from memtriage.procfs import slabinfo
from memtriage.procfs.files import Malformed
from memtriage.procfs.slabinfo import Cache
from tests.procfs import samples


def test_2_1() -> None:
    info = slabinfo.parse(samples.SLABINFO_2_1)
    assert (info.version, info.odd) == ("2.1", [])
    assert info.caches == [
        Cache("nfs_inode_cache", 2380741, 2380752, 1096, 29, 8, 82096, 82096),
        Cache("fsnotify_mark_connector", 136680, 136680, 24, 170, 1, 804, 804),
        Cache("iwl_cmd_pool:0000:04:00.0", 0, 0, 280, 29, 2, 0, 0),
        Cache("kmalloc-192(123:docker-4f.scope)", 42, 84, 192, 42, 2, 2, 2),
        Cache("dentry", 4660, 5250, 192, 21, 1, 250, 250),
    ]
    assert info.caches[0].footprint(4096) == 82096 * 8 * 4096
    assert info.caches[0].footprint(65536) == 82096 * 8 * 65536


def test_statistics_columns_are_passed_over() -> None:
    info = slabinfo.parse(samples.SLABINFO_2_1_STATISTICS)
    assert (info.version, info.odd) == ("2.1", [])
    assert info.caches == [Cache("ip_fib_alias", 17, 113, 32, 113, 1, 1, 1), Cache("size-64", 5000, 5310, 64, 59, 1, 90, 90)]


def test_2_0_with_a_blank_in_a_name() -> None:
    info = slabinfo.parse(samples.SLABINFO_2_0)
    assert (info.version, info.odd) == ("2.0", [])
    assert [cache.name for cache in info.caches] == ["ip_conntrack_expect", "fib6 nodes", "size-131072(DMA)"]
    assert info.caches[1] == Cache("fib6 nodes", 9, 119, 32, 119, 1, 1, 1)


@pytest.mark.parametrize("sample", [samples.SLABINFO_1_1, samples.SLABINFO_1_1_SMP])
def test_1_1(sample: bytes) -> None:
    info = slabinfo.parse(sample)
    assert (info.version, info.odd) == ("1.1", [])
    assert info.caches[0] == Cache("kmem_cache", 80, 80, 248, None, 1, 5, 5)


def test_1_1_with_blanks_in_a_name() -> None:
    assert slabinfo.parse(samples.SLABINFO_1_1).caches[1] == Cache("ip fib hash", 10, 112, 32, None, 1, 1, 1)


def test_numbers_wider_than_their_columns() -> None:
    line = b"a_name_that_is_longer_than_its_column 12345678901 12345678901 4096 8 8 : tunables 0 0 0 : slabdata 1543209862 1543209863 0\n"
    info = slabinfo.parse(b"slabinfo - version: 2.1\n" + line)
    assert info.caches == [Cache("a_name_that_is_longer_than_its_column", 12345678901, 12345678901, 4096, 8, 8, 1543209862, 1543209863)]


@pytest.mark.parametrize("name", [b"a : b", b"x : slabdata y", b"1 2 3", b"caf\xe9", b"(", b"-"])
def test_hostile_names(name: bytes) -> None:
    info = slabinfo.parse(b"slabinfo - version: 2.1\n" + name + b" 1 2 3 4 5 : tunables 0 0 0 : slabdata 6 7 0\n")
    assert info.odd == []
    assert info.caches == [Cache(name.decode("utf-8", "backslashreplace"), 1, 2, 3, 4, 5, 6, 7)]


@pytest.mark.parametrize(
    "line",
    [
        b"dentry 1 2 3 4 : tunables 0 0 0 : slabdata 6 7 0",
        b"dentry 1 2 3 4 5 : tunables 0 0 0 : slabdata 6",
        b"dentry 1 2 3 4 -5 : tunables 0 0 0 : slabdata 6 7 0",
        b"dentry 1 2 3 4 5 : slabdata 6 7 0",
        b"1 2 3 4 5 : tunables 0 0 0 : slabdata 6 7 0",
        b"dentry",
    ],
)
def test_an_odd_line_costs_only_itself(line: bytes) -> None:
    good = b"inode 1 2 3 4 5 : tunables 0 0 0 : slabdata 6 7 0\n"
    info = slabinfo.parse(b"slabinfo - version: 2.1\n" + line + b"\n" + good)
    assert info.odd == [line.decode()]
    assert info.caches == [Cache("inode", 1, 2, 3, 4, 5, 6, 7)]


def test_a_cut_line_is_odd() -> None:
    cut = samples.SLABINFO_2_1[:-3]
    info = slabinfo.parse(cut)
    assert len(info.caches) == 4
    assert len(info.odd) == 1 and info.odd[0].startswith("dentry")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"slabinfo - version: 3.0\n", "unknown version line: slabinfo - version: 3.0"),
        (b"slabinfo - version:\n", "unknown version line: slabinfo - version:"),
        (b"dentry 1 2 3\n", "unknown version line: dentry 1 2 3"),
    ],
)
def test_an_unknown_version_is_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        slabinfo.parse(data)
    assert caught.value.reason == reason
