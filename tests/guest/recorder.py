"""The flight recorder and its peers in a guest that runs out of memory, several runs of each kind. Prints a table, writes all to a file.

    python tests/guest/recorder.py [--runs N] [--seconds N] [--kinds refault swap] [--variants full neither]

Leaves with 1 where a recorder with all its measures had a gap over the limit, was killed, or did not record the kill.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.guest import guest

LIMITS = {"refault": 1.1, "swap": 1.5}
"""Seconds: the largest gap at a distance of 1 s."""


def one(kind: str, seconds: int, variants: list[str], disk: str) -> list[dict[str, Any]]:
    """One boot; what the guest reported."""
    result = guest.run("exhaustion.py", kind, str(seconds), *variants, disk=disk, swap=300 if kind == "swap" else 0, limit=seconds + 500)
    rows = [json.loads(line) for line in result.said.splitlines() if line.startswith("{")]
    if result.code or len(rows) != len(variants) + 4:
        raise SystemExit(f"the guest failed: {result.said[-2000:]}\n{result.console[-1000:]}")
    guest.clean(result)
    return rows


def wrong(kind: str, rows: list[dict[str, Any]]) -> list[str]:
    """What is not as it should be with the recorder as it is meant to run."""
    first, full = rows[0], rows[1]
    found = []
    if full["who"] == "full":
        if full["gap_max"] > LIMITS[kind]:
            found.append(f"gap of {full['gap_max']} s")
        if full["major"]:
            found.append(f"{full['major']} major faults")
        if not full["alive_after_oom"] or first["kills"] <= first["kills_in_thrash"]:
            found.append("no kill, or the recorder was killed")
        if full["kills_in_recording"] < first["kills"]:
            found.append(f"{full['kills_in_recording']} of {first['kills']} kills are in the recording")
    return found


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--runs", type=int, default=5)
    reader.add_argument("--seconds", type=int, default=120)
    reader.add_argument("--kinds", nargs="+", choices=sorted(LIMITS), default=["refault", "swap"])
    reader.add_argument("--variants", nargs="+", default=["full", "neither"])
    reader.add_argument("--disk", choices=sorted(guest.DISKS), default="hdd")
    reader.add_argument("--out", default="guest-recorder.jsonl", help="all figures, one object a line")
    args = reader.parse_args()
    if guest.missing():
        print(f"needs {', '.join(guest.missing())}")
        return 1
    guest.build()
    failures = 0
    with open(args.out, "a", encoding="utf-8") as out:
        for kind in args.kinds:
            for run in range(1, args.runs + 1):
                rows = one(kind, args.seconds, args.variants, args.disk)
                for row in rows:
                    out.write(json.dumps({"kind": kind, "run": run, "disk": args.disk, **row}) + "\n")
                out.flush()
                faults = wrong(kind, rows)
                failures += bool(faults)
                print(f"{kind} run {run}: OOM kills {rows[0]['kills']}" + (f"; WRONG: {', '.join(faults)}" if faults else ""))
                for row in rows[1:]:
                    words = "" if "VmRSS" not in row else (
                        f", faults {row['minor']} minor {row['major']} major, {row['VmRSS']}, lost {row['lost']}")
                    print(f"    {row['who']:<14} largest gap {row['gap_max']:6.2f} s, median {row['gap_median']:5.2f}, through the kill "
                          f"{row['gap_max_through_oom']:6.2f}{words}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
