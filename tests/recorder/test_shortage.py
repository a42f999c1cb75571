"""When memory is short the recorder samples faster: by what is left, and by the kernel's own alarm."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from memtriage.recorder.kernel_log import KernelLog
from memtriage.recorder.shortage import Shortage
from memtriage.recording import Recording
from tests.recorder.runs import python

pytestmark = pytest.mark.slow

MIB = 1024**2


def text(total: int, available: int | None, free: int = 0, cached: int = 0, shmem: int = 0) -> bytes:
    lines = [f"MemTotal: {total // 1024} kB", f"MemFree: {free // 1024} kB"]
    lines += [f"MemAvailable: {available // 1024} kB"] if available is not None else []
    return "\n".join([*lines, f"Cached: {cached // 1024} kB", "SwapCached: 1 kB", f"Shmem: {shmem // 1024} kB", ""]).encode()


@pytest.mark.parametrize(("meminfo", "low", "short"), [
    (text(1000 * MIB, 200 * MIB), 0, False),
    (text(1000 * MIB, 99 * MIB), 0, True),
    (text(1024**2 * MIB, 9 * 1024 * MIB), 0, False), (text(1024**2 * MIB, 7 * 1024 * MIB), 0, True),  # 1 TiB
    (text(1000 * MIB, 120 * MIB), 30 * MIB, True),  # what lies below the low watermark is nobody's
    (text(1000 * MIB, None, 50 * MIB, 200 * MIB), 0, False),
    (text(1000 * MIB, None, 50 * MIB, 200 * MIB, 190 * MIB), 0, True),
    # A database's huge pages are 800 of its 1,000 MiB: of the rest a quarter is left, and 18.
    (text(1000 * MIB, 50 * MIB) + b"Hugetlb: 819200 kB\n", 0, False), (text(1000 * MIB, 18 * MIB) + b"Hugetlb: 819200 kB\n", 0, True),
    (text(1000 * MIB, 50 * MIB) + b"HugePages_Total:     400\nHugepagesize:       2048 kB\n", 0, False),
    (b"", 0, False), (None, 0, False), (b"MemTotal: x kB\nMemAvailable: 1 kB\n", 0, False), (b"\xff\n", 0, False)])
def test_by_what_is_left(meminfo: bytes | None, low: int, short: bool) -> None:
    found = Shortage("/nonexistent", low, select.poll())
    found.judge(meminfo)
    assert found.now == short


@pytest.mark.skipif(not os.access("/proc/pressure/memory", os.W_OK), reason="no pressure stall information for us here")
def test_the_kernels_alarm_is_armed() -> None:
    poll = select.poll()
    found = Shortage("/proc", 0, poll)
    if found.handle < 0:
        pytest.skip(f"this kernel refuses: {found.trigger}")
    assert found.trigger.startswith("some ")
    found.alarmed(select.POLLPRI)
    assert found.now and found.why == "psi"
    found.alarmed(select.POLLERR)
    assert found.handle == -1
    assert poll.poll(0) == []


def test_an_alarm_in_a_long_interval_samples_at_once_and_then_fast(tmp_path: Path) -> None:
    python("""
from memtriage.recorder import shortage
shortage.HOLD_S = 1.0
shortage.LEFT = 0.0
one = made(sys.argv[1], interval=30, fast=0.1, samples=9)
one.warm()
into, out = os.pipe()
poll = one._wait
began = time.monotonic()
def wait(due):
    if one.taken == 1 and time.monotonic() > began + 0.4:
        one.shortage._short("psi")
    return poll(min(due, time.monotonic() + 0.05))
one._wait = wait
one.run()
assert one.close()
""", str(tmp_path / "r"), timeout=20)
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
    steps = [round(second.boot_time - first.boot_time, 1) for first, second in zip(samples, samples[1:])]
    assert 0.4 <= steps[0] < 5 and all(0.1 <= step < 5 for step in steps[1:])
    assert samples[0].note("short", "sample") == "-" and samples[2].note("short", "sample") == "psi"
    assert [sample.head.interval_ms for sample in samples] == [30000, *[100] * 8]


def test_by_watermark_in_the_loop_and_back(tmp_path: Path) -> None:
    tree = tmp_path / "proc"
    tree.mkdir()
    meminfo = tree / "meminfo"
    meminfo.write_bytes(text(1000 * MIB, 500 * MIB))
    python("""
import threading
from memtriage.recorder import shortage

shortage.HOLD_S = 0.3
one = made(sys.argv[1], interval=0.5, fast=0.05, samples=26, root=sys.argv[2])
def change(left):
    with open(sys.argv[2] + "/meminfo", "r+") as handle:
        handle.write("MemTotal: 1024000 kB\\nMemFree: 0 kB\\nMemAvailable: %6d kB\\n" % left)
one.warm()
threading.Timer(0.7, change, (50000,)).start()
threading.Timer(1.4, change, (500000,)).start()
one.run()
assert one.close()
""".replace("\\\\n", "\\n"), str(tmp_path / "r"), str(tree), timeout=30)
    with Recording(str(tmp_path / "r")) as recording:
        heads = [entry.head for entry in recording.entries]
    intervals = [head.interval_ms for head in heads]
    assert intervals[0] == intervals[-1] == 500
    assert 5 <= intervals.count(50) <= 25
    changes = sum(first != second for first, second in zip(intervals, intervals[1:]))
    assert changes == 2


@pytest.mark.needs_root
def test_the_kernels_log(tmp_path: Path) -> None:
    log = KernelLog("/dev/kmsg")
    if log.errno:
        pytest.skip(f"no kernel log here: {os.strerror(log.errno)}")
    assert b"memtriage-test" not in (log.read().data or b"")
    mark = f"memtriage-test {time.time_ns()}"
    with open("/dev/kmsg", "w", encoding="ascii") as handle:
        handle.write(f"<7>{mark}\n")
    found = log.read().data or b""
    assert f";{mark}\n".encode() in found
    assert mark.encode() not in (log.read().data or b"")
    assert KernelLog(str(tmp_path / "none")).read().errno == 2
