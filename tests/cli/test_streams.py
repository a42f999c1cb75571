"""Commands and checks whose standard streams are closed, full, or have nobody at the other end: a line where that can be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtriage.cli import COMMANDS
from memtriage.recording import Recording, Unreadable
from tests.checks.command import CHECKS, FIXTURES, ROOT

TREE = str(FIXTURES / "b-reclaimable-slab/proc")
FILE = "a recording of TREE"
ANSWERS = {
    "help": ("--help",), "version": ("--version",), **{f"{name} help": (name, "--help") for name in COMMANDS},
    "explain": ("explain", "--procfs", TREE), "explain json": ("explain", "--json", "--procfs", TREE),
    "print": ("record", "--print", "--output", FILE), "csv": ("record", "--export", "csv", "--output", FILE),
    "jsonl": ("record", "--export", "jsonl", "--output", FILE), "replay": ("replay", FILE, "--", "check_free_mem"),
    "simulate": ("simulate", "--list"), "config": ("config", "nrpe"), "evidence": ("evidence", FILE, "--list"),
}
"""All ways to an answer on stdout."""
QUICK = ("help", "record help", "explain", "csv")


def run(way: str, *words: str, buffered: bool = True, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """By a shell, with its redirections ``way``."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib"), **({} if buffered else {"PYTHONUNBUFFERED": "1"})}
    return subprocess.run(["/bin/sh", "-c", f'exec "$@" {way}', "sh", *words], stdin=subprocess.DEVNULL, text=True, timeout=60,
                          check=False, env=env, stderr=subprocess.PIPE, stdout=stdout)


def memtriage(way: str, *words: str, buffered: bool = True, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return run(way, sys.executable, "-m", "memtriage", *words, buffered=buffered, stdout=stdout)


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("of") / "tree")
    done = memtriage("", "record", "--procfs", TREE, "--output", path, "--size", "1MiB", "--interval", "0.05", "--samples", "3",
                     "--no-lock", "--no-priority")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return path


def answers_are_not_lost_in_silence(name: str, recording: str, unread: int) -> None:
    words = tuple(recording if word == FILE else word for word in ANSWERS[name])
    said = "memtriage" if words[0].startswith("-") else f"memtriage {words[0]}"
    for buffered in (True, False):
        for way, why in ((">&-", "standard output is closed"), ("<&- >&-", "standard output is closed"),
                         (">/dev/full", "No space left on device")):
            done = memtriage(way, *words, buffered=buffered)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{said}: {why}\n"), way
    done = memtriage("", *words, stdout=unread)
    assert (done.returncode, done.stderr) == (1, "")
    done = memtriage("2>&-", *words)
    assert done.returncode == 0 and len(done.stdout) > 10


@pytest.mark.parametrize("name", QUICK)
def test_an_answer_that_nobody_gets(name: str, recording: str, unread: int) -> None:
    answers_are_not_lost_in_silence(name, recording, unread)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ANSWERS) - set(QUICK)))
def test_any_answer_that_nobody_gets(name: str, recording: str, unread: int) -> None:
    answers_are_not_lost_in_silence(name, recording, unread)


@pytest.mark.parametrize(("words", "code"), [
    (("record", "--print", "--output", "/nonexistent"), 1), (("record", "--nonsense"), 2), (("nonsense",), 2), ((), 2)])
@pytest.mark.parametrize("way", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_complaint_that_nobody_gets(way: str, words: tuple[str, ...], code: int) -> None:
    done = memtriage(way, *words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_that_nobody_hears_is_unknown(check: str, unread: int, tmp_path: Path) -> None:
    words = (str(ROOT / "checks" / f"{check}.py"), "--procfs", TREE)
    for way in (">&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>&1"):
        done = run(way, *words)
        assert (done.returncode, done.stdout, done.stderr) == (3, "", ""), way
    done = run("", *words, stdout=unread)
    assert (done.returncode, done.stderr) == (3, "")
    usual, mute = run("", *words), run("<&- 2>&-", *words)
    assert (mute.returncode, mute.stdout.split(" - ")[0], mute.stderr) == (usual.returncode, usual.stdout.split(" - ")[0], "")


@pytest.mark.parametrize("way", ["<&- >&- 2>&-", "2>&-", ">/dev/full 2>&1"])
def test_a_recorder_without_streams_writes_what_it_says_into_no_file(way: str, tmp_path: Path) -> None:
    """The lock file and the recording are the next files that it opens, and would be its stdout and stderr."""
    path = tmp_path / "r"
    process = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" {way}', "sh", sys.executable, "-m", "memtriage", "record",
                                "--output", str(path), "--size", "1MiB", "--interval", "0.1",
                                "--fast-interval", "0.1", "--no-lock", "--no-priority",
                                "--publish", str(tmp_path / "nowhere/slabinfo")],
                               env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib")}, cwd=tmp_path,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name in ("r", "moved"):
            end = time.monotonic() + 20
            while not samples(tmp_path / name) or samples(tmp_path / name) < (12 if name == "moved" else 3):
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            if name == "r":
                path.rename(tmp_path / "moved")
                path.write_bytes(b"x" * 5000)
                process.send_signal(signal.SIGHUP)  # and it has something to say from the middle of its work
        places = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert all(place in ("/dev/null", "/dev/full") for place in places), places
        process.terminate()
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait(timeout=5)
    assert (tmp_path / "r.lock").read_text() == f"{process.pid}\n"
    assert path.read_bytes() == b"x" * 5000
    with Recording(str(tmp_path / "moved")) as recording:
        assert len(list(recording.samples())) == len(recording.entries) >= 12


def samples(path: Path) -> int:
    try:
        with Recording(str(path)) as recording:
            return len(recording.entries)
    except (Unreadable, OSError):  # not there yet, or not whole
        return 0
