"""Runs ``memtriage simulate`` as a program, and watches the host meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

MIB = 1024 * 1024


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def line(*options: object, python: str = sys.executable) -> list[str]:
    return [python, "-m", "memtriage", "simulate", *map(str, options)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "lib"), "PYTHONDONTWRITEBYTECODE": "1", **more}


def simulate(*options: object, python: str = sys.executable, lib: Path = ROOT / "lib", **more: object) -> Answer:
    done = subprocess.run(line(*options, python=python), env=environment(PYTHONPATH=str(lib)), stdin=subprocess.DEVNULL,  # type: ignore[call-overload]
                          capture_output=True, text=True, timeout=60, check=False, **more)
    return Answer(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(*options: object, **more: object) -> Iterator[subprocess.Popen[str]]:
    """A running simulation, ended whatever the test does."""
    process = subprocess.Popen(line(*options), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,  # type: ignore[call-overload]
                               stderr=subprocess.PIPE, text=True, **more)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def until(process: subprocess.Popen[str], start: str) -> list[str]:
    """The lines it printed up to the one that begins with ``start``."""
    lines: list[str] = []
    assert process.stdout is not None
    for text in process.stdout:
        lines.append(text.rstrip("\n"))
        if text.startswith(start):
            return lines
    raise AssertionError(f"no line '{start}': {lines} {process.stderr and process.stderr.read()}")


def children(pid: int) -> list[int]:
    """All processes below ``pid``."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            found.setdefault(parent, []).append(int(entry.name))
    below = found.get(pid, [])
    return below + [other for child in below for other in children(child)]


def alive(pids: list[int]) -> list[int]:
    """Those of them that have not ended; zombies have."""
    left = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
                left.append(pid)
        except OSError:
            pass
    return left


def wait_for(condition: object, seconds: float = 10.0) -> bool:
    """Whether ``condition()`` came true within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.03)
    return False
