from memtriage.procfs import meminfo
from tests.procfs import samples


def test_kilobytes_are_bytes_and_pages_stay_pages() -> None:
    info = meminfo.parse(samples.MEMINFO_6_18)
    assert info.odd == []
    assert len(info.values) == 17
    assert info.get("MemTotal") == 24684084 * 1024
    assert info.get("Active(anon)") == 1536 * 1024
    assert info.get("HugePages_Total") == 4
    assert info.get("Hugepagesize") == 2048 * 1024
    assert info.get("Balloon") == 0


def test_absent_is_none() -> None:
    info = meminfo.parse(samples.MEMINFO_2_6_9)
    assert info.odd == []
    assert info.get("MemAvailable") is None
    assert info.get("LowFree") == 9872 * 1024


def test_the_table_of_linux_2_4_is_odd_and_its_lines_are_read() -> None:
    info = meminfo.parse(samples.MEMINFO_2_4)
    assert info.values == {"MemTotal": 515288 * 1024, "MemFree": 30124 * 1024, "MemShared": 0}
    assert [line.split(":")[0].strip() for line in info.odd] == ["total", "Mem", "Swap"]


def test_every_sample_key_is_documented() -> None:
    for sample in (samples.MEMINFO_6_18, samples.MEMINFO_2_6_9, samples.MEMINFO_2_4):
        assert set(meminfo.parse(sample).values) <= set(meminfo.FIELDS)


def test_a_line_cut_in_its_number_is_odd() -> None:
    info = meminfo.parse(b"MemTotal: 100 kB\nMemFree: 1")
    assert info.values == {"MemTotal": 102400}
    assert info.odd == ["MemFree: 1"]


def test_odd_lines_cost_only_themselves() -> None:
    info = meminfo.parse(b"A: 1 kB\nB: -1 kB\nC: 1 MB\nD 5 kB\nE:\n: 4 kB\nA: 2 kB\nF: \xd9\xa3 kB\nG: 1_0\n\nH: 7 kB\n")
    assert info.values == {"A": 1024, "H": 7168}
    assert info.odd == ["B: -1 kB", "C: 1 MB", "D 5 kB", "E:", ": 4 kB", "A: 2 kB", "F: \u0663 kB", "G: 1_0"]


def test_empty() -> None:
    assert meminfo.parse(b"") == ({}, [])
