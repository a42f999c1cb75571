"""Throws random and mutated bytes at every parser: python tests/procfs/fuzz.py 200000 [--seed N]. Exits 1 on the first day one fails."""

from __future__ import annotations

import argparse
import os
import random
import sys

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "..", "..", "lib"), os.path.join(os.path.dirname(__file__), "..", "..")]

from tests.procfs.parsers import failure, parsers  # noqa: E402
from tests.procfs.samples import ALL  # noqa: E402

PIECES = [
    b"\n",
    b"\0",
    b" ",
    b":",
    b" : ",
    b"\t",
    b")",
    b"(",
    b"-",
    b"-1",
    b"=",
    b"\\",
    b"\\040",
    b"kB",
    b"9" * 30,
    b"9" * 5000,
    b"0x1f",
    b"1e9",
    b"nan",
    b"inf",
    b"1_0",
    b"+1",
    b"\xff\xfe",
    "\u0664".encode(),
    b"\xed\xa0\x80",
    b"\r",
    b"\x85",
    b"max",
    b"unlimited",
    b"Node",
    b"Node 0, zone",
    b" : slabdata ",
    b" : tunables ",
    b"protection: (",
]


def mutate(chance: random.Random, data: bytes) -> bytes:
    """Cuts, doubles, swaps or replaces a few places of ``data``."""
    body = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        start = chance.randint(0, len(body))
        end = min(len(body), start + chance.choice((0, 1, 1, 2, 8, 40)))
        kind = chance.randrange(7)
        if kind == 0:
            del body[start:end]
        elif kind == 1:
            body[start:end] = chance.choice(PIECES)
        elif kind == 2:
            body[start:start] = body[start:end] * chance.randint(1, 3)
        elif kind == 3 and start < len(body):
            body[start] = chance.randrange(256)
        elif kind == 4:
            del body[start:]
        elif kind == 5:
            words = bytes(body).split(b" ")
            chance.shuffle(words)
            body = bytearray(b" ".join(words))
        else:
            lines = bytes(body).split(b"\n")
            first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            body = bytearray(b"\n".join(lines))
    return bytes(body)


def inputs(chance: random.Random, own: list[bytes]) -> bytes:
    """One input: mostly a mutation of the parser's own samples, sometimes of another's, sometimes nothing but noise."""
    kind = chance.random()
    if kind < 0.15:
        return bytes(chance.choices(range(256), k=chance.randint(0, 200)))
    if kind < 0.25:
        return b"".join(chance.choices(PIECES, k=chance.randint(0, 30)))
    if kind < 0.3 or not own:
        return mutate(chance, chance.choice(chance.choice(list(ALL.values()))))
    return mutate(chance, chance.choice(own))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("count", type=int, nargs="?", default=200_000)
    options.add_argument("--seed", type=int, default=None)
    given = options.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)
    found = parsers()
    names = sorted(found)
    failures = 0
    for number in range(given.count):
        name = names[number % len(names)]
        data = inputs(chance, ALL.get(name.partition(":")[0], []))
        wrong = failure(found[name], data)
        if wrong:
            failures += 1
            if failures <= 20:
                print(f"{name}: {wrong}\n    {data[:500]!r}")
    print(f"{given.count} inputs, {len(names)} parsers, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
