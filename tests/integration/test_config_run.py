"""What the checks are started with when real engines run the definitions: each argument, byte by byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from memtriage.integration import nrpe, sudoers, table
from tests.engines.nrpe import Nrpe
from tests.engines.nrpe import programs as nrpe_programs
from tests.integration.engines import Icinga, config, dumpers, nagios, own, running, wait_for
from tests.integration.test_config import HOSTILE, MORE, checks

pytestmark = [pytest.mark.engine, pytest.mark.slow]
CHECKS = {check.name: check for check in checks()}
LINES = table.lines(list(CHECKS.values()), [MORE[1], MORE[3], MORE[5]])


def started(line: table.Line, *more: str) -> tuple[str, ...]:
    return (line.check.name, *line.words, *more)


def by_long_names(line: table.Line) -> tuple[str, ...]:
    """Icinga passes every option by its long name, in the order of the names; -vv is one switch."""
    values = table.variables(line)
    given = []
    for option in sorted(line.check.arguments, key=lambda option: option.flags[-1]):
        value = values.get(line.check.variable(option))
        if value is not None:
            given += [option.flags[-1]] + ([value] if isinstance(value, str) else [])
    return (line.check.name, *given)


def test_nrpe(public_path: Path) -> None:
    if nrpe_programs() is None:
        pytest.skip("needs NRPE: apt-get install nagios-nrpe-server nagios-nrpe-plugin")
    seen = dumpers(public_path)
    definitions = public_path / "memtriage.cfg"
    config("nrpe", "--sudo", "none", "--plugin-dir", str(public_path / "plugins"), *MORE, "-o", str(definitions))
    (public_path / "nrpe").mkdir()
    with Nrpe(public_path / "nrpe", {"none": f"/bin/true\ninclude={definitions}"}) as daemon:
        for line in LINES:
            assert daemon.ask(line.name).out == "DUMP OK - written down | x=1\n", line
    assert wait_for(seen, set(), 0) == {started(line, *nrpe.TIMEOUT) for line in LINES}
    assert any(HOSTILE in line.words for line in LINES)


def test_nagios(public_path: Path) -> None:
    seen = dumpers(public_path)
    text = config("nagios", "--sudo", "none", "--local", "hub", *MORE)
    line = nagios(public_path / "nagios", text, str(public_path / "plugins"), hostgroup=False)
    wanted = {started(line) for line in LINES if line.name != "check_proc_count"}
    with running(*line, log=public_path / "log"):
        assert wait_for(seen, wanted, 60) == wanted, (public_path / "log").read_text()


def test_icinga(public_path: Path) -> None:
    seen = dumpers(public_path)
    definitions = public_path / "definitions"
    config("icinga2", "--sudo", "none", "--plugin-dir", str(public_path / "plugins"), *MORE, "-o", f"{definitions}/")
    services = definitions / "memtriage-services.conf"
    for span in ("1m", "5m"):  # what is tested are the arguments, and Icinga spreads first checks over the interval
        services.write_text(services.read_text().replace(f"check_interval = {span}", "check_interval = 1s"))
    icinga = Icinga(public_path / "icinga", definitions, more="""
        object CheckerComponent "checker" { }
        object Host "hub" {
          check_command = "dummy"
          vars.os = "Linux"
          vars.memtriage_processes["cron"] = { proc_count_command = "cron", proc_count_no_kthreads = true }
        }
        """)
    own(public_path / "icinga")
    cron = ("check_proc_count", "--command", "cron", "--no-kthreads")
    wanted = {by_long_names(line) for line in LINES if line.name != "check_proc_count"} | {cron}
    with running(*icinga.line, env=icinga.env, log=public_path / "log"):
        assert wait_for(seen, wanted, 90) == wanted, (public_path / "log").read_text()


def test_sudo_allows_what_icinga_runs() -> None:
    """By the arguments that a real one was seen to pass, above."""
    for line in LINES:
        if line.words:
            name, *words = by_long_names(line)
            assert f"/p/{name} {' '.join(map(sudoers.escaped, words))}" in sudoers.commands(line, table.Wanted([], [], "/p"))


def test_sudo_runs_what_the_engines_run(public_path: Path) -> None:
    """Only that the words after ``sudo -n`` are the check's: what sudo allows is asked of it in test_config.py."""
    plain = config("nrpe", "--sudo", "none", *MORE)
    with_sudo = config("nrpe", *MORE).replace("=/usr/bin/sudo -n ", "=")
    with_sudo = with_sudo.replace("# Lines with sudo need what memtriage config sudoers prints.\n", "")
    assert with_sudo == plain and subprocess.run(["/usr/bin/sudo", "-V"], capture_output=True, timeout=20, check=False).returncode == 0
