"""A recorder, and checks that remember, in a guest whose wall clock is set ahead, back and to 1971, and which sleeps. Prints what it found.

    python tests/guest/clocks.py [--calm SECONDS] [--asleep SECONDS] [--keep FOLDER]

Sleep is suspend to RAM (ACPI S3), from which the alarm of the real-time clock wakes it; out of suspend to idle that alarm did not wake an
emulated machine. Some four minutes, one boot. Leaves with 1 where a sample was lost, a gap is not as long as it was, an
order is wrong, or a check said something that it would not have said without.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from memtriage.recording import Recording, gap, stepped
from tests.guest import guest

MOST = 1.5
"""Seconds between two samples of an awake guest; the interval is 1 s, and its machine is shared."""


def wrong(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    """What is not as it should be; prints what is."""
    found: list[str] = []
    happened = {row["event"]: row for row in rows if "happened" in row}
    boot, awake, _ = happened["sleep"]["happened"]
    slept = boot - awake
    with Recording(str(folder / "recording")) as recording:
        samples = list(recording.samples())
    heads = [sample.head for sample in samples]
    holes = [gap(one, two) for one, two in zip(heads, heads[1:])]
    lost = sum(hole.lost for hole in holes)
    longest, *others = sorted((hole.seconds for hole in holes), reverse=True)
    steps = [round(step, 2) for step in (stepped(one, two) for one, two in zip(heads, heads[1:])) if step]
    wanted = [row["happened"][2] - row["happened"][0] for row in happened.values() if abs(row["happened"][2] - row["happened"][0]) > 60]
    print(f"{len(samples)} samples, {lost} lost; asleep for {slept:.2f} s; longest gap {longest:.2f} s, next {others[0]:.2f} s; "
          f"steps of the clock {steps}")
    if lost or [head.seq for head in heads] != list(range(heads[0].seq, heads[0].seq + len(heads))):
        found.append(f"{lost} samples lost")
    if not slept < longest < slept + 2 * MOST or others[0] > MOST:
        found.append("a gap is not as long as it was")
    if len(steps) != 4 or any(abs(one - two) > 0.5 for one, two in zip(steps, wanted)):
        found.append(f"steps of the clock: {wanted} set, {steps} seen")
    if any(two.boot_ns <= one.boot_ns for one, two in zip(heads, heads[1:])):
        found.append("boot time is not in order")
    return found + exports(folder, [head.boot_ns / 1e9 for head in heads], longest) + answers(rows, slept)


def exports(folder: Path, boot: list[float], longest: float) -> list[str]:
    """What --print and --export made of it."""
    found = []
    lines = (folder / "print").read_text().splitlines()
    said = [line.partition(" -- ")[2] for line in lines if " -- " in line]
    print("\n".join(f"    {line}" for line in lines if " -- " in line))
    patterns = [r"clock set ahead by 7[12]\d\d\.\d s", r"clock set back by 3[56]\d\d\.\d s", r"clock set back by \d{9,10}\.\d s",
                r"clock set ahead by \d{9,10}\.\d s", rf"gap of {longest:.1f} s, samples lost: 0"]
    if len(said) != len(patterns) or not all(map(re.fullmatch, patterns, said)) or len(lines) != len(boot) + len(said):
        found.append(f"--print says {said}")
    rows = [json.loads(line) for line in (folder / "jsonl").read_text().splitlines()]
    if [row["boot_time"] for row in rows] != boot or [round(row["gap"]["seconds"], 3) for row in rows if row["gap"]] != [round(longest, 3)]:
        found.append("--export jsonl is not the samples in order with one gap")
    table = list(csv.DictReader((folder / "csv").read_text().splitlines()))
    gaps = [row["gap"] for row in table if row["gap"]]
    if [row["boot_time"] for row in table] != [f"{one:.3f}" for one in boot] or gaps != [f"{longest:.3f}"]:
        found.append("--export csv is not the samples in order with one gap")
    recent = [json.loads(line)["boot_time"] for line in (folder / "since").read_text().splitlines()]
    if recent != [one for one in boot if boot[-1] - one <= 20]:
        found.append("--since 20s is not the last 20 s")
    return found


def answers(rows: list[dict[str, Any]], slept: float) -> list[str]:
    """What the checks said, and what they remember."""
    found = []
    for row in rows:
        if "check" in row:
            head = row["out"].partition("|")[0].strip()
            print(f"    {row['event']:<12} {head}")
            if row["code"] != 0 or row["err"]:
                found.append(f"{row['event']}: check_{row['check']} left with {row['code']}: {head}{row['err']}")
            if row["check"] == "mem_recorder" and row["code"] == 0:
                age, most = (float(re.search(rf"[| ]{name}=([0-9.]+)s", row["out"])[1])  # type: ignore[index]
                             for name in ("age", "gap_max_1h"))
                # Right after the sleep the gap is there once the next sample is.
                if age > 2 * MOST or "samples_lost=0;" not in row["out"] or (
                        row["event"] != "sleep" and (most > MOST) != (row["event"] == "end" and slept > MOST)):
                    found.append(f"{row['event']}: {head}")
    for name in ("memory", "check_mem_pressure", "check_oom_kill"):
        history = [row["remembered"][name] for row in rows if "remembered" in row]
        for before, after in zip(history, history[1:]):
            if not set(before) <= set(after) or after != sorted(set(after)):
                found.append(f"{name}: remembered {before}, then {after}")
        print(f"    {name}: {len(history[-1])} samples remembered, by boot time from {history[-1][0]:.0f} to {history[-1][-1]:.0f} s")
    return found


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--calm", type=float, default=8)
    reader.add_argument("--asleep", type=int, default=30)
    reader.add_argument("--keep", type=Path, help="a folder for what the guest wrote")
    args = reader.parse_args()
    if guest.missing():
        print(f"needs {', '.join(guest.missing())}")
        return 1
    guest.build()
    result = guest.run("clockwork.py", f"{args.calm:g}", str(args.asleep), limit=300 + 7 * args.calm + args.asleep)
    rows = [json.loads(line) for line in result.said.splitlines() if line.startswith("{")]
    if result.code:
        raise SystemExit(f"the guest failed: {result.said[-2000:]}\n{result.console[-1000:]}")
    folder = args.keep or Path(tempfile.mkdtemp(prefix="memtriage-clocks-"))
    folder.mkdir(exist_ok=True)
    try:
        for name in ("recording", "print", "jsonl", "csv", "since"):
            guest.fetch(result, name, folder / name)
        (folder / "said").write_text(result.said)
        faults = wrong(folder, rows)
    finally:
        guest.clean(result)
        if not args.keep:
            shutil.rmtree(folder)
    print("\n".join(f"WRONG: {fault}" for fault in faults) or "all as it should be")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
