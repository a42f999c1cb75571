"""Whatever goes wrong, a check ends with 0 to 3, one clean output and nothing on stderr."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.checks import forked
from tests.checks.command import CHECKS, REMEMBERING, ROOT, Answer, environment, on, run

each_check = pytest.mark.parametrize("check", CHECKS)


def name(check: str) -> str:
    return check[6:].upper()


@each_check
@pytest.mark.parametrize("options", [
    ["--bogus"], ["--verb"], ["--warn", "1"], ["stray"], ["-w"], ["-w", "abc"], ["-w", ""], ["-w", "10:5"], ["-w", "nan"], ["-w", "1e3"],
    ["-w", "~"], ["-w", "@"], ["-w", "1:2:3"], ["-w", "\u0663"], ["-w", "1_000"], ["-t", "0"], ["-t", "abc"], ["-t", "-1"], ["-t", "inf"],
    ["--procfs", ""], ["-w", "5\n|x=1"], ["-w", "x" * 100000]])
def test_usage_errors_are_unknown(check, options):
    answer = forked.run(check, *options).sound()
    assert answer.code == 3
    assert answer.out.startswith(f"{name(check)} UNKNOWN - usage: ")
    assert answer.out.count("\n") == 1


@each_check
@pytest.mark.parametrize("options", [["--bogus"], ["--help"], []])
def test_forked_and_started_it_says_the_same(check, options):
    forked_answer, started = forked.run(check, *options), run(check, *options)
    assert (forked_answer.code, forked_answer.err) == (started.code, started.err)
    assert re.sub("[0-9.]+", "", forked_answer.out) == re.sub("[0-9.]+", "", started.out) or not options


@each_check
@pytest.mark.parametrize("flag", ["-h", "--help", "-V", "--version"])
def test_help_and_version_exit_3_on_stdout(check, flag):
    answer = forked.run(check, flag)
    assert (answer.code, answer.err) == (3, "")
    assert answer.out.startswith((f"Usage: {check} ", f"{check} 0."))
    assert all(len(line) <= 80 for line in answer.out.splitlines())


@each_check
def test_missing_tree(check):
    answer = run(check, "--procfs", "/nonexistent").sound()
    assert answer.code == 3
    assert "/nonexistent" in answer.first
    assert answer.first.endswith("no such file")


@each_check
@pytest.mark.parametrize("junk", [b"", b"\0" * 4096, b"\xff\xfe" * 100, b"a" * 200000, b"MemTotal: 5 kB\n" * 3, b"|<script>\n\x1b[31m"])
def test_a_tree_of_junk(check, junk, tmp_path):
    tree = tmp_path / "proc"
    for file in ("meminfo", "slabinfo", "vmstat", "uptime", "zoneinfo", "sys/kernel/random/boot_id", "1/stat", "1/statm", "self/cgroup"):
        path = tree / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(junk)
    answer = forked.run(check, "--procfs", str(tree)).sound()
    assert answer.code == 3


@each_check
def test_files_that_are_folders_or_fifos(check, tmp_path):
    tree = tmp_path / "proc"
    tree.mkdir()
    for file in ("meminfo", "uptime"):
        os.mkfifo(tree / file)
    (tree / "slabinfo").mkdir()
    started = time.monotonic()
    answer = run(check, "--procfs", str(tree)).sound()
    assert answer.code == 3
    assert time.monotonic() - started < 5


@each_check
def test_full_stdout(check):
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(ROOT / "checks" / f"{check}.py")], env=environment(), stdout=full, stderr=subprocess.PIPE, timeout=30,
                              check=False)
    assert (done.returncode, done.stderr) == (3, b"")


@each_check
def test_closed_stdout(check):
    done = subprocess.run(["/bin/sh", "-c", f'exec "{ROOT}/checks/{check}.py" >&-'], env=environment(), stderr=subprocess.PIPE, timeout=30,
                          check=False)
    assert (done.returncode, done.stderr) == (3, b"")


@each_check
@pytest.mark.parametrize("more", [{"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}, {"LC_ALL": "xx"}, {"COLUMNS": "1"}, {"COLUMNS": "abc"},
                                  {"PYTHONIOENCODING": "utf-16"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_locale_and_terminal(check, more, tmp_path):
    assert run(check, "--help", env=environment(**more)).out == forked.run(check, "--help").out
    state = ["--state-dir", str(tmp_path)] if check in REMEMBERING else []
    assert run(check, *state, env=environment(**more)).sound().code in (0, 1, 2)


BLOCKED = """
import sys, runpy
from memtriage.procfs import files
def block(root, name, limit=0):
    files.at("/proc/" + name)
    import os, time
    os.close(int(os.environ["BLOCKED"]))
    time.sleep(20)
files.read = files.listing = block
sys.argv = [sys.argv[1]] + sys.argv[2:]
from memtriage import survey, following, slabtrack, processes
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocked(check: str, *options: str) -> subprocess.Popen[bytes]:
    """A check that waits in a read, and does so already."""
    told, tell = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", BLOCKED, str(ROOT / "checks" / f"{check}.py"), *options], pass_fds=[tell],
                               env=environment(PYTHONPATH=str(ROOT / "lib"), BLOCKED=str(tell)), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    os.close(tell)
    assert os.read(told, 1) == b""  # it closes its end when it reads, or ends
    os.close(told)
    return process


@pytest.fixture(scope="module")
def waiting() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """All of them at once, as each takes its second."""
    made = {check: blocked(check, "-t", "1") for check in CHECKS}
    yield made
    for process in made.values():
        process.kill()
        process.communicate(timeout=10)


@each_check
def test_a_blocked_read_times_out_and_is_named(check, waiting):
    out, err = waiting[check].communicate(timeout=15)
    answer = Answer(waiting[check].returncode, out.decode(), err.decode()).sound()
    assert answer.code == 3
    assert answer.out.startswith(f"{name(check)} UNKNOWN - timed out after 1 s while reading /proc/")


@each_check
@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGTERM])
def test_a_signal_from_outside(check, number):
    process = blocked(check)
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    answer = Answer(process.returncode, out.decode(), err.decode()).sound()
    assert answer.code == 3


@each_check
@pytest.mark.parametrize("error", ["MemoryError()", "RecursionError()", "KeyboardInterrupt()", "SystemExit(1)", "ValueError('a|b\\nc')"])
def test_any_exception_is_unknown(check, error):
    code = f"""
import sys, runpy
from memtriage.procfs import files
def fail(*args, **more): raise {error}
files.read = files.listing = fail
from memtriage import survey, following, slabtrack, processes
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code, str(ROOT / "checks" / f"{check}.py")], capture_output=True, timeout=30, check=False,
                          env=environment(PYTHONPATH=str(ROOT / "lib")))
    answer = Answer(done.returncode, done.stdout.decode(), done.stderr.decode()).sound()
    assert answer.code == 3
    assert answer.out.count("\n") == 1


@each_check
@pytest.mark.parametrize("broken", ["nagiosplugin", "memtriage"])
def test_an_import_that_fails_is_unknown(check, broken, tmp_path):
    (tmp_path / f"{broken}.py").write_text("raise MemoryError\n")
    shutil.copy(ROOT / "checks" / f"{check}.py", tmp_path)
    done = subprocess.run([sys.executable, str(tmp_path / f"{check}.py")], capture_output=True, timeout=30, check=False,
                          env=environment(PYTHONPATH=f"{tmp_path}:{ROOT / 'lib'}"))
    answer = Answer(done.returncode, done.stdout.decode(), done.stderr.decode()).sound()
    assert answer.code == 3
    assert answer.out == f"{name(check)} UNKNOWN - cannot start: MemoryError:\n"


def test_processes_that_vanish_while_read():
    churn = subprocess.Popen([sys.executable, "-c", """
import os, time
end = time.monotonic() + 6
while time.monotonic() < end:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
"""])
    try:
        for _ in range(8):
            assert forked.run("check_proc_count", "-a", ".", "-u", "root").sound().code == 0
            assert forked.run("check_free_mem", "-v").sound().code == 0
    finally:
        churn.kill()
        churn.wait(timeout=10)


@pytest.mark.parametrize("check", CHECKS)
def test_hostile_names_cannot_forge_output(check, tmp_path):
    options = ["--state-dir", str(tmp_path)] if check in REMEMBERING else []
    answer = on("hostile-names", check, "-vv", *options).sound(8192)
    assert "\x1b" not in answer.out
    assert "| a=1" not in answer.out


def test_a_live_process_with_a_hostile_name():
    evil = "x | a=1;;\n\x1b[31m"
    code = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {evil.encode()!r}, 0, 0, 0); print(1, flush=True); time.sleep(20)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        answer = run("check_proc_count", "-p", str(os.getpid())).sound()
        assert answer.code == 0
        answer = run("check_proc_count", "-C", evil[:15], "-c", "1:").sound()
        assert (answer.code, answer.perfdata["procs"].split(";")[0]) == (0, "1")
    finally:
        process.kill()
        process.wait(timeout=10)
