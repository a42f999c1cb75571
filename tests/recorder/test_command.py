"""memtriage record as a program: what it says, what it leaves with, signals, and what it shows of a recording."""

from __future__ import annotations

import csv
import errno
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from memtriage import recorded
from memtriage.procfs import cgroup, files, meminfo, slabinfo, vmstat
from memtriage.recording import Recording
from tests.checks.command import run as check
from tests.recorder.runs import ROOT, command
from tests.recording import made

QUICK = ("--size", "1MiB", "--interval", "0.1", "--fast-interval", "0.1", "--no-lock", "--no-priority")
FIXTURES = ROOT / "tests" / "fixtures"


def started(*args: str, **more: object) -> subprocess.Popen[str]:
    """A recorder that has said that it records."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib"), **more.pop("env", {})}  # type: ignore[dict-item]
    process = subprocess.Popen([sys.executable, "-m", "memtriage", "record", *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env=env, **more)  # type: ignore[call-overload]
    assert process.stderr is not None
    said = process.stderr.readline()
    assert said.startswith("memtriage record: recording to "), said + process.stderr.read()
    return process


def count(path: Path) -> int:
    with Recording(str(path)) as recording:
        return len(recording.entries)


def wait_for(what: object, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_term_ends_it_with_everything_written(tmp_path):
    process = started("--output", str(tmp_path / "r"), *QUICK)
    try:
        wait_for(lambda: count(tmp_path / "r") >= 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert process.stdout is not None and process.stdout.read() == ""
    finally:
        process.kill()
    with Recording(str(tmp_path / "r")) as recording:
        assert len(list(recording.samples())) == len(recording.entries) >= 3


def test_a_second_one_is_refused(tmp_path):
    process = started("--output", str(tmp_path / "r"), *QUICK)
    try:
        done = command("--output", str(tmp_path / "r"), *QUICK)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"memtriage record: process {process.pid} records to {tmp_path}/r already\n"
    finally:
        process.kill()
        process.wait(timeout=5)
    assert command("--output", str(tmp_path / "r"), *QUICK, "--samples", "2").returncode == 0


def test_hangup_opens_the_file_anew(tmp_path):
    process = started("--output", str(tmp_path / "r"), *QUICK)
    try:
        wait_for(lambda: count(tmp_path / "r") >= 3)
        (tmp_path / "r").rename(tmp_path / "moved")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: (tmp_path / "r").exists() and count(tmp_path / "r") >= 3)
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
    with Recording(str(tmp_path / "moved")) as old, Recording(str(tmp_path / "r")) as new:
        assert len(list(new.samples())) == len(new.entries)
        assert old.entries[-1].head.seq + 1 == new.entries[0].head.seq


def test_a_file_that_cannot_be_opened_anew_is_said_and_the_old_one_goes_on(tmp_path):
    process = started("--output", str(tmp_path / "r"), *QUICK)
    try:
        wait_for(lambda: count(tmp_path / "r") >= 3)
        (tmp_path / "r").rename(tmp_path / "moved")
        (tmp_path / "r").write_bytes(b"x" * 5000)
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        why = f"{tmp_path}/r is not a recording of this version; move it away or give another --output"
        said = (line for line in iter(process.stderr.readline, "") if "opened anew" in line)  # without root it says more
        assert next(said) == f"memtriage record: not opened anew, the file that was open goes on: {why}\n"
        so_far = count(tmp_path / "moved")
        wait_for(lambda: count(tmp_path / "moved") >= so_far + 4)
        (tmp_path / "r").unlink()
        process.send_signal(signal.SIGHUP)
        assert next(said) == "memtriage record: opened anew\n"
        wait_for(lambda: count(tmp_path / "r") >= 3)
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
    with Recording(str(tmp_path / "moved")) as old, Recording(str(tmp_path / "r")) as new:
        first, last = list(old.samples()), list(new.samples())
        assert len(first) == len(old.entries) and len(last) == len(new.entries)
        assert first[-1].note("disk_problem", "sample") == why and last[-1].note("disk_problem", "sample") == "-"
        assert first[-1].head.seq + 1 == last[0].head.seq


@pytest.mark.parametrize("how", ["removed", "emptied", "cut", "lengthened", "replaced"])
def test_a_file_that_somebody_else_took_away_is_made_anew(tmp_path, how):
    path = tmp_path / "r"
    process = started("--output", str(path), *QUICK, "--sync", "0.3")
    timer = threading.Timer(40, process.kill)
    timer.start()
    try:
        wait_for(lambda: count(path) >= 3)
        if how == "removed":
            path.unlink()
        elif how == "replaced":
            shutil.copy(path, tmp_path / "other")
            (tmp_path / "other").replace(path)
        else:
            os.truncate(path, {"emptied": 0, "cut": 500000, "lengthened": 3000000}[how])
        said = iter(process.stderr.readline, "")
        why = rf"memtriage record: {path} was (removed or replaced|cut to \d+ bytes) by somebody(; it has 1048576 again)?\n"
        assert any(re.fullmatch(why, line) for line in said)  # without root it says more before
        wait_for(lambda: path.exists() and path.stat().st_size == 1 << 20 and count(path) >= 3)
        time.sleep(0.7)
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert list(said) == []
    finally:
        timer.cancel()
        process.kill()
        process.wait(timeout=5)
    with Recording(str(path)) as recording:
        samples = list(recording.samples())
        # What came between the cut and its being seen leans on what was cut off.
        assert len(samples) >= 3 and samples[-1].head.seq == recording.entries[-1].head.seq
        assert samples[-1].note("lost", "sample") == "0"


def test_a_supervisor_hears_that_it_is_ready_and_alive(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.settimeout(10)
        process = started("--output", str(tmp_path / "r"), "--size", "1MiB", "--interval", "60", "--no-lock", "--no-priority",
                          env={"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "400000"})
        try:
            heard = [listener.recv(100) for _ in range(8)]
            process.terminate()
            while heard[-1] != b"STOPPING=1":
                heard.append(listener.recv(100))
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
    assert heard[0] == b"READY=1\nSTATUS=recording"
    assert heard[1:8] == [b"WATCHDOG=1"] * 7  # also within a minute's interval


@pytest.mark.needs_root
def test_as_nobody_it_runs_and_says_what_it_may_not(public_path):
    who = pwd.getpwnam("nobody")
    if subprocess.run(["/usr/bin/python3", "-c", "import sys; sys.exit(sys.version_info < (3, 9))"], timeout=10, check=False).returncode:
        pytest.skip("needs a /usr/bin/python3 of 3.9 or later")
    own = public_path / "own"
    own.mkdir()
    os.chown(own, who.pw_uid, who.pw_gid)
    subprocess.run(["cp", "-r", str(ROOT / "lib" / "memtriage"), str(public_path)], timeout=20, check=True)
    (public_path / "nagiosplugin.py").write_text("class Range:\n    pass\n")
    subprocess.run(["chmod", "-R", "a+rX", str(public_path)], timeout=20, check=True)
    done = subprocess.run(["/bin/sh", "-c", 'ulimit -l 64; exec "$0" "$@"', "/usr/bin/python3", "-c",
                           "import sys; sys.path.insert(0, sys.argv.pop(1)); import nagiosplugin, memtriage.threshold as t; "
                           "from memtriage.recorder.loop import Recorder, Settings; from memtriage.recorder.slow import Slab; "
                           "from memtriage.recording import Ring; r = Recorder(Settings(0.05, samples=5), Ring.open(sys.argv[1], 1 << 20), "
                           "Slab('/proc', None)); r.warm(); r.run(); print(r.close(), r.locked, r.priority, sep='|')",
                           str(public_path), str(own / "r")], user=who.pw_uid, group=who.pw_gid, extra_groups=[], capture_output=True,
                          text=True, timeout=30, check=False, cwd="/", env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    written, locked, priority = done.stdout.strip().split("|")
    assert written == "True"
    assert re.fullmatch(r"no: .* \(needs CAP_IPC_LOCK or a larger RLIMIT_MEMLOCK\)", locked)
    assert "nice unchanged: Permission denied" in priority and "scheduler unchanged: Operation not permitted" in priority
    with Recording(str(own / "r")) as recording:
        sample = next(recording.samples())
        assert recorded.value(sample, "meminfo", meminfo.parse).get("MemTotal")
        with pytest.raises(files.Denied):
            recorded.value(sample, "slabinfo", slabinfo.parse)
        assert 1 in sample.content.processes


@pytest.mark.parametrize(("args", "code", "words"), [
    (("--interval", "0"), 2, "'0' is not within 0.05 s and 366 d"),
    (("--interval", "5x"), 2, "'5x' is no time span"),
    (("--interval", "0.01"), 2, "not within 0.05 s"),
    (("--size", "huge"), 2, "'huge' is no size such as 256MiB"),
    (("--size", "10%"), 2, "'10%' is no size"),
    (("--inter", "5"), 2, "unrecognized arguments: --inter"),
    (("--export", "xml"), 2, "invalid choice: 'xml'"),
    (("--size", "10KiB"), 1, "a recording has at least 262144 bytes"),
    (("--interval", "1", "--fast-interval", "2"), 1, "--fast-interval must not be longer than --interval"),
    (("--output", "/nonexistent/r"), 1, "/nonexistent/r.lock: No such file or directory"),
    (("--print", "--output", "/nonexistent/r"), 1, "/nonexistent/r: No such file or directory"),
    (("--print", "--output", "/etc/passwd"), 1, "/etc/passwd: not a recording"),
    (("--procfs", "/nonexistent", "--samples", "1"), 1, "/nonexistent: No such file or directory"),
])
def test_what_cannot_be(tmp_path, args, code, words):
    args = args if "--output" in args else (*args, "--output", str(tmp_path / "r"))
    done = command(*args)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr and "Traceback" not in done.stderr


def test_a_tree_goes_in_and_comes_out_the_same(tmp_path):
    done = command("--procfs", str(FIXTURES / "b-reclaimable-slab/proc"), "--output", str(tmp_path / "r"), *QUICK, "--samples", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
    assert len(samples) == 3
    tree = FIXTURES / "b-reclaimable-slab/proc"
    for sample in samples:
        for name in ("meminfo", "vmstat", "slabinfo", "zoneinfo", "net/sockstat", "loadavg", "uptime"):
            if (tree / name).exists():
                assert recorded.data(sample, name) == (tree / name).read_bytes(), name
        assert recorded.value(sample, "meminfo", meminfo.parse) == meminfo.read(str(tree))
        assert recorded.value(sample, "slabinfo", slabinfo.parse) == slabinfo.read(str(tree))
        assert {pid: process.stat for pid, process in sample.content.processes.items()} == {
            int(path.parent.name): path.read_bytes() for path in tree.glob("[0-9]*/stat")}
    proc, sys_folder = recorded.snapshot_to_tree(samples[-1], str(tmp_path / "tree"))
    for name, options in (("check_free_mem", ()), ("check_slab_growth", ("--state-dir",)), ("check_proc_count", ("-C", "httpd"))):
        before = check(name, "--procfs", str(tree), *(options if options != ("--state-dir",) else ("--state-dir", str(tmp_path / "s1"))))
        after = check(name, "--procfs", proc, "--sysfs", sys_folder,
                      *(options if options != ("--state-dir",) else ("--state-dir", str(tmp_path / "s2"))))
        assert (after.code, after.first) == (before.code, before.first)


@pytest.mark.parametrize("folder", ["sys/fs/cgroup", "sys/fs/cgroup/unified"])
def test_removed_control_groups_that_are_held_are_recorded(tmp_path, folder):
    """What check_free_mem says of dying cgroups, explain and replay must be able to say of that moment, too."""
    shutil.copytree(FIXTURES / "b-reclaimable-slab", tmp_path / "host")
    (tmp_path / "host" / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "host" / folder / "cgroup.stat").write_text("nr_descendants 12\nnr_dying_descendants 3588\n")
    done = command("--procfs", str(tmp_path / "host/proc"), "--output", str(tmp_path / "r"), *QUICK, "--samples", "3")
    assert (done.returncode, done.stderr) == (0, "")
    with Recording(str(tmp_path / "r")) as recording:
        samples = list(recording.samples())
    for place, sample in enumerate(samples):
        assert cgroup.dying(recorded.snapshot_to_tree(sample, str(tmp_path / f"tree{place}"))[1]) == 3588


def test_names_in_a_recording_never_lead_out_of_the_tree(tmp_path):
    author = made.Author(made.Ring.open(str(tmp_path / "r"), 256 * 1024))
    evil = b"x"
    author.write(more={"../../evil": evil, "/sys/../../evil": evil, "/etc/evil": evil, "a/../../evil": evil, "a\0b": evil,
                       "/": evil, "meminfo/x": evil, "/sys/kernel/slab": b"../up :t-1\nok ../../../etc\n:t-1 .\nfine :t-1\n"})
    with Recording(str(tmp_path / "r")) as recording:
        recorded.snapshot_to_tree(next(recording.samples()), str(tmp_path / "deep/er/tree"))
    assert not list(tmp_path.rglob("*evil*"))
    slab = tmp_path / "deep/er/tree/sys/kernel/slab"
    assert sorted(path.name for path in slab.iterdir()) == [":t-1", "fine"]
    assert os.readlink(slab / "fine") == ":t-1"


MEMINFO = b"MemTotal:       1000000 kB\nMemFree: 1000 kB\nMemAvailable: %d kB\n"
SLAB = (b"slabinfo - version: 2.1\n# name\nnfs_inode_cache %d %d 1024 8 2 : tunables 0 0 0 : slabdata %d %d 0\n"
        b"dentry 1 1 192 21 1 : tunables 0 0 0 : slabdata 1 1 0\n")


@pytest.fixture
def story(tmp_path: Path) -> str:
    """A leak, a gap in the middle of it, and a kill."""
    path = str(tmp_path / "story")
    author = made.Author(made.Ring.open(path, 1024 * 1024))
    for number, (boot, grown) in enumerate(((100, 12800), (110, 14000), (120, 15000), (160, 19000))):
        if boot == 160:
            author.seq += 3
        log = b"4,1,1,-;Out of memory: Killed process 7 (ht|tpd) total-vm:1kB\n" if boot == 160 else b""
        author.write((1_700_000_000 + boot) * 10**9, boot * 10**9, 10000, {
            "meminfo": MEMINFO % (500000 - 10000 * number), "slabinfo": SLAB % (8 * grown, 8 * grown, grown, grown),
            "vmstat": b"oom_kill 2\n", "kmsg": log, "meta": b"page_size 4096\n", "sys/kernel/osrelease": b"6.1.0\n"})
    return path


def test_printed(story):
    done = command("--print", "--output", story, "--above", "100MiB")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "2023-11-14 22:15:00 available 488 MiB (50.0%); slab nfs_inode_cache 100 MiB"
    assert lines[1] == "2023-11-14 22:15:10 available 479 MiB (49.0%); slab nfs_inode_cache 109 MiB +9.38 MiB"
    assert lines[3:] == [
        "2023-11-14 22:16:00 -- gap of 40.0 s, samples lost: 3",
        "2023-11-14 22:16:00 -- kernel: Out of memory: Killed process 7 (ht?tpd) total-vm:1kB",
        "2023-11-14 22:16:00 available 459 MiB (47.0%); slab nfs_inode_cache 148 MiB +31.2 MiB"]


def test_what_was_lost_is_not_gone(tmp_path):
    """slabinfo did not answer in time, and the processes could not be listed: they are compared with what was read before."""
    author = made.Author(made.Ring.open(str(tmp_path / "r"), 256 * 1024))
    content, lost = made.content, made.Source(None, 0, 0, 0)
    for number, (grown, pages) in enumerate(((12800, 60000), (0, 0), (14000, 61000), (0, 0), (0, 0))):
        one = content(author.chance, 1)
        sources = {"meta": made.Source(b"page_size 4096\n", 0, 0, 0), "meminfo": made.Source(MEMINFO % 500000, 0, 0, 0),
                   "slabinfo": made.Source(SLAB % (8 * grown, 8 * grown, grown, grown), 0, 0, 0) if grown or number == 4 else lost}
        stat = b"7 (httpd) S 1 7 7 0 -1 4194560" + b" 0" * 44 + b"\n"
        processes = {7: made.Process(stat, b"%d %d 0 0 0 5 0\n" % (pages, pages))} if pages else {}
        listing = one.listing if pages or number == 4 else lost
        this = made.Content(sources, processes, listing)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made, "content", lambda chance, number, this=this: this)
            author.write((1_700_000_000 + 10 * number) * 10**9, (100 + 10 * number) * 10**9, 10000)
    author.ring.close()
    lines = command("--print", "--output", str(tmp_path / "r")).stdout.splitlines()
    assert [line.partition(")")[2] for line in lines] == [
        "; httpd 234 MiB; slab nfs_inode_cache 100 MiB",
        "",
        "; httpd 238 MiB +3.91 MiB; slab nfs_inode_cache 109 MiB +9.38 MiB",
        "",
        "; slab nfs_inode_cache 0 B -109 MiB; httpd gone -238 MiB"]


def test_exported_as_json_lines(story):
    done = command("--export", "jsonl", "--output", story)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["sample"] for row in rows] == [1, 2, 3, 7]
    assert [row["gap"] for row in rows] == [None, None, None, {"seconds": 40.0, "lost": 3, "restart": False}]
    assert rows[0]["meminfo"]["values"] == {"MemTotal": 1024000000, "MemFree": 1024000, "MemAvailable": 512000000}
    assert rows[0]["slabinfo"]["caches"][0]["name"] == "nfs_inode_cache"
    assert rows[0]["release"] == "6.1.0"
    assert rows[3]["kmsg"] == ["4,1,1,-;Out of memory: Killed process 7 (ht|tpd) total-vm:1kB"]
    assert [row["kmsg"] for row in rows[:3]] == [[]] * 3
    assert rows[0]["zoneinfo"] is None
    assert [row["earlier"] for row in rows] == [{}] * 4


def test_what_was_not_read_is_not_exported_as_nothing(tmp_path):
    author = made.Author(made.Ring.open(str(tmp_path / "r"), 256 * 1024))
    content = made.content
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "content", lambda chance, number: content(chance, number)._replace(
            processes={}, listing=made.Source(None, errno.EACCES, 0, 0)))
        author.write(more={"kmsg": b""})
    author.ring.close()
    row = json.loads(command("--export", "jsonl", "--output", str(tmp_path / "r")).stdout)
    assert (row["processes"], row["kmsg"]) == ({"error": "Permission denied"}, [])
    row, = csv.DictReader(command("--export", "csv", "--output", str(tmp_path / "r")).stdout.splitlines())
    assert (row["processes"], row["largest_program"]) == ("", "")


def test_exported_as_csv(story):
    done = command("--export", "csv", "--output", story, "--since", "45s")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    columns = ("time", "gap", "MemAvailable", "largest_cache", "largest_cache_bytes", "oom_kill")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("1700000120.000", "", "491520000", "slab nfs_inode_cache", "122880000", "2"),
        ("1700000160.000", "40.000", "481280000", "slab nfs_inode_cache", "155648000", "2")]
    assert rows[0]["Slab"] == ""


def test_a_reader_that_has_seen_enough(story):
    done = subprocess.run(["/bin/sh", "-c", f'"{sys.executable}" -m memtriage record --export jsonl --output "{story}" | head -c 10'],
                          env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib")}, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, b"", 10)


def test_followed(tmp_path):
    recorder = started("--output", str(tmp_path / "r"), *QUICK)
    follower = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--print", "--follow", "--output", str(tmp_path / "r")],
                                stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib")})
    try:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(12)]
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d available ", line) for line in lines), lines
    finally:
        for process in (follower, recorder):
            process.kill()
            process.wait(timeout=5)


@pytest.mark.skipif(not os.access("/proc/slabinfo", os.R_OK), reason="slabinfo needs root")
def test_recorded_values_are_those_of_the_live_system(tmp_path):
    assert command("--output", str(tmp_path / "r"), *QUICK, "--samples", "2").returncode == 0
    with Recording(str(tmp_path / "r")) as recording:
        sample = list(recording.samples())[-1]
    live, then = meminfo.read("/proc"), recorded.value(sample, "meminfo", meminfo.parse)
    assert live.get("MemTotal") == then.get("MemTotal") and live.values.keys() == then.values.keys()
    assert recorded.value(sample, "vmstat", vmstat.parse).values.keys() == vmstat.read("/proc").values.keys()
    now = {cache.name: cache.objsize for cache in slabinfo.read("/proc").caches}
    assert {cache.name: cache.objsize for cache in recorded.value(sample, "slabinfo", slabinfo.parse).caches} == now
    assert recorded.page_size(sample) == os.sysconf("SC_PAGE_SIZE")
    assert sample.content.processes[os.getpid()].cmdline == Path("/proc/self/cmdline").read_bytes()[:1024]
    with pytest.raises(files.Missing):
        recorded.data(sample, "no-such-file")
