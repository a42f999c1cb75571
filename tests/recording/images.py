"""Cuts, zeroes and scribbles over copies of a recording and reads them back: python tests/recording/images.py [COUNT] [--seed N]."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "..", "..", "lib"), os.path.join(os.path.dirname(__file__), "..", "..")]

from memtriage.recording import Content, Damaged, Recording, Ring, Unreadable, layout  # noqa: E402
from memtriage.recording.scan import Entry  # noqa: E402
from tests.recording import made  # noqa: E402

SIZE = 512 * 1024


def original(folder: Path, samples: int) -> tuple[Path, list[Entry], dict[int, Content]]:
    """A recording that went round its ring at least once, its records, and what each holds."""
    path = folder / "original"
    ring = Ring.open(str(path), SIZE)
    author = made.Author(ring, key_every=16)
    written = dict(author.write() for _ in range(samples))
    ring.close()
    with Recording(str(path)) as recording:
        return path, recording.entries, {entry.head.seq: written[entry.head.seq] for entry in recording.entries}


def damaged(chance: random.Random, data: bytes) -> tuple[bytes, int, int]:
    """One image, and the range in it that cannot be relied on."""
    start = chance.randrange(len(data))
    kind = chance.randrange(4)
    if kind == 0:
        return data[:start], start, len(data)
    end = min(len(data), start + chance.choice((1, 7, 512, 4096, 65536, len(data) // 2)))
    if kind == 3:
        end = min(end, start + 4096)
        return data[:start] + bytes(chance.randrange(256) for _ in range(end - start)) + data[end:], start, end
    return data[:start] + bytes(end - start) + data[end:], start, end


def wrong(path: Path, entries: list[Entry], truth: dict[int, Content], start: int, end: int) -> str | None:
    """Says what is missing or false in the image at ``path``; whole records whose bases are whole must all be there."""
    whole = {entry.head.seq: entry for entry in entries if entry.offset + entry.head.length <= start or entry.offset >= end}
    began = time.monotonic()
    try:
        with Recording(str(path)) as recording:
            read = {sample.head.seq: sample.content for sample in recording.samples()}
            list(recording.gaps())
        with Recording(str(path), 5.0) as recording:
            list(recording.samples())
    except Unreadable:
        read = {}
        if whole:
            return f"unreadable, with {len(whole)} whole records"
    except Damaged as error:
        return f"raised {error}"
    if time.monotonic() - began > 20:
        return "took longer than 20 s"
    for seq, entry in whole.items():
        chain = entry
        while chain.head.kind == layout.DELTA and chain.head.seq - chain.head.base in whole:
            chain = whole[chain.head.seq - chain.head.base]
        if chain.head.kind == layout.KEY and read.get(seq) != truth[seq]:
            return f"sample {seq} is {'other' if seq in read else 'missing'}"
    false = [seq for seq in read if read[seq] != truth.get(seq)]
    return f"samples {false[:5]} are false" if false else None


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("count", type=int, nargs="?", default=1000)
    options.add_argument("--seed", type=int, default=None)
    given = options.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        path, entries, truth = original(Path(name), 1200)
        data = path.read_bytes()
        image = Path(name) / "image"
        for number in range(given.count):
            body, start, end = damaged(chance, data)
            image.write_bytes(body)
            words = wrong(image, entries, truth, start, end)
            if words:
                failures += 1
                print(f"image {number}, bytes {start} to {end}: {words}")
    print(f"{given.count} images of {len(entries)} records, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
