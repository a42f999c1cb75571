"""Whole or not at all, never through a link, never over a device."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from memtriage import wholefile


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.lstat().st_mode))


def test_the_mode_is_what_was_asked_or_what_the_umask_leaves(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        wholefile.write(str(tmp_path / "picture"), b"x")
        wholefile.write(str(tmp_path / "rules"), b"x", 0o444)
    finally:
        os.umask(old)
    assert mode(tmp_path / "picture") == "0o640"
    assert mode(tmp_path / "rules") == "0o444"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """As on a full disk: the kernel takes a part and refuses the rest (EFBIG; Python ignores SIGXFSZ)."""
    path = tmp_path / "rules"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            wholefile.write(str(path), b"n" * 9000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["rules"]


def test_what_one_that_was_killed_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / f"out.{os.getpid()}.new").write_bytes(b"half")
    wholefile.write(str(tmp_path / "out"), b"whole")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"out": b"whole"}


def test_a_link_is_replaced_and_what_it_led_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "out").symlink_to("precious")
    with pytest.raises(FileExistsError):
        wholefile.write(str(tmp_path / "out"), b"x", replace=False)
    wholefile.write(str(tmp_path / "out"), b"x")
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_stays(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "out")
    with pytest.raises(FileExistsError):
        wholefile.write(str(tmp_path / "out"), b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
