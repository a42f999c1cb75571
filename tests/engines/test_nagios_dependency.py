"""Where the NRPE daemon itself is gone a real Nagios tells people so once, by the dependency that ``memtriage config nagios`` defines.

An OOM kill, which is looked at twice for that, is told soon all the same.
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import pytest

from memtriage.integration import table
from tests.engines import foreground, nagios, nrpe
from tests.engines.nrpe import Nrpe
from tests.integration.engines import config

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
MINUTE = 12
"""Seconds that Nagios takes for a minute here (interval_length). It counts in whole ones, and five of a minute must be one at least."""
OOM = table.PACES["check_oom_kill"].service
SERVICES = {pace.service for name, pace in table.PACES.items() if name != "check_proc_count"}


def test_one_message_where_the_daemon_is_gone_and_a_kill_soon(public_path: Path) -> None:
    if nrpe.programs() is None:
        pytest.skip("needs NRPE: apt-get install nagios-nrpe-server nagios-nrpe-plugin")
    (public_path / "nrpe").mkdir()
    (public_path / "plugins").mkdir()
    answer = public_path / "plugins" / "answer"
    answer.write_text("#!/bin/sh\necho fine\n")
    answer.chmod(0o755)
    commands = {**dict.fromkeys(table.CHECKS, "/bin/echo fine"), "check_oom_kill": str(answer)}
    with Nrpe(public_path / "nrpe", commands, foreground.account()) as daemon:
        client = public_path / "plugins" / "check_nrpe"
        client.write_text(f'#!/bin/sh\nexec {shlex.quote(daemon.client)} -p {daemon.port} "$@"\n')
        client.chmod(0o755)

        def define(objects: Path) -> None:
            words = ["--template", "tested", "--plugin-dir", str(public_path / "plugins")]
            (objects / "memtriage.cfg").write_text(config("nagios", *words))
            with open(objects.parent / "nagios.cfg", "a", encoding="ascii") as main:
                main.write(f"interval_length={MINUTE}\ncached_service_check_horizon={15 * MINUTE // 60}\nlog_service_retries=1\n")

        with foreground.folder("nagios") as folder, nagios.nagios(folder, define, "  hostgroups memtriage\n") as running:
            assert set(running.results()) == SERVICES | {"NRPE"}
            assert {result.state for result in running.results().values()} == {0}
            (public_path / "plugins" / "killed").write_text("#!/bin/sh\necho 'OOM_KILL CRITICAL - 1 OOM kill'\nexit 2\n")
            (public_path / "plugins" / "killed").chmod(0o755)
            (public_path / "plugins" / "killed").rename(answer)
            assert "1 OOM kill" in running.mail(OOM)
            log = (folder / "nagios.log").read_text()
            looks = re.findall(rf"^\[(\d+)\] SERVICE ALERT: box;{OOM};CRITICAL;(SOFT;1|HARD;2);", log, re.MULTILINE)
            assert [look for _, look in looks] == ["SOFT;1", "HARD;2"]
            assert int(looks[1][0]) - int(looks[0][0]) <= MINUTE / 2, "a third of a minute, and what a busy machine adds"
            daemon.stop()
            assert ": Connection refused" in running.mail("NRPE")
            running.ask(SERVICES)  # the slowest of them would be asked every five minutes
            time.sleep(2 * MINUTE)
            assert {path.name for path in (folder / "mail").iterdir()} == {"NRPE", OOM}
            assert "1 OOM kill" in running.mail(OOM)
