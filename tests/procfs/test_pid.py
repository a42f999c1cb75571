import os
from pathlib import Path

import pytest

from memtriage.procfs import pid
from memtriage.procfs.files import Missing


def test_only_ascii_numbers_are_processes(tmp_path: Path) -> None:
    for name in ("1", "4194304", "20", "self", "1a", "-1", "+1", "\u0663", "\u00b2", "99999999999999999999"):
        (tmp_path / name).mkdir()
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    assert pid.pids(str(tmp_path)) == [1, 20, 4194304]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        pid.pids(str(tmp_path / "none"))
