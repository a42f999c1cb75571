"""Where the NRPE daemon itself is gone a real Nagios tells people so once, by the dependency that ``memtriage config nagios`` defines."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from memtriage.integration import table
from tests.engines import foreground, nagios, nrpe
from tests.engines.nrpe import Nrpe
from tests.integration.engines import config

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
MINUTE = 3
"""Seconds that Nagios takes for a minute here (interval_length)."""
SERVICES = {pace.service for name, pace in table.PACES.items() if name != "check_proc_count"}


def test_one_message_where_the_daemon_is_gone(public_path: Path) -> None:
    if nrpe.programs() is None:
        pytest.skip("needs NRPE: apt-get install nagios-nrpe-server nagios-nrpe-plugin")
    (public_path / "nrpe").mkdir()
    (public_path / "plugins").mkdir()
    with Nrpe(public_path / "nrpe", dict.fromkeys(table.CHECKS, "/bin/echo fine"), foreground.account()) as daemon:
        client = public_path / "plugins" / "check_nrpe"
        client.write_text(f'#!/bin/sh\nexec {shlex.quote(daemon.client)} -p {daemon.port} "$@"\n')
        client.chmod(0o755)

        def define(objects: Path) -> None:
            words = ["--template", "tested", "--plugin-dir", str(public_path / "plugins")]
            (objects / "memtriage.cfg").write_text(config("nagios", *words))
            with open(objects.parent / "nagios.cfg", "a", encoding="ascii") as main:
                main.write(f"interval_length={MINUTE}\n")

        with foreground.folder("nagios") as folder, nagios.nagios(folder, define, "  hostgroups memtriage\n") as running:
            assert set(running.results()) == SERVICES | {"NRPE"}
            assert {result.state for result in running.results().values()} == {0}
            daemon.stop()
            assert ": Connection refused" in running.mail("NRPE")
            time.sleep(6 * MINUTE)  # the slowest of them is asked every five minutes
            assert {path.name for path in (folder / "mail").iterdir()} == {"NRPE"}
