"""The copy of slabinfo for the monitoring group: whole, fresh, of this boot and from somebody trusted, or none; and what check_slab_growth
makes of it where the file itself is denied."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from memtriage.procfs import boot_id
from memtriage.published import SLABINFO, Publisher, published
from tests.checks.command import environment, run
from tests.checks.test_live import python_for_others
from tests.recorder.runs import command

BOOT = "00000000-1111-2222-3333-444444444444"


@pytest.fixture
def copy(tmp_path: Path) -> str:
    publisher = Publisher(str(tmp_path / "s"), BOOT)
    publisher.write(b"slabinfo - version: 2.1\nabc\n")
    return str(tmp_path / "s")


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_whole_and_fresh(copy: str) -> None:
    assert published(copy, BOOT, 60) == b"slabinfo - version: 2.1\nabc\n"
    assert os.stat(copy).st_mode & 0o777 == 0o640


def test_age_is_by_the_clock_that_does_not_step(copy: str) -> None:
    assert published(copy, BOOT, 60, now() + 59) is not None
    assert published(copy, BOOT, 60, now() + 61) is None
    assert published(copy, BOOT, 60, now() - 5) is None  # from the future: another host's


def test_of_another_boot(copy: str) -> None:
    assert published(copy, BOOT.replace("0", "9"), 60) is None


def test_shorter_than_before(tmp_path: Path) -> None:
    publisher = Publisher(str(tmp_path / "s"), BOOT)
    for body in (b"x" * 50000, b"y", b"", b"z" * 100):
        publisher.write(body)
        assert published(str(tmp_path / "s"), BOOT, 60) == body
    publisher.close()
    assert published(str(tmp_path / "s"), BOOT, 60) is None


@pytest.mark.parametrize("bend", [
    lambda data: data[:-1], lambda data: data + b"x", lambda data: b"", lambda data: data[:100], lambda data: data.replace(b"abc", b"abd"),
    lambda data: b"\0" * len(data), lambda data: data.replace(b"published 1", b"published 2"), lambda data: b"\xff" * 200])
def test_bent(copy: str, bend: object) -> None:
    path = Path(copy)
    path.write_bytes(bend(path.read_bytes()))  # type: ignore[operator]
    assert published(copy, BOOT, 60) is None


def test_what_somebody_else_could_have_written(copy: str, tmp_path: Path) -> None:
    os.chmod(copy, 0o660)
    assert published(copy, BOOT, 60) is None
    os.chmod(copy, 0o640)
    (tmp_path / "link").symlink_to(copy)
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "nothing", "a\0b", "."):
        assert published(str(tmp_path / name), BOOT, 60) is None
    if os.geteuid() == 0:
        os.chown(copy, 65534, 65534)
        assert published(copy, BOOT, 60) is None


def test_read_while_it_is_written(tmp_path: Path) -> None:
    publisher = Publisher(str(tmp_path / "s"), BOOT)
    bodies = [bytes([65 + number]) * (20000 + 1000 * number) for number in range(5)]
    publisher.write(bodies[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for body in bodies:
                publisher.write(body)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = [published(str(tmp_path / "s"), BOOT, 60) for _ in range(500)]
    finally:
        stop.set()
        thread.join()
    assert all(body in bodies for body in found if body is not None)
    assert sum(body is not None for body in found) > 50  # on a busy host the writer has changed most meanwhile


@pytest.mark.needs_root
@pytest.mark.skipif(not os.path.exists("/proc/slabinfo"), reason="this kernel has no slabinfo")
def test_caches_are_named_without_sudo(public_path: Path) -> None:
    """A recorder of root, a check of nobody, who is in the group: /run/memtriage is as the service has it."""
    if os.path.exists(os.path.dirname(SLABINFO)):
        pytest.skip("a recorder of this host has a /run/memtriage already")
    folder = os.path.dirname(SLABINFO)
    os.mkdir(folder, 0o755)
    state = public_path / "state"
    state.mkdir()
    state.chmod(0o777)
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "env": environment(PATH=python_for_others())}
    try:
        denied = run("check_slab_growth", "--state-dir", str(state), **nobody).sound()
        assert denied.first.endswith("; caches unnamed (slabinfo: permission denied)")
        done = command("--output", str(public_path / "r"), "--size", "1MiB", "--interval", "0.3", "--fast-interval", "0.3", "--samples",
                       "2", "--no-lock", "--no-priority", "--publish", SLABINFO, "--group", "nogroup")
        assert (done.returncode, done.stderr) == (0, "")
        assert os.stat(SLABINFO).st_size == 0  # a recorder that ended publishes nothing
        publisher = Publisher(SLABINFO, boot_id.read("/proc"), 65534)
        publisher.write(Path("/proc/slabinfo").read_bytes())
        info = os.stat(SLABINFO)
        assert (info.st_mode & 0o777, info.st_gid) == (0o640, 65534)
        named = run("check_slab_growth", "--state-dir", str(state), **nobody).sound()
        assert named.code == 0
        assert "caches unnamed" not in named.out and "slab cache '" in named.first
        others = subprocess.run(["cat", SLABINFO], user=65533, group=65533, extra_groups=[], capture_output=True, timeout=5, check=False)
        assert b"Permission denied" in others.stderr
    finally:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
