"""The ring on ext4, xfs and btrfs, the disk full to its last block: it has all the room that it needs. Then killed, and read back."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import struct
import threading
from pathlib import Path

import pytest

from memtriage.recording import Recording, Ring
from tests.checks.command import run as check
from tests.recorder.disks import disk, do
from tests.recorder.test_command import count, started, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.needs_root]
QUICK = ("--size", "256KiB", "--interval", "0.05", "--fast-interval", "0.05", "--no-lock", "--no-priority")
SIZE = 256 * 1024
"""Some hundred samples: the ring comes round within seconds."""


def fill(folder: Path) -> Path:
    """Takes all the room there is, without writing to it."""
    with open(folder / "fill", "wb") as handle:
        at, step = 0, 64 << 20
        while step >= 4096:
            try:
                os.posix_fallocate(handle.fileno(), at, step)
                at += step
            except OSError as error:
                assert error.errno == errno.ENOSPC
                step //= 2
    do("sync", "-f", folder)
    return folder / "fill"


def newest(path: Path) -> int:
    with Recording(str(path)) as recording:
        return recording.entries[-1].head.seq


def flags(path: Path) -> int:
    """FS_IOC_GETFLAGS, for this machine's kind."""
    with open(path, "rb") as handle:
        return int(struct.unpack_from("I", fcntl.ioctl(handle, 0x80086601, bytes(8)))[0])


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_full_disk_and_a_kill(tmp_path: Path, kind: str) -> None:
    with disk(tmp_path / kind, kind, 320) as folder:
        path = folder / "r"
        process = started("--output", str(path), *QUICK)
        try:
            wait_for(lambda: count(path) >= 3)
            fill(folder)
            assert os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize < 1 << 20
            full = newest(path)
            wait_for(lambda: newest(path) > full + 300, 60)  # three times round and more
            said = check("check_mem_recorder", "--file", path)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
            assert process.stderr is not None and process.stderr.read() == ""
        finally:
            process.kill()
            process.wait(timeout=10)
        line = (r"MEM_RECORDER OK - newest sample 0 s old \(every 0\.05 s\); longest gap in 1 h \d\.\d s, \d+ samples lost; memory "
                r"not locked \(not asked for\) \| age=[01](\.\d)?s;1;1;0 disk_free=\d+B;;;0;\d+ disk_free_pct=[0-9.]+%;;;0;100 "
                r"gap_max_1h=[0-9.]+s;;;0 samples_lost=\d+;;;0")
        assert said.code == 0 and re.fullmatch(line, said.out.splitlines()[0]), said
        assert flags(path) & 0x80  # who reads it writes nothing
        with Recording(str(path)) as recording:
            samples = list(recording.samples())
            assert len(samples) > 20
            assert [sample.head.seq for sample in samples[-20:]] == [entry.head.seq for entry in recording.entries[-20:]]
            last = samples[-1].head.seq
            assert samples[-1].note("disk_problem", "sample") == "-"
        again = started("--output", str(path), *QUICK)  # on the disk that is full
        try:
            wait_for(lambda: newest(path) > last + 3)
            again.terminate()
            assert again.wait(timeout=10) == 0
        finally:
            again.kill()


def test_a_ring_that_was_copied_to_btrfs_waits_for_room_and_says_so(tmp_path: Path) -> None:
    """Of such a file each write goes to another place, and that is set for good when it is made."""
    Ring.open(str(tmp_path / "made"), SIZE).close()
    with disk(tmp_path / "btrfs", "btrfs", 320) as folder:
        path = folder / "r"
        path.write_bytes((tmp_path / "made").read_bytes())
        process = started("--output", str(path), *QUICK)
        timer = threading.Timer(60, process.kill)
        timer.start()
        try:
            assert process.stderr is not None
            wait_for(lambda: count(path) >= 3)
            full = fill(folder)
            said = iter(process.stderr.readline, "")
            assert next(said) == "memtriage record: the disk takes no samples, they wait in memory: No space left on device\n"
            before = newest(path)
            full.unlink()
            do("sync", "-f", folder)
            assert next(said) == "memtriage record: the disk takes samples again\n"
            wait_for(lambda: newest(path) > before + 10)
            process.terminate()
            assert process.wait(timeout=10) == 0
        finally:
            timer.cancel()
            process.kill()
            process.wait(timeout=10)
        with Recording(str(path)) as recording:
            samples = list(recording.samples())
        assert "No space left on device" in {sample.note("disk_problem", "sample") for sample in samples}
        assert {sample.note("lost", "sample") for sample in samples} == {"0"}
