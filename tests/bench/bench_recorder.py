"""What a sample costs the flight recorder and its peers, side by side, one sample a second. Prints tables, ends all it starts.

    python tests/bench/bench_recorder.py [--seconds N] [--processes N ...] [--short N] [--before LIB]

CPU is user + system time of a peer and of what it started; sizes are of the files after the first sample. ``bare reads`` opens the same
kernel files as the recorder and reads all of them once a second, and nothing else: the kernel's own part. The shell loop is the usual one
of date, free, ps and slabinfo; it writes 30 times what it needs to. ``--short`` starts so many programs a second that live 0.5 to 2 s;
``--before`` adds the recorder of another tree. Needs root for slabinfo; peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "lib"), HERE]

from bench_checks import sleeping  # noqa: E402

from memtriage.recording import Recording  # noqa: E402

SHELL = "while :; do date; free; ps aux; cat /proc/slabinfo; echo ----; sleep 1; done"
BARE = """
import os, sys, time
from memtriage.recorder.sources import FILES, Scratch, opened
scratch = Scratch(1 << 18)
files = opened("/proc", (*FILES, "slabinfo"))
proc = os.open("/proc", os.O_RDONLY)
handles = {}
print("recording to", file=sys.stderr, flush=True)
while True:
    for file in files:
        scratch.read(file.handle)
    for name in os.listdir(proc):
        if name.isdigit():
            try:
                if name not in handles:
                    handles[name] = [os.open(f"{name}/{kind}", os.O_RDONLY, dir_fd=proc) for kind in ("stat", "statm")]
                for handle in handles[name]:
                    os.pread(handle, 470, 0)
            except OSError:
                for handle in handles.pop(name, []):
                    os.close(handle)
    time.sleep(1)
"""
OWN = "memtriage record"
SHORT = (["sleep", "0.5"], ["sh", "-c", "sleep 1.2; :"], [sys.executable, "-S", "-c", "import time; time.sleep(0.8)"], ["sleep", "2"])
TICK = os.sysconf("SC_CLK_TCK")


class Peer:
    """One program that samples, and the file it writes."""

    def __init__(self, name: str, command: list[str], path: str, said: bool = False, lib: str = "") -> None:
        self.name = name
        self.path = path
        out = open(path, "wb") if name == "shell loop" else subprocess.DEVNULL  # noqa: SIM115 - the child keeps it
        env = {**os.environ, "PYTHONPATH": lib or os.path.join(ROOT, "lib"), "LC_ALL": "C"}
        self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE if said else subprocess.DEVNULL,
                                        stdin=subprocess.DEVNULL, env=env)
        if said and self.process.stderr is not None:
            line = self.process.stderr.readline()
            if b"recording to" not in line:
                sys.exit(f"{name} does not start: {line.decode()}{self.process.stderr.read().decode()}")
        self.start = (0.0, 0, 0)

    def use(self) -> tuple[float, int, int]:
        """Seconds of CPU with children, minor and major faults of the process itself."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as handle:
            words = handle.read().rpartition(")")[2].split()
        return sum(map(int, words[11:15])) / TICK, int(words[7]), int(words[9])

    def memory(self) -> tuple[float, float]:
        """MiB resident and, of these at most, locked."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii", errors="replace") as handle:
            found = {key: value.split() for key, _, value in (line.partition(":") for line in handle)}
        resident = int(found["VmRSS"][0]) / 1024
        return resident, resident if int(found["VmLck"][0]) else 0.0

    def end(self) -> None:
        if self.process.poll() is not None:
            print(f"{self.name} ended by itself, with {self.process.returncode}")
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


def peers(folder: str, before: str) -> Iterator[Peer]:
    python = sys.executable
    for name, lib in ((OWN, ""), ("before", before)):
        if name == OWN or lib:
            path = f"{folder}/recording{len(lib)}"
            yield Peer(name, [python, "-m", "memtriage", "record", "--output", path, "--size", "16MiB", "--interval", "1",
                              "--fast-interval", "1"], path, True, lib)
    yield Peer("bare reads", [python, "-c", BARE], "", True)
    if shutil.which("atop"):
        yield Peer("atop -w FILE 1", ["atop", "-w", f"{folder}/atop", "1"], f"{folder}/atop")
    sadc = next((path for path in ("/usr/lib/sysstat/sadc", "/usr/lib64/sa/sadc", "/usr/lib/sa/sadc") if os.path.exists(path)), None)
    if sadc:
        yield Peer("sadc 1", [sadc, "1", f"{folder}/sadc"], f"{folder}/sadc")
    yield Peer("shell loop", ["/bin/sh", "-c", SHELL], f"{folder}/shell")


def atop_sizes(path: str) -> tuple[float, float]:
    """Bytes a sample in an atop file (2.x), as stored and inflated, without its first sample. Ends where the file is not understood."""
    with open(path, "rb") as handle:
        data = handle.read()
    head_length, record_length = struct.unpack_from("<HH", data, 10)
    system, task = next(struct.unpack_from("<II", data, place) for place in range(14, 64, 2)
                        if _walk(data, head_length, record_length, *struct.unpack_from("<II", data, place)))
    found = _walk(data, head_length, record_length, system, task)[1:]
    return sum(stored for stored, _ in found) / len(found), sum(inflated for _, inflated in found) / len(found)


def _walk(data: bytes, at: int, record: int, system: int, task: int) -> list[tuple[int, int]]:
    """Stored and inflated bytes of each sample, or none where the lengths do not lead to the end of the file."""
    found = []
    if not 10_000 < system < 50_000_000 or not 100 < task < 100_000:
        return []
    while at + record <= len(data):
        packed_system, packed_tasks, _, tasks = struct.unpack_from("<IIII", data, at + 16)
        found.append((record + packed_system + packed_tasks, record + system + tasks * task))
        at += record + packed_system + packed_tasks
    return found if at == len(data) and len(found) > 1 else []


@contextlib.contextmanager
def short_lived(rate: float) -> Iterator[None]:
    """Starts so many programs a second, and waits for the last of them."""
    end = threading.Event()

    def start() -> None:
        running: list[subprocess.Popen[bytes]] = []
        for command in itertools.cycle(SHORT):
            if end.wait(1 / rate):
                break
            running = [one for one in running if one.poll() is None]
            running.append(subprocess.Popen(command))
        for one in running:
            one.wait()

    thread = threading.Thread(target=start)
    if rate:
        thread.start()
    try:
        yield
    finally:
        end.set()
        if rate:
            thread.join()


def measured(folder: str, seconds: int, before: str) -> None:
    found = list(peers(folder, before))
    try:
        time.sleep(6)
        start = {}
        for peer in found:
            peer.start = peer.use()
            start[peer.name] = os.path.getsize(peer.path) if peer.path and os.path.exists(peer.path) else 0
        began = time.time()
        processes = sum(name.isdigit() for name in os.listdir("/proc"))
        time.sleep(seconds)
        stop = time.time()
        end = {peer.name: peer.use() for peer in found}
        memory = {peer.name: peer.memory() for peer in found}
        grown = {peer.name: os.path.getsize(peer.path) - start[peer.name] for peer in found if peer.path}
    finally:
        for peer in found:
            peer.end()
    print(f"\n{processes} processes, {seconds} samples, one a second")
    print(f"{'':<20} {'CPU ms':>8} {'resident MiB':>13} {'locked':>7} {'minor':>6} {'major':>6} {'bytes a sample':>15}")
    for peer in found:
        cpu, minor, major = (now - then for now, then in zip(end[peer.name], peer.start))
        size: float = grown.get(peer.name, 0) / seconds
        if peer.name in (OWN, "before"):
            with Recording(peer.path) as recording:
                entries = [entry for entry in recording.entries if began <= entry.head.real_ns / 1e9 <= stop]
                size = sum(entry.head.length for entry in entries) / len(entries)
        print(f"{peer.name:<20} {1000 * cpu / seconds:8.2f} {memory[peer.name][0]:13.1f} {memory[peer.name][1]:7.1f} {minor:6d} {major:6d} "
              f"{size:15.0f}" + (f"  (inflated {atop_sizes(peer.path)[1]:.0f})" if peer.name.startswith("atop") else ""))


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--seconds", type=int, default=60)
    reader.add_argument("--processes", type=int, nargs="*", default=[0, 1000], help="sleeping processes beside those that are there")
    reader.add_argument("--short", type=float, default=0.0, help="programs started a second that live shortly")
    reader.add_argument("--before", default="", help="folder lib of another tree, whose recorder is measured too")
    args = reader.parse_args()
    compiler = shutil.which("cc") or shutil.which("gcc")
    with tempfile.TemporaryDirectory() as base, contextlib.ExitStack() as stack:
        sleepers = os.path.join(base, "sleepers")
        if compiler:
            subprocess.run([compiler, "-O2", "-o", sleepers, os.path.join(HERE, "sleepers.c")], check=True, timeout=60)
        print(f"Python {sys.version.split()[0]}, Linux {os.uname().release}, {os.cpu_count()} CPUs")
        for count in args.processes:
            folder = os.path.join(base, str(count))
            os.mkdir(folder)
            if count and compiler:
                stack.enter_context(sleeping(sleepers, count))
            with short_lived(args.short):
                measured(folder, args.seconds, args.before)
    print(f"\nAgain: python tests/bench/bench_recorder.py --seconds {args.seconds} --processes {' '.join(map(str, args.processes))}"
          + (f" --short {args.short:g}" if args.short else ""))


if __name__ == "__main__":
    main()
