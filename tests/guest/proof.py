"""Hosts that really run out of memory, or only look like it, in a guest that NRPE checks: what was said, when, and was it right?

    python tests/guest/proof.py [NAME...]        plays scenarios (all by default), prints a row for each; some five minutes each
    python tests/guest/proof.py --jobs 2         two guests at a time: their clocks count instructions, so neither notices the other
    python tests/guest/proof.py --short          three of them
    python tests/guest/proof.py --within 1800    these three, then others while no more than so many seconds are gone
    python tests/guest/proof.py --show [NAME...] judges again what was played before
    python tests/guest/proof.py --write          and writes docs/proof.md

Results and recordings stay in $MEMTRIAGE_GUEST/proof/NAME. Leaves with 1 where a culprit was wrong, an innocent one blamed, an alarm late
or a sample lost. Every boot is bounded, and no QEMU outlives this program.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.guest import guest, proof_page  # noqa: I001 - it finds the library of this checkout
from tests.guest.scenarios import SCENARIOS, Scenario

from memtriage import recorded
from memtriage.procfs import files, meminfo
from memtriage.recording import Recording

SHORT = ("nfs", "find-copy", "slab")
OURS = ("free_mem", "slab_growth", "mem_pressure", "mem_recorder", "proc_count")
WINDOW, HORIZON = 5.0, 30.0
"""Seconds: 4 hours and a day, as everything in stage.py."""
AGAIN_S = 600
"""Seconds for which what went wrong is still played again when nothing new is begun."""
OUT = guest.LAB / "proof"
WRONG = re.compile(r"^ +WRONG:|: FAILED,", re.MULTILINE)


class Answer(NamedTuple):
    check: str
    at: float
    """Seconds of uptime when it was asked."""
    took: float
    code: int
    out: str

    @property
    def head(self) -> str:
        """The first line without perfdata."""
        return self.out.partition("\n")[0].partition("|")[0].strip()

    @property
    def text(self) -> str:
        """All of it without perfdata."""
        return "\n".join([self.head, *self.out.rstrip().split("\n")[1:]])

    @property
    def eta(self) -> float | None:
        found = re.search(r"[| ]eta=(\d+)s", self.out.partition("\n")[0])
        return float(found[1]) if found else None


class Row(NamedTuple):
    """What one scenario gave. Times in seconds of uptime."""

    name: str
    scenario: Scenario
    start: float
    end: float
    """Of the load: the first kill, or the last of it."""
    killed: list[tuple[float, str]]
    answers: list[Answer]
    alarm: Answer | None
    others: dict[str, float]
    """When other rules first alarmed."""
    available: float
    """The least share of memory available."""
    gap: float
    lost: int
    explained: str
    explained_half: str
    after: Answer | None
    """check_oom_kill once it was over."""
    faults: list[str]

    def share(self, at: float) -> float:
        return (at - self.start) / (self.end - self.start)

    @property
    def half(self) -> Answer | None:
        """The last answer that came before half of the way and says a time."""
        found = [one for one in self.answers if one.check in OURS and one.eta is not None and self.share(one.at + one.took) <= 0.5]
        return found[-1] if found else None

    def right(self, said: str) -> bool:
        return bool(self.scenario.culprit and re.search(self.scenario.culprit, said))


def play(name: str, limit: float) -> None:
    """One boot; what is left of it in a folder of its own."""
    scenario = SCENARIOS[name]
    result = guest.run("stage.py", name, memory=scenario.memory, limit=limit, counted=True)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "said").write_text(result.said)
    (folder / "console").write_text(result.console)
    if result.code:
        guest.clean(result)
        raise SystemExit(f"the guest left with {result.code} (99: did not get as far): {result.said[-1500:]}\n{result.console[-500:]}")
    for part in ("results", "recording"):
        guest.fetch(result, part, folder / part)
    guest.clean(result)


def levels(recording: Recording) -> list[tuple[float, float, float]]:
    """Wall clock, MemAvailable and MemTotal of each sample."""
    found = []
    for sample in recording.samples():
        try:
            info = recorded.value(sample, "meminfo", meminfo.parse)
        except files.ProcfsError:
            continue
        found.append((sample.time, float(info.get("MemAvailable") or 0), float(info.get("MemTotal") or 1)))
    return found


def rules(samples: list[tuple[float, float, float]]) -> dict[str, float]:
    """The wall clock when the two rules people use first alarmed, each second asked."""
    found: dict[str, float] = {}
    for place, (now, available, total) in enumerate(samples):
        if available < 0.1 * total:
            found.setdefault("90 % level", now)
        recent = [(then, value) for then, value, _ in samples[max(0, place - 30): place + 1] if now - then <= WINDOW]
        if len(recent) >= 4 and now - recent[0][0] >= 0.75 * WINDOW:
            mean_t, mean_v = (sum(column) / len(recent) for column in zip(*recent))
            below = sum((then - mean_t) ** 2 for then, _ in recent)
            slope = sum((then - mean_t) * (value - mean_v) for then, value in recent) / below
            if mean_v + slope * (now + HORIZON - mean_t) < 0:
                found.setdefault("predict_linear", now)
    return found


def explain(recording: Path, at: float) -> str:
    """The answer of memtriage explain to "which, then?", of one moment of the recording."""
    words = [sys.executable, "-m", "memtriage", "explain", "--from", str(recording), "--at", f"{at:.2f}"]
    words += ["--window", "5", "--warmup", "1.25"]
    # It makes a folder of files for each of 60 samples.
    env = {**os.environ, "PYTHONPATH": str(guest.ROOT / "lib"), **({"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {})}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=env)
    lines = done.stdout.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith("Which, then?")), None)
    if start is None:
        return (done.stderr or done.stdout).strip()[-200:]
    said = [lines[start]]
    for line in lines[start + 1:]:
        if line[:1] != " ":
            break
        said.append(line)
    return " ".join(" ".join(said).split())


def judged(name: str) -> Row:
    folder, scenario = OUT / name, SCENARIOS[name]
    entries: list[dict[str, Any]] = [json.loads(line) for line in (folder / "results").read_text().splitlines()]
    notes = {entry["note"]: entry for entry in entries if "note" in entry}
    answers = [Answer(entry["check"], entry["at"], entry["took"], entry["code"], entry["out"]) for entry in entries if "check" in entry]
    start, over = notes["load starts"]["at"], notes["load ends"]["at"]
    ahead = notes["load starts"]["wall"] - start
    killed = [(entry["at"], entry["kill"]) for entry in entries if "kill" in entry]
    end = killed[0][0] if killed else over
    watched = [one for one in answers if one.at < end]
    alarm = next((one for one in watched if one.check in OURS and one.code in (1, 2)), None)
    others = {}
    for check in ("check_memory", "check_procs"):
        first = next((one.at for one in watched if one.check == check and one.code in (1, 2)), None)
        if first is not None:
            others[check] = first
    with Recording(str(folder / "recording")) as recording:
        samples = levels(recording)
        gaps = recording.gaps()
        stamps = [entry.head.real_ns / 1e9 for entry in recording.entries]
    others.update({rule: at - ahead for rule, at in rules(samples).items() if at - ahead < end})
    least = min((available / total for then, available, total in samples if then - ahead <= end), default=0.0)
    row = Row(name, scenario, start, end, killed, answers, alarm, others, least,
              max((after - before for before, after in zip(stamps, stamps[1:])), default=0.0), sum(gap.lost for gap in gaps),
              explain(folder / "recording", end + ahead - 1.5), explain(folder / "recording", (start + end) / 2 + ahead),
              next((one for one in reversed(answers) if one.check == "oom_kill" and one.at > end), None), [])
    row.faults.extend(faults(row, watched))
    return row


def faults(row: Row, watched: list[Answer]) -> list[str]:
    """What is not as it should be."""
    found = []
    unknown = [one for one in watched if one.check in OURS and one.code not in (0, 1, 2)]
    if unknown:
        found.append(f"{len(unknown)} answers UNKNOWN: {unknown[0].head[:120]}")
    if row.lost:
        found.append(f"{row.lost} samples lost")
    if not row.scenario.culprit:
        return found + ([f"blamed: {row.alarm.head[:160]}"] if row.alarm else []) + (["OOM kill"] if row.killed else [])
    if not row.killed:
        return [*found, "no OOM kill"]
    if row.alarm is None:
        return [*found, "no alarm before the kill"]
    if row.alarm.at < row.start:
        found.append(f"alarm before the load: {row.alarm.head[:160]}")
    if not row.right(row.alarm.head):
        found.append(f"wrong culprit: {row.alarm.head[:200]}")
    if not row.right(row.explained):
        found.append(f"explain, from the recording, just before the kill: {row.explained[:160]}")
    last = [one for one in watched if one.check == "free_mem" and one.code in (1, 2)]
    missing = [word for word in row.scenario.both if not any(re.search(word, one.text) for one in last)]
    found += [f"never named: {word}" for word in missing]
    if row.share(row.alarm.at) > 0.5:
        found.append(f"late: at {row.share(row.alarm.at):.0%} of the way")
    if row.after is None or row.after.code != 2:
        found.append(f"check_oom_kill: {row.after.head[:120] if row.after else 'no answer'}")
    return found


def line(row: Row) -> str:
    if row.alarm is None:
        said = f"no alarm; least available {row.available:.0%}"
    else:
        said = f"alarm at {row.share(row.alarm.at):.0%}, {row.end - row.alarm.at:.0f} s before the end: {row.alarm.head}"
    return f"{row.name}: {said}; largest gap {row.gap:.2f} s" + "".join(f"\n    WRONG: {fault}" for fault in row.faults)


def answer(name: str, args: argparse.Namespace, end: float) -> str:
    """Plays and judges it; what there is to print, with WRONG or FAILED in it where it is not as it should be."""
    if time.monotonic() > end and name not in SHORT:
        return f"{name}: not played, for want of time"
    said: list[str] = []
    while len(said) < args.tries and (not said or (WRONG.search(said[-1]) and time.monotonic() < end + AGAIN_S)):
        try:
            if not args.show:
                play(name, args.limit)
            row = judged(name)
        except (SystemExit, OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
            said.append(f"{name}: FAILED, nothing to judge: {type(error).__name__}: {error}")
        else:
            said.append(line(row))
    earlier = "".join(f"\n  once more, after {one}" for one in said[:-1])
    return said[-1] + earlier.replace("WRONG", "wrong").replace("FAILED", "failed")


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    reader.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}")
    reader.add_argument("--jobs", type=int, default=1, help="guests at a time (1)")
    reader.add_argument("--tries", type=int, default=1, help="play again what is not as it should be, so many times in all (1)")
    reader.add_argument("--within", type=float, default=float("inf"), help=f"seconds after which none is begun but {', '.join(SHORT)}")
    reader.add_argument("--show", action="store_true", help="play nothing")
    reader.add_argument("--write", action="store_true", help="write docs/proof.md from all that was played")
    reader.add_argument("--limit", type=float, default=1200, help="seconds that one boot may take (1200)")
    args = reader.parse_args()
    names = args.names or [*SHORT, *([] if args.short else [name for name in SCENARIOS if name not in SHORT])]
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown or guest.missing():
        print(f"no scenario {', '.join(unknown)}" if unknown else f"needs {', '.join(guest.missing())}")
        return 1
    if not args.show:
        guest.build()
    failed = 0
    end = time.monotonic() + args.within
    with ThreadPoolExecutor(args.jobs) as pool:
        for said in pool.map(lambda name: answer(name, args, end), names):
            print(said, flush=True)
            failed += bool(WRONG.search(said))
    if args.write:
        played = [judged(name) for name in SCENARIOS if (OUT / name / "recording").exists()]
        (guest.ROOT / "docs/proof.md").write_text(proof_page.page(
            played, [scenario.title for name, scenario in SCENARIOS.items() if name not in {row.name for row in played}]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
