"""What a picture of a long recording costs: ``PYTHONPATH=lib:. python tests/bench/bench_plot.py [--samples N] [--keep FILE]``.

Makes a recording of N samples (a million by default, 10 s apart, of a host like this one: its own files with moving numbers) and measures
``memtriage plot`` on it: seconds, and the largest resident set of any of its processes as well as their sum.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memtriage.recorder.sources import FILES, ONCE
from memtriage.recording import FIRST, Content, Process, Ring, Source, glance, layout, payload

GROUP = 64
KINDS = 96
"""Groups of 64 samples that are really made; each is repeated in its stretch of time. One spike and one kill stand alone."""
START = 1_700_000_000_000_000_000
STEP_S = 10
TOTAL = 16 << 20
"""kB of the made-up host."""


def _once() -> dict[str, Source]:
    found = {}
    for name in ONCE:
        try:
            found[name] = Source(Path("/proc", name).read_bytes()[:4096], 0, 0, 0)
        except OSError:
            continue
    found["meta"] = Source(b"page_size 4096\nclock_ticks 100\ninterval_ms 10000\n", 0, 0, 0)
    return found


class Host:
    """The files of this host, with numbers that move."""

    def __init__(self) -> None:
        self.chance = random.Random(7)
        self.once = _once()
        self.files = {}
        for name in (*FILES, "slabinfo"):
            try:
                self.files[name] = Path("/proc", name).read_bytes().split(b"\n")
            except OSError:
                continue
        self.processes = [(number, f"worker-{number % 12}".encode()) for number in range(100, 200)]

    def moved(self, name: str, share: float) -> bytes:
        """A copy in which ``share`` of the lines have another last number."""
        lines = self.files[name]
        for place, line in enumerate(lines):
            head, blank, last = line.rpartition(b" ")
            if last.isdigit() and len(last) < 12 and self.chance.random() < share:
                lines[place] = head + blank + b"%0*d" % (len(last), (int(last) + self.chance.randrange(99)) % 10 ** len(last))
        return b"\n".join(lines)

    def sample(self, leaked: int, kills: int, spike: bool) -> Content:
        """``leaked`` kB are gone in a cache that cannot be reclaimed."""
        chance = self.chance
        jitter = chance.randrange(40000)
        slab = 300_000 + leaked
        free = 60_000 if spike else 1_400_000 - leaked // 8 + jitter
        anon = 4_000_000 + chance.randrange(90000)
        cached = TOTAL - free - anon - slab - 400_000
        values = {"MemTotal": TOTAL, "MemFree": free, "MemAvailable": free + cached // 2, "Buffers": 90_000, "Cached": cached - 90_000,
                  "SwapCached": 0, "Active": 4_000_000 + jitter, "Inactive": 3_000_000 + jitter, "SwapTotal": 2_097_148,
                  "SwapFree": 2_000_000, "Dirty": jitter // 9, "AnonPages": anon, "Mapped": 300_000 + jitter // 7, "Shmem": 120_000,
                  "KReclaimable": 200_000 + jitter // 50, "Slab": slab, "SReclaimable": 200_000, "SUnreclaim": slab - 200_000,
                  "KernelStack": 9_000, "PageTables": 40_000 + jitter // 99, "Percpu": 12_000, "Committed_AS": 9_000_000 + jitter}
        sources = {"meminfo": Source(b"".join(b"%-16s%8d kB\n" % (key.encode() + b":", value) for key, value in values.items()), 0, 3, 60)}
        for name in self.files:
            if name not in ("meminfo", "slabinfo"):
                text = self.moved(name, 0.3 if name in ("vmstat", "zoneinfo") else 0.1)
                if name == "vmstat":
                    text = b"\n".join(line for line in text.split(b"\n") if not line.startswith(b"oom_kill ")) + b"oom_kill %d\n" % kills
                sources[name] = Source(text, 0, 70, 20)
        log = b"4,1,1,-;Out of memory: Killed process 7 (httpd) total-vm:9000kB, anon-rss:5120kB, file-rss:0kB, shmem-rss:0kB, UID:0\n"
        sources["kmsg"] = Source(log if spike else b"", 0, 0, 0)
        rows = self.moved("slabinfo", 0.2) if "slabinfo" in self.files else b"slabinfo - version: 2.1\n"
        pages = leaked // 4
        rows += b"nfsd4_stateids    %d %d 1024 32 8 : tunables 0 0 0 : slabdata %d %d 0\n" % (pages * 3, pages * 3, pages // 8, pages // 8)
        sources["slabinfo"] = Source(rows, 0, 300, 200)
        sources["sample"] = Source(b"late_us %d\nlost 0\nwaiting 0\n" % chance.randrange(999), 0, 0, 0)
        sources.update(self.once)
        processes = {}
        for number, name in self.processes:
            busy = chance.randrange(10**6) if number % 4 == 0 else 1
            rss = 9000 + number
            processes[number] = Process(
                b"%d (%s) S 1 1 1 0 -1 4194304 %d 0 0 0 %d 5 0 0 20 0 1 0 %d 9999999 %d 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1"
                b" 0 0 0 0 0 0 0 0 0 0 0 0 0\n" % (number, name, busy, busy // 9, number, rss), b"40000 %d 900 1 0 9000 0\n" % rss,
                b"/usr/bin/" + name + b"\0", b"0::/system.slice\n")
        return Content(sources, processes, Source(b"", 0, 50, 400))


def group(host: Host, leaked: int, kills: int, spike: bool) -> list[tuple[bytes, int, int]]:
    """64 payloads as the recorder leans them on each other: stored, raw length, base."""
    kept: list[tuple[int, Content]] = []
    found = []
    for place in range(GROUP):
        one = host.sample(leaked + place, kills + (spike and place >= 40), spike and place == 40)
        while kept and kept[-1][0] != place & (place - 1):
            kept.pop()
        base = kept[-1] if place and kept else None
        raw = payload.encode(one, base[1] if base else None)
        found.append((glance.stored(one, raw), len(raw), place - base[0] if base else 0))
        kept.append((place, one))
    return found


def make(path: str, samples: int, many: int = KINDS) -> float:
    """Writes the recording; returns the wall clock (seconds) of the only sample with the spike and the kill."""
    host = Host()
    groups = samples // GROUP
    lone = groups * 2 // 3
    kinds = [group(host, number * 5_760_000 // many, int(number > many * 2 // 3), False) for number in range(many)]
    alone = group(host, 3_840_000, 0, True)
    size = sum(layout.padded(layout.ALIGN + len(one[0])) for row in kinds for one in row) // many * (groups + 20) + 64 * layout.EDGE
    ring = Ring.open(path, size)
    seq = 1
    spike = 0.0
    for number in range(groups):
        kind = number * many // groups
        for place, (stored, raw, base) in enumerate(alone if number == lone else kinds[kind]):
            real = START + seq * STEP_S * 10**9
            boot = 10**12 + seq * STEP_S * 10**9
            ring.write(layout.describe(stored, raw, seq, real, boot, STEP_S * 1000, FIRST if seq == 1 else 0, base), stored)
            if number == lone and place == 40:
                spike = real / 1e9
            seq += 1
    ring.close()
    return spike


def measure(path: str, out: str) -> tuple[float, int]:
    """Seconds, and kB of all processes together, of ``memtriage plot``."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "memtriage", "plot", path, "-o", out], env={**os.environ, "PYTHONPATH": "lib"})
    most = 0
    while process.poll() is None:
        most = max(most, together(process.pid))
        time.sleep(0.05)
    took = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"memtriage plot left with {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{out.rpartition('.')[2]}: {took:.1f} s; largest process {used.ru_maxrss // 1024} MiB, both together {most // 1024} MiB (PSS); "
          f"CPU of all runs so far {used.ru_utime + used.ru_stime:.1f} s; load {os.getloadavg()[0]:.1f}", flush=True)
    return took, most


def together(pid: int) -> int:
    """kB of a process and its children, each page once."""
    total = 0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        for one in (str(pid), *children):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text("ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    except OSError:
        pass  # it has just ended
    return total


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--samples", type=int, default=1_000_000)
    reader.add_argument("--keep", metavar="FILE", help="make the recording here, or use the one that is here already")
    args = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.keep or os.path.join(folder, "recording")
        if not os.path.exists(path):
            spike = make(path, args.samples)
            print(f"{args.samples} samples, {os.path.getsize(path) / 2**20:.0f} MiB, spike and kill at {spike:.0f}")
        for _ in range(3):
            measure(path, os.path.join(folder, "out.png"))


if __name__ == "__main__":
    main()
