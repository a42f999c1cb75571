"""What a user installs: the wheel, the sdist, a bare checkout, a link in a plugin folder; and that it never leaves with Python's 1."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.checks.command import CHECKS, RECORDING, Answer
from tests.conftest import ROOT, copy_checkout

MIB = 1024 * 1024
STATIC = ("drawing.js", "page.css", "page.html", "page.js", "uPlot-LICENSE.txt", "uPlot.iife.min.js", "uPlot.min.css", "words.js")
BARE = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "MEMTRIAGE_RECORDING": RECORDING}


def run(*line: object, limit: int | None = None, kind: int = resource.RLIMIT_AS, **more: object) -> Answer:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(kind, (limit, limit))

    done = subprocess.run([str(word) for word in line], preexec_fn=limited, stdin=subprocess.DEVNULL,  # type: ignore[call-overload]
                          capture_output=True, timeout=10, check=False, **{"env": BARE, **more})
    return Answer(done.returncode, done.stdout.decode("ascii"), done.stderr.decode("utf-8", "replace"))


def title(check: str) -> str:
    return check[6:].upper()


def whole(check: str, answer: Answer) -> bool:
    """An answer with a state, perfdata and long output, as a check that ran gives it."""
    return bool(re.match(title(check) + r" (OK|WARNING|CRITICAL) - [^|\n]+ \| [a-z0-9_]+=[^|]*\n[^|]+\n\Z", answer.out)) and not answer.err


def refused(check: str, answer: Answer, words: str = "") -> bool:
    """Exit 3 and one line that says why."""
    return answer.code == 3 and not answer.err and bool(re.fullmatch(title(check) + rf" UNKNOWN - .*{words}.*\n", answer.out))


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives, the wheel made from the sdist, as a package index would be given them."""
    if importlib.util.find_spec("build") is None:
        pytest.skip("needs the build module: pip install .[test]")
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(
        ".git", ".venv*", "tests", "build", "dist", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis"))
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source]
    subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=True)
    return folder


@pytest.fixture(scope="session")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' folder of a fresh venv with the wheel in it."""
    venv = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], timeout=120, check=True)  # a pip of its own takes seconds
    wheel, = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, stderr=subprocess.DEVNULL, timeout=120, check=True)
    # What the package index would give as well, without asking it for each run of the tests.
    packages, = venv.glob("lib/python3*/site-packages")
    for name in ("nagiosplugin", "psutil"):
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        (packages / name).symlink_to(Path(found.origin).parent)
    return venv / "bin"


def test_wheel_has_the_library_and_the_commands_and_nothing_else(dist: Path) -> None:
    wheel, = dist.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0].partition("-")[0] for name in names}
    assert tops == {"memtriage"}, tops
    modules = {str(path.relative_to(ROOT / "lib")) for path in (ROOT / "lib" / "memtriage").rglob("*.py")}
    modules |= {"memtriage/checks/" + path.name for path in (ROOT / "checks").glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert "memtriage/py.typed" in names
    assert {name for name in names if name.startswith("memtriage/report/static/")} == {"memtriage/report/static/" + name for name in STATIC}
    assert {Path(name).name for name in names if "/scripts/" in name} == set(CHECKS)


def test_sdist_has_what_a_packager_needs(dist: Path) -> None:
    sdist, = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "checks/check_free_mem.py", "bin/check_slab_growth"} <= names
    assert {"lib/memtriage/report/static/" + name for name in STATIC} <= names


@pytest.mark.parametrize("check", CHECKS)
def test_the_wheels_commands_work(installed: Path, check: str, tmp_path: Path) -> None:
    env = {**BARE, "MEMTRIAGE_STATE_DIR": str(tmp_path / "state")}
    assert whole(check, run(installed / check, env=env))
    links = tmp_path / "plugins"  # a plugin folder, from which $0 is not beside Python; under the same and under another name
    links.mkdir()
    for name in (check, "mem"):
        (links / name).symlink_to(installed / check)
        assert whole(check, run(links / name, env=env))
    help_text = run(links / "mem", "--help", env=env)
    assert (help_text.code, help_text.err) == (3, "") and check in help_text.out


@pytest.mark.parametrize("shell", ["dash", "bash", "bash --posix", "busybox sh"])
def test_the_commands_in_every_shell(installed: Path, shell: str, tmp_path: Path) -> None:
    words = shell.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"needs {words[0]}")
    (tmp_path / "check_proc_count").symlink_to(installed / "check_proc_count")
    for line in ([installed / "check_proc_count"], [tmp_path / "check_proc_count"], ["./check_proc_count"], ["check_proc_count"]):
        assert whole("check_proc_count", run(*words, *line, cwd=tmp_path)), line
        assert refused("check_proc_count", run(*words, *line, cwd=tmp_path, limit=20 * MIB), "Python needs 24 MiB"), line
    by_path = {**BARE, "PATH": f"{installed}:{BARE['PATH']}"}
    assert whole("check_proc_count", run("/usr/bin/env", "check_proc_count", env=by_path, cwd="/"))


def test_options_reach_the_check_as_they_are(installed: Path) -> None:
    answer = run(installed / "check_proc_count", "-C", "no such ' program\\", "-w", "0:0")
    assert answer.code == 0 and "0 processes" in answer.out, answer
    assert refused("check_proc_count", run(installed / "check_proc_count", "a b"))


def test_nothing_is_imported_from_the_current_folder(installed: Path, tmp_path: Path) -> None:
    """Nagios runs its checks in /tmp, where anybody may lay a module."""
    for name in ("os.py", "argparse.py", "nagiosplugin.py", "memtriage.py", "importlib.py"):
        (tmp_path / name).write_text("raise SystemExit('taken from the current folder')")
    assert whole("check_free_mem", run(installed / "check_free_mem", cwd=tmp_path))
    env = {**BARE, "PATH": f"{installed}:{BARE['PATH']}"}
    assert whole("check_free_mem", run(ROOT / "checks" / "check_free_mem.py", cwd=tmp_path, env=env))


def test_no_python_is_unknown(installed: Path, tmp_path: Path) -> None:
    shutil.copy(installed / "check_slab_growth", tmp_path)  # neither Python nor the library beside it
    no_python = {"PATH": str(tmp_path)}
    for file in (tmp_path / "check_slab_growth", ROOT / "checks" / "check_slab_growth.py"):
        assert refused("check_slab_growth", run("/bin/sh", file, env=no_python), "no python3")
    lone = run("/bin/sh", tmp_path / "check_slab_growth", env={"PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"})
    assert refused("check_slab_growth", lone, "cannot start: ModuleNotFoundError: No module named 'memtriage'")


def test_the_library_beside_the_command_names_its_python(installed: Path, tmp_path: Path) -> None:
    """pip installs to /usr/local/bin for whatever Python it runs under, which need not be the python3 of PATH."""
    version = "python%d.%d" % sys.version_info[:2]
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / version).symlink_to(installed.parent / "lib" / version)
    shutil.copy(installed / "check_free_mem", tmp_path / "bin")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "python3").symlink_to("/bin/false")
    env = {**BARE, "PATH": f"{tmp_path / 'path'}:{BARE['PATH']}"}
    program = tmp_path / "path" / version
    program.write_text(f'#!/bin/sh\nexec {installed}/python3 "$@"\n')  # a link would not be known for the venv it leads to
    program.chmod(0o755)
    assert whole("check_free_mem", run(tmp_path / "bin" / "check_free_mem", env=env))


def command(kind: str, check: str, installed: Path) -> Path:
    return installed / check if kind == "installed" else ROOT / "checks" / (check + ".py")


def address_spaces(file: Path, check: str, env: dict[str, str], sizes: Iterable[int]) -> None:
    wrong = []
    for size in sizes:
        if run("/bin/sh", "-c", ":", limit=size * MIB).code:
            continue  # then the shell of this system cannot start either
        answer = run(file, env=env, limit=size * MIB)
        fine = refused(check, answer, f"{size} MiB; Python needs 24 MiB" if size < 24 else "")
        if not fine and not (size >= 24 and answer.code in (0, 1, 2) and whole(check, answer)):
            wrong.append((size, answer))
    assert not wrong


@pytest.mark.parametrize("kind", ["installed", "checkout"])
@pytest.mark.parametrize("check", CHECKS)
def test_address_space_limits(installed: Path, check: str, kind: str, tmp_path: Path) -> None:
    """Below 24 MiB Python leaves with 1, which is WARNING, or spins; from there on it can at least say that it cannot."""
    file = command(kind, check, installed)
    env = {**BARE, "PATH": f"{installed}:{BARE['PATH']}", "MEMTRIAGE_STATE_DIR": str(tmp_path)}
    address_spaces(file, check, env, (*range(3, 25), 27, 31, 36))
    assert whole(check, run(file, env=env, limit=64 * MIB)), "64 MiB must be enough on any host"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["installed", "checkout"])
@pytest.mark.parametrize("check", CHECKS)
def test_every_address_space_limit(installed: Path, check: str, kind: str, tmp_path: Path) -> None:
    env = {**BARE, "PATH": f"{installed}:{BARE['PATH']}", "MEMTRIAGE_STATE_DIR": str(tmp_path)}
    address_spaces(command(kind, check, installed), check, env, range(24, 49))


@pytest.mark.parametrize("kind", ["installed", "checkout"])
@pytest.mark.parametrize("check", CHECKS)
def test_too_little_data_is_no_warning(installed: Path, check: str, kind: str, tmp_path: Path) -> None:
    """The same for RLIMIT_DATA, which Python needs some 8 MiB of; above 12 MiB it can at least say that it cannot."""
    file = command(kind, check, installed)
    env = {**BARE, "PATH": f"{installed}:{BARE['PATH']}", "MEMTRIAGE_STATE_DIR": str(tmp_path)}
    for size in (2, 5, 8, 11):
        answer = run(file, env=env, limit=size * MIB, kind=resource.RLIMIT_DATA)
        assert refused(check, answer, f"the data size limit .RLIMIT_DATA. is {size} MiB; Python needs 12 MiB"), (size, answer)
    for size in (12, 14, 16, 64):
        answer = run(file, env=env, limit=size * MIB, kind=resource.RLIMIT_DATA)
        assert whole(check, answer) or (size < 64 and refused(check, answer)), (size, answer)


def test_an_endless_or_huge_limit_is_none(installed: Path) -> None:
    for limit in (resource.RLIM_INFINITY, 2**62, 10**9):
        assert whole("check_free_mem", run(installed / "check_free_mem", limit=limit))


@pytest.mark.parametrize("check", CHECKS)
def test_checkout_with_the_distributions_python(checkout: Path, check: str, tmp_path: Path) -> None:
    env = {**BARE, "MEMTRIAGE_STATE_DIR": str(tmp_path / "state")}
    link = tmp_path / check  # as in /usr/lib/nagios/plugins, without .py
    link.symlink_to(checkout / "checks" / (check + ".py"))
    relative = tmp_path / "relative"
    relative.symlink_to(os.path.relpath(checkout / "checks" / (check + ".py"), tmp_path))
    for program in (checkout / "checks" / (check + ".py"), link, relative):
        answer = run(program, env=env, cwd="/")
        assert whole(check, answer), answer


@pytest.mark.parametrize("check", CHECKS)
def test_file_without_its_library(check: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "checks" / (check + ".py"), tmp_path)
    bare = Path(sys.base_prefix) / "bin"
    assert refused(check, run(tmp_path / (check + ".py"), env={"PATH": f"{bare}:/usr/bin:/bin"}), "cannot start: ")


@pytest.fixture(scope="module")
def unwritable(debian_python: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="memtriage-test-"))
    copy_checkout(folder)  # no bytecode: Python would like to write some
    subprocess.run(["chmod", "-R", "a+rX,a-w", folder], timeout=20, check=True)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], timeout=20, check=True)
    shutil.rmtree(folder)


@pytest.mark.needs_root
@pytest.mark.parametrize("check", CHECKS)
def test_read_only_library_as_nobody(unwritable: Path, check: str) -> None:
    who = pwd.getpwnam("nobody")
    state = unwritable.with_name(unwritable.name + "-state")
    state.mkdir(mode=0o700)
    try:
        os.chown(state, who.pw_uid, who.pw_gid)
        answer = run(unwritable / "checks" / (check + ".py"), user=who.pw_uid, group=who.pw_gid, extra_groups=(), cwd="/",
                     env={**BARE, "MEMTRIAGE_STATE_DIR": str(state)})
        assert whole(check, answer), answer
        assert not list(unwritable.rglob("__pycache__"))
    finally:
        shutil.rmtree(state)


@pytest.mark.parametrize("check", CHECKS)
def test_make_installed_command_is_this_checkouts(check: str) -> None:
    """What ``make test`` has installed beside the Python of the tests."""
    program = Path(sysconfig.get_path("scripts")) / check
    if not program.exists():
        pytest.skip("needs the installed commands: run make test")
    assert program.read_bytes() == (ROOT / "bin" / check).read_bytes()
    assert run(program, "--version").code == 3
