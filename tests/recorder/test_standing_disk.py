"""A disk that stands still for a whole minute under the real recorder, once where a file system takes nothing, once where a device does."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from memtriage.recording import Recording
from tests.checks.command import run as check
from tests.recorder.disks import busy, disk, frozen
from tests.recorder.test_command import started, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.needs_root]
STALL = 60.0
PROCESSES = 300
EACH_SECOND = ("--size", "8MiB", "--interval", "1", "--fast-interval", "1")


def resident(pid: int) -> int:
    """KiB."""
    return int(re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0])


def count(path: Path) -> int:
    with Recording(str(path)) as recording:
        return len(recording.entries)


def test_a_minute(tmp_path: Path) -> None:
    """The inner file system's device is a file on the outer one: where that is frozen, the device takes and syncs nothing either, while the
    inner system still takes what its cache can hold. The outer recorder waits in pwrite, the inner one in fdatasync."""
    with busy(PROCESSES, 150), disk(tmp_path / "outer", "ext4", 64) as outer, disk(outer / "inner", "ext4", 24) as inner:
        files = [outer / "r", inner / "r"]
        recorders = [started("--output", str(file), *EACH_SECOND) for file in files]
        try:
            wait_for(lambda: all(count(file) >= 8 for file in files), 30)
            before = [resident(one.pid) for one in recorders]
            written = [count(file) for file in files]
            end = time.monotonic() + STALL
            with frozen(outer, STALL + 20):
                time.sleep(STALL - 10)
                # The inner one's reader may have to wait, as any, for what of the file is no longer in the cache.
                during = [check("check_mem_recorder", "--file", files[0])]
                held = [resident(one.pid) for one in recorders]
                assert [one.poll() for one in recorders] == [None, None]
                time.sleep(max(0.0, end - time.monotonic()))
                stood = time.monotonic() - end + STALL
            end = time.monotonic() + 30
            while not all(count(file) > then + STALL for file, then in zip(files, written)):
                if time.monotonic() >= end:
                    for one in recorders:
                        one.kill()
                    raise AssertionError((written, [count(file) for file in files], [one.communicate()[1] for one in recorders]))
                time.sleep(0.2)
            after = [check("check_mem_recorder", "--file", file) for file in files]
            for one in recorders:
                one.terminate()
            assert [one.wait(timeout=20) for one in recorders] == [0, 0]
        finally:
            for one in recorders:
                one.kill()
                one.wait(timeout=5)
        rows = []
        for file in files:
            with Recording(str(file)) as recording:
                samples = list(recording.samples())
                assert len(samples) == len(recording.entries) and len(samples[-1].content.processes) > PROCESSES
                rows.append((samples, max(gap.seconds for gap in recording.gaps(0.0)), sum(gap.lost for gap in recording.gaps()),
                             max(int(sample.note("waiting", "sample") or 0) for sample in samples), max(
                                 sum(entry.head.length for entry in recording.entries[first : first + 60])
                                 for first in range(len(recording.entries) - 59))))
    print(before, held, [row[1:] for row in rows], *during, *after, sep="\n")
    assert STALL <= stood < STALL + 15
    figures = r"s;3;10;0 disk_free=\d+B;;;0;\d+ disk_free_pct=[\d.]+%;;;0;100 gap_max_1h=[12](\.\d)?s;;;0 samples_lost=0;;;0"
    middle = r" s old \(every 1 s\)(; the recorder does not run or its disk stands still)?; longest gap in 1 h [12]\.\d s, 0 samples lost; "
    for said in during:
        assert said.code == 2 and "disk stands still" in said.first
        line = "MEM_RECORDER CRITICAL - newest sample [45][0-9]" + middle + r"memory locked \| age=[45]\d(\.\d)?" + figures
        assert re.fullmatch(line, said.out.splitlines()[0]), said
    for said in after:
        assert said.code == 0 and "disk stands still" not in said.first
        line = "MEM_RECORDER OK - newest sample [012]" + middle + r"memory locked \| age=[012](\.\d)?" + figures
        assert re.fullmatch(line, said.out.splitlines()[0]), said
    for samples, longest, lost, waiting, size in rows:
        assert longest < 3 and lost == 0 and 50 <= waiting <= 70
        assert samples[-1].note("lost", "sample") == "0"
        assert size < 0.75 * (1 << 20)  # else the next larger host has no minute
    assert max(held) <= 20 * 1024 and max(now - then for now, then in zip(held, before)) < 1024
