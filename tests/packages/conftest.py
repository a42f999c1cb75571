"""The Debian package, built once for all that install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages.host import built


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build-deb.sh", tmp_path_factory.mktemp("deb"))
