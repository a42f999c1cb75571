"""What judges a run in the guest, on made runs: a wrong culprit, a late alarm or a lost sample must not pass (runs: make test-guest)."""

from __future__ import annotations

import argparse
import time

import pytest

from tests.guest import proof, proof_page
from tests.guest.scenarios import LOADS, SCENARIOS

HEAD = "FREE_MEM WARNING - 42.2% of 311 MiB available (132 MiB), gone in 2.3 min; culprit: {} 76.3 MiB, +3.40 GiB/h"
RIGHT = HEAD.format("process group 'leaky-app' (1 x 76.3 MiB)")
KILL = (200.0, "Out of memory: Killed process 252 (httpd) total-vm:313496kB")


def answer(check: str, at: float, code: int, out: str) -> proof.Answer:
    return proof.Answer(check, at, 1.0, code, out)


def row(name: str = "process", alarm: float | None = 140.0, head: str = RIGHT, lost: int = 0, kill: bool = True, after: int = 2,
        also: tuple[proof.Answer, ...] = (), explained: str = "Culprit: process group 'leaky-app' (1 x 9 MiB)") -> proof.Row:
    """A load from 100 s to 200 s."""
    answers = [answer("free_mem", 90.0, 0, "FREE_MEM OK - fine | total=1B"), *also]
    first = None
    if alarm is not None:
        first = answer("free_mem", alarm, 1, head + " | eta=66s;180:;20: total=1B\nMemory of processes, not of the kernel.")
        answers.append(first)
    made = proof.Row(name, SCENARIOS[name], 100.0, 200.0, [KILL] if kill else [], answers, first, {"check_memory": 185.0}, 0.04, 1.02, lost,
                     explained, explained, answer("oom_kill", 210.0, after, "OOM_KILL CRITICAL - x | y=1"), [])
    made.faults.extend(proof.faults(made, [one for one in answers if one.at < 200]))
    return made


def test_a_row_as_it_should_be() -> None:
    good = row()
    assert good.faults == [] and good.half is not None and good.half.eta == 66
    page = proof_page.page([good, row("negative", alarm=None, kill=False)])
    assert "All rows are as they should be" in page
    assert "| a process that never frees | 40% | right | 60 s | 66 / 60 s | 66 / 60 s | another | 1.02 s, 0 |" in page
    assert "| a process that never frees | 40% | 85% | never | never | never |" in page
    assert "| names looked up that do not exist | silent | alarm | silent | silent | silent |" in page
    assert "eta=66s" not in page and "Killed, in order: `httpd`." in page
    assert max(map(len, page.splitlines())) <= 200


@pytest.mark.parametrize(("made", "fault"), [
    (row(head=HEAD.format("process group 'httpd' (5 x 12 MiB)")), "wrong culprit"),
    (row(explained="Which, then? Largest: page cache"), "explain, from the recording, just before the kill: Which, then? Largest"),
    (row(alarm=160.0), "late: at 60% of the way"),
    (row(alarm=None), "no alarm before the kill"),
    (row(alarm=95.0), "alarm before the load"),
    (row(lost=2), "2 samples lost"),
    (row(kill=False), "no OOM kill"),
    (row(after=0), "check_oom_kill: "),
    (row(also=(answer("slab_growth", 120.0, 3, "SLAB_GROWTH UNKNOWN - denied"),)), "1 answers UNKNOWN: SLAB_GROWTH"),
    (row("negative", kill=False), "blamed: FREE_MEM WARNING"),
    (row("negative", alarm=None), "OOM kill"),
    (row("two"), "never named: slab cache 'file_lock_cache'"),
])
def test_what_is_not_as_it_should_be_is_said(made: proof.Row, fault: str) -> None:
    assert any(fault in found for found in made.faults), made.faults
    assert f"**Not as it should be**: {made.faults[0]}"[:60] in proof_page.page([made]) and "0 of 1 rows" in proof_page.page([made])


def test_the_rules_people_use() -> None:
    """From 50 % down to nothing in 100 s: a line over five seconds ends within thirty from the seventieth on; 10 % are left after 80."""
    falling = [(1000.0 + second, 1000.0 * (100 - second) / 200, 1000.0) for second in range(100)]
    found = proof.rules(falling)
    assert found["90 % level"] == 1081.0 and found["predict_linear"] == pytest.approx(1071.0, abs=1.5)
    assert proof.rules([(1000.0 + second, 500.0, 1000.0) for second in range(100)]) == {}


def test_every_scenario_has_its_load() -> None:
    assert set(LOADS) == set(SCENARIOS) and set(proof.SHORT) <= set(SCENARIOS)
    assert {name for name, scenario in SCENARIOS.items() if not scenario.culprit} == {
        name for name, scenario in SCENARIOS.items() if not scenario.kill}


def test_a_row_is_played_once_more_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    good, late = row(), row(alarm=160.0)
    made: list[proof.Row] = []
    monkeypatch.setattr(proof, "play", lambda name, limit: None)
    monkeypatch.setattr(proof, "judged", lambda name: made.pop(0))

    def said(*rows: proof.Row, tries: int = 2, end: float = float("inf"), name: str = "process") -> str:
        made[:] = rows
        return proof.answer(name, argparse.Namespace(tries=tries, show=False, limit=1.0), end)

    assert said(good, late) == proof.line(good) and made == [late]
    assert said(late, good) == proof.line(good) + "\n  once more, after " + proof.line(late).replace("WRONG", "wrong")
    assert not proof.WRONG.search(said(late, good)) and proof.WRONG.search(said(late, late)) and proof.WRONG.search(said(late, tries=1))
    assert proof.WRONG.search(said(late, good, end=time.monotonic() - proof.AGAIN_S, name=proof.SHORT[0])) and made == [good]
    monkeypatch.setattr(proof, "judged", lambda name: {}["load starts"])
    assert proof.WRONG.search(said()) and said(tries=1) == "process: FAILED, nothing to judge: KeyError: 'load starts'"
    assert said(end=0.0) == "process: not played, for want of time" and "FAILED" in said(end=0.0, name=proof.SHORT[0])
