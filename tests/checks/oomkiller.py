"""Has the kernel kill a process of ours for real: in a cgroup of its own with a small limit, which nobody else is in."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

LIMIT = 32 * 1024**2
# Names itself, goes into the cgroup, and takes three times what it may have; never more.
VICTIM = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
with open(sys.argv[2] + "/cgroup.procs", "w") as handle:
    handle.write(str(os.getpid()))
held = [bytearray(b"x") * 1048576 for _ in range(96)]
"""


class Victim(NamedTuple):
    name: str
    pid: int


class Cage(NamedTuple):
    """A cgroup with a limit of 32 MiB."""

    folder: Path
    path: str
    """Below its mount."""

    def kill(self) -> Victim:
        """Starts a process that outgrows the limit, and waits for its end."""
        name = f"mt-oom-{os.getpid() % 100000}"
        process = subprocess.Popen([sys.executable, "-c", VICTIM, name, str(self.folder)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            code = process.wait(timeout=20)
        finally:
            process.kill()
        if code != -9:
            pytest.skip(f"the kernel did not kill a process that outgrew its cgroup (exit {code})")
        return Victim(name, process.pid)


def mounts() -> list[tuple[str, str, list[str]]]:
    """Folder, type and options of all mounts."""
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as handle:
        rows = [line.split(" ") for line in handle]
    return [(row[1], row[2], row[3].split(",")) for row in rows if len(row) > 3]


def write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def cage(scratch: Path) -> Iterator[Cage]:
    """Where the memory controller is mounted, version 1 or 2; else version 1 in ``scratch``. Skips where none can be had."""
    mounted = None
    found = [Path(folder) for folder, kind, options in mounts() if kind == "cgroup" and "memory" in options]
    found += [Path(folder) for folder, kind, _ in mounts()
              if kind == "cgroup2" and "memory" in (Path(folder) / "cgroup.controllers").read_text().split()]
    if not found:
        mounted = scratch / "cgroup"
        mounted.mkdir()
        done = subprocess.run(["mount", "-t", "cgroup", "-o", "memory", "none", str(mounted)], capture_output=True, timeout=20, check=False)
        if done.returncode:
            mounted.rmdir()
            pytest.skip("no memory controller: neither mounted nor to be mounted")
        found = [mounted]
    root = found[0]
    folder = root / f"memtriage-test-{os.getpid()}"
    try:
        if (root / "cgroup.controllers").exists():
            write(root / "cgroup.subtree_control", "+memory")
        try:
            folder.mkdir()
        except OSError as error:
            pytest.skip(f"no cgroup can be made: {error}")
        if not (write(folder / "memory.max", str(LIMIT)) or write(folder / "memory.limit_in_bytes", str(LIMIT))):
            pytest.skip("a cgroup's limit cannot be set")
        write(folder / "memory.swap.max", "0") or write(folder / "memory.memsw.limit_in_bytes", str(LIMIT))
        yield Cage(folder, "/" + folder.name)
    finally:
        for _ in range(50):  # the dead process leaves in its own time
            try:
                folder.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.1)
            else:
                break
        if mounted is not None:
            subprocess.run(["umount", str(mounted)], capture_output=True, timeout=20, check=False)
