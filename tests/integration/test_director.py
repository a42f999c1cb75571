"""The basket, restored by a real Icinga Director into a database of the test's own, and what it then renders."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtriage.integration import table
from tests.integration.engines import SYSTEM, Icinga, config, own, program, running
from tests.integration.test_config import HOSTILE, MORE, checks

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
MODULES = Path("/usr/share/icingaweb2/modules")


class Director:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "data" / "sock"

    def sql(self, words: str) -> str:
        done = subprocess.run(["mariadb", "--no-defaults", "-N", "-u", "root", f"--socket={self.socket}", "-e", words], capture_output=True,
                              text=True, timeout=60, check=False, env=SYSTEM)
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout

    def run(self, *words: str, given: str = "") -> str:
        line = ["php", "-d", f"pdo_mysql.default_socket={self.socket}", "-d", "error_reporting=8191", program("icingacli", "icingacli")]
        done = subprocess.run([*line, "director", *words], input=given, capture_output=True, text=True, timeout=120, check=False,
                              env={**SYSTEM, "ICINGAWEB_CONFIGDIR": str(self.folder / "web")})
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def director(public_path: Path) -> Iterator[Director]:
    if not (MODULES / "director").exists():
        pytest.skip("needs the Director: apt-get install icingaweb2-module-director mariadb-server php-mysql")
    found = Director(public_path)
    data, web = public_path / "data", public_path / "web"
    data.mkdir()
    subprocess.run(["chown", "mysql", data], timeout=20, check=True)
    subprocess.run([program("mariadb-install-db", "mariadb-server"), "--no-defaults", "--user=mysql", f"--datadir={data}",
                    "--auth-root-authentication-method=normal"], timeout=120, check=True, capture_output=True, env=SYSTEM)
    (web / "enabledModules").mkdir(parents=True)
    (web / "modules" / "director").mkdir(parents=True)
    for name in ("director", "incubator", "reactbundle"):
        (web / "enabledModules" / name).symlink_to(MODULES / name)
    (web / "config.ini").write_text(f'[global]\nconfig_backend = "none"\nmodule_path = "{MODULES}"\n[logging]\nlog = "none"\n')
    (web / "resources.ini").write_text('[director]\ntype = "db"\ndb = "mysql"\nhost = "localhost"\ndbname = "director"\n'
                                       'username = "lab"\npassword = "lab"\ncharset = "utf8"\n')
    (web / "modules" / "director" / "config.ini").write_text('[db]\nresource = "director"\n')
    with running(program("mariadbd", "mariadb-server"), "--no-defaults", "--user=mysql", f"--datadir={data}", f"--socket={found.socket}",
                 f"--pid-file={data}/pid", "--skip-networking", "--innodb-flush-log-at-trx-commit=0", log=public_path / "db.log"):
        for _ in range(450):
            try:
                found.sql("CREATE DATABASE director CHARACTER SET utf8; CREATE USER lab@localhost IDENTIFIED BY 'lab';"
                          "GRANT ALL ON director.* TO lab@localhost")
                break
            except OSError:
                time.sleep(0.2)
        found.run("migration", "run")
        yield found


def test_it_is_restored_and_renders_what_icinga_accepts(director: Director, public_path: Path) -> None:
    basket = config("director", *MORE)
    options = sum(len(check.arguments) for check in checks())
    for _ in range(2):  # the second time nothing is new
        assert director.run("basket", "restore", given=basket) == "Objects from Basket Snapshot have been restored\n"
        assert int(director.sql("SELECT count(*) FROM director.director_datafield")) == options
        assert int(director.sql("SELECT count(*) FROM director.icinga_command_field")) == options
    services = json.loads(director.run("serviceset", "show", "memtriage", "--json"))["services"]
    assert services["odd"]["vars"] == {"oom_kill_log": HOSTILE.replace("$", "$$")}
    assert set(services) == {table.PACES[name].service for name in table.CHECKS if name != "check_proc_count"} | {"httpd", "odd"}
    for check in checks():
        template = json.loads(director.run("service", "show", "memtriage-" + check.short.replace("_", "-"), "--json"))
        pace = table.PACES[check.name]
        assert (template["check_interval"], template["max_check_attempts"]) == (str(pace.every), str(pace.attempts))

    (public_path / "rendered").mkdir()
    for check in checks():
        name = "memtriage-" + check.short.replace("_", "-")
        (public_path / "rendered" / f"{name}.conf").write_text(director.run("command", "show", name))
    icinga = Icinga(public_path / "icinga", public_path / "rendered", more='object Host "hub" { check_command = "dummy" }')
    own(public_path / "icinga")
    icinga.validate()
    known = icinga.objects("CheckCommand")
    for check in checks():
        command = known["memtriage-" + check.short.replace("_", "-")]
        assert command["command"][-1] == f"/usr/lib/nagios/plugins/{check.name}"
        for option in check.arguments:
            assert command["arguments"][option.flags[-1]] == {
                "description": table.described(option), "value" if option.metavar else "set_if": f"${check.short}_{option.name}$"}
