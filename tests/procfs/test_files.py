import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from memtriage.procfs import files
from memtriage.procfs.files import Denied, Malformed, Missing, ProcfsError, Unreadable
from memtriage.procfs.pid import smaps_rollup, stat


def outcome_as_nobody(action: Callable[[], object]) -> str:
    """Runs ``action`` in a child process of uid 65534 and returns the name of the error it ended with."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            action()
            name = "nothing"
        except BaseException as error:
            name = type(error).__name__
        os.write(writing, name.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def test_whole_file(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "a").write_bytes(data)
    assert files.read(str(tmp_path), "a") == data
    assert files.current() == ""


def test_missing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    for name in ("none", "a/below", "a\0b"):
        with pytest.raises(Missing) as caught:
            files.read(str(tmp_path), name)
        assert caught.value.path == f"{tmp_path}/{name}"
        assert str(caught.value) == f"{tmp_path}/{name}: no such file"
        with pytest.raises(Missing):
            files.listing(str(tmp_path), name)
    assert files.current() == ""


def test_a_path_that_is_no_unicode(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        files.read(str(tmp_path), "\ud800")


def test_denied() -> None:
    # Not below tmp_path, whose folders nobody may not enter.
    folder = f"/tmp/memtriage-test-{os.getpid()}"
    os.mkdir(folder, 0o755)
    try:
        Path(folder, "shut").mkdir(mode=0)
        Path(folder, "a").write_bytes(b"secret")
        os.chmod(f"{folder}/a", 0)
        assert outcome_as_nobody(lambda: files.read(folder, "a")) == "Denied"
        assert outcome_as_nobody(lambda: files.listing(folder, "shut")) == "Denied"
    finally:
        os.unlink(f"{folder}/a")
        os.rmdir(f"{folder}/shut")
        os.rmdir(folder)


@pytest.mark.skipif(
    not os.path.exists("/proc/slabinfo") or os.stat("/proc/slabinfo").st_mode & 0o077 != 0, reason="this kernel's slabinfo is open"
)
def test_slabinfo_is_denied_without_root() -> None:
    assert outcome_as_nobody(lambda: files.read("/proc", "slabinfo")) == "Denied"


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(Unreadable) as caught:
        files.read(str(tmp_path), "")
    assert caught.value.reason == os.strerror(errno.EISDIR)


def test_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert files.read(str(tmp_path), "pipe") == b""
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        with pytest.raises(Unreadable):
            files.read(str(tmp_path), "pipe")
    finally:
        os.close(writer)


def test_no_end() -> None:
    with pytest.raises(Malformed) as caught:
        files.read("/dev", "zero")
    assert caught.value.reason == "longer than 8388608 bytes"


def test_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert len(files.read(str(tmp_path), "a", limit=100)) == 100
    with pytest.raises(Malformed):
        files.read(str(tmp_path), "a", limit=99)


def test_a_loop_of_links_and_a_name_too_long(tmp_path: Path) -> None:
    os.symlink("loop", tmp_path / "loop")
    for name in ("loop", "x" * 5000):
        with pytest.raises(Unreadable):
            files.read(str(tmp_path), name)


def test_a_process_that_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    with pytest.raises(Missing):
        stat.read("/proc", child.pid)


def test_a_process_that_ends_between_open_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["sleep", "60"])
    really_read = os.read

    def late(handle: int, size: int) -> bytes:
        child.kill()
        child.wait()
        return really_read(handle, size)

    monkeypatch.setattr(os, "read", late)
    with pytest.raises(Missing):
        stat.read("/proc", child.pid)


@pytest.mark.skipif(not os.path.exists("/proc/2/stat") or os.getuid() != 0, reason="needs to see kernel threads as root")
def test_a_kernel_thread_has_no_rollup() -> None:
    if not stat.read("/proc", 2).kthread:
        pytest.skip("process 2 is none of the kernel's")
    with pytest.raises(Missing):
        smaps_rollup.read("/proc", 2)


def test_listing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(b"")
    assert sorted(files.listing(str(tmp_path))) == ["a", "b"]


def test_the_path_being_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    really_read = os.read

    def watched(handle: int, size: int) -> bytes:
        seen.append(files.current())
        return really_read(handle, size)

    monkeypatch.setattr(os, "read", watched)
    files.read("/proc", "uptime")
    assert set(seen) == {"/proc/uptime"}
    assert files.current() == ""


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, Missing),
        (errno.ENOTDIR, Missing),
        (errno.ESRCH, Missing),
        (errno.EACCES, Denied),
        (errno.EPERM, Denied),
        (errno.EIO, Unreadable),
        (errno.EOPNOTSUPP, Unreadable),
        (errno.ENODEV, Unreadable),
        (errno.ENOMEM, Unreadable),
        (errno.EMFILE, Unreadable),
    ],
)
def test_failures(number: int, kind: "type[ProcfsError]") -> None:
    assert type(files.failure("/x", OSError(number, "text"))) is kind


@pytest.mark.parametrize("word", [b"", b"-1", b"+1", b" 1", b"1_0", b"1.0", b"\xd9\xa3", b"0x1", b"1" * 21, b"1" * 5000])
def test_not_a_number(word: bytes) -> None:
    assert files.number(word) is None


def test_numbers() -> None:
    assert files.number(b"18446744073709551615") == 2**64 - 1
    assert files.number(b"007") == 7


@pytest.mark.parametrize("word", [b"", b"1", b".", b"1.", b".5", b"-1.0", b"nan", b"inf", b"1e5.0", b"1.0.0", b"1_0.0", b"1" * 400 + b".0"])
def test_not_a_decimal(word: bytes) -> None:
    assert files.decimal(word) is None


def test_decimals() -> None:
    assert files.decimal(b"12.34") == 12.34


def test_text_never_fails() -> None:
    assert files.text(b"caf\xc3\xa9 \xff\xed\xa0\x80") == "caf\u00e9 \\xff\\xed\\xa0\\x80"
