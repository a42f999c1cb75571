"""A memory-limited control group of the test's own, version 2 or 1, whichever this kernel offers; removed at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

V2, V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")


@contextlib.contextmanager
def cgroup(limit: int) -> Iterator[Path]:
    """Yields the group's folder; a process enters by writing its number (0: itself) to ``cgroup.procs``. Skips where none can be made."""
    name = f"memtriage-test-{os.getpid()}"
    parent, file = (V1, "memory.limit_in_bytes") if (V1 / "memory.limit_in_bytes").exists() else (V2, "memory.max")
    if parent == V2:
        try:
            (V2 / "cgroup.subtree_control").write_text("+memory")
        except OSError:
            pytest.skip("needs a memory controller for control groups of one's own")
    group = parent / name
    try:
        group.mkdir()
        (group / file).write_text(str(limit))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"needs a memory-limited control group of its own: {error}")
    try:
        yield group
    finally:
        for _ in range(50):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)
