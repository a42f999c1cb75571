"""The engines of one test session: each is started once, by the first test that needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import foreground
from tests.engines.services import Table


@pytest.fixture(scope="session")
def table(checkout: Path) -> Iterator[Table]:
    """Every check in every state, ready to be run by the engines' user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run the checks as the engines' user")
    foreground.account()
    with foreground.folder("services") as folder:
        yield Table(folder, checkout)
