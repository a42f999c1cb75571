"""What is not read at every sample is said to be of before it; and what a sample says of a process that it sees first."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from memtriage.recorder.processes import Processes
from memtriage.recorder.rare import Groups
from memtriage.recording import Recording, Sample, Source
from tests.recorder.runs import command, python

MOVING = """
from pathlib import Path
root = Path(sys.argv[2])
def put(name, data):
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
def change(number, slab):
    put("meminfo", b"MemTotal: 1000000 kB\\nMemAvailable: %d kB\\nSlab: %d kB\\n" % (900000 - number, slab))
    put("slabinfo", b"slabinfo - version: 2.1\\nnumber %d\\n" % number)
    put("zoneinfo", b"number %d\\n" % number)
    put("2/stat", b"2 (kthreadd) S 0 0 0 0 -1 2129984 %d 0\\n" % number)
    put("2/statm", b"0 0 0 0 0 0 0\\n")
    put("7/stat", b"7 (httpd) S 1 7 7 0 -1 4194560 %d 0\\n" % number)
    put("7/statm", b"%d 2 3 4 0 5 0\\n" % number)
change(0, 5000)
one = made(sys.argv[1], samples=int(sys.argv[4]), interval=0.02, root=str(root), lock=False, priority=False, rare_s=float(sys.argv[3]))
one.warm()
sample = one._sample
def moving(late):
    change(one.taken, 5200 if 10 <= one.taken < 20 else 5050 if one.taken < 10 else 5150)
    sample(late)
one._sample = moving
one.run()
assert one.close()
"""


def moved(tmp_path: Path, rare_s: float, count: int = 30) -> list[Sample]:
    (tmp_path / "proc").mkdir()
    python(MOVING, str(tmp_path / "r"), str(tmp_path / "proc"), str(rare_s), str(count))
    with Recording(str(tmp_path / "r")) as recording:
        return list(recording.samples())


def number(sample: Sample, name: str) -> int:
    return int((sample.content.sources[name].data or b"").split()[-1])


def test_slabinfo_is_read_when_due_or_when_the_slab_has_moved_and_says_of_when_it_is(tmp_path: Path) -> None:
    samples = moved(tmp_path, 60.0)
    assert [number(sample, "slabinfo") for sample in samples] == [0] * 10 + [10] * 20  # by 1 % is too little, by 4 % is not
    assert [number(sample, "zoneinfo") for sample in samples] == [0] * 30
    for name, at in (("slabinfo", (0, 10)), ("zoneinfo", (0,))):
        read = [place for place, sample in enumerate(samples) if not sample.content.sources[name].earlier]
        assert read == list(at)
        stamps = [int(sample.note("monotonic_us", "sample") or 0) + sample.content.sources[name].begin_us for sample in samples]
        assert len(set(stamps)) == len(at)  # the same moment, seen from later and later
    assert not any(sample.content.sources["meminfo"].earlier for sample in samples)


def test_kernel_threads_are_of_when_the_sample_says_and_processes_are_of_now(tmp_path: Path) -> None:
    samples = moved(tmp_path, 60.0)
    assert [sample.content.processes[2].stat.split()[-2] for sample in samples] == [b"0"] * 30
    assert [sample.content.processes[7].stat.split()[-2] for sample in samples] == [b"%d" % place for place in range(30)]
    ages = [int(sample.note("kernel_threads_us", "sample") or 0) for sample in samples]
    assert ages[0] >= 0 and all(age < -10_000 for age in ages[1:]) and ages == sorted(ages, reverse=True)
    rows = [json.loads(row) for row in command("--output", str(tmp_path / "r"), "--export", "jsonl").stdout.splitlines()]
    assert rows[0]["earlier"] == {}
    assert set(rows[1]["earlier"]) == {"slabinfo", "zoneinfo", "kernel threads"}
    assert rows[29]["earlier"]["zoneinfo"] > rows[29]["earlier"]["slabinfo"] > 0.3
    assert rows[29]["earlier"]["kernel threads"] == -ages[29] / 1e6


def test_what_is_rare_comes_again(tmp_path: Path) -> None:
    samples = moved(tmp_path, 0.4, 100)
    assert 3 <= sum(not sample.content.sources["zoneinfo"].earlier for sample in samples) <= 30
    for sample in samples:
        of_now = int(sample.content.processes[7].stat.split()[-2])
        assert (number(sample, "zoneinfo") < of_now) is sample.content.sources["zoneinfo"].earlier


def test_nothing_is_rare_if_nothing_is_to_be(tmp_path: Path) -> None:
    for sample in moved(tmp_path, 0.0):
        assert not any(source.earlier for source in sample.content.sources.values())
        assert {number(sample, "slabinfo"), number(sample, "zoneinfo")} == {int(sample.content.processes[2].stat.split()[-2])}


BORN = """
import subprocess
from memtriage.recorder import loop
loop.DETAILS_WAIT = 10.0
one = made(sys.argv[1], samples=6, interval=0.1)
one.warm()
child, sample = [], one._sample
def bearing(late):
    if one.taken == 3:
        child.append(subprocess.Popen(["sleep", "30"]))
    sample(late)
one._sample = bearing
one.run()
assert one.close()
child[0].kill()
child[0].wait()
print(child[0].pid)
"""


def test_a_new_process_is_described_in_the_sample_that_sees_it(tmp_path: Path) -> None:
    pid = int(python(BORN, str(tmp_path / "r")).stdout)
    with Recording(str(tmp_path / "r")) as recording:
        seen = [sample.content.processes[pid] for sample in recording.samples() if pid in sample.content.processes]
    assert len(seen) == 3
    assert all(process.cmdline == b"sleep\x0030\x00" and process.cgroup for process in seen)


@pytest.mark.needs_root
def test_addresses_of_programs_are_not_recorded(tmp_path: Path) -> None:
    pid = int(python(BORN, str(tmp_path / "r")).stdout)
    with Recording(str(tmp_path / "r")) as recording:
        last = list(recording.samples())[-1]
    assert last.note("stat_addresses") in ("hidden: CAP_SYS_PTRACE given up", "hidden: no CAP_SYS_PTRACE")
    fields = last.content.processes[pid].stat.rpartition(b")")[2].split()
    assert set(fields[23:28] + fields[42:49]) <= {b"0", b"1"}  # proc(5): startcode to kstkeip, start_data to env_end


HIDDEN = """
import ctypes, subprocess
from memtriage.recorder import guard
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0, ctypes.get_errno()  # CLONE_NEWNS
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
assert libc.mount(b"proc", sys.argv[1].encode(), b"proc", 0, b"hidepid=2,gid=65534") == 0, ctypes.get_errno()
child = subprocess.Popen(["sleep", "30"])
try:
    for root in (sys.argv[1], "/proc"):
        print(guard.hide_addresses(root))
        print("seen" if str(child.pid) in os.listdir(sys.argv[1]) else "not seen")
finally:
    child.kill()
    child.wait()
"""


@pytest.mark.needs_root
def test_where_proc_hides_processes_the_right_to_see_them_is_kept(tmp_path: Path) -> None:
    allowed = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
    if not allowed >> 19 & allowed >> 21 & 1:
        pytest.skip("needs CAP_SYS_PTRACE and CAP_SYS_ADMIN")
    assert python(HIDDEN, str(tmp_path)).stdout.splitlines() == [
        "shown: without CAP_SYS_PTRACE processes are hidden", "seen", "hidden: CAP_SYS_PTRACE given up", "not seen"]


def test_files_of_control_groups_say_when_they_were_read() -> None:
    groups = Groups()
    groups.take(["a/usage", "a/stat", "b/usage"], {"a/usage": Source(b"1", 0, 1_000_100, 5), "a/stat": Source(b"x", 0, 1_000_200, 5)})
    first = groups.sources(1_000_000_000)
    assert first == {"a/usage": Source(b"1", 0, 100, 5), "a/stat": Source(b"x", 0, 200, 5)}  # b was never read
    groups.take(["a/usage", "a/stat"], {"a/usage": Source(b"1", 0, 2_000_100, 5)})
    second = groups.sources(2_000_000_000)
    assert second["a/usage"] is first["a/usage"]  # read again, and the same
    assert second["a/stat"] == Source(b"x", 0, -999_800, 5)  # not read
    third = groups.sources(3_000_000_000)  # the thread gave no answer
    assert [source.begin_us for source in third.values()] == [-999_900, -1_999_800]
    groups.take(["a/usage"], {"a/usage": Source(b"1", 0, 4_000_100, 5)})
    assert groups.sources(4_000_000_000) == {"a/usage": Source(b"1", 0, 100, 5)}  # one that is gone is gone


@pytest.mark.needs_root
def test_a_group_is_read_at_each_sample_and_its_details_now_and_then(tmp_path: Path) -> None:
    controller = next((path for path in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup") if Path(path, "cgroup.procs").exists()), "")
    first = next((path for path in ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/cgroup.controllers")
                  if Path(path).exists()), "")
    if not controller or not first or (first.endswith("controllers") and "memory" not in Path(first).read_text().split()):
        pytest.skip("no memory controller here")
    python("one = made(sys.argv[1], samples=20, interval=0.02, groups_above=0, rare_s=60.0)\none.warm()\none.run()\nassert one.close()",
           str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        last = list(recording.samples())[-1].content.sources
    used = [source for name, source in last.items() if name.endswith(("memory.usage_in_bytes", "memory.current"))]
    more = [source for name, source in last.items() if name.endswith(("memory.stat", "memory.limit_in_bytes", "memory.max"))]
    assert used and not any(source.earlier for source in used)
    assert more and all(source.earlier for source in more)


def test_statm_is_read_again_once_stat_has_changed(tmp_path: Path) -> None:
    """A process that took no fault and lost no page has what it had: half the reads of a host where most sleep."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_bytes(b"7 (httpd) S 1 7 7 0 -1 4194560 10 0\n")
    (tmp_path / "7/statm").write_bytes(b"1 2 3 4 0 5 0\n")
    table = Processes(str(tmp_path), 200)
    said = []
    for stat, statm in ((10, 1), (10, 9), (11, 9)):
        (tmp_path / "7/stat").write_bytes(b"7 (httpd) S 1 7 7 0 -1 4194560 %d 0\n" % stat)
        (tmp_path / "7/statm").write_bytes(b"%d 2 3 4 0 5 0\n" % statm)
        process = table.read(0)[0][7]
        said.append((process.stat.split()[-2], process.statm.split()[0]))
    table.close()
    assert said == [(b"10", b"1"), (b"10", b"1"), (b"11", b"9")]


def test_a_helper_that_the_kernel_starts_has_memory_once_it_is_a_program(tmp_path: Path) -> None:
    """Until its exec, which waits for the disk, modprobe or a core dump's handler looks like a kernel thread: no memory at all."""
    stat = b"%d (%b) S 2 0 0 0 -1 %d 1 0 0 0 0 0 0 0 20 0 1 0 9 %d 5 0\n"
    table = Processes(str(tmp_path), 400)
    for pid in (7, 8):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / f"{pid}/stat").write_bytes(stat % (pid, b"kworker/u4:1", 0x200000 if pid == 7 else 64, 0))
        (tmp_path / f"{pid}/statm").write_bytes(b"0 0 0 0 0 0 0\n")
    assert {process.statm for process in table.read(0)[0].values()} == {b"0 0 0 0 0 0 0\n"}
    table.wanted.clear()
    for pid in (7, 8):
        (tmp_path / f"{pid}/stat").write_bytes(stat % (pid, b"modprobe", 0, 4096000))
        (tmp_path / f"{pid}/statm").write_bytes(b"1000 500 3 4 0 5 0\n")
    assert {process.statm for process in table.read(0)[0].values()} == {b"1000 500 3 4 0 5 0\n"}
    assert table.wanted == [7, 8]
    assert not table.entries[7].kernel
    open_ones = {handle for entry in table.entries.values() for handle in (entry.stat, entry.statm)}
    table.close()
    for handle in open_ones:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)
