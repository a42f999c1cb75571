from pathlib import Path

import pytest

from memtriage.procfs import zram
from memtriage.procfs.files import Malformed, Missing
from tests.procfs import samples


@pytest.mark.parametrize("data", [samples.MM_STAT_9, samples.MM_STAT_8])
def test_values(data: bytes) -> None:
    assert zram.parse(data) == (4096, 1234, 12288, 0, 16384, 5, 6, 7)


def test_huge_pages_are_absent_before_4_19() -> None:
    assert zram.parse(samples.MM_STAT_7) == (4096, 1234, 12288, 0, 16384, 5, 6, None)


@pytest.mark.parametrize("data", [b"", b"1 2 3 4 5 6\n", b"1 2 3 4 5 6 7", b"1 2 3 4 5 6 x\n"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        zram.parse(data)


def test_devices(tmp_path: Path) -> None:
    for name in ("zram1", "zram0", "sda", "zram2"):
        (tmp_path / "block" / name).mkdir(parents=True)
    (tmp_path / "block/zram1/mm_stat").write_bytes(samples.MM_STAT_8)
    (tmp_path / "block/zram0/mm_stat").write_bytes(samples.MM_STAT_7)
    assert [(device.name, device.mm_stat.huge_pages) for device in zram.read(str(tmp_path))] == [("zram0", None), ("zram1", 7)]


def test_no_devices(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        zram.read(str(tmp_path))
    (tmp_path / "block").mkdir()
    assert zram.read(str(tmp_path)) == []
