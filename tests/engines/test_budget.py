"""The budget on a real server: Apache's prefork workers that hold 23 MiB each and share 61 MiB with their parent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import limited
from tests.checks.command import ROOT, environment, run
from tests.engines import apache

pytestmark = [pytest.mark.engine, pytest.mark.needs_root]

EACH, SHARED, WORKERS = 23, 61, 7
MIB = 1024**2


@pytest.fixture
def server(public_path: Path) -> Iterator[int]:
    with apache.prefork(public_path, WORKERS, 150, EACH, SHARED) as number:
        yield number


def explain(*options: str) -> list[str]:
    done = subprocess.run([sys.executable, "-m", "memtriage", "explain", *options], capture_output=True, text=True, timeout=60, check=False,
                          env=environment(PYTHONPATH=str(ROOT / "lib")))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def number(text: str, unit: float = MIB) -> float:
    return float(text.partition("B")[0]) / unit


def test_what_n_workers_take_is_shared_memory_once_and_their_own_each(server: int) -> None:
    for wanted in (7, 50, 149):
        answer = run("check_proc_count", "-p", str(server), "--max-workers", str(wanted)).sound()
        assert number(answer.perfdata["projected"]) == pytest.approx(SHARED + EACH * wanted, rel=0.1), answer.first
        assert answer.code == 0 and answer.first.startswith(f"PROC_COUNT OK - {wanted} workers would take ")


def test_as_many_fit_as_the_host_has_room_for(server: int) -> None:
    answer = run("check_proc_count", "-p", str(server), "--max-workers", "20").sound()
    fits = int(answer.perfdata["headroom_workers"].split(";")[0]) + WORKERS
    room = number(answer.perfdata["projected"].split(";")[4] + "B")
    assert fits == pytest.approx((room - SHARED) / EACH, rel=0.06)
    over = run("check_proc_count", "-p", str(server), "--max-workers", str(fits * 2)).sound()
    assert over.code == 2 and f"; {fits - 5}" not in over.first
    assert float(over.perfdata["budget_used"].split("%")[0]) > 180


def test_the_workers_cgroup_is_what_counts(public_path: Path) -> None:
    """Their limit of 400 MiB, though the check runs outside: what is over after 61 MiB holds 14 of 23 MiB."""
    with limited.cgroup(400 * MIB) as group:
        def enter() -> None:
            (group / "cgroup.procs").write_text("0")
        with apache.prefork(public_path, WORKERS, 150, EACH, SHARED, preexec_fn=enter) as server:
            answer = run("check_proc_count", "-p", str(server), "--max-workers", "30").sound()
    assert answer.code == 2
    assert f"of what cgroup '/{group.name}' can give them".replace("'", "?") in answer.first.replace("'", "?")
    fits = int(answer.first.split(" fit;")[0].rsplit(" ", 1)[1])
    assert 12 <= fits <= 15, answer.first


def test_the_number_is_read_from_the_running_configuration(server: int, public_path: Path) -> None:
    rows = [row for row in explain("--workers", "auto") if "apache2" in row]
    assert rows[0].startswith("150 workers 'apache2' (150 by ") and "apache.conf) fit: they would take " in rows[0]


def test_nobody_gets_an_estimate_that_is_said_to_be_one(server: int) -> None:
    rows = explain("--workers", "apache2=40")
    assert not any("By RSS" in row for row in rows)
    assert rows[0].startswith("40 workers 'apache2' fit: they would take ")


def test_without_such_a_process_there_is_no_budget() -> None:
    answer = run("check_proc_count", "-C", "no-such-program", "--max-workers", "9").sound()
    assert answer.code == 0 and "budget_used" not in answer.perfdata
    assert "No budget: there is no such process to reckon it from." in answer.out
    for wrong in ("0", "-1", "x", "9" * 9):
        assert run("check_proc_count", "--max-workers", wrong).sound().code == 3
