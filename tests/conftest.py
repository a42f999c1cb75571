"""What tests of several folders need: a folder any user can read, the distribution's Python, and in CI no excuse for a skipped test."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXCUSED = ("engine", "needs_root")
"""Markers of the tests that may be skipped elsewhere, but not where MEMTRIAGE_CI says that all they need has been installed."""


MEMORY = "/dev/shm"
ROOM = 1 << 30
_OWN = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """The tests' own folders go into memory, where there is such a file system with room and programs may run from it: they write some
    hundred thousand small files, many of them synced, which on a slow disk take most of the time. TMPDIR or --basetemp say otherwise."""
    if config.getoption("basetemp") or os.environ.get("TMPDIR") or not os.access(MEMORY, os.W_OK | os.X_OK):
        return
    about = os.statvfs(MEMORY)
    if about.f_bavail * about.f_frsize >= ROOM and not about.f_flag & os.ST_NOEXEC:
        folder = config.stash[_OWN] = tempfile.mkdtemp(prefix="mt-", dir=MEMORY)
        os.chmod(folder, 0o755)  # for tests that let another user in; pytest keeps what is in it to itself
        config.option.basetemp = os.path.join(folder, "t")


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash.get(_OWN, ""):
        shutil.rmtree(config.stash[_OWN], ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("MEMTRIAGE_CI") and any(map(item.get_closest_marker, EXCUSED)):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where everything it needs should be: {report.longrepr[2]}"


@pytest.fixture(autouse=True)
def _root_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.skip("needs root, to become another user")


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A folder that every user can enter, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="memtriage-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def debian_python() -> str:
    """The distribution's own Python with the distribution's own packages: what a plugin folder's checks run on."""
    python = "/usr/bin/python3"
    probe = "import sys, nagiosplugin, psutil; sys.exit(sys.version_info < (3, 9))"
    if not os.path.exists(python):
        pytest.skip("needs /usr/bin/python3")
    done = subprocess.run([python, "-c", probe], env={"PATH": "/usr/bin:/bin"}, capture_output=True, timeout=30, check=False)
    if done.returncode:
        pytest.skip("needs /usr/bin/python3 >= 3.9 with python3-nagiosplugin and python3-psutil from the distribution")
    return python


@pytest.fixture(scope="session")
def checkout(debian_python: str) -> Iterator[Path]:
    """A copy of the checkout that every user can read and none but its owner write, with bytecode as ``make compile`` leaves it."""
    folder = Path(tempfile.mkdtemp(prefix="memtriage-checkout-"))
    copy_checkout(folder)
    subprocess.run([debian_python, "-m", "compileall", "-q", folder / "lib", folder / "checks"], timeout=60, check=True)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@functools.cache
def python_for_others() -> str:
    """A PATH whose python3 another user may run, with nagiosplugin in it: that of the tests, else the distribution's. Skips without."""
    for path in (os.path.dirname(sys.executable) + ":/usr/bin:/bin", "/usr/bin:/bin"):
        try:
            switch: dict[str, Any] = {"user": 65534} if os.geteuid() == 0 else {}
            subprocess.run(["/usr/bin/env", "python3", "-c", "import nagiosplugin"], timeout=10, check=True, capture_output=True,
                           env={"PATH": path}, **switch)
            return path
        except (OSError, subprocess.SubprocessError):
            continue
    pytest.skip("no interpreter with nagiosplugin that other users may run")


def copy_checkout(folder: Path) -> None:
    """Copies what runs, links kept as links."""
    for name in ("checks", "lib"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
