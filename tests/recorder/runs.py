"""Runs a recorder in a process of its own, so that the tests' own memory is neither locked nor measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START = """
import os, resource, sys, threading, time
from memtriage.recorder.loop import Recorder, Settings
from memtriage.recorder.slow import Slab
from memtriage.recording import Ring
def made(path, interval=0.02, samples=50, size=4 << 20, root="/proc", **more):
    try:
        slab = Slab(root, None)
    except FileNotFoundError:
        slab = None
    return Recorder(Settings(interval, more.pop("fast", interval), 0.05, samples=samples, root=root, **more), Ring.open(path, size), slab)
"""


def python(code: str, *args: str, timeout: float = 60, **more: object) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib"), **more.pop("env", {})}  # type: ignore[dict-item]
    done = subprocess.run([sys.executable, "-c", START + code, *args], capture_output=True, text=True, timeout=timeout,
                          check=False, env=env, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return done


def command(*args: str, timeout: float = 60, **more: object) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib"), "TZ": "UTC", **more.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run([sys.executable, "-m", "memtriage", "record", *args], capture_output=True, text=True, timeout=timeout,
                          check=False, env=env, **more)  # type: ignore[call-overload]
