"""Public bug reports with figures: is the named culprit what it turned out to be? Numbers as posted, in kB unless a name says otherwise.

Left out, because they hold too few figures to judge: a freeze at 14.8 % available without any holder; a router's series closed as invalid
whose holder was never found, except for the verdict that slab is not to blame.
"""

from __future__ import annotations

import pytest

from memtriage import accounting, diagnosis, exhaustion, growth
from memtriage.diagnosis import Cache, Culprit
from memtriage.exhaustion import History, Outlook, Rules
from memtriage.procfs import meminfo

NOTHING = Outlook([], [], 0.0, None, None, None, [])


def blamed(lines: dict[str, int], caches: dict[str, tuple[int, bool]], vmalloc_is_pages: bool = False) -> Culprit:
    """The verdict on meminfo lines and slab caches, name -> kB and whether reclaimable, of a host that is short of memory."""
    found = {"SwapTotal": 0, "SwapFree": 0, "Cached": 0, "MemFree": 0, **lines}
    info = meminfo.parse("".join(f"{name}: {size} kB\n" for name, size in found.items()).encode())
    assert accounting.problem(info) is None
    book = accounting.ledger(info, accounting.Extra(vmalloc_is_pages=vmalloc_is_pages))
    assert sum(book.parts.values()) == book.total
    listed = sorted((Cache(name, size * 1024, easy) for name, (size, easy) in caches.items()), key=lambda cache: -cache.size)
    return diagnosis.blame(book, None, NOTHING, {}, listed, [], True)


def test_coreos_2637_slab_and_per_cpu_and_not_the_processes() -> None:
    found = blamed({"MemTotal": 2017520, "MemFree": 213812, "MemAvailable": 315436, "Cached": 306624, "AnonPages": 156660, "Shmem": 204636,
                    "Slab": 756624, "SReclaimable": 178672, "SUnreclaim": 577952, "KernelStack": 4748, "PageTables": 2240,
                    "Percpu": 557056}, {})
    assert found.part == "slab_unreclaimable" and found.words == "unreclaimable slab 564 MiB"


def test_gluon_1768_kmalloc_of_a_wireless_driver() -> None:
    found = blamed({"MemTotal": 124000, "MemFree": 8000, "AnonPages": 9000, "Slab": 60000, "SReclaimable": 3000, "SUnreclaim": 57000},
                   {"kmalloc-4096": (25376, False), "kmalloc-512": (8000, False)})
    assert found.words == "slab cache 'kmalloc-4096' 24.8 MiB, unreclaimable"


def test_omarchy_5989_socket_buffers_and_not_the_browser_that_was_killed() -> None:
    found = blamed({"MemTotal": 32505856, "MemFree": 120000, "AnonPages": 600000, "Slab": 30400000, "SReclaimable": 100000,
                    "SUnreclaim": 30300000}, {"skbuff_small_head": (22180873, False), "skbuff_head_cache": (8065986, False)})
    assert found.words == "slab cache 'skbuff_small_head' 21.2 GiB, unreclaimable"


def test_noctalia_701_acpi_with_the_names_it_may_also_be() -> None:
    cache = Cache("Acpi-State", 25629124 * 1024, False, ("audit_tree_mark", "xfs_rmap_intent", "btrfs_prelim_ref", "Acpi-ParseExt"))
    assert cache.words == "slab cache 'Acpi-State' (+ audit_tree_mark, xfs_rmap_intent, btrfs_prelim_ref, 1 more)"
    found = blamed({"MemTotal": 32505856, "MemFree": 120000, "AnonPages": 4000000, "Slab": 26000000, "SReclaimable": 200000,
                    "SUnreclaim": 25800000}, {"Acpi-State": (25629124, False)})
    assert found.words.startswith("slab cache 'Acpi-State' 24.4 GiB")


def test_serverfault_561350_dentries_and_not_600_php_workers() -> None:
    found = blamed({"MemTotal": 132145324, "MemFree": 53620068, "AnonPages": 24000000, "Slab": 46000000, "SReclaimable": 45500000,
                    "SUnreclaim": 500000}, {"dentry": (44283268, True)})
    assert found.words == "slab cache 'dentry' 42.2 GiB, reclaimable"


def test_toofishes_inodes_are_the_largest_and_reclaimable() -> None:
    found = blamed({"MemTotal": 16400000, "MemFree": 700000, "AnonPages": 2000000, "Cached": 900000, "Slab": 11700000,
                    "SReclaimable": 11650000, "SUnreclaim": 50000},
                   {"ext4_inode_cache": (10746368, True), "dentry": (803960, True), "buffer_head": (89040, True)})
    assert found.words == "slab cache 'ext4_inode_cache' 10.2 GiB, reclaimable"


def test_kube_aws_954_dying_cgroups_are_recognised() -> None:
    rows = {"dentry": (788240, True), "kmem_cache": (441832, False), "kmem_cache_node": (72492, False), "kmalloc-128": (308420, False),
            "kmalloc-96": (202448, False), "kmalloc-1024": (196704, False)}
    caches = [Cache(name, size * 1024, easy) for name, (size, easy) in rows.items()]
    assert diagnosis.dying(caches) == "Dying cgroups: 'kmem_cache' holds 502 MiB, the caches of removed cgroups that something holds."
    assert diagnosis.dying([Cache("kmem_cache", 65536, False), Cache("kmem_cache_node", 32768, False)]) == ""


def test_openwrt_19544_memory_that_no_counter_explains() -> None:
    found = blamed({"MemTotal": 119260, "MemFree": 6112, "MemAvailable": 20148, "Cached": 19064, "AnonPages": 4576, "Slab": 25548,
                    "SReclaimable": 4308, "SUnreclaim": 21240, "KernelStack": 904, "PageTables": 640, "VmallocUsed": 3796,
                    "Percpu": 288}, {}, vmalloc_is_pages=True)
    assert found.part == "unaccounted" and 56 << 20 < found.size < 62 << 20


def test_cloudlinux_reclaimable_by_the_hundred_gigabytes() -> None:
    found = blamed({"MemTotal": 134217728, "MemFree": 2000000, "AnonPages": 8000000, "Slab": 120366508, "SReclaimable": 117102628,
                    "SUnreclaim": 3263880}, {})
    assert found.part == "slab_reclaimable"


def test_a_crash_kernel_that_ran_out_while_booting() -> None:
    found = blamed({"MemTotal": 90000, "MemFree": 2000, "AnonPages": 1000, "Slab": 70000, "SReclaimable": 2000, "SUnreclaim": 68000},
                   {"kmalloc-2048": (59164, False)})
    assert found.words == "slab cache 'kmalloc-2048' 57.8 MiB, unreclaimable"


def outlook(rows: list[tuple[float, dict[str, int]]], total: int) -> Outlook:
    last = rows[-1][1]
    history = History([time for time, _ in rows], [{"total": total, **row} for _, row in rows], 4096)
    return exhaustion.outlook(history, {}, last["available"] * 1024.0, total * 1024.0, Rules(4 * 3600.0, 3600.0, 3))


def test_openwrt_23610_slab_grows_but_explains_six_per_cent_of_the_loss() -> None:
    series = [(0.75, 90720, 16244), (1.0, 79520, 16296), (3.0, 72940, 16572), (5.0, 76480, 17176), (6.5, 71440, 17368)]
    rows = [(hours * 3600 + 3600, {"available": left, "p.slab_unreclaimable": slab}) for hours, left, slab in series]
    assert outlook(rows, 119260).causes == []


@pytest.mark.parametrize("series", [
    [(60, 83868), (600, 90356), (2280, 95920), (9360, 104264)],  # coreos 2637 after boot
    [(600 * step, size) for step, size in enumerate((40000, 47200, 52100, 54000, 55900, 57000, 57700, 58300, 58700, 59000))],  # ROCm 176
])
def test_what_grows_after_boot_slows_down(series: list[tuple[float, int]]) -> None:
    rows = [(time, {"available": 1500000 - size, "p.slab_unreclaimable": size}) for time, size in series]
    assert outlook(rows, 2017520).eta is None
    found = growth.prove([time for time, _ in series], [size * 1024.0 for _, size in series], 300e6, 3)
    assert isinstance(found, growth.Unproven)
