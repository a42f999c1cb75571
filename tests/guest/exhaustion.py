"""Runs in the guest: recorders and their peers while memory is short, then through a real OOM kill. Prints JSON, an object a line.

    exhaustion.py KIND SECONDS VARIANT...     KIND is refault (no swap, file pages turned over) or swap
"""

from __future__ import annotations

import json
import mmap
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time

SCRATCH = "/scratch/"
LEFT = {"refault": 13 << 20, "swap": 0}
VARIANTS = {
    "full": ["--interval", "1", "--fast-interval", "1"],
    "nolock": ["--interval", "1", "--fast-interval", "1", "--no-lock"],
    "noprio": ["--interval", "1", "--fast-interval", "1", "--no-priority"],
    "neither": ["--interval", "1", "--fast-interval", "1", "--no-lock", "--no-priority"],
    "idle-full": ["--interval", "40", "--fast-interval", "40"],
    "idle-neither": ["--interval", "40", "--fast-interval", "40", "--no-lock", "--no-priority"],
}
SHELL = """while :; do date +%s.%N; free; ps aux; cat /proc/slabinfo; echo ----; sleep 1; done"""


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def meminfo(key: str) -> int:
    with open("/proc/meminfo", encoding="ascii") as handle:
        return next(int(line.split()[1]) * 1024 for line in handle if line.startswith(key + ":"))


def hog(left: int) -> None:
    """Takes memory until so much is available, and then only keeps it; with 0 until something ends it."""
    parts = []
    while left == 0 or meminfo("MemAvailable") > left:
        part = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for offset in range(0, 1 << 20, 4096):
            part[offset] = 1
        parts.append(part)
        time.sleep(0.005)
    time.sleep(3600)


def churn(size: int) -> None:
    """Touches a piece of memory larger than there is, page after page in no order: swap in, swap out."""
    part = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    chance = random.Random(1)
    for offset in range(0, size, 4096):
        part[offset] = 1
    while True:
        part[chance.randrange(size // 4096) * 4096] = 2


def reader(path: str, start: int) -> None:
    """Goes round a file that does not fit into memory, for ever."""
    with open(path, "rb") as handle:
        part = mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ)
    total = 0
    while True:
        for offset in range(start, len(part), 4096):
            total += part[offset]
        start = 0


def spawn(function: object, *args: object) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as handle:
                handle.write("200")  # it is they who should be killed, not the peers that are measured
            function(*args)  # type: ignore[operator]
        finally:
            os._exit(0)
    return pid


def end(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def record(variant: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", f"{SCRATCH}{variant}", "--size", "4MiB",
                                *VARIANTS[variant]], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.readline()
    if "recording to" not in said:
        raise SystemExit(f"{variant} does not start: {said}{process.stderr.read()}")
    return process


def faults(pid: int) -> tuple[int, int]:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as handle:
        words = handle.read().rpartition(")")[2].split()
    return int(words[7]), int(words[9])


def status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as handle:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in handle)}


def largest(stamps: list[float], start: float, stop: float) -> dict[str, object]:
    """Of the distances that reach into the window; a peer that stopped altogether has the rest of it as its gap."""
    inside = [stamp for stamp in stamps if start <= stamp <= stop]
    before = [stamp for stamp in stamps if stamp < start][-1:]
    after = [stamp for stamp in stamps if stamp > stop][:1] or [stop]
    line = [*before, *inside, *after]
    gaps = [second - first for first, second in zip(line, line[1:])]
    return {"gap_max": round(max(gaps, default=stop - start), 3), "gap_median": round(statistics.median(gaps), 3) if gaps else None,
            "samples": len(inside)}


def recorded(variant: str, start: float, stop: float) -> dict[str, object]:
    from memtriage.recording import Recording  # noqa: PLC0415 - only when all is over, so that it is not in memory before

    with Recording(SCRATCH + variant) as recording:
        samples = [sample for sample in recording.samples() if start <= sample.time <= stop]
        found = largest([entry.head.real_ns / 1e9 for entry in recording.entries], start, stop)
        late = [int(sample.note("late_us", "sample") or 0) / 1e6 for sample in samples]
        slab = [sample.content.sources["slabinfo"] for sample in samples]
        texts = [sample.content.sources["meminfo"].data or b"" for sample in samples]
        available = [int(text.split(b"MemAvailable:")[1].split()[0]) / 1024 for text in texts]
        first = next(recording.samples())
        killed = [line for sample in recording.samples() for line in (sample.content.sources["kmsg"].data or b"").split(b"\n")
                  if b"Killed process" in line]
        slowest = sorted(((one.took_us / 1e6, name) for sample in samples for name, one in (
            *sample.content.sources.items(), ("processes", sample.content.listing))), reverse=True)[:4]
        pair = max(zip(samples, samples[1:]), key=lambda pair: pair[1].time - pair[0].time, default=())
        around = [{"monotonic": int(sample.note("monotonic_us", "sample") or 0) / 1e6, "late": sample.note("late_us", "sample"),
                   "lost": sample.note("lost", "sample"), "own": own(sample), "ends": sorted(
                       ((one.begin_us + one.took_us) / 1e6, name) for name, one in sample.content.sources.items())[-2:]} for sample in pair]
        return {**found, "around": around, "slowest": slowest, "late_max": max(late, default=None),
                "slab_lost": sum(one.lost for one in slab),
                "slab_slowest": max((one.took_us / 1e6 for one in slab), default=None), "lost": sum(gap.lost for gap in recording.gaps()),
                "waiting_max": max((int(sample.note("waiting", "sample") or 0) for sample in samples), default=None),
                "available_least_mib": round(min(available, default=0), 1), "kills_in_recording": len(killed),
                "locked": first.note("locked"), "oom_score_adj": first.note("oom_score_adj"), "priority": first.note("priority")}


def own(sample: object) -> list[str]:
    """Minor and major faults, user and system ticks of the recorder itself, out of its own sample."""
    process = sample.content.processes[int(sample.note("pid"))]  # type: ignore[attr-defined]
    words = process.stat.decode("ascii", "replace").rpartition(")")[2].split()
    return [words[7], words[9], words[11], words[12]]


def peers() -> dict[str, subprocess.Popen[bytes]]:
    found = {}
    for name, command in (("shell", ["bash", "-c", SHELL]), ("atop", ["atop", "-w", SCRATCH + "atop", "1"]),
                          ("sadc", ["/usr/lib/sysstat/sadc", "1", SCRATCH + "sadc"])):
        with open(SCRATCH + name + ".out", "wb") as out:
            found[name] = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    return found


def stamps(name: str) -> list[float]:
    if name == "shell":
        with open(SCRATCH + "shell.out", encoding="utf-8", errors="replace") as handle:
            return [float(line) for line in handle if re.fullmatch(r"[0-9]{10}\.[0-9]{9}\n", line)]
    if name == "atop":
        out = subprocess.run(["atop", "-r", SCRATCH + "atop", "-P", "MEM"], capture_output=True, text=True, timeout=200, check=False).stdout
        return [float(line.split()[2]) for line in out.splitlines() if line.startswith("MEM ")]
    command = ["sadf", "-d", "-U", SCRATCH + "sadc", "--", "-r"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False).stdout
    return [float(line.split(";")[2]) for line in out.splitlines() if line[:1] != "#" and line.count(";") > 3]


def main(kind: str, seconds: float, variants: list[str]) -> None:
    size = 400 << 20
    with open(SCRATCH + "large", "wb") as handle:
        for _ in range(size >> 20):
            handle.write(os.urandom(4096) * 256)
    os.sync()
    if kind == "swap":
        subprocess.run(["mkswap", "/dev/vdd"], check=True, capture_output=True, timeout=60)
        subprocess.run(["swapon", "/dev/vdd"], check=True, timeout=60)
    recorders = {variant: record(variant) for variant in variants}
    others = peers()
    calm = time.time()
    idle = 75 if any("idle" in variant for variant in variants) else 15
    time.sleep(idle)
    before = {variant: faults(process.pid) for variant, process in recorders.items()}
    start = time.time()
    if kind == "swap":
        load = [spawn(churn, int(meminfo("MemAvailable") * 1.25))]
    else:
        load = [spawn(hog, LEFT[kind]), spawn(reader, SCRATCH + "large", 0), spawn(reader, SCRATCH + "large", size // 2)]
    time.sleep(seconds)
    stop = time.time()
    kills = kernel_kills()
    cost = {variant: [now - then for now, then in zip(faults(process.pid), before[variant])] for variant, process in recorders.items()}
    end(load)
    time.sleep(5)
    oom = spawn(hog, 0)
    limit = time.time() + 150
    while kernel_kills() == kills and time.time() < limit:
        time.sleep(0.5)
    oom_stop = time.time()
    end([oom])
    time.sleep(3)
    alive = {variant: process.poll() is None for variant, process in recorders.items()}
    memory = {variant: {key: status(process.pid).get(key) for key in ("VmRSS", "VmLck")} for variant, process in recorders.items()
              if alive[variant]}
    peers_alive = {name: process.poll() is None for name, process in others.items()}
    for process in recorders.values():
        process.terminate()
        process.wait(timeout=60)
    for process in others.values():
        process.terminate()
        process.wait(timeout=60)
    say(kind=kind, seconds=seconds, kills_in_thrash=kills, kills=kernel_kills(), oom_took=round(oom_stop - stop - 5, 1))
    for variant in variants:
        say(who=variant, minor=cost[variant][0], major=cost[variant][1], alive_after_oom=alive[variant], **memory.get(variant, {}),
            **recorded(variant, start, stop),
            gap_max_through_oom=recorded(variant, stop, oom_stop)["gap_max"],
            **{f"{key}_through_oom": recorded(variant, stop, oom_stop + 10)[key] for key in ("slowest", "around")})
    for name in others:
        found = stamps(name)
        say(who=name, alive_after_oom=peers_alive[name], **largest(found, start, stop),
            calm_gap_max=largest(found, calm + 5, start)["gap_max"],
            gap_max_through_oom=largest(found, stop, oom_stop)["gap_max"])


def kernel_kills() -> int:
    with open("/proc/vmstat", encoding="ascii") as handle:
        return next(int(line.split()[1]) for line in handle if line.startswith("oom_kill "))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
