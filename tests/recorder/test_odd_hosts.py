"""Hosts of a kind that is not met every day, and that must not end the recording: names, numbers and sizes beyond what a record holds."""

from __future__ import annotations

import base64
import errno
import os
import random
from pathlib import Path

import pytest

from memtriage.recorder.slow import GroupFiles
from memtriage.recording import Recording, Sample
from tests.recorder.runs import command, python

QUICK = ("--interval", "0.05", "--fast-interval", "0.05", "--no-lock", "--no-priority")
MEMINFO = "MemTotal: 1000000 kB\nMemFree: 500000 kB\nMemAvailable: 500000 kB\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A captured tree with one process and no control groups but the root."""
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    (tmp_path / "proc/1/stat").write_text("1 (init) S 0 1 1 0 -1 4194560 10 0\n")
    (tmp_path / "proc/1/statm").write_text("1 2 3 4 0 5 0\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("memory\n")
    return tmp_path


def group(host: Path, name: bytes, size: int) -> bytes:
    folder = os.path.join(os.fsencode(host), b"sys/fs/cgroup", name)
    os.makedirs(folder)
    with open(os.path.join(folder, b"memory.current"), "w", encoding="ascii") as handle:
        handle.write(f"{size}\n")
    return folder


def recorded(host: Path, *args: str) -> list[Sample]:
    done = command("--procfs", str(host / "proc"), "--output", str(host / "r"), "--size", "1MiB", *QUICK, *args)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "memtriage record: this kernel has no slabinfo\n")
    with Recording(str(host / "r")) as recording:
        return list(recording.samples())


def test_control_groups_whose_names_no_record_can_hold_are_left_out(host: Path) -> None:
    for name in (b"/".join([b"x" * 120] * 2), b"bad\xff", b"good \xc3\xa4\n"):
        group(host, name, 900_000_000)
    samples = recorded(host, "--samples", "3")
    assert len(samples) == 3
    assert [name for name in samples[-1].content.sources if "cgroup" in name] == [
        f"{host}/proc/../sys/fs/cgroup/good \xe4\n/memory.current"]


@pytest.mark.parametrize(("above", "first"), [("110KiB", 10), ("1KiB", 6)])
def test_control_groups_above_a_size_24_at_most(host: Path, above: str, first: int) -> None:
    for number in range(30):
        group(host, b"group-%02d" % number, 1024 * (100 + number))
    names = [name for name in recorded(host, "--samples", "2", "--cgroups-above", above)[-1].content.sources if "cgroup" in name]
    assert names == [f"{host}/proc/../sys/fs/cgroup/group-{number:02}/memory.current" for number in range(first, 30)]


def test_a_control_group_that_was_made_anew_is_read_again(host: Path) -> None:
    """A service that was restarted: under the same name there is another group, and the old one's descriptor reads nothing any more."""
    found = GroupFiles(str(host / "sys/fs/cgroup"), 0)
    folder = Path(os.fsdecode(group(host, b"httpd.service", 5)))
    assert [source.data for source in found.read()[1].values()] == [b"5\n"]
    (folder / "memory.current").unlink()
    folder.rmdir()
    group(host, b"httpd.service", 7)
    found._scanned = -1e9
    assert [source.data for source in found.read()[1].values()] == [b"7\n"]
    handle = found.files[0].handle
    found._scanned = -1e9
    found.read()
    assert found.files[0].handle == handle  # and else kept
    (folder / "memory.current").unlink()
    folder.rmdir()
    found._scanned = -1e9
    assert found.read() == ([], {})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


def crowd(host: Path, count: int, cmdline: int, comm: int = 8) -> None:
    """So many processes, with what cannot be packed any smaller."""
    chance = random.Random(7)
    for pid in range(2, 2 + count):
        folder = host / "proc" / str(pid)
        folder.mkdir()
        name = base64.b64encode(chance.getrandbits(8 * comm).to_bytes(comm, "big")).decode()
        (folder / "stat").write_text(f"{pid} ({name}) S 1 1 1 0 -1 4194560 10 0\n")
        (folder / "statm").write_text("1 2 3 4 0 5 0\n")
        (folder / "cmdline").write_bytes(base64.b64encode(chance.getrandbits(8 * cmdline).to_bytes(cmdline, "big")))


@pytest.mark.slow
@pytest.mark.parametrize(("count", "comm", "described"), [(250, 8, True), (1000, 8, False), (1000, 230, None)])
def test_a_sample_that_is_too_large_goes_without_what_makes_it_so(host: Path, count: int, comm: int, described: bool | None) -> None:
    """It was written beyond the end of the ring, and then nothing could be read at all."""
    crowd(host, count, 300, comm)
    samples = recorded(host, "--samples", "8", "--size", "256KiB", "--interval", "0.3", "--fast-interval", "0.3")
    assert (host / "r").stat().st_size == 256 * 1024
    assert [sample.head.seq for sample in samples][-1] >= 8 and len(samples) == 8
    assert all(sample.note("lost", "sample") == "0" and sample.content.sources["meminfo"].data for sample in samples)
    last = samples[-1].content
    if described is None:
        assert (last.processes, last.listing.errno) == ({}, errno.EFBIG)
    else:
        assert len(last.processes) == count + 1
        assert any(process.cmdline for process in last.processes.values()) is described
    assert samples[-1].head.kind == 2  # compressed against an earlier one, which went without the same


def test_after_a_very_long_pause_nothing_leans_on_what_lay_before_it(tmp_path: Path) -> None:
    """A record can say 65,535 samples back: a frozen process was due for more. One that said more was never written, and none after it."""
    python("""
one = made(sys.argv[1], samples=20)
one.warm()
sample = one._sample
def paused(late):
    if one.taken == 10:
        one.seq += 70000
    sample(late)
one._sample = paused
one.run()
assert one.close(), one.writer.problem
""", str(tmp_path / "r"))
    with Recording(str(tmp_path / "r")) as recording:
        assert len(list(recording.samples())) == 20
        assert [gap.lost for gap in recording.gaps() if gap.lost >= 70000]


def test_the_longest_interval(host: Path) -> None:
    sample, = recorded(host, "--samples", "1", "--interval", "366d")
    assert sample.head.interval_ms == 2**32 - 1  # of 49.7 d on
    assert sample.note("interval_ms") == "31622400000"


def test_where_few_files_may_be_open_no_process_and_no_control_group_is_missed(host: Path) -> None:
    crowd(host, 300, 10)
    for number in range(24):
        folder = group(host, b"group-%02d" % number, 900_000_000)
        for name in (b"max", b"stat", b"events", b"pressure"):
            Path(os.fsdecode(folder + b"/memory." + name)).write_text("1\n")
    done = python("""
import subprocess
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
sys.exit(subprocess.run([sys.executable, "-m", "memtriage", "record", *sys.argv[1:]], check=False).returncode)
""", "--procfs", str(host / "proc"), "--output", str(host / "r"), "--size", "1MiB", *QUICK, "--samples", "4")
    assert done.stdout == ""
    with Recording(str(host / "r")) as recording:
        samples = list(recording.samples())
    assert [len(sample.content.processes) for sample in samples] == [301] * 4
    groups = [source for name, source in samples[-1].content.sources.items() if "cgroup/group" in name]
    assert len(groups) == 120 and all(source.data for source in groups)
    assert all(process.cmdline for pid, process in samples[-1].content.processes.items() if pid > 1)
