"""``memtriage record --passive``: the same words as the checks themselves, from processes that end when they should."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks.command import FIXTURES
from tests.conftest import ROOT

TREE = FIXTURES / "c-unreclaimable-slab"


class Run:
    """A recorder with its speaker."""

    def __init__(self, folder: Path, services: str, *options: str, kind: str = "file", section: str = "") -> None:
        self.folder = folder
        self.out = folder / "out"
        self.out.touch()
        self.config = folder / "passive.conf"
        self.config.write_text(f"[file]\npath = {self.out}\nhost = hub\n{section}[speak]\nevery = 0.3s\nheartbeat = 1s\n"
                               f"state_dir = {folder}/state\n[services]\n{services}")
        self.config.chmod(0o600)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "memtriage", "record", "--output", str(folder / "recording"), "--size", "1MiB", "--interval", "0.5",
             "--procfs", str(TREE / "proc"), "--passive", kind, "--passive-config", str(self.config), *options],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "lib")})

    def results(self, least: int, seconds: float = 60) -> list[tuple[str, int, str]]:
        """Service, state and output of each line so far, once there are ``least``."""
        end = time.monotonic() + seconds
        while len(lines := self.out.read_text().splitlines()) < least:
            assert time.monotonic() < end and self.process.poll() is None, (lines, self.process.poll())
            time.sleep(0.02)
        parts = [line.partition("PROCESS_SERVICE_CHECK_RESULT;hub;")[2].split(";", 2) for line in lines]
        return [(name, int(state), text.replace("\\n", "\n")) for name, state, text in parts]

    def children(self) -> dict[int, int]:
        """All processes below the recorder: number and parent's number."""
        found = {self.process.pid: 0}
        for _ in range(3):
            for name in os.listdir("/proc"):
                if name.isdigit():
                    try:
                        words = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                    except OSError:
                        continue
                    if int(words[1]) in found and words[0] != "Z":
                        found[int(name)] = int(words[1])
        del found[self.process.pid]
        return found

    def end(self) -> str:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.communicate(timeout=60)[1]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end, pids
        time.sleep(0.02)


def test_the_words_are_those_of_the_checks(folder: Path) -> None:
    run = Run(folder, "memory = check_free_mem -w 10%: -c 5%:\nslab = check_slab_growth\nprocs = check_proc_count -C httpd\n", "--no-lock")
    try:
        found = run.results(6)
        assert len(run.children()) == 2
    finally:
        said = run.end()
    for service, check, *words in (
            ("memory", "check_free_mem", "-w", "10%:", "-c", "5%:", "--state-dir", folder / "other"),
            ("procs", "check_proc_count", "-C", "httpd")):
        done = subprocess.run([sys.executable, ROOT / "checks" / f"{check}.py", *words, "--procfs", TREE / "proc"], capture_output=True,
                              text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout.rstrip("\n")) in [(state, text) for name, state, text in found if name == service]
    assert "memtriage record: passive results for 3 services to file; memory locked: no: not asked for\n" in said
    assert run.process.returncode == 0


@pytest.mark.slow
def test_each_is_repeated_at_its_heartbeat_and_no_more_often(folder: Path) -> None:
    run = Run(folder, "memory = check_free_mem --eta-warning ~: --eta-critical ~:\n", "--no-lock")
    try:
        run.results(1)
        began = time.monotonic()
        before = len(run.results(1))
        run.results(before + 3)
        assert time.monotonic() - began > 1.9
    finally:
        run.end()


@pytest.mark.slow
def test_a_speaker_that_dies_is_started_again_and_the_recorder_goes_on(folder: Path) -> None:
    run = Run(folder, "memory = check_free_mem\n", "--no-lock")
    try:
        run.results(1)
        family = run.children()
        speaker, = (pid for pid, parent in family.items() if parent != run.process.pid)
        os.kill(speaker, signal.SIGKILL)
        gone([speaker])
        before = len(run.results(1))
        run.results(before + 1, 20)
        assert speaker not in run.children() and run.process.poll() is None
    finally:
        said = run.end()
    assert "memtriage record: passive results: the speaker ended (signal 9); it is started again in 5 s\n" in said


def test_both_end_with_the_recorder_however_it_ends(folder: Path) -> None:
    run = Run(folder, "memory = check_free_mem\n", "--no-lock")
    run.results(1)
    family = list(run.children())
    assert len(family) == 2
    run.process.kill()
    run.process.communicate(timeout=60)
    gone(family)


def test_it_ends_however_often_it_is_told_to(folder: Path) -> None:
    """systemd tells all processes of a unit, and the keeper tells the speaker once more."""
    run = Run(folder, "memory = check_free_mem\n", "--no-lock")
    run.results(1)
    family = run.children()
    speaker, = (pid for pid, parent in family.items() if parent != run.process.pid)
    time.sleep(0.3)  # its own handlers are there
    for _ in range(3000):
        try:
            os.kill(speaker, signal.SIGTERM)
        except ProcessLookupError:
            break
    try:
        gone([speaker])
    finally:
        run.end()
        for pid in family:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_second_recorder_is_possible_once_the_first_was_killed(folder: Path) -> None:
    """The speaker must not hold the first one's lock."""
    run = Run(folder, "memory = check_free_mem\n", "--no-lock")
    run.results(1)
    family = list(run.children())
    for pid in family:
        links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        assert not [link for link in links if "recording" in link], links
    run.end()
    gone(family)


@pytest.mark.parametrize(("services", "kind", "words"), [
    ("a = check_x\n", "file", "FILE: service 'a': no check 'check_x': there are check_free_mem, check_slab_growth, check_proc_count, "
     "check_oom_kill, check_mem_pressure, check_mem_recorder"),
    ("a = check_free_mem\n", "icinga2", "FILE: a section [icinga2] is wanted, with url, user, password"),
])
def test_a_file_that_cannot_be_used_ends_the_start(folder: Path, services: str, kind: str, words: str) -> None:
    run = Run(folder, services, kind=kind)
    said = run.process.communicate(timeout=60)[1]
    assert said == f"memtriage record: {words.replace('FILE', str(run.config))}\n" and run.process.returncode == 1
    assert run.children() == {}


def test_the_recorder_itself_has_loaded_no_check(folder: Path) -> None:
    run = Run(folder, "memory = check_free_mem\n", "--no-lock")
    try:
        run.results(1)
        maps = Path(f"/proc/{run.process.pid}/maps").read_text()
        assert "_ssl" not in maps and "libssl" not in maps
        speaker, = (pid for pid, parent in run.children().items() if parent != run.process.pid)
        assert "_ssl" in Path(f"/proc/{speaker}/maps").read_text()
    finally:
        run.end()


@pytest.mark.slow
def test_memory_stays_where_it_is_while_the_server_is_away(folder: Path) -> None:
    """A FIFO nobody reads: 300 rounds of questions, and results that change are kept within bounds."""
    run = Run(folder, "memory = check_free_mem\nprocs = check_proc_count\n", "--no-lock")
    try:
        run.results(2)
        run.out.unlink()
        os.mkfifo(run.out)
        speaker, = (pid for pid, parent in run.children().items() if parent != run.process.pid)
        time.sleep(3)
        first = _resident(speaker)
        time.sleep(6)
        assert _resident(speaker) - first < 1024, (first, _resident(speaker))
    finally:
        said = run.end()
    assert f"memtriage record: results wait: {run.out}: No such device or address\n" in said


def _resident(pid: int) -> int:
    """kB."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]


