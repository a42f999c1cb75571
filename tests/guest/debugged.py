"""Runs in the guest, booted with slub_debug=U,nfs_inode_cache: a cache that grows, and what memtriage tells of who allocated it.

    debugged.py             what the commands print; bundles and the kernel's files in /scratch
    debugged.py profiled    the same of another kernel, booted with sysctl.vm.mem_profiling=1, on which file locks leak

Played and judged by tests/guest/evidence.py.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import subprocess
import sys

import scenarios
import stage
from scenarios import SCRATCH

FILES = 8000
LOCKS = 60_000
PIPES = 24
scenarios.FILES = FILES


def memtriage(*words: str, state: str) -> None:
    """Says the command, what it printed and how it left."""
    command = [sys.executable, "-m", "memtriage", *words, "--state-dir", SCRATCH + state, "--window", "20s", "--warmup", "1s"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    print(f"$ memtriage {' '.join(words)}\n{done.stdout}left with {done.returncode}", flush=True)


def remember(state: str) -> None:
    """As a monitoring system would: a reading of every cache."""
    os.makedirs(SCRATCH + state, exist_ok=True)
    subprocess.run([stage.CHECKS + "slab_growth", "--state-dir", SCRATCH + state], stdout=subprocess.DEVNULL, timeout=120, check=False)


def pin() -> None:
    """Looks each file up over NFS and keeps its inode."""
    from memtriage.simulate import libc  # noqa: PLC0415 - outside the guest nobody needs it

    handle = libc.call("inotify_init1", 0)
    for number in range(FILES):
        folder = f"{SCRATCH}nfs/{number // scenarios.FOLDER}"
        if not number % scenarios.FOLDER:
            os.listdir(folder)
        libc.call("inotify_add_watch", handle, f"{folder}/{number}".encode(), 4)


def taint() -> None:
    """A module whose signature is cut off, as one that was built here."""
    name, = glob.glob("/lib/modules/*/kernel/net/core/failover.ko")
    with open(name, "rb") as handle:
        data = handle.read()
    mark = b"~Module signature appended~\n"
    if not data.endswith(mark):
        raise SystemExit(f"{name} is not signed")
    with open("/tmp/failover.ko", "wb") as handle:
        handle.write(data[:-len(mark)])
    subprocess.run(["insmod", "/tmp/failover.ko"], check=True, timeout=60)


def fill(count: int) -> list[int]:
    """Pipes with a MiB in each: memory that no counter explains."""
    held: list[int] = []
    for _ in range(count):
        held += os.pipe()
        fcntl.fcntl(held[-1], 1031, scenarios.MIB)  # F_SETPIPE_SZ
        os.write(held[-1], bytes(scenarios.MIB))
    return held


def profiled() -> None:
    stage.loopback()
    for name in glob.glob("/work/*.ko"):
        subprocess.run(["busybox", "insmod", name], check=True, timeout=60)
    remember("state")
    scenarios.kind("slab-lock", 40.0 * scenarios.MIB)(LOCKS)
    memtriage("evidence", "-o", SCRATCH + "bundle.tar.gz", state="state")
    pipes = fill(PIPES)
    memtriage("explain", state="state")
    for name in ("/proc/allocinfo", "/proc/modules"):
        shutil.copyfile(name, SCRATCH + os.path.basename(name))
    for pipe in pipes:
        os.close(pipe)


def main() -> None:
    subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=True, timeout=60)
    stage.loopback()
    scenarios.serve_nfs()
    taint()
    remember("state")
    pin()
    remember("state")
    memtriage("explain", state="state")
    memtriage("evidence", "-o", SCRATCH + "bundle.tar.gz", state="state")
    for name in ("/sys/kernel/debug/slab/nfs_inode_cache/alloc_traces", "/proc/modules"):
        shutil.copyfile(name, SCRATCH + os.path.basename(name))
    subprocess.run(["umount", "/sys/kernel/debug"], check=True, timeout=60)
    memtriage("evidence", "--list", state="state")
    remember("other")
    scenarios.kind("slab-lock", 40.0 * scenarios.MIB)(LOCKS)
    memtriage("evidence", "--list", state="other")


if __name__ == "__main__":
    profiled() if sys.argv[1:] == ["profiled"] else main()
