"""``memtriage fleet`` as a program that is watched: what it said, how long it took, what it cost."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import NamedTuple

from tests.simulate.command import environment

PEAK = ("import re, sys, time; from memtriage.cli import main; code = main(); "
        "sys.stderr.write('%s %f' % (re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1), time.process_time())); "
        "sys.exit(code)")
"""Runs the command and then says its own peak and CPU. Not getrusage: a new program inherits the peak of what started it."""


class Asked(NamedTuple):
    """``took``: seconds on the clock, the interpreter's start included; ``spent``: seconds of CPU; ``held``: MiB at its peak."""

    out: str
    took: float
    spent: float
    held: float


def ask(words: list[str]) -> Asked:
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", PEAK, "fleet", *words], env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300, check=False)
    took = time.monotonic() - begun
    figures = done.stderr.split()
    assert done.returncode == 0 and len(figures) == 2 and figures[0].isdigit(), done.stderr
    return Asked(done.stdout, took, float(figures[1]), int(figures[0]) / 1024)
