"""What stands still must not stop the rest: a blocked slabinfo, a blocked command line, a stalled, failing or full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memtriage.recording import Recording, Sample
from tests.recorder.runs import python
from tests.recorder.test_command import QUICK, count, started, wait_for

pytestmark = pytest.mark.slow


def in_order(samples: list[Sample], count: int) -> bool:
    """All of them are there. On a busy host numbers may be missing in between: samples that were due and could not be taken."""
    seqs = [sample.head.seq for sample in samples]
    return len(seqs) == count and seqs == sorted(set(seqs)) and seqs[0] == 1


def test_a_blocked_slabinfo_is_lost_then_late(tmp_path: Path) -> None:
    python("""
from memtriage.recorder import rare
rare.SLAB_WAIT = 0.02
one = made(sys.argv[1], samples=40, interval=0.05, rare_s=0.0)
one.warm()
read, calls = one.slab.work, []
def slow():
    calls.append(1)
    if len(calls) == 11:
        time.sleep(0.5)
    return read()
one.slab.work = slow
one.run()
assert one.close()
""", str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
        assert in_order(samples, 40)
        slabs = [sample.content.sources["slabinfo"] for sample in samples]
        lost = [number for number, slab in enumerate(slabs) if slab.lost]
        assert 4 <= len(lost) <= 12 and lost[:4] == [10, 11, 12, 13]
        assert all(sample.content.sources["meminfo"].data for sample in samples)


def test_an_answer_that_came_too_late_is_used_with_its_own_time(tmp_path: Path) -> None:
    python("""
from memtriage.recorder import rare
rare.SLAB_WAIT = 0.01
one = made(sys.argv[1], samples=20, interval=0.05, rare_s=0.0)
one.warm()
read = one.slab.work
def slow():
    found = read()
    time.sleep(0.03)
    return found
one.slab.work = slow
one.run()
assert one.close()
""", str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        late = [sample.content.sources["slabinfo"].begin_us for sample in recording.samples()][2:]
        # Where the machine is busy a sample may itself be late enough for the answer.
        assert sum(begin < -20000 for begin in late) >= 2 * len(late) // 3, late


def test_a_blocked_command_line_delays_nothing(tmp_path: Path) -> None:
    python("""
one = made(sys.argv[1], samples=30, interval=0.05)
one.warm()
one.detail.work = lambda: time.sleep(20)
one.run()
assert one.close()
""", str(tmp_path / "r"), timeout=15)
    with Recording(str(tmp_path / "r")) as recording:
        assert len(list(recording.samples())) == 30
        assert max(gap.seconds for gap in recording.gaps(0.1)) < 5


def test_a_blocked_command_line_stops_neither_control_groups_nor_grows(tmp_path: Path) -> None:
    """A process whose memory lock is held for good: its command line is never read, and ps hangs as well."""
    folder = tmp_path / "sys/fs/cgroup"
    (folder / "httpd").mkdir(parents=True)
    (folder / "cgroup.controllers").write_text("memory\n")
    (folder / "httpd/memory.current").write_text("900000000\n")
    python("""
from memtriage.recorder import loop
loop.MOST = 100
one = made(sys.argv[1], samples=30, interval=0.05, sysfs=sys.argv[2], rare_s=0.3)
one.warm()
one.detail.work = lambda: time.sleep(20)
sample = one._sample
def moving(late):
    with open(sys.argv[2] + "/fs/cgroup/httpd/memory.current", "r+") as handle:
        handle.write("%d\\n" % (900000000 + one.taken))
    one.processes.wanted += range(100000, 100060)
    sample(late)
one._sample = moving
one.run()
assert len(one.processes.wanted) == 100
assert one.close()
""", str(tmp_path / "r"), str(tmp_path / "sys"), timeout=15)
    with Recording(str(tmp_path / "r")) as recording:
        last = list(recording.samples())[-1].content.sources[f"{folder}/httpd/memory.current"]
    assert (last.data, last.earlier) == (b"900000029\n", False)


STALL = """
one = made(sys.argv[1], samples=60, interval=0.02)
one.warm()
append, calls = one.writer.ring.append, []
def stalled(record, head):
    calls.append(1)
    if len(calls) == 10:
        time.sleep(0.8)
    append(record, head)
one.writer.ring.append = stalled
started = time.monotonic()
one.run()
print(time.monotonic() - started, one.lost)
assert one.close()
"""


def test_a_stalled_disk_delays_what_is_written_and_nothing_else(tmp_path: Path) -> None:
    took, lost = python(STALL, str(tmp_path / "r")).stdout.split()
    assert float(took) < 10 and lost == "0"
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
        assert in_order(samples, 60)
        assert max(int(sample.note("waiting", "sample") or 0) for sample in samples) >= 20


def test_what_waits_when_the_file_is_opened_anew_is_readable(tmp_path: Path) -> None:
    python(STALL.replace("one.run()", """
import threading
def moved(name):
    os.rename(sys.argv[1], sys.argv[1] + name)
    one._reopen(1, None)
threading.Timer(0.4, moved, ("1",)).start()
content = one._content
def halfway(late):  # told in the middle of a sample
    found = content(late)
    if one.taken == 56:
        end = time.monotonic() + 5
        while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
            time.sleep(0.01)
        moved("2")
    return found
one._content = halfway
one.run()"""), str(tmp_path / "r"))
    entries = samples = 0
    for name in ("r1", "r2", "r"):
        with Recording(str(tmp_path / name)) as recording:
            entries += len(recording.entries)
            samples += len(list(recording.samples()))
    assert entries == 60
    assert samples >= 59  # one that was being made meanwhile may lean on the other file


SYNCED = """
one = made(sys.argv[1], samples=60, interval=0.05)
one.writer.sync_s = 0.5
one.warm()
ring, began, synced = one.writer.ring, [], []
append, sync = ring.append, ring.sync
def written(record, head):
    append(record, head)
    began.append(time.monotonic())
def flushed():
    sync()
    synced.append((time.monotonic(), began[0] if began else None))
    began.clear()
ring.append, ring.sync = written, flushed
one.run()
assert one.close() and not began
print(len(synced), max(end - first for end, first in synced if first is not None))
"""


def test_what_is_written_is_synced_in_the_time_that_was_asked_for(tmp_path: Path) -> None:
    count, longest = python(SYNCED, str(tmp_path / "r")).stdout.split()
    assert 3 <= int(count) <= 12 and float(longest) < 2


def test_a_failing_disk_is_tried_again_and_said(tmp_path: Path) -> None:
    python("""
import errno
one = made(sys.argv[1], samples=60, interval=0.04)
one.warm()
append, began = one.writer.ring.append, time.monotonic()
def failing(record, head):
    if 0.3 < time.monotonic() - began < 1.0:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    append(record, head)
one.writer.ring.append = failing
one.run()
assert one.close()
""", str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
        assert in_order(samples, 60)
        said = [sample.note("disk_problem", "sample") for sample in samples]
        assert said[0] == "-" and said[-1] == "-" and "Input/output error" in said


def test_a_buffer_that_overflows_loses_samples_and_says_how_many(tmp_path: Path) -> None:
    python("""
from memtriage.recorder import loop
loop.BUFFER = 32768
one = made(sys.argv[1], samples=90, interval=0.02)
one.warm()
append, calls = one.writer.ring.append, []
def stalled(record, head):
    calls.append(1)
    if len(calls) == 10:
        time.sleep(1.2)
    append(record, head)
one.writer.ring.append = stalled
one.run()
assert one.lost > 0
print(one.lost)
assert one.close()
""", str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
        lost = sum(gap.lost for gap in recording.gaps())
        assert lost > 0 and len(samples) + int(samples[-1].note("lost", "sample") or 0) == 90
        assert len(samples) == len(recording.entries)  # none leans on one that was lost
        assert int(samples[-1].note("lost", "sample") or 0) <= lost


def test_no_memory_for_one_sample_costs_that_one(tmp_path: Path) -> None:
    python("""
one = made(sys.argv[1], samples=20, interval=0.08)
one.warm()
from memtriage.recording import glance
stored, calls = glance.stored, []
def failing(*what):
    calls.append(1)
    if len(calls) in (7, 8):
        raise MemoryError
    return stored(*what)
glance.stored = failing
append, written = one.writer.ring.append, []
def bug(record, head):
    written.append(1)
    if len(written) == 3:
        raise MemoryError
    append(record, head)
one.writer.ring.append = bug
one.run()
assert one.lost == 2 and one.close()
""", str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
        assert in_order(samples, 18) and samples[6].head.seq - samples[5].head.seq >= 3


def test_the_disk_never_answers_again(tmp_path: Path) -> None:
    done = python("""
one = made(sys.argv[1], samples=10)
one.warm()
one.writer.ring.append = lambda record, head: time.sleep(30)
one.run()
print(one.close(0.3))
sys.stdout.flush()
os._exit(0)
""", str(tmp_path / "r"), timeout=20)
    assert done.stdout == "False\n"


def test_samples_that_were_due_and_not_taken_are_missing_numbers(tmp_path: Path) -> None:
    python("""
one = made(sys.argv[1], samples=20, interval=0.05, rare_s=0.0)
one.warm()
judge, calls = one.shortage.judge, []
def slow(meminfo):
    calls.append(1)
    if len(calls) == 10:
        time.sleep(0.42)
    judge(meminfo)
one.shortage.judge = slow
one.run()
assert one.close()
""", str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        hole = max((gap for gap in recording.gaps() if gap.lost), key=lambda gap: gap.lost)
        assert hole.lost >= 6 and hole.seconds > 0.4


def test_what_was_missed_while_stopped_is_in_the_gap_that_it_made(tmp_path: Path) -> None:
    process = started("--output", str(tmp_path / "r"), *QUICK)
    try:
        wait_for(lambda: count(tmp_path / "r") >= 5)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: count(tmp_path / "r") >= 15)
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
    with Recording(str(tmp_path / "r")) as recording:
        longest = max(recording.gaps(0.5), key=lambda gap: gap.seconds)
        samples = list(recording.samples())
    assert longest.seconds > 2.9 and 10 * longest.seconds - 4 < longest.lost < 10 * longest.seconds
    late = next(sample for sample in samples if sample.head.seq == longest.before.seq)
    assert (late.number("late_us", "sample") or 0) > 2.5e6


def test_processes_that_come_and_go(tmp_path: Path) -> None:
    churn = subprocess.Popen([sys.executable, "-c", """
import os, time
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork() == 0:
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        pass
"""])
    sleeper = subprocess.Popen(["/bin/sleep", "33.25"])
    try:
        python("one = made(sys.argv[1], samples=300, interval=0.01)\none.warm()\none.run()\nassert one.close()", str(tmp_path / "r"))
    finally:
        for process in (churn, sleeper):
            process.kill()
            process.wait(timeout=5)
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
        assert len(samples) == 300
        pids = [set(sample.content.processes) for sample in samples]
        assert len(set.union(*pids) - set.intersection(*pids)) > 1  # many more on a calm host
        assert all(sample.content.processes[sleeper.pid].cmdline == b"/bin/sleep\x0033.25\0" for sample in samples)
        assert all(list(sample.content.processes) == sorted(sample.content.processes) for sample in samples)


def test_a_program_that_replaces_another_is_described_anew(tmp_path: Path) -> None:
    shell = subprocess.Popen(["/bin/sh", "-c", "read x; exec sleep 44.5"], stdin=subprocess.PIPE)
    try:
        recorder = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", str(tmp_path / "r"), "--size", "1MiB",
                                     "--samples", "20", "--interval", "0.1", "--fast-interval", "0.1", "--no-lock", "--no-priority"],
                                    env={"PATH": os.environ["PATH"], "PYTHONPATH": "lib"}, cwd=Path(__file__).resolve().parents[2])
        try:
            while not (tmp_path / "r").exists():
                assert recorder.poll() is None
            subprocess.run(["sleep", "0.8"], timeout=5, check=True)
            assert shell.stdin is not None
            shell.stdin.write(b"\n")
            shell.stdin.close()
            assert recorder.wait(timeout=20) == 0
        finally:
            recorder.kill()
    finally:
        shell.kill()
        shell.wait(timeout=5)
    with Recording(str(tmp_path / "r")) as recording:
        lines = [sample.content.processes[shell.pid].cmdline for sample in recording.samples()]
        assert lines[0] == b"/bin/sh\0-c\0read x; exec sleep 44.5\0"
        assert lines[-1] == b"sleep\x0044.5\0"
