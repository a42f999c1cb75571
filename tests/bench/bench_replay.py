"""How long a replay takes: a recording of days with many processes and caches, of which each check is asked every five minutes.

    python tests/bench/bench_replay.py [--days 7] [--interval 60] [--processes 600] [--caches 300] [CHECK ...]
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

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT)]

from memtriage.recording import FIRST, Content, Process, Ring, Source, glance, layout, payload  # noqa: E402 - the path comes first

SAME = {name: Source(data.encode(), 0, 0, 0) for name, data in {
    "sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000001\n", "sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "stat": "btime 1700000000\n",
    "swaps": "Filename\tType\tSize\tUsed\tPriority\n", "meta": "page_size 4096\n", "sys/fs/inode-nr": "90000 300\n",
    "sys/fs/dentry-state": "120000 90000 45 0 30000 0\n", "kmsg": ""}.items()}


def content(number: int, up: float, processes: int, caches: int, chance: random.Random, table: dict[int, Process]) -> Content:
    """A leak of a kernel cache, 1 MiB in ten minutes, under the noise of everything else."""
    leaked = int(up / 600 * 1024)
    rows = ["slabinfo - version: 2.1\n# name <active_objs> <num_objs> ...\n"]
    for place in range(caches):
        objects = 20000 + (leaked if place == 7 else chance.randrange(3) * 21)
        rows.append(f"cache_{place:03d} {objects:6d} {objects:6d} 1024 16 4 : tunables 0 0 0 : "
                    f"slabdata {objects // 16:6d} {objects // 16:6d} 0\n")
    free = 8_000_000 - leaked + chance.randrange(5000)
    info = {"MemTotal": 32_000_000, "MemFree": free, "MemAvailable": free + 9_000_000, "Buffers": 200_000, "Cached": 9_000_000,
            "Shmem": 100_000,
            "AnonPages": 8_000_000, "Slab": 6_000_000 + leaked, "SReclaimable": 500_000, "SUnreclaim": 5_500_000 + leaked,
            "KernelStack": 10_000, "PageTables": 50_000, "SwapTotal": 0, "SwapFree": 0, "Committed_AS": 9_000_000,
            "CommitLimit": 16_000_000}
    sources = dict(SAME)
    for name, text in {"meminfo": "".join(f"{key}: {value:8d} kB\n" for key, value in info.items()), "slabinfo": "".join(rows),
                       "uptime": f"{up:.2f} 1.00\n", "vmstat":
                       f"nr_free_pages {free // 4}\noom_kill 0\npgscan_kswapd 0\npgmajfault {number}\n",
                       "pressure/memory": f"some avg10=0.00 avg60=0.00 avg300=0.00 total={number * 9}\n"
                                          f"full avg10=0.00 avg60=0.00 avg300=0.00 total={number * 7}\n"}.items():
        sources[name] = Source(text.encode(), 0, 0, 0)
    for pid in range(1, processes + 1):
        if pid % 3 == 0 or pid not in table:  # a third of them does something in between
            ticks, pages = number * pid % 99999, 5000 + chance.randrange(50)
            stat = f"{pid} (prog{pid % 40}) S 1 1 1 0 -1 4194304 9 0 0 0 {ticks} 9 0 0 20 0 1 0 500 90000000 {pages} 1844 "
            stat += "0 " * 26 + "0\n"
            table[pid] = Process(stat.encode(), f"22000 {pages} 900 9 0 9000 0\n".encode(), b"/usr/bin/prog\0", b"0::/system.slice/x\n")
    return Content(sources, dict(table), Source(b"", 0, 50, 400))


def make(path: str, days: float, interval: float, processes: int, caches: int) -> None:
    ring, chance, table = Ring.open(path, 512 * 1024**2), random.Random(1), {}
    kept: list[tuple[int, int, Content]] = []
    for number in range(int(days * 86400 / interval)):
        up = 7200 + number * interval
        one, place = content(number, up, processes, caches, chance, table), number % 64
        while kept and kept[-1][0] != place & (place - 1):
            kept.pop()
        base = kept[-1] if place and kept else None
        if base is None:
            kept.clear()
        raw = payload.encode(one, base[2] if base else None)
        stored = glance.stored(one, raw)
        ring.write(layout.describe(stored, len(raw), ring.seq + number, int((1_700_007_200 + number * interval) * 1e9), int(up * 1e9),
                                   int(interval * 1000), FIRST if not number else 0, number - base[1] if base else 0), stored)
        kept.append((place, number, one))
    ring.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--interval", type=float, default=60)
    parser.add_argument("--processes", type=int, default=600)
    parser.add_argument("--caches", type=int, default=300)
    parser.add_argument("--keep", help="make the recording there, or use the one that is there")
    parser.add_argument("checks", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.keep or os.path.join(folder, "recording")
        if not os.path.exists(path):
            make(path, args.days, args.interval, args.processes, args.caches)
        for check in args.checks or ["check_free_mem", "check_slab_growth", "check_proc_count", "check_oom_kill", "check_mem_pressure"]:
            start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([sys.executable, "-m", "memtriage", "replay", path, "--", check], capture_output=True,
                                  text=True, check=True,
                                  env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib")})
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            print(f"{check}: {time.perf_counter() - start:.1f} s, CPU {cpu:.1f} s; {done.stdout.splitlines()[1]}", flush=True)


if __name__ == "__main__":
    main()
