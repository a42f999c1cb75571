"""The package of EL 9, built by Debian's rpmbuild, installed by rpm on a copy of this machine, used as another user does, and erased.

What EL has and Debian has not is made there: the folder of its Python's packages is one of Debian's Python too, and its users exist.
"""

from __future__ import annotations

import configparser
import glob
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import memtriage
from tests.checks.command import CHECKS
from tests.conftest import ROOT
from tests.packages.host import Host, built
from tests.packages.test_deb import title, whole

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
PLUGINS = "/usr/lib64/nagios/plugins"
LIBRARY = "/usr/lib/python3.9/site-packages"
RPM = ("rpm", "--force-debian", "--dbpath", "/var/lib/rpm", "--nodeps")
"""Debian's rpm wants to be told that it is meant; what the package requires has other names here."""
FOLDERS = ("/etc/nagios/conf.d", LIBRARY, "/usr/share/licenses", "/usr/share/zsh/site-functions", "/usr/share/bash-completion/completions")
"""Folders that are other packages' on EL."""


@pytest.fixture(scope="module")
def rpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build-rpm.sh", tmp_path_factory.mktemp("rpm"))


class El(Host):
    """The copy of this machine as EL would look to the package."""

    def __enter__(self) -> El:
        super().__enter__()
        for folder in FOLDERS:
            self.path(folder).mkdir(parents=True, exist_ok=True)
        self.path("/usr/lib/python3/dist-packages/el.pth").write_text(f"{LIBRARY}\n")
        self.run("groupadd", "--system", "nagios")
        # As EPEL makes it: a group of its own, and in the group nagios.
        self.do("useradd", "--system", "--user-group", "--groups", "nagios", "--no-create-home", "--home-dir", "/run/nrpe", "nrpe")
        self.before = self.changes()
        return self


@pytest.fixture(scope="module")
def host(rpm: Path) -> Iterator[Host]:
    with El() as made:
        made.do(*RPM, "--install", made.bring(rpm))
        yield made


def query(rpm: Path, *words: str) -> list[str]:
    done = subprocess.run(["rpm", "-q", *words, "--package", rpm], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.splitlines()


def test_name_version_and_architecture(rpm: Path) -> None:
    assert query(rpm, "--qf", "%{NAME} %{VERSION} %{ARCH} %{LICENSE}\n") == [f"memtriage {memtriage.__version__} noarch Apache-2.0 AND MIT"]


def test_it_requires_what_el_9_and_epel_have(rpm: Path) -> None:
    wanted = {line for line in query(rpm, "--requires") if not line.startswith(("rpmlib(", "config("))}
    assert wanted == {"/bin/sh", "/usr/bin/python3", "python(abi) = 3.9", "shadow-utils",
                      "python3-nagiosplugin >= 1.3.2", "python3-psutil >= 5.8"}


def test_no_bytecode_of_the_builders_python(rpm: Path) -> None:
    files = query(rpm, "--list")
    assert f"{LIBRARY}/memtriage/plugin.py" in files
    assert not [name for name in files if name.endswith(".pyc")]


def test_rpmlint_finds_nothing(rpm: Path) -> None:
    if shutil.which("rpmlint", path="/usr/bin") is None:
        pytest.skip("needs rpmlint")
    line = ["/usr/bin/rpmlint", "--config", ROOT / "packaging/rpm/rpmlint.toml", rpm]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 and "0 errors, 0 warnings" in done.stdout, done.stdout


def test_two_builds_are_the_same_bytes(rpm: Path, tmp_path: Path) -> None:
    other = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "COLUMNS": "40", "PYTHONHASHSEED": "1", "TMPDIR": str(tmp_path),
             "HOME": "/nonexistent"}
    assert built("build-rpm.sh", tmp_path / "again", other).read_bytes() == rpm.read_bytes()


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_as_nrpe(host: Host, check: str) -> None:
    answer = host.run(f"{PLUGINS}/{check}", user="nrpe").sound()
    if check == "check_mem_recorder":
        assert answer.code == 3 and "/var/log/memtriage/recording: No such file or directory" in answer.out
    else:
        assert whole(check, answer) and "state not saved" not in answer.out, answer
    limited = host.run("prlimit", f"--as={8 * 1024 * 1024}", f"{PLUGINS}/{check}", user="nrpe")
    assert (limited.code, limited.out) == (
        3, f"{title(check)} UNKNOWN - cannot run: the address space limit (RLIMIT_AS) is 8 MiB; Python needs 24 MiB\n")


def test_the_host_compiled_it(host: Host) -> None:
    sources = host.do("find", f"{LIBRARY}/memtriage", "-name", "*.py", "-size", "+0").splitlines()
    lack = [name for name in sources if not list(host.path(name).parent.glob(f"__pycache__/{Path(name).stem}.cpython-*.pyc"))]
    assert len(sources) > 80 and lack == []


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_on_python_3_9(host: Host, check: str) -> None:
    """EL 9's version; the package's own files, and the library nagiosplugin of these tests, which is Python only."""
    found = [shutil.which("python3.9"), *glob.glob(os.path.expanduser("~/.pyenv/versions/3.9*/bin/python3.9"))]
    python = next((path for path in found if path and host.run(path, "--version").code == 0), None)
    if python is None:
        pytest.skip("needs Python 3.9")
    origin = importlib.util.find_spec("nagiosplugin").origin  # type: ignore[union-attr]
    shutil.copytree(Path(str(origin)).parent, host.path("/tmp/more/nagiosplugin"), dirs_exist_ok=True)
    env = {"PYTHONPATH": f"{LIBRARY}:/tmp/more", "MEMTRIAGE_STATE_DIR": "/tmp/state"}
    answer = host.run(python, f"{PLUGINS}/{check}", env=env).sound()
    assert answer.code in (0, 1, 2) or check == "check_mem_recorder", answer


def test_sudo_allows_what_the_nrpe_file_runs(host: Host) -> None:
    host.do("visudo", "--check")
    lines = dict(re.findall(r"^command\[(\w+)\]=(.*)$", host.path("/etc/nrpe.d/memtriage.cfg").read_text(), re.M))
    assert set(lines) == set(CHECKS) and all(PLUGINS in line for line in lines.values())
    for check, line in lines.items():
        answer = host.run("sh", "-c", line, user="nrpe").sound()
        assert answer.code in (0, 1, 2) or check == "check_mem_recorder", answer
    assert host.run("sudo", "-n", f"{PLUGINS}/check_slab_growth", "--state-dir", "/etc", user="nrpe").code == 1


def test_what_the_directors_basket_runs_by_sudo_is_what_sudo_allows(host: Host) -> None:
    basket = json.loads(host.path("/usr/share/doc/memtriage/examples/memtriage-basket.json").read_text())
    lines = [command["command"].split() for command in basket["Command"].values()]
    by_sudo = [line for line in lines if line[0] == "/usr/bin/sudo"]
    assert len(lines) == len(CHECKS) and len(by_sudo) == 3
    for line in by_sudo:
        assert host.run(*line[:2], "-l", *line[2:], user="nrpe").code == 0, line


def test_the_unit_runs_the_command_in_its_place(host: Host) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read(host.path("/usr/lib/systemd/system/memtriage-record.service"))
    program = unit["Service"]["ExecStart"].split()[0]
    assert host.do(program, "--version") == f"memtriage {memtriage.__version__}\n"


def test_upgraded_over_itself_and_erased_without_a_trace(rpm: Path) -> None:
    with El() as host:
        file = host.bring(rpm)
        host.do(*RPM, "--install", file)
        for check in CHECKS:
            host.run(f"{PLUGINS}/{check}", user="nrpe")
        own = host.path("/etc/nrpe.d/memtriage.cfg")
        own.write_text(own.read_text() + "command[mine]=/bin/true\n")
        uid = host.do("id", "-u", "nrpe").strip()
        host.do(*RPM, "--upgrade", "--replacepkgs", file)
        assert own.read_text().endswith("command[mine]=/bin/true\n")
        assert host.path(f"/var/lib/memtriage/{uid}/memory.json").exists()
        assert list(host.path(f"{LIBRARY}/memtriage/__pycache__").glob("plugin.cpython-*.pyc")), "compiled anew"
        assert whole("check_free_mem", host.run(f"{PLUGINS}/check_free_mem", user="nrpe"))
        host.do(*RPM, "--erase", "memtriage")
        # A configuration file that was changed is kept aside, as rpm does.
        assert host.changes() - host.before == {"/etc/nrpe.d", "/etc/nrpe.d/memtriage.cfg.rpmsave"}
        own.with_name("memtriage.cfg.rpmsave").unlink()
        own.parent.rmdir()
        assert host.changes() == host.before
