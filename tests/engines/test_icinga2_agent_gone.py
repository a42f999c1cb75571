"""Where an agent is gone a real Icinga 2 tells people so once, by the dependency that ``memtriage config icinga2`` defines, which keeps
nothing back that a host says by itself meanwhile, nor an OOM kill that is found when the agent is back."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from memtriage.integration import table
from memtriage.integration.icinga2 import AGENT as HEALTH
from tests.engines import foreground, icinga2, icinga2_agent
from tests.engines.icinga2 import Icinga
from tests.engines.icinga2_agent import Fleet
from tests.integration.engines import config

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
FASTER = 10
"""All intervals are a tenth of what they are."""
OOM = table.PACES["check_oom_kill"].service
SERVICES = {pace.service for name, pace in table.PACES.items() if name != "check_proc_count"}
MINUTE = 60 / FASTER


class Plain:
    """Plugins that say what stands in the file ``said``, and definitions with shorter intervals."""

    def __init__(self, folder: Path) -> None:
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        for check in table.CHECKS:
            path = self.plugins / check
            path.write_text(f'#!/bin/sh\nread code text <"{path}.said"\necho "$text"\nexit $code\n')
            path.chmod(0o755)
            self.say(check, 0, "fine")

    def say(self, check: str, code: int, text: str) -> None:
        new = self.plugins / f"{check}.new"
        new.write_text(f"{code} {text}\n")
        new.rename(self.plugins / f"{check}.said")

    def definitions(self, target: str, folder: Path) -> None:
        config(target, "--sudo", "none", "--plugin-dir", str(self.plugins), "-o", f"{folder}/")
        path = folder / icinga2_agent.SERVICES
        text = path.read_text().replace("_interval = 5m", "_interval = 60s").replace("_interval = 1m", "_interval = 60s")
        text = re.sub(r"(_interval = )([0-9]+)s", lambda found: f"{found[1]}{int(found[2]) / FASTER:g}s", text)
        path.write_text(text.replace(f"get_time() - {table.FRESH_S})", f"get_time() - {table.FRESH_S / FASTER:g})"))


class Watched:
    """The fleet, what people were told, and a host that can speak for itself."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.master = fleet, fleet.master

    def until(self, what: str, name: str, state: str, after: list[str]) -> None:
        """That people were told of this state of a service."""
        foreground.until(f"{what}; told: {self.master.told()}", lambda: f"{name} {state}" in self.master.told()[len(after):],
                         alive=self.master.server.trouble, every=0.3)

    def fine(self, names: set[str]) -> None:
        """Orders checks until all are OK: what an agent loses while it reads new definitions is asked again after a minute only."""
        foreground.until("all to be OK", lambda: all(result.state == 0 for result in self.master.again(names).values()),
                         alive=self.master.server.trouble, every=1)

    def agent(self) -> AbstractContextManager[Icinga]:
        return icinga2.started(self.fleet.agent.node, ("ip", "netns", "exec", self.fleet.wire.agent))

    def sent(self, name: str, state: int, text: str) -> None:
        """A result that the host sends by itself."""
        query = {"type": "Service", "filter": "service.name == name", "filter_vars": {"name": name}}
        answer = self.master.api("/v1/actions/process-check-result", {**query, "exit_status": state, "plugin_output": text}, "POST")
        assert answer["results"][0]["status"].startswith("Successfully processed check result"), answer

    @contextmanager
    def heart(self, names: set[str]) -> Iterator[None]:
        """The host sends each minute that these are fine."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(MINUTE / 3):
                for name in names:
                    self.sent(name, 0, "sent")

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture(scope="module")
def plain() -> Iterator[Plain]:
    with foreground.folder("gone") as folder:
        yield Plain(folder)


@pytest.fixture(scope="module")
def watched(plain: Plain) -> Iterator[Watched]:
    with icinga2_agent.fleet(plain.plugins.parent, plain) as fleet:
        fleet.master.up()
        found = Watched(fleet)
        found.fine(SERVICES | {HEALTH})
        fleet.master.aged(3600)
        yield found


def test_one_message_where_the_agent_is_gone(watched: Watched, plain: Plain) -> None:
    master = watched.master
    assert master.results([HEALTH])[HEALTH].output == "agent 'agent' is connected"
    before = master.told()  # of the first seconds, before the agent had the commands
    watched.fleet.agent.server.stop()
    watched.until("the message", HEALTH, "CRITICAL", before)
    time.sleep(2 * MINUTE)
    assert master.told() == [*before, f"{HEALTH} CRITICAL"]
    assert master.mail(HEALTH).splitlines() == ["CRITICAL", "agent 'agent' is not connected: its checks wait until it is"]
    forced = master.again(["memory recorder"])["memory recorder"]
    assert (forced.state, forced.output) == (3, "Remote Icinga instance 'agent' is not connected to 'master'"), "so it would have been"

    plain.say("check_oom_kill", 2, "OOM_KILL CRITICAL - 1 OOM kill")  # while the agent is away
    with watched.agent():
        watched.until("the kill", OOM, "CRITICAL", before)
        watched.fine(SERVICES - {OOM} | {HEALTH})
        assert master.told() == [*before, f"{HEALTH} CRITICAL", f"{OOM} CRITICAL"]
        plain.say("check_oom_kill", 0, "fine")
        plain.say("check_mem_pressure", 1, "MEM_PRESSURE WARNING - 12.3% of the last 60 s")
        watched.until("what comes after", "memory pressure", "WARNING", before)
        plain.say("check_mem_pressure", 0, "fine")


def test_what_the_host_sends_is_told_while_the_agent_is_gone(watched: Watched) -> None:
    master = watched.master
    with watched.agent():
        watched.fine(SERVICES | {HEALTH})
        for name in SERVICES:
            watched.sent(name, 0, "sent")
        before = master.told()
    with watched.heart(SERVICES - {"memory", OOM}):
        for name in ("memory", OOM):
            for _ in range(3):  # at most so many looks
                watched.sent(name, 2, f"{name} CRITICAL by the host itself")
            watched.until("the host's own word", name, "CRITICAL", before)
            assert master.mail(name).splitlines() == ["CRITICAL", f"{name} CRITICAL by the host itself"]
        watched.until("the message", HEALTH, "WARNING", before)
    assert sorted(master.told()[len(before):]) == sorted(["memory CRITICAL", f"{OOM} CRITICAL", f"{HEALTH} WARNING"])
    assert master.mail(HEALTH).splitlines() == ["WARNING", "agent 'agent' is not connected: the host sends results by itself"]
