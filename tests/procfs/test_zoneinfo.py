from memtriage.procfs import zoneinfo
from memtriage.procfs.zoneinfo import Zone
from tests.procfs import samples


def test_zones_of_linux_6() -> None:
    found = zoneinfo.parse(samples.ZONEINFO_6)
    assert found.odd == []
    assert found.zones == [
        Zone(0, "DMA", 3840, 60, 75, 90, 4095, 3998, 3840, (0, 3019, 4171, 4171, 4171)),
        Zone(0, "Normal", 192533, 5355, 6693, 8031, 5505024, 5505024, 360448, (0, 0, 0, 0, 0)),
        Zone(1, "Movable", 0, 32, 32, 32, 0, 0, 0, (0, 0, 0, 0, 0)),
    ]


def test_zones_of_linux_2_6() -> None:
    found = zoneinfo.parse(samples.ZONEINFO_2_6_32)
    assert (found.zones, found.odd) == ([Zone(0, "DMA", 3973, 16, 20, 24, 4095, 3836, None, (0, 2983, 8033, 8033))], [])
    found = zoneinfo.parse(samples.ZONEINFO_2_6_18)
    assert (found.zones, found.odd) == ([Zone(0, "Normal", 100, 16, 20, 24, 4095, 4000, None, (0, 0))], [])


def test_reserve_is_capped_by_what_a_zone_has() -> None:
    zones = zoneinfo.parse(samples.ZONEINFO_6).zones
    assert zoneinfo.low_watermark_pages(zones) == 75 + 6693 + 32
    assert zoneinfo.reserve_pages(zones) == 3840 + 8031 + 0  # DMA: 4171 + 90 is more than it has; Movable has nothing
    assert zoneinfo.reserve_pages(zoneinfo.parse(samples.ZONEINFO_2_6_32).zones) == 3836  # 8033 + 24 is more than present
    assert zoneinfo.reserve_pages([]) == 0


def test_a_cut_zone_is_odd_and_not_half_read() -> None:
    whole = samples.ZONEINFO_6
    found = zoneinfo.parse(whole[: whole.index(b"spanned  5505024") + 9])
    assert [zone.name for zone in found.zones] == ["DMA"]
    assert found.odd == ["        spanned  ", "Node 0, zone   Normal"]


def test_odd_lines() -> None:
    found = zoneinfo.parse(b"  pages free 1\nNode x, zone DMA\nnode\n" + samples.ZONEINFO_2_6_18.replace(b"(0, 0)", b"(0, x)"))
    assert len(found.zones) == 1
    assert found.odd == ["  pages free 1", "node", "Node x, zone DMA", "        protection: (0, x)"]


def test_empty() -> None:
    assert zoneinfo.parse(b"") == ([], [])
