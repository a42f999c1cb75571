"""Runs in the guest: a small server's afternoon while the kernel loses memory. The flight recorder sees all of it.

    leak.py RATE_KIB      how many KiB a second are lost
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

RECORDING = "/scratch/recording"
QUIET, LEAK, NIGHT = 90, 560, 45
"""Seconds before the leak, of the leak alone at most, and after the kill."""
WORKERS, EACH = 4, 14 << 20


def program(name: str, call: str) -> subprocess.Popen[bytes]:
    """This file's function as a process with a name of its own: a copy of the interpreter."""
    path = Path("/scratch") / name
    shutil.copy(os.path.realpath(sys.executable), path)
    return subprocess.Popen([path, "-c", f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import leak; leak.{call}"],
                            env={**os.environ, "PYTHONHOME": "/usr"}, stdout=subprocess.DEVNULL)


def touched(size: int) -> mmap.mmap:
    part = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, size, 4096):
        part[offset] = 1
    return part


def work() -> None:
    """A worker: as large as it is, busy with files."""
    held = touched(EACH)
    with open("/scratch/site", "rb") as handle:
        while True:
            handle.seek(0)
            while handle.read(1 << 16):
                time.sleep(0.02)
            held[0] = 1


def serve() -> None:
    """A server that replaces each worker that was killed."""
    workers: set[int] = set()
    while True:
        while len(workers) < WORKERS:
            pid = os.fork()
            if pid == 0:
                work()
            workers.add(pid)
        workers.discard(os.wait()[0])


def backup() -> None:
    """A job that would fit if nothing were lost: 120 MiB, a bit at a time."""
    parts = []
    for _ in range(120):
        parts.append(touched(1 << 20))
        time.sleep(0.25)
    time.sleep(30)


def lose(rate: int) -> None:
    """``memtriage simulate slab-lock`` without the reserve that it leaves: this machine may run out of memory."""
    from memtriage.simulate import runner, safety  # noqa: PLC0415 - only in the process that leaks
    from memtriage.simulate.screen import Screen  # noqa: PLC0415 - as above

    safety.RESERVE_LEAST, safety.RESERVE_SHARE = 0, 0.0
    runner.run("slab-lock", runner.Wish(float(rate), 236 << 20, LEAK + 300, ""), Screen())


def kills() -> int:
    return next(int(line.split()[1]) for line in Path("/proc/vmstat").read_text("ascii").splitlines() if line.startswith("oom_kill "))


def main(rate: int) -> None:
    with open("/scratch/site", "wb") as handle:
        for _ in range(96):
            handle.write(os.urandom(1 << 20))
    os.sync()
    recorder = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", RECORDING, "--size", "8MiB", "--interval", "2",
                                 "--fast-interval", "1"])
    server = program("httpd", "serve()")
    time.sleep(QUIET)
    leaker = program("build-agent", f"lose({rate})")
    time.sleep(LEAK)
    job = program("backup", "backup()")
    end = time.monotonic() + 240
    while not kills() and time.monotonic() < end:
        time.sleep(1)
    print("kills", kills(), flush=True)
    time.sleep(NIGHT)
    recorder.send_signal(signal.SIGTERM)
    recorder.wait(60)
    for process in (job, leaker, server):
        process.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]) << 10)
