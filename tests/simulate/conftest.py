"""The leaks' folders: on a disk, as tmpfs, where the tests' own folders may be, keeps no name of a file that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(public_path: Path) -> Path:
    return public_path
