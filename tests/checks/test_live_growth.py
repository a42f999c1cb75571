"""On the kernel that runs the tests: a real leak is called one and named, a walk over a tree of files is not.

Both run in a control group of 240 MiB, whose limit is then the memory that ends; the leak is of messages in sockets, 120 MiB at most,
held by one process that ends with the test.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtriage.procfs import slabinfo
from tests import limited
from tests.checks.command import ROOT, Answer, environment

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]

LIMIT = 240 * 1024**2
PAGE = os.sysconf("SC_PAGE_SIZE")
# Pairs of sockets, each full of messages that nobody reads, 10 MiB a second by the kernel's own count; ends when its standard input does.
LEAK = """
import select, socket, time
def unreclaimable():
    with open("/proc/meminfo") as handle:
        return next(int(line.split()[1]) for line in handle if line.startswith("SUnreclaim"))
start, began, kept = unreclaimable(), time.monotonic(), []
while not select.select([0], [], [], 0.05)[0]:
    want = min(120, 10 * (time.monotonic() - began)) * 1024
    while unreclaimable() - start < want:
        for _ in range(20):
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            for end in pair:
                end.setblocking(False)
                try:
                    while True:
                        end.send(b"unread")
                except BlockingIOError:
                    kept.append(end)
"""
# Names that do not exist and files that do, in a folder of its own.
WALK = """
import os, select, sys, time
folder, number = sys.argv[1], 0
while not select.select([0], [], [], 0.01)[0]:
    for _ in range(400):
        number += 1
        if number < 60000:
            open(f"{folder}/{number}", "w").close()
        os.path.exists(f"{folder}/no-{number}")
"""


@pytest.fixture
def group() -> Iterator[Path]:
    with limited.cgroup(LIMIT) as folder:
        yield folder


def within(group: Path, *command: str, **more: object) -> subprocess.Popen[bytes]:
    enter = f"echo $$ > {group}/cgroup.procs; exec \"$@\""
    return subprocess.Popen(["/bin/sh", "-c", enter, "sh", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            env=environment(PYTHONPATH=str(ROOT / "lib")), **more)  # type: ignore[call-overload]


def watched(group: Path, state: Path, check: str, most: int, *command: str) -> tuple[list[Answer], dict[str, int]]:
    """Runs the check inside the group once a second while ``command`` works there, ``most`` times or until it is CRITICAL.

    Returns the answers and what each cache grew by.
    """
    before = {cache.name: cache.footprint(PAGE) for cache in slabinfo.read("/proc").caches}
    worker = within(group, sys.executable, "-c", *command)
    answers = []
    try:
        for _ in range(most):
            asked = within(group, str(ROOT / "checks" / f"{check}.py"), "--state-dir", str(state), "--window", "8s", "--warmup", "1s")
            out = asked.communicate(timeout=30)[0].decode()
            answers.append(Answer(asked.returncode, out, "").sound())
            if asked.returncode == 2:
                break
            time.sleep(0.8)
        after = {cache.name: cache.footprint(PAGE) for cache in slabinfo.read("/proc").caches}
    finally:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait(timeout=30)
    return answers, {name: size - before.get(name, 0) for name, size in after.items()}


def test_messages_that_nobody_reads_are_a_leak_with_a_name(group, tmp_path):
    answers, grown = watched(group, tmp_path, "check_slab_growth", 40, LEAK)
    assert sum(grown.values()) > 40 * 1024**2
    alarms = [answer for answer in answers if answer.code == 2]
    assert alarms, [answer.first for answer in answers]
    largest = max(grown, key=lambda name: grown[name])
    assert "memory gone in " in alarms[-1].first and "culprit: slab cache '" in alarms[-1].first
    named = alarms[-1].first.split("culprit: slab cache '")[1].split("'")[0]
    assert grown[named] > 0.5 * grown[largest] and grown[named] > 10 * 1024**2, (named, largest)


def test_a_walk_over_many_files_is_none(group, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    answers, grown = watched(group, tmp_path / "state", "check_slab_growth", 11, WALK, str(folder))
    assert sum(grown.values()) > 20 * 1024**2
    assert [answer.first for answer in answers if answer.code] == []
