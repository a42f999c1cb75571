"""What is said of growth, through the real checks, on hosts made to grow: complete first lines, exit codes and the figures behind them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.checks.command import Answer
from tests.checks.timeline import Moment, play
from tests.fixtures.make import TOTAL, Scenario

STEP = 600.0
START = 7200.0


def leaking(cache: str = "kmalloc-4k", step_kb: int = 40000, count: int = 40, pinned: bool = False, pgscan: int = 0) -> Iterator[Moment]:
    """A slab cache that grows by ``step_kb`` every ten minutes; MemAvailable falls with it unless the cache counts as reclaimable."""
    for step in range(count):
        size = 20000 + step_kb * step
        slab = {cache: size}
        if cache.endswith("inode_cache"):
            slab["dentry"] = 15000 + size // 4  # a dentry for each inode
        lost = 0 if cache == "nfs_inode_cache" else size
        yield Moment(START + step * STEP, Scenario("growth", "tests", available=2600000 - lost, slab=slab, pinned=pinned), pgscan * step)


def heap(count: int = 50, step_kb: int = 3500) -> Iterator[Moment]:
    """Twelve workers, each growing by ``step_kb`` every ten minutes."""
    for step in range(count):
        each = 20000 + step_kb * step
        yield Moment(START + step * STEP, Scenario("growth", "tests", available=2500000 - 12 * step_kb * step, group=("httpd", 12, each)))


def seconds(answer: Answer) -> int:
    return int(answer.perfdata["eta"].split("s;")[0])


def test_free_mem_names_the_cache_and_says_when(tmp_path):
    answer = play(tmp_path, leaking(), "check_free_mem")
    assert answer.code == 2
    assert answer.first == ("FREE_MEM CRITICAL - 25.3% of 3.84 GiB available (996 MiB), gone in 4.2 h; "
                            "culprit: slab cache 'kmalloc-4k' 1.51 GiB, +234 MiB/h, unreclaimable")
    left = (2600000 - 20000 - 40000 * 39) / 40000 * STEP
    assert seconds(answer) == pytest.approx(left, rel=0.03)
    assert answer.perfdata["eta"].endswith("s;259200:;28800:;0")
    lines = answer.out.split("\n")
    assert lines[1].startswith("Kernel memory, not a process: no program's end gives it back unless it held the objects. It is not proc")
    assert lines[2] == "Grows: slab cache 'kmalloc-4k' 1.51 GiB, +234 MiB/h (234 MiB to 234 MiB) over 6.5 h, 100% of the growth"


def test_slab_growth_says_the_same(tmp_path):
    answer = play(tmp_path, leaking(), "check_slab_growth")
    assert answer.code == 2
    assert answer.first == ("SLAB_GROWTH CRITICAL - memory gone in 4.2 h; "
                            "culprit: slab cache 'kmalloc-4k' 1.51 GiB, +234 MiB/h, unreclaimable")
    assert seconds(answer) == pytest.approx(15300, rel=0.03)
    assert answer.perfdata["growth_per_hour"].split("B")[0] == str(answer.perfdata["g_kmalloc_4k"].split("B")[0])


def test_limits_on_the_time_are_the_users(tmp_path):
    assert play(tmp_path, leaking(), "check_free_mem", "--eta-critical", "1h:").code == 1
    assert play(tmp_path / "b", leaking(), "check_free_mem", "--eta-critical", "1h:", "--eta-warning", "2h:").code == 0


def test_an_ok_with_a_slow_leak_names_the_growth_and_no_culprit(tmp_path):
    answer = play(tmp_path, leaking(), "check_free_mem", "--eta-critical", "1h:", "--eta-warning", "2h:")
    assert answer.first == ("FREE_MEM OK - 25.3% of 3.84 GiB available (996 MiB), gone in 4.2 h; "
                            "largest: slab cache 'kmalloc-4k' 1.51 GiB, unreclaimable")


def test_a_process_group_with_its_workers(tmp_path):
    answer = play(tmp_path, heap(), "check_free_mem")
    assert answer.code == 2
    assert answer.first.startswith("FREE_MEM CRITICAL - 11.0% of 3.84 GiB available (432 MiB), gone in 1.8 h; "
                                   "culprit: process group 'httpd' (12 x "), answer.first
    assert answer.out.split("\n")[1].startswith("Memory of processes, not of the kernel. It is not slab (2.")
    assert "eta" not in play(tmp_path, [list(heap())[-1]], "check_slab_growth").perfdata


def test_a_cache_of_unused_inodes_is_no_alarm(tmp_path):
    moments = list(leaking("nfs_inode_cache", count=40))
    answer = play(tmp_path, moments, "check_free_mem")
    assert answer.code == 0 and "eta" not in answer.perfdata
    assert answer.first.startswith("FREE_MEM OK - 64.") and "largest: slab cache 'nfs_inode_cache' 1.51 GiB, reclaimable" in answer.first
    assert "Grows, but no cause: slab cache 'nfs_inode_cache' (reclaimable)" in answer.out
    assert play(tmp_path, moments[-1:], "check_slab_growth").code == 0


def test_the_same_cache_pinned_is_critical_though_available_counts_it(tmp_path):
    """The story: MemAvailable stands at 64 % and says nothing."""
    moments = list(leaking("nfs_inode_cache", count=40, pinned=True, pgscan=60000))
    answer = play(tmp_path, moments, "check_slab_growth", "--eta-critical", "1h:", "--eta-warning", "2h:")
    assert answer.code == 2
    assert answer.first.startswith("SLAB_GROWTH CRITICAL - culprit: slab cache 'nfs_inode_cache' 1."), answer.first
    assert "1.51 GiB, 1.43 GiB of it pinned: the kernel reclaims and cannot shrink it; slab 1." in answer.first
    free = play(tmp_path, moments[-1:], "check_free_mem")
    assert free.code == 2
    assert "without what is pinned, gone in" in free.first
    assert "culprit: slab cache 'nfs_inode_cache' 1.51 GiB, +234 MiB/h, pinned" in free.first
    assert "reclaimable by its flag, but held" in free.out.split("\n")[1]
    available, usable = (int(free.perfdata[key].split("B")[0]) for key in ("available", "usable"))
    assert available > 0.6 * TOTAL * 1024 and usable < available - 1.3 * 1024**3


def test_a_small_pinned_cache_is_not_critical_by_itself(tmp_path):
    """Reclaim did not shrink it, and it grows: but it is 3 % of RAM, and memory is not seen to end."""
    moments = list(leaking("nfs_inode_cache", step_kb=2500, count=40, pinned=True, pgscan=60000))
    answer = play(tmp_path, moments, "check_slab_growth")
    assert answer.code == 0 and "Pinned: slab cache 'nfs_inode_cache' 115 MiB" in answer.out


def test_a_reboot_forgets_the_trend_and_is_no_negative_growth(tmp_path):
    moments = list(leaking())
    last = moments[-1]._replace(boot="11111111-2222-4333-8444-555555555555", uptime=7000.0)
    answer = play(tmp_path, [*moments, last], "check_free_mem")
    assert answer.code == 0 and "eta" not in answer.perfdata
    slab = play(tmp_path, [last], "check_slab_growth")
    assert "growth_per_hour" not in slab.perfdata or slab.perfdata["growth_per_hour"].startswith("0B")


def test_no_trend_from_the_first_hour_or_from_few_runs(tmp_path):
    young = [moment._replace(uptime=moment.uptime - START + 60) for moment in list(leaking(count=7, step_kb=300000))]
    assert "eta" not in play(tmp_path / "a", young, "check_free_mem").perfdata
    assert "eta" in play(tmp_path / "b", young, "check_free_mem", "--warmup", "1m").perfdata
    assert "eta" not in play(tmp_path / "c", young, "check_free_mem", "--warmup", "1m", "--min-samples", "9").perfdata


def test_time_compressed_by_the_window(tmp_path):
    """A run every two seconds: what a drill of some minutes looks like."""
    moments = [moment._replace(uptime=100 + 2.0 * step) for step, moment in enumerate(leaking())]
    assert "eta" not in play(tmp_path / "a", moments, "check_free_mem").perfdata
    answer = play(tmp_path / "b", moments, "check_free_mem", "--warmup", "10s", "--window", "60s")
    assert answer.code == 2 and seconds(answer) == pytest.approx(51, abs=2)


def test_a_host_without_a_past_is_judged_by_its_level(tmp_path):
    answer = play(tmp_path, list(leaking())[-1:], "check_free_mem")
    assert answer.code == 0 and "eta" not in answer.perfdata


@pytest.mark.parametrize("options", [("--window", "0"), ("--min-samples", "2"), ("--min-samples", "x"), ("--warmup", "-1"),
                                     ("--eta-warning", "8h:", "--eta-critical", "72h:"), ("--eta-warning", "10%")])
def test_bad_values_are_refused(tmp_path, options):
    answer = play(tmp_path, list(leaking())[-1:], "check_free_mem", *options)
    assert answer.code == 3 and "usage: " in answer.first


def test_names_that_want_to_forge_output_stay_names(tmp_path):
    moments = leaking("x|y=1;\x1b[31m")
    answer = play(tmp_path, moments, "check_free_mem")
    assert answer.code == 2 and "slab cache 'x?y=1??[31m'" in answer.first
