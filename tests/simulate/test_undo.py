"""However a simulation ends, nothing of it is left: processes, folders, cgroups; and what it says and leaves with."""

from __future__ import annotations

import os
import pty
import re
import resource
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from memtriage.procfs import cgroup
from memtriage.procfs.pid import stat
from memtriage.quantity import MIB
from memtriage.simulate import kinds, safety
from memtriage.simulate.place import Refused
from tests.simulate.command import alive, children, environment, line, simulate, started, until, wait_for

pytestmark = pytest.mark.slow

SMALL = ("--limit", "7MiB", "--rate", "70MiB/s", "--duration", "40s")


def cgroups_left() -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").rglob("memtriage-simulate-*") if path.is_dir()]


def assert_nothing_left(folder: Path, family: list[int]) -> None:
    assert wait_for(lambda: not alive(family)), [(pid, stat.read(pid=pid)) for pid in alive(family)]
    assert wait_for(lambda: not list(folder.iterdir())), list(folder.iterdir())
    assert wait_for(lambda: not cgroups_left()), cgroups_left()


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["workers", "slab-lock", "cache", "pinned", "negative", "cgroups", "sockets", "threads"])
def test_kill_9_of_the_command(name: str, tmp_path: Path) -> None:
    with started(name, *SMALL, "--folder", tmp_path) as process:
        until(process, "holding ")
        family = children(process.pid)
        assert len(family) >= 2
        process.kill()
        process.wait(10)
        assert_nothing_left(tmp_path, family)


@pytest.mark.needs_root
def test_kill_9_of_the_whole_process_group_while_it_measures(tmp_path: Path) -> None:
    with started("negative", *SMALL, "--folder", tmp_path, start_new_session=True) as process:
        assert wait_for(lambda: len(children(process.pid)) == 2)
        family = children(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        assert_nothing_left(tmp_path, family)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals(number: int, code: int, tmp_path: Path) -> None:
    with started("heap", "--limit", "500MiB", "--rate", "7MiB/s", "--folder", tmp_path) as process:
        until(process, "explain: ")
        time.sleep(0.3)
        family = children(process.pid)
        process.send_signal(number)
        assert process.wait(20) == code
        assert_nothing_left(tmp_path, family)
        assert process.stderr and process.stderr.read() == ""


def test_a_signal_while_it_starts(tmp_path: Path) -> None:
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2):
        with started("negative", *SMALL, "--folder", tmp_path) as process:
            time.sleep(delay)
            family = children(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) in (130, -2, 1)  # Python itself, before there is anything to undo, says it otherwise
            assert_nothing_left(tmp_path, family)


def test_the_leaker_is_killed(tmp_path: Path) -> None:
    with started("heap", *SMALL, "--folder", tmp_path) as process:
        until(process, "holding ")
        family = children(process.pid)
        leaker = next(pid for pid in family if stat.read(pid=pid).comm == "simulate-heap")
        assert Path(f"/proc/{leaker}/oom_score_adj").read_text() == "1000\n"
        os.kill(leaker, signal.SIGKILL)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (1, "undone\n")
        assert err == "memtriage simulate: the process that held the leak is gone: killed, perhaps by the OOM killer\n"
        assert_nothing_left(tmp_path, family)


def test_a_worker_is_killed(tmp_path: Path) -> None:
    with started("workers", "--limit", "500MiB", "--rate", "14MiB/s", "--folder", tmp_path) as process:
        until(process, "explain: ")
        assert wait_for(lambda: len(children(process.pid)) >= 4)
        family = children(process.pid)
        os.kill(family[-1], signal.SIGKILL)
        process.wait(20)
        assert process.returncode == 1
        assert process.stderr and process.stderr.read() == "memtriage simulate: a worker ended: killed, perhaps by the OOM killer\n"
        assert_nothing_left(tmp_path, family)


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))


@pytest.mark.parametrize("name", ["slab-lock", "slab-message", "cache"])
def test_the_kernel_refuses(name: str, tmp_path: Path) -> None:
    answer = simulate(name, "--limit", "53MiB", "--rate", "400MiB/s", "--duration", "4", "--folder", tmp_path, preexec_fn=few_descriptors)
    if name == "cache":  # does with few descriptors and more threads
        assert (answer.code, answer.err) == (0, "")
        assert "\nholding 53.0 MiB (" in answer.out
    else:
        assert (answer.code, answer.err) == (1, "memtriage simulate: it takes more open files than the 300 that a process may have "
                                           "(ulimit -Hn)\n")
    assert answer.out.endswith("undone\n")
    assert list(tmp_path.iterdir()) == []


def as_nobody() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))
    os.setgid(65534)
    os.setuid(65534)


@pytest.mark.needs_root
@pytest.mark.parametrize(("name", "words"), [
    ("cgroups", r"/sys/fs/cgroup/\S+: Permission denied \(rights needed: root\)"),
    ("slab-file", r"slab-file: the limit of open files \(ulimit -Hn\) is the limit of descriptors in flight, too, without root"),
])
def test_without_the_rights(name: str, words: str, debian_python: str, checkout: Path) -> None:
    answer = simulate(name, "--limit", "31MiB", preexec_fn=as_nobody, cwd="/", python=debian_python, lib=checkout / "lib")
    assert answer.code == 1
    assert answer.out.endswith("undone\n")
    assert re.fullmatch(f"memtriage simulate: {words}\n", answer.err), answer.err


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["slab", "workers"])
def test_as_nobody(name: str, public_path: Path, debian_python: str, checkout: Path) -> None:
    """Without root nothing tells the caches, and the counters need two seconds to be whole; all else is the same."""
    public_path.chmod(0o777)
    answer = simulate(name, "--limit", "7MiB", "--rate", "70MiB/s", "--duration", "1", "--folder", public_path, python=debian_python,
                      preexec_fn=as_nobody, cwd="/", lib=checkout / "lib")
    assert (answer.code, answer.err, list(public_path.iterdir())) == (0, "", [])
    assert re.search(r"^holding 7\.00 MiB \(.*\) after 0\.\d+ s, ", answer.out, re.MULTILINE)
    assert answer.out.endswith("undone\n")


def test_more_than_is_safe_is_refused() -> None:
    answer = simulate("heap", "--limit", "900TiB")
    assert (answer.code, answer.out) == (1, "undone\n")
    assert re.fullmatch(r"memtriage simulate: 900 TiB of heap takes 918 TiB in all; [0-9.]+ [MG]iB is available .* and [0-9.]+ [MG]iB "
                        r"must be left; --limit [0-9]+MiB would fit\n", answer.err), answer.err


def test_what_must_be_left() -> None:
    room = safety.Room(512 * MIB, 300 * MIB, 64 * MIB, None)
    heap, threads = kinds.KINDS["heap"], kinds.KINDS["threads"]
    safety.check_limit(heap, 231 * MIB, room)
    with pytest.raises(Refused, match="--limit 229MiB would fit"):  # 236 MiB over 1.02 is 231.4, and no prime but 229 is below
        safety.check_limit(heap, 232 * MIB, room)
    assert safety.default_limit(heap, room) == 229 * MIB
    assert safety.default_limit(threads, room) == 61 * MIB
    assert safety.default_limit(threads, room._replace(available=128 * MIB)) == 23 * MIB  # at 2.5 times
    with pytest.raises(Refused, match=r"only 65\.0 MiB available within the limit of cgroup '/small', and 64\.0 MiB must be left"):
        safety.default_limit(heap, room._replace(available=65 * MIB, limited_by="/small"))


@pytest.mark.needs_root
def test_a_cgroups_limit_counts() -> None:
    own = next((group for group in cgroup.read() if group.version == 1), None)
    if own is None:
        pytest.skip("needs the memory controller of cgroup version 1")
    group = Path("/sys/fs/cgroup/memory") / own.path.lstrip("/") / f"memtriage-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(128 * MIB))
        answer = simulate("heap", "--limit", "101MiB", preexec_fn=lambda: (group / "cgroup.procs").write_text("0"))
        assert answer.code == 1
        assert re.search(r"available within the limit of cgroup '\S+' and 64\.0 MiB must be left; --limit \d\dMiB would fit", answer.err)
    finally:
        assert wait_for(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_progress_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(line("shmem", "--limit", "7MiB", "--rate", "7MiB/s", "--duration", "2"), env=environment(), stdin=theirs,
                               stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while select.select([ours], [], [], 20)[0]:
        try:
            seen += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(20) == 0
    bars = re.findall(rb"\r\x1b\[K\[(#*)(\.*)\] [0-9.]+ \S+ of 7\.00 MiB after \d+ s, \d+ s left; [0-9.]+ .iB available", seen)
    assert len(bars) >= 4, seen
    assert all(len(full) + len(rest) == 24 for full, rest in bars)
    assert len(bars[0][0]) < len(bars[-1][0]) == 24


def test_the_list() -> None:
    answer = simulate("--list")
    assert (answer.code, answer.err) == (0, "")
    assert "heap          one process that allocates and never frees (default size 521 MiB)\n" in answer.out
    for name, kind in kinds.KINDS.items():
        assert re.search(rf"^{name} +\S.* \(default size {kind.mib} MiB\)\n +grows: {re.escape(' + '.join(kind.parts))}.*\n"
                         rf" +rights: {re.escape(kind.rights)}\n +caches: \S.*$", answer.out, re.MULTILINE), name


def test_expected_caches_of_a_kernel() -> None:
    sys = str(Path(__file__).parents[1] / "fixtures" / "merged-slab" / "sys")
    lock = kinds.KINDS["slab-lock"]._replace(caches=("audit_tree_mark", "no_such_cache", "dentry"))
    assert kinds.expected_caches(lock, sys, frozenset(("Acpi-State",))) == "Acpi-State (+ audit_tree_mark, Acpi-ParseExt, ...); dentry"
    assert kinds.expected_caches(lock._replace(caches=("no_such_cache",)), sys) == "none of no_such_cache"
    assert kinds.expected_caches(lock, "/nonexistent") == "unknown: this kernel has no /sys/kernel/slab"


@pytest.mark.parametrize(("options", "code", "words"), [
    ((), 1, "memtriage simulate: which kind? --list names them\n"),
    (("nonsense",), 2, "invalid choice: 'nonsense'"),
    (("heap", "--rate", "7"), 2, "argument --rate: '7' is no rate such as 1MiB/s or 64MiB/h"),
    (("heap", "--limit", "7"), 2, "argument --limit: '7' is no size such as 512MiB or 1.5GiB (units: B, KiB, MiB, GiB, TiB)"),
    (("heap", "--duration", "8d"), 2, "argument --duration: '8d' is no time span such as 90, 10m or 4h, of at most 7 days"),
    (("heap", "x"), 1, "memtriage simulate: copytree needs a LISTING, and only copytree takes one\n"),
    (("copytree",), 1, "memtriage simulate: copytree needs a LISTING, and only copytree takes one\n"),
    (("copytree", "/nonexistent"), 1, "memtriage simulate: /nonexistent: No such file or directory\n"),
    (("negative", "--folder", "/nonexistent"), 1, "No such file or directory (rights needed: none)\n"),
])
def test_usage(options: tuple[str, ...], code: int, words: str) -> None:
    answer = simulate(*options)
    assert answer.code == code
    assert words in answer.err, answer.err


def test_negative_names_in_tmpfs_are_refused_and_the_option_named() -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("no tmpfs at /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        done = simulate("negative", *SMALL, "--folder", folder)
        assert (done.code, os.listdir(folder)) == (1, [])
        assert "negative: tmpfs keeps no negative dentries; give a folder on a disk with --folder\n" in done.err, done
