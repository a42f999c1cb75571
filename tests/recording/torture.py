"""Kills a recorder with SIGKILL at random moments and reads its file: python tests/recording/torture.py [KILLS] [--seed N].

The recorder is the real one on the real /proc, faster than any user would have it, in a ring that it goes round many times.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "lib"))

from memtriage.recorder.loop import Recorder, Settings
from memtriage.recorder.slow import Slab
from memtriage.recording import FIRST, Recording, Ring

SIZE = 1024 * 1024


def recorder(path: str, ready: int) -> None:
    """Runs in the child until it is killed."""
    try:
        slab = Slab("/proc", None)
    except FileNotFoundError:
        slab = None
    one = Recorder(Settings(0.004, 0.004, 0.02, lock=False, priority=False), Ring.open(path, SIZE), slab)
    one.warm()
    os.write(ready, b"r")
    one.run()


def read(path: str) -> tuple[dict[int, str], set[int]]:
    """A digest of each sample by its number, and the numbers of those that began a run."""
    with Recording(path) as recording:
        found = {sample.head.seq: hashlib.sha1(repr(sample).encode()).hexdigest() for sample in recording.samples()}
        return found, {entry.head.seq for entry in recording.entries if entry.head.flags & FIRST}


def kill_once(path: str, chance: random.Random) -> None:
    into, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(into)
        try:
            recorder(path, out)
        finally:
            os._exit(1)
    os.close(out)
    try:
        alive = os.read(into, 1) == b"r"
        time.sleep(chance.random() * 0.08)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(into)
    if not alive:
        raise SystemExit("the recorder did not start")


def wrong(before: dict[int, str], after: dict[int, str]) -> str | None:
    """Only the oldest may be gone, and what is left must be what it was."""
    kept = before.keys() & after.keys()
    lost = before.keys() - after.keys()
    if lost and kept and max(lost) > min(kept):
        return f"samples {sorted(seq for seq in lost if seq > min(kept))[:5]} are gone though older ones are there"
    changed = [seq for seq in kept if before[seq] != after[seq]]
    if changed:
        return f"samples {changed[:5]} are not what they were"
    if before and max(after, default=0) < max(before):
        return "the newest samples are gone"
    return None


def run(kills: int, seed: int) -> tuple[int, int, int]:
    """Returns how many kills went wrong, how many samples were read in all, and how many runs began."""
    chance = random.Random(seed)
    failures = samples = runs = 0
    before: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "recording")
        for number in range(kills):
            kill_once(path, chance)
            after, firsts = read(path)
            words = wrong(before, after)
            if words:
                failures += 1
                print(f"kill {number}: {words}")
            samples += len(after.keys() - before.keys())
            runs += len([seq for seq in firsts if seq not in before])
            before = after
    return failures, samples, runs


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("kills", type=int, nargs="?", default=1000)
    options.add_argument("--seed", type=int, default=None)
    given = options.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    failures, samples, runs = run(given.kills, seed)
    print(f"{given.kills} kills, {runs} runs that wrote something, {samples} samples, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
