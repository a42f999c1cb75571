"""On the kernel that runs the tests: our figures against independent tools, and what a start may cost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from memtriage import accounting, survey
from memtriage.procfs import files, meminfo, slabinfo
from tests.checks.command import CHECKS, REMEMBERING, ROOT, environment, run
from tests.conftest import python_for_others

PAGE = os.sysconf("SC_PAGE_SIZE")


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


def test_the_parts_sum_to_memtotal_exactly():
    memory = survey.memory("/proc", "/sys")
    assert sum(memory.book.parts.values()) == memory.book.total == memory.info.get("MemTotal")
    assert -0.01 < memory.book.parts["unaccounted"] / memory.book.total < 0.10


@pytest.mark.skipif(not shutil.which("free"), reason="no free(1) here")
def test_totals_agree_with_free():
    before = survey.memory("/proc", "/sys")
    words = output_of("free", "-b").splitlines()[1].split()
    assert int(words[1]) == before.info.get("MemTotal")
    slack = 64 * 1024**2  # other programs run meanwhile
    assert abs(int(words[6]) - (before.info.get("MemAvailable") or 0)) < slack
    assert abs(int(words[3]) - before.book.parts["free"]) < slack


@pytest.mark.skipif(os.geteuid() != 0, reason="slabinfo needs root")
@pytest.mark.skipif(not shutil.which("slabtop"), reason="no slabtop(1) here")
def test_footprints_agree_with_slabtop():
    # Caches change between two readings: each of them must agree with one of some.
    wrong: set[str] = set()
    for attempt in range(12):
        ours = {cache.name: cache.footprint(PAGE) // 1024 for cache in slabinfo.read("/proc").caches}
        theirs = {}
        for line in output_of("slabtop", "-o", "-s", "c").splitlines()[7:]:
            words = line.split()
            if len(words) >= 8 and words[6].endswith("K"):
                theirs[" ".join(words[7:])] = int(words[6][:-1])
        assert len(theirs) > 10
        differ = {name for name, size in theirs.items() if name in ours and abs(ours[name] - size) > 64}
        wrong = differ if attempt == 0 else wrong & differ
        if not wrong:
            break
    assert not wrong


@pytest.mark.skipif(os.geteuid() != 0, reason="slabinfo needs root")
def test_footprints_sum_to_slab():
    info = slabinfo.read("/proc")
    slab = survey.memory("/proc", "/sys").info.get("Slab")
    total = sum(cache.footprint(PAGE) for cache in info.caches)
    assert total == pytest.approx(slab, rel=0.15)  # large kmallocs and caches without a name are in Slab alone
    assert info.odd == []


def test_processes_agree_with_ps(tmp_path):
    # A name of its own: sleeps of others come and go between the two commands.
    own = tmp_path / f"mt-{os.getpid()}"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", own)
    sleepers = [subprocess.Popen([str(own), "20"]) for _ in range(3)]
    try:
        time.sleep(0.1)
        theirs = output_of("ps", "-C", own.name, "-o", "pid=").split()
        answer = run("check_proc_count", "-C", own.name).sound()
        assert answer.perfdata["procs"].split(";")[0] == str(len(theirs)) == "3"
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait(timeout=5)


def test_never_counts_itself_or_its_wrapper():
    mark = "memtriage-mark-4711"
    script = f"{ROOT}/checks/check_proc_count.py -a {mark}; exit $?"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=30, env=environment(), check=False)
    assert done.stdout.startswith(f"PROC_COUNT OK - 0 processes with args '{mark}' | "), done.stdout


def test_a_name_beyond_15_characters(tmp_path):
    long = tmp_path / "a-name-beyond-fifteen-characters"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", long)
    process = subprocess.Popen([str(long), "20"])
    try:
        time.sleep(0.1)
        for command, count in ((long.name, "1"), (long.name[:15], "1"), (long.name[:20], "0"), ("a-name-beyond-other", "0")):
            assert run("check_proc_count", "-C", command).sound().perfdata["procs"].split(";")[0] == count, command
    finally:
        process.kill()
        process.wait(timeout=5)


def test_zombies_threads_states_and_parents():
    code = ("import os, threading, time\n[threading.Thread(target=time.sleep, args=(20,), daemon=True).start() for _ in range(6)]\n"
            "pid = os.fork()\nif pid == 0: os._exit(0)\nprint(1, flush=True)\ntime.sleep(20)")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        children = run("check_proc_count", "-p", str(process.pid)).sound()
        assert children.perfdata["zombies"].split(";")[0] == "1"
        assert run("check_proc_count", "-p", str(process.pid), "-s", "Z", "-c", "0").sound().code == 2
        me = run("check_proc_count", "-a", "threading.Thread", "-m", "threads", "-w", "6").sound()
        assert (me.code, me.perfdata["threads"]) == (1, "7;6;;0")
        assert run("check_proc_count", "-a", "threading.Thread", "-X", "threading").sound().perfdata["procs"] == "0;;;0"
        assert run("check_proc_count", "-a", "threading.Thread", "-m", "age", "-w", "1h").sound().code == 0
        assert run("check_proc_count", "-a", "threading.Thread", "-m", "age", "-c", "1h:").sound().code == 2
    finally:
        process.kill()
        process.wait(timeout=5)


@pytest.mark.needs_root
def test_without_root_the_missing_right_is_said(public_path):
    state = public_path / "state"
    state.mkdir()
    os.chmod(state, 0o777)
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "env": environment(PATH=python_for_others())}
    answer = run("check_slab_growth", "--state-dir", str(state), **nobody).sound()
    assert answer.code == 0
    assert answer.first.endswith("; caches unnamed (slabinfo: permission denied)")
    assert "Caches are unnamed: /proc/slabinfo is readable by root only. Grant it by sudo" in answer.out
    assert run("check_free_mem", "-v", **nobody).sound().code == 0
    answer = run("check_proc_count", "-m", "pss", "-w", "1GiB", **nobody).sound()
    assert answer.code == 3
    assert re.search(r"the PSS of [0-9]+ of [0-9]+ processes may not be read: run it as root \(sudo -n\)", answer.first)


def test_without_any_place_to_remember_growth_is_unknown():
    answer = run("check_slab_growth", "--state-dir", "/proc/nowhere").sound()
    assert answer.code == 3
    assert answer.first.startswith("SLAB_GROWTH UNKNOWN - growth cannot be judged, nothing is remembered: ")


IMPORTS = """
import sys, os
import nagiosplugin, argparse
before = set(sys.modules)
def leave(code):
    sys.stdout.flush()
    os.write(2, " ".join(sorted(set(sys.modules) - before)).encode())
    os.kill(os.getpid(), 9)
os._exit = leave
os.dup2 = lambda *args: None
sys.argv = sys.argv[1:]
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"), {"__name__": "__main__"})
"""
ALLOWED = re.compile(r"memtriage(\..*)?|__future__|collections\.abc|contextlib|zlib"
                     r"|json.*|_json|_?struct|fcntl|stat|pwd|annotationlib|gc")


@pytest.mark.parametrize("check", CHECKS)
def test_what_a_check_imports(check, tmp_path):
    options = ["--state-dir", str(tmp_path)] if check in REMEMBERING else []
    done = subprocess.run([sys.executable, "-c", IMPORTS, str(ROOT / "checks" / f"{check}.py"), *options], capture_output=True, text=True,
                          timeout=30, check=False, env=environment(PYTHONPATH=str(ROOT / "lib")))
    extra = [name for name in done.stderr.split() if not ALLOWED.fullmatch(name)]
    assert "memtriage.plugin" in done.stderr.split()
    assert extra == []


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace(1) here")
@pytest.mark.parametrize("check", CHECKS)
def test_nothing_is_forked(check, tmp_path):
    options = ["--state-dir", str(tmp_path)] if check in REMEMBERING else []
    trace = tmp_path / "trace"
    subprocess.run(["strace", "-f", "-o", str(trace), "-e", "trace=fork,vfork,clone,clone3,execve,nanosleep,clock_nanosleep",
                    str(ROOT / "checks" / f"{check}.py"), *options], capture_output=True, timeout=60, check=False, env=environment())
    calls = [line for line in trace.read_text().splitlines() if re.search(r"(fork|clone3?|sleep)\(", line)]
    assert calls == []


def test_denied_is_another_answer_than_missing():
    with pytest.raises(files.Missing):
        files.read("/proc", "no-such-file")


def test_ledger_of_every_kernel_sums_exactly():
    ancient = "MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 300 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
    book = accounting.ledger(meminfo.parse(ancient.encode()))
    assert sum(book.parts.values()) == 1000 * 1024
    assert "anon" not in book.parts
    assert book.parts["unaccounted"] == 600 * 1024
