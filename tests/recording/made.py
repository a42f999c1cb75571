"""Recordings of made-up samples, with what each sample must read back as."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from memtriage.recording import FIRST, Content, Process, Ring, Source, glance, layout, payload

NAMES = [f"cache-{number}" for number in range(60)] + ["dentry", "nfs_inode_cache"]


def slabinfo(chance: random.Random, grown: int) -> bytes:
    rows = [b"slabinfo - version: 2.1\n# name ...\n"]
    for name in NAMES:
        objects = chance.randint(0, 99999) if chance.random() < 0.2 else grown
        rows.append(b"%-17s %6d %6d %6d %4d %4d : tunables %4d %4d %4d : slabdata %6d %6d %6d\n" % (
            name.encode(), objects, objects + 3, 192, 21, 1, 0, 0, 0, objects // 21, objects // 21, 0))
    return b"".join(rows)


def content(chance: random.Random, number: int) -> Content:
    """One sample: counters that move, a file that fails now and then, one that is late, processes that come and go."""
    sources = {
        "meminfo": Source(b"MemTotal:       24684084 kB\nMemFree:  %15d kB\nMemAvailable:  9500000 kB\n" % (9000000 - number), 0, 3, 9),
        "vmstat": Source(b"".join(b"counter_%d %d\n" % (place, number * place * 37) for place in range(80)), 0, 12, 20),
        "slabinfo": Source(slabinfo(chance, number), 0, 300, 200) if chance.random() < 0.9 else Source(None, 0, 0, 0),
        "swaps": Source(b"Filename\n" if number % 7 else None, 0 if number % 7 else 13, 40, 1),
        "kmsg": Source(b"6,%d,%d,-;line\n" % (number, number) if chance.random() < 0.2 else b"", 0, 0, 0),
    }
    if number % 5 == 0:
        sources["rare"] = Source(bytes(chance.randrange(256) for _ in range(50)), 0, -5_000_000, 77)
    processes = {}
    for pid in (*range(1, 30), *sorted(chance.sample(range(100, 200), 8))):
        busy = number if pid % 3 else 0
        processes[pid] = Process(b"%d (name %d) S 1 %d\n" % (pid, pid, busy * pid), b"%d 2 3\n" % (busy * 3), b"a\0b\0", b"0::/x\n")
    return Content(sources, processes, Source(b"", 0, 50, 400))


class Author:
    """Writes samples as the recorder does: one that stands alone, then others against the last with a bit less in its place."""

    def __init__(self, ring: Ring, seed: int = 1, key_every: int = 16) -> None:
        self.ring = ring
        self.chance = random.Random(seed)
        self.key_every = key_every
        self.kept: list[tuple[int, int, Content]] = []
        self.place = 0
        self.seq = ring.seq
        self.flags = FIRST

    def write(self, real_ns: int | None = None, boot_ns: int | None = None, interval_ms: int = 1000,
              more: dict[str, bytes] | None = None) -> tuple[int, Content]:
        """Writes the next sample, with sources ``more``; returns its number and what it holds."""
        one = content(self.chance, self.seq)
        one.sources.update((name, Source(data, 0, 0, 0)) for name, data in (more or {}).items())
        if self.place == self.key_every:
            self.place = 0
        while self.kept and self.kept[-1][0] != self.place & (self.place - 1):
            self.kept.pop()
        base = self.kept[-1] if self.place and self.kept else None
        if base is None:
            self.kept.clear()
        raw = payload.encode(one, base[2] if base else None)
        stored = glance.stored(one, raw)
        clocks = real_ns or 1_700_000_000_000_000_000 + self.seq * 10**9, boot_ns or 10**12 + self.seq * 10**9
        back = self.seq - base[1] if base else 0
        self.ring.write(layout.describe(stored, len(raw), self.seq, *clocks, interval_ms, self.flags, back), stored)
        self.kept.append((self.place, self.seq, one))
        self.place += 1
        self.flags = 0
        self.seq += 1
        return self.seq - 1, one


META = """program memtriage 0.1.0
pid 4711
page_size 4096
interval_ms %d
locked yes (current, future, on fault)
oom_score_adj -1000
priority nice -20, I/O best effort 0, SCHED_FIFO 1
"""


def current(path: str, ages: list[float], interval_s: float = 600.0, meta: str = META, boot: bytes = b"") -> None:
    """A recording of this very boot whose samples are ``ages`` seconds old."""
    up = time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e9
    of_host(path, ages, up, boot or Path("/proc/sys/kernel/random/boot_id").read_bytes(), meta, interval_s)


def of_host(path: str, ages: list[float], up: float, boot: bytes, meta: str = META, interval_s: float = 600.0) -> None:
    """A recording of the host that booted ``up`` seconds ago as ``boot``, whose samples are ``ages`` seconds old."""
    author = Author(Ring.open(path, 256 * 1024))
    real = time.time_ns()
    for age in ages:
        author.write(real - int(age * 1e9), max(1, int((up - age) * 1e9)), int(1000 * interval_s), {
            "meta": (meta % int(1000 * interval_s) if "%d" in meta else meta).encode(), "sys/kernel/random/boot_id": boot,
            "sample": b"late_us 12\nlost 0\nwaiting 0\ndisk 50000000000 100000000000\ndisk_problem -\n"})
    author.ring.close()
    os.chmod(path, 0o644)
