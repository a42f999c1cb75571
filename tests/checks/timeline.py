"""A host over time: trees made one after the other, each read as the checks read it; the last one is judged by the real check."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from memtriage import following, state
from tests.checks.command import Answer
from tests.checks.forked import run
from tests.fixtures.make import Scenario, Tree, tree


class Moment(NamedTuple):
    uptime: float
    scenario: Scenario
    pgscan: int = 0
    """Pages scanned since boot."""
    boot: str = ""


_SEEN: dict[str, state.Sample] = {}
"""Samples of moments that several tests have in common: a tree has a hundred files."""


def show(folder: Path, moment: Moment) -> str:
    """Makes the tree ``folder/now`` of one moment, and returns the folder that stands for /proc."""
    tree("now", moment.scenario, str(folder))
    now = Tree(str(folder / "now"))
    now.write("proc/uptime", f"{moment.uptime:.2f} {moment.uptime:.2f}\n")
    now.edit("proc/vmstat", lambda data: re.sub(rb"(?m)^(pgscan_kswapd) \d+$", rb"\1 %d" % moment.pgscan,
                                                re.sub(rb"(?m)^(pgscan_direct) \d+$", rb"\1 0", data)))
    if moment.boot:
        now.write("proc/sys/kernel/random/boot_id", moment.boot + "\n")
    return str(folder / "now" / "proc")


def play(folder: Path, moments: Iterable[Moment], check: str, *options: str) -> Answer:
    """Remembers all moments but the last as the checks do, and runs ``check`` on that one."""
    memory = str(folder / "state")
    *earlier, last = moments
    for moment in earlier:
        key = repr(moment)
        if key not in _SEEN:
            proc = show(folder, moment)
            _SEEN[key] = following.sample(proc, following.read(proc, os.path.join(proc, "../sys")))
        assert state.remember(os.path.join(memory, str(os.geteuid())), following.NAME, _SEEN[key]).problem is None
    return run(check, "--procfs", show(folder, last), "--state-dir", memory, *options).sound()
