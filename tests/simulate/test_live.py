"""Every kind on this very kernel: the right part of the ledger grows by what was asked, at the rate asked, and no other; then it returns.

Other programs run on this host, too. What changes while the leak is held and nothing grows is theirs, and is allowed for twice; and each
kind has six attempts, of which one must be right in everything.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from memtriage.procfs import meminfo
from memtriage.procfs.pid import smaps_rollup
from memtriage.quantity import prime
from memtriage.simulate import kinds, measure
from tests.simulate.command import MIB, alive, children, started, until, wait_for

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]  # stat_refresh, slabinfo, cgroups
SIZES = {"heap": 211, "workers": 211, "shmem": 67, "page-tables": 47, "threads": 31, "cgroups": 47, "sockets": 101}
ATTEMPTS = 6
UNTOLD = ("free", "unaccounted")
"""The rest, and what is in no counter: pages on the CPUs' own free lists go up and down there by tens of MiB."""


def attempt(name: str) -> str | None:
    """Runs it once; returns what was wrong."""
    kind = kinds.KINDS[name]
    mib = SIZES.get(name, 43)
    asked = mib * MIB
    wanted = 1 if kind.exact else 1.5  # seconds
    allowed = 0.10 if kind.parts[0].startswith("slab") else 0.05
    with started(name, "--limit", f"{mib}MiB", "--rate", f"{mib / wanted:.3f}MiB/s", "--duration", "30") as process:
        until(process, "explain: ")
        before, free = measure.parts(), measure.slots(kind.parts)
        said = until(process, "holding ")[-1]
        after, left = measure.parts(), measure.slots(kind.parts)
        later = after
        if any(after[part] - before[part] > asked * allowed for part in after if part not in (*kind.parts, *kind.also, *UNTOLD)):
            time.sleep(1.2)
            later = measure.parts()
        family = children(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stdout and process.stdout.read() == "interrupted: undone\n"
        assert wait_for(lambda: not alive(family))
    returning = (*kind.parts, *kind.also)
    wait_for(lambda: all(measure.held((part,)) - before[part] < asked * allowed for part in returning), 6)
    gone = measure.parts()
    grown = {part: after[part] - before[part] for part in after}
    took = float(re.search(r"after ([0-9.]+) s", said).group(1))  # type: ignore[union-attr]
    filled = [free[name].free - left[name].free for name in left if name in free]
    kept = sum(grown[part] for part in kind.parts) + sum(size for size in filled if size > asked / 100)
    bound = {part: asked * allowed + 2 * abs(later[part] - after[part]) for part in after}
    problems = []
    if abs(kept - asked) > asked * allowed:
        problems.append(f"grew by {kept / MIB:.1f} of {mib} MiB")
    if abs(took - wanted) > 0.05 * wanted:
        problems.append(f"took {took} s")
    for part, change in grown.items():
        if part not in (*kind.parts, *kind.also, *UNTOLD) and change > bound[part]:
            problems.append(f"{part} grew by {change / MIB:.1f} MiB")
    for part in returning:
        if gone[part] - before[part] > bound[part]:
            problems.append(f"{part} did not return: {(gone[part] - before[part]) / MIB:+.1f} MiB")
    return f"{said}: {', '.join(problems)}; {({part: round(size / MIB, 1) for part, size in grown.items()})}" if problems else None


@pytest.mark.parametrize("name", kinds.KINDS)
def test_the_right_part_grows_by_what_was_asked_and_returns(name: str) -> None:
    if kinds.KINDS[name].groups and not os.path.isdir("/sys/fs/cgroup"):
        pytest.skip("no cgroups here")
    problems = []
    for _ in range(ATTEMPTS):
        problem = attempt(name)
        if problem is None:
            return
        problems.append(problem)
    others = noise(6)
    asked = SIZES.get(name, 43) * MIB
    if any(others[part] > asked / 40 for part in others if part not in UNTOLD):
        pytest.skip(f"other programs move too much memory meanwhile: {({part: round(size / MIB, 1) for part, size in others.items()})}; "
                    f"{problems[-1]}")
    pytest.fail("\n".join(problems))


@pytest.mark.parametrize("name", ["slab-eventfd", "cache", "negative"])
def test_slots_that_were_free_are_filled_and_counted(name: str, tmp_path: Path) -> None:
    """After the end of many names, slabs stay for one name in twenty: what comes then costs what it costs, though no slab is added.

    Of slabs more and less full, more than slabinfo counts: since Linux 6.10 it estimates then, and was a fifth off.
    """
    said = []
    for number in range(ATTEMPTS):
        for every in (4, 20):
            holes(tmp_path / f"{number}-{every}", every)
        with started(name, "--limit", "43MiB", "--rate", "43MiB/s", "--duration", "30") as process:
            said.append(until(process, "holding ")[-1])
        found = re.search(r"; the ledger says ([0-9.]+) ([KM]?i?B) (more|less) slab_.* and ([0-9.]+) MiB in slots of slabs that were free$",
                          said[-1])
        if found:
            added = float(found[1]) * {"B": 1 / MIB, "KiB": 1 / 1024, "MiB": 1}[found[2]] * (1 if found[3] == "more" else -1)
            if added + float(found[4]) == pytest.approx(43, rel=0.1):
                return
    pytest.fail("\n".join(said))


def holes(folder: Path, every: int) -> None:
    """Looks for 300,000 names and lets go of all but one in ``every``."""
    stay, go = folder / "stay", folder / "go"
    for each in (stay, go):
        each.mkdir(parents=True, exist_ok=True)
    for number in range(300_000):
        (go if number % every else stay).joinpath(str(number)).exists()
    go.rmdir()


def noise(seconds: int) -> dict[str, int]:
    """How much each part changes within two seconds while nothing of ours runs: the most of ``seconds`` / 2 looks."""
    most: dict[str, int] = {}
    last = measure.parts()
    for _ in range(seconds // 2):
        time.sleep(2)
        now = measure.parts()
        most = {part: max(most.get(part, 0), abs(now[part] - last[part])) for part in now}
        last = now
    return most


def own(pids: list[int], field: str) -> int:
    return sum(smaps_rollup.read(pid=pid).get(field) or 0 for pid in pids)


@pytest.mark.parametrize("name", ["heap", "workers"])
def test_the_processes_themselves_hold_what_was_asked(name: str) -> None:
    """The same, seen from the processes, where nobody else's noise is; and growth does not wait for the first look."""
    grown = []
    for _ in range(ATTEMPTS):
        with started(name, "--limit", "61MiB", "--rate", "61MiB/s", "--duration", "30") as process:
            until(process, "explain: ")
            before = own([process.pid, *children(process.pid)], "Pss_Anon")
            until(process, "holding ")
            grown.append((own([process.pid, *children(process.pid)], "Pss_Anon") - before) / MIB)
        if grown[-1] == pytest.approx(61, rel=0.05):
            return
    pytest.fail(f"grew by {grown} of 61 MiB")


def test_every_default_size_is_a_prime_of_its_own() -> None:
    sizes = [kind.mib for kind in kinds.KINDS.values()]
    assert all(map(prime, sizes))
    assert len(set(sizes)) == len(sizes)


def test_a_slow_rate_holds_all_the_way() -> None:
    """4 MiB/s, looked at each half second: never more than a twentieth, or a tick, from the line."""
    worst = []
    for _ in range(ATTEMPTS):
        with started("shmem", "--limit", "13MiB", "--rate", "4MiB/s", "--duration", "30") as process:
            until(process, "explain: ")
            base, start = shared(), time.monotonic()
            off = []
            for _ in range(5):
                time.sleep(0.5)
                spent = time.monotonic() - start
                off.append(abs((shared() - base) / MIB / 4 / spent - 1))
        worst.append(max(off[1:]))
        if worst[-1] <= 0.05:
            return
    pytest.fail(f"off by {worst}")


def shared() -> int:
    measure.settle()
    return meminfo.read().get("Shmem") or 0


def drop_caches() -> None:
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("2")


def taken() -> float:
    """Bytes of slots in use in reclaimable caches, when what can be given back was.

    Slabs alone would say less: many of a large tree's go on standing when it is dropped, full of holes, and take in what comes next.
    """
    for _ in range(3):
        drop_caches()
        time.sleep(0.2)  # what is dropped is free after a grace period
    return sum(each.taken for each in measure.slots(("slab_reclaimable",)).values())


@pytest.mark.parametrize(("name", "kept"), [("cache", False), ("negative", False), ("pinned", True)])
def test_what_reclaim_can_take_back(name: str, kept: bool) -> None:
    """Cache and leak look alike in meminfo; asked to give up caches, the kernel gives back the one and not the other."""
    left = []
    for _ in range(ATTEMPTS):
        before = taken()
        with started(name, "--limit", "23MiB", "--rate", "100MiB/s", "--duration", "30") as process:
            until(process, "holding ")
            left.append((taken() - before) / MIB)
        if 18 < left[-1] < 28 if kept else left[-1] < 4:
            return
    pytest.fail(f"{left} MiB are left after drop_caches")
