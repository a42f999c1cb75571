"""Who is named, who is not, and how long is left: made histories with one thing in each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memtriage import diagnosis, exhaustion
from memtriage.exhaustion import Cache, History, Outlook, Rules

MIB = 1024**2
TOTAL = 4096 * MIB
RULES = Rules(4 * 3600.0, 3600.0, 6)
STEP = 300.0


def outlook(rows: int = 60, caches: dict[str, Cache] | None = None, start: float = 7200.0, available: Callable[[int], float] | None = None,
            rules: Rules = RULES, extra: dict[str, Callable[[int], int]] | None = None, total: Callable[[int], int] = lambda step: TOTAL,
            **parts: Callable[[int], float]) -> Outlook:
    """``parts``: key with ``_`` for the dot -> MiB at each step. Available is what they leave of 3,600 MiB unless it is given."""
    history = []
    for step in range(rows):
        sizes = {key.replace("_", ".", 1): part(step) for key, part in parts.items()}
        left = available(step) if available else 3600 - sum(size for key, size in sizes.items() if key[0] in "gc" or key == "p.shmem")
        row = {"available": int(left * 1024), "total": total(step) // 1024,
               "p.anon": int(1024 * sum(size for key, size in sizes.items() if key.startswith("g."))),
               "p.slab_unreclaimable": int(1024 * sum(size for key, size in sizes.items() if key.startswith("c.")))}
        for key, size in sizes.items():
            if size >= 1:
                row[key] = int(size * 1024) if key.startswith("p.") else int(size * 256)
        row.update({key: count(step) for key, count in (extra or {}).items()})
        history.append(row)
    known = caches if caches is not None else {key[2:]: Cache(False) for key in parts if key.startswith("c_")}
    moments = [start + step * STEP for step in range(rows)]
    return exhaustion.outlook(History(moments, list(history), 4096), known, history[-1]["available"] * 1024.0, TOTAL, rules)


def keys(found: Outlook) -> list[str]:
    return [cause.key for cause in found.causes]


def test_an_unreclaimable_cache_is_named_and_the_time_is_right() -> None:
    found = outlook(c_filp=lambda step: 20 + 30 * step)
    assert keys(found) == ["c.filp"]
    left = 3600 - (20 + 30 * 59)
    assert found.eta == pytest.approx(left / 30 * STEP, rel=0.01)
    assert found.eta_low is not None and found.eta_high is not None and found.eta_low <= found.eta <= found.eta_high
    assert found.causes[0].slope * STEP / MIB == pytest.approx(30, rel=0.01)
    assert found.causes[0].share == 1 and not found.causes[0].pinned


def test_a_reclaimable_cache_is_not_and_says_why() -> None:
    found = outlook(c_dentry=lambda step: 20 + 40 * step, caches={"dentry": Cache(True, 0.05)}, available=lambda step: 3500)
    assert keys(found) == [] and found.eta is None
    assert ("c.dentry", "reclaimable") in found.doubts


def test_a_reclaimable_cache_in_use_is_a_suspect() -> None:
    held = {"nfs_inode_cache": Cache(True, 0.97)}
    found = outlook(c_nfs_inode_cache=lambda step: 20 + 40 * step, caches=held, available=lambda step: 2600)
    assert keys(found) == ["c.nfs_inode_cache"] and found.causes[0].pinned
    # It is called pinned, so the time is that of what is left without it: 40 MiB a step, although MemAvailable counts it all.
    left = 2600 - 0.97 * (20 + 40 * 59)
    assert found.pinned == [] and found.headroom == pytest.approx(left * MIB, rel=0.01)
    assert found.eta == pytest.approx(left / 40 * STEP, rel=0.01)


def test_what_reclaim_cannot_shrink_is_pinned_and_no_headroom() -> None:
    reclaiming = {"pgscan": lambda step: 40000 * step}
    found = outlook(c_nfs_inode_cache=lambda step: 20 + 10 * step, caches={"nfs_inode_cache": Cache(True, 0.97)}, extra=reclaiming,
                    available=lambda step: 1500)
    assert [held.key for held in found.pinned] == ["c.nfs_inode_cache"]
    assert found.pinned[0].size == pytest.approx(0.97 * (20 + 590) * MIB, rel=0.01)
    assert found.headroom == pytest.approx(1500 * MIB - found.pinned[0].size, rel=0.01)
    assert keys(found) == ["c.nfs_inode_cache"]


def test_pinned_is_told_where_the_check_runs_rarely() -> None:
    """With two runs in a window the last six steps count."""
    found = outlook(c_nfs_inode_cache=lambda step: 20 + 10 * step, caches={"nfs_inode_cache": Cache(True, 0.97)},
                    available=lambda step: 1500, extra={"pgscan": lambda step: 40000 * step}, rules=Rules(2 * STEP, STEP, 6))
    assert [held.key for held in found.pinned] == ["c.nfs_inode_cache"]


@pytest.mark.parametrize(("dying", "told"), [
    (lambda step: 2000 * step, 118000),
    (lambda step: 50000, 0),  # they were there before: not they grow
    (lambda step: 100 * step, 0),  # too few to be it
])
def test_removed_cgroups_explain_a_cache(dying: Callable[[int], int], told: int) -> None:
    found = outlook(**{"c_kmalloc-4k": lambda step: 20 + 30 * step}, extra={"dying": dying})  # type: ignore[arg-type]
    assert [cause.dying for cause in found.causes] == [told]
    culprit = diagnosis.cause_culprit(found.causes[0], {}, [])
    assert culprit.words.endswith("unreclaimable, of 118000 dying cgroups" if told else "/h, unreclaimable")


def test_removed_cgroups_explain_no_process() -> None:
    found = outlook(rows=400, g_java=lambda step: 20 + 8 * step, extra={"dying": lambda step: 9000 * step})
    assert [(cause.key, cause.dying) for cause in found.causes] == [("g.java", 0)]


@pytest.mark.parametrize(("cache", "sizes", "scan"), [
    (Cache(True, 0.05), lambda step: 20 + 10 * step, 40000),  # nobody holds it
    (Cache(True, 0.97), lambda step: 600 - 5 * step, 40000),  # it shrinks
    (Cache(True, 0.97), lambda step: 20 + 0.2 * step, 40000),  # too small to matter
    (Cache(True, 0.97), lambda step: 20 + 10 * step, 100),  # the kernel has not needed memory
    (Cache(False), lambda step: 20 + 10 * step, 40000),  # not reclaimable to begin with
])
def test_what_is_not_pinned(cache: Cache, sizes: Callable[[int], float], scan: int) -> None:
    found = outlook(c_x=sizes, caches={"x": cache}, extra={"pgscan": lambda step: scan * step}, available=lambda step: 1500)
    assert found.pinned == []


@pytest.mark.parametrize(("rows", "sizes", "held"), [
    (75, lambda step: 400, True),  # shown less than a window ago, and nothing was given back
    (140, lambda step: 400, False),  # long ago, and it does not grow: nobody knows
    (140, lambda step: 400 + 2 * step, True),  # long ago, and it has grown ever since
    (140, lambda step: 400 + 2 * step - (100 if step == 60 else 0), False),  # once it gave something back
    (75, lambda step: 400 - (20 if step > 70 else 0), False),  # just now it gives something back
])
def test_pinned_holds_until_something_is_given_back(rows: int, sizes: Callable[[int], float], held: bool) -> None:
    """Reclaim in the first 30 of so many steps of five minutes; a window is 48."""
    found = outlook(rows, c_x=sizes, caches={"x": Cache(True, 0.97)}, available=lambda step: 1500,
                    extra={"pgscan": lambda step: 40000 * min(step, 30)})
    assert [one.key for one in found.pinned] == (["c.x"] if held else [])


def test_two_causes_in_order_and_no_innocent() -> None:
    found = outlook(g_java=lambda step: 100 + 12 * step, c_filp=lambda step: 20 + 24 * step, g_sshd=lambda step: 30 + 1.5 * step,
                    g_chrome=lambda step: 900)
    assert keys(found) == ["c.filp", "g.java"]
    assert [round(cause.share, 2) for cause in found.causes] == pytest.approx([0.64, 0.32], abs=0.02)


def test_resident_pages_that_anonpages_does_not_confirm_are_no_loss() -> None:
    """A database that maps more and more of a file: resident, and given back when needed."""
    history = [{"available": 3000 * 1024, "total": TOTAL // 1024, "p.anon": 300 * 1024, "g.postgres": (100 + 30 * step) * 256}
               for step in range(60)]
    found = exhaustion.outlook(History([7200 + step * STEP for step in range(60)], list(history), 4096), {}, 3000.0 * MIB, TOTAL, RULES)
    assert keys(found) == [] and found.eta is None


def test_shared_memory_is_named_and_not_the_processes_that_map_it() -> None:
    history = [{"available": (3500 - 30 * step) * 1024, "total": TOTAL // 1024, "p.anon": 300 * 1024, "p.shmem": (50 + 30 * step) * 1024,
                "g.postgres": (100 + 300 * step) * 256} for step in range(90)]
    moments = [7200 + step * STEP for step in range(90)]
    found = exhaustion.outlook(History(moments, list(history), 4096), {}, (3500.0 - 89 * 30) * MIB, TOTAL, RULES)
    assert keys(found) == ["p.shmem"]


def test_growth_that_takes_nothing_away_exhausts_nothing() -> None:
    found = outlook(c_new_cache=lambda step: 20 + 30 * step, available=lambda step: 2000)
    assert keys(found) == []
    assert ("c.new_cache", "what is available does not fall with it") in found.doubts


def test_warm_up_does_not_count() -> None:
    assert outlook(rows=30, start=60.0, c_filp=lambda step: 20 + 60 * step, rules=Rules(14400.0, 3 * 3600.0, 6)).eta is None
    assert outlook(rows=30, start=60.0, c_filp=lambda step: 20 + 60 * step, rules=Rules(14400.0, 60.0, 6)).eta is not None


def test_hot_plugged_memory_starts_anew() -> None:
    """Memory came at step 40; what was seen before it says nothing of what is left now."""
    grown = outlook(c_filp=lambda step: 20 + 30 * step, total=lambda step: TOTAL if step >= 55 else TOTAL // 2)
    assert grown.eta is None


def test_a_reloaded_module_is_no_growth() -> None:
    found = outlook(c_drv=lambda step: 0 if 20 < step < 25 else 900)
    assert keys(found) == []


def test_a_name_that_was_never_seen_before_counts_from_nothing() -> None:
    found = outlook(rows=80, c_drv=lambda step: max(0, 40 * (step - 20)))
    assert keys(found) == ["c.drv"]


def test_process_growth_of_one_morning_waits_for_a_whole_window() -> None:
    """Half a window of steep growth: a cache is called a leak, a program may be starting its day."""
    assert keys(outlook(rows=30, c_filp=lambda step: 20 + 70 * step)) == ["c.filp"]
    assert keys(outlook(rows=30, g_java=lambda step: 20 + 70 * step)) == []
    assert keys(outlook(rows=60, g_java=lambda step: 20 + 44 * step)) == ["g.java"]


def test_no_more_is_extrapolated_than_twice_what_was_seen() -> None:
    assert outlook(rows=60, c_filp=lambda step: 20 + 10 * step).eta is None
    assert outlook(rows=60, c_filp=lambda step: 20 + 22 * step).eta is not None


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_no_verdict_from_a_few_points(rows: int) -> None:
    found = outlook(rows=max(1, rows), c_filp=lambda step: 20 + 500 * step)
    assert found.eta is None and found.causes == []


def test_missed_runs_and_gaps() -> None:
    history = [(7200 + step * STEP, {"available": (3500 - 30 * step) * 1024, "total": TOTAL // 1024, "c.filp": (20 + 30 * step) * 256})
               for step in range(80) if step % 3 and not 30 < step < 45]
    found = exhaustion.outlook(History([time for time, _ in history], [row for _, row in history], 4096), {"filp": Cache(False)},
                               history[-1][1]["available"] * 1024.0, TOTAL, RULES)
    assert keys(found) == ["c.filp"]


def test_no_history_at_all() -> None:
    found = exhaustion.outlook(History([], [], 4096), {}, 1e9, TOTAL, RULES)
    assert found == Outlook([], [], 1e9, None, None, None, [])
