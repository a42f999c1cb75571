"""The path a fleet takes: an Icinga 2 master has its agent in another network namespace run the checks, over Icinga's own TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import foreground, icinga2_agent
from tests.engines.icinga2_agent import AGENT, Fleet
from tests.engines.services import BAD, LIVE, STATES, STEADY, Table
from tests.engines.test_icinga2 import as_held, live

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]


@pytest.fixture(scope="module")
def fleet(table: Table) -> Iterator[Fleet]:
    with foreground.folder("fleet") as folder, icinga2_agent.fleet(folder, table) as running:
        running.master.up()

        def connected() -> bool:
            endpoints = running.master.api("/v1/objects/endpoints")["results"]
            return any(item["name"] == AGENT and item["attrs"]["connected"] for item in endpoints)

        foreground.until("the agent", connected, alive=lambda: running.master.server.trouble() or running.agent.server.trouble())

        def informed() -> bool:
            """The agent has loaded the commands that the master sent it."""
            return "does not exist" not in running.master.again(["free_mem_ok"])["free_mem_ok"].output

        foreground.until("the agent's commands", informed, every=1)
        running.master.again()
        yield running


@pytest.mark.parametrize("name", STEADY)
def test_every_field_arrives(fleet: Fleet, table: Table, name: str) -> None:
    assert fleet.master.results([name])[name] == as_held(table.answers[name], AGENT)


@pytest.mark.parametrize("name", LIVE)
def test_this_very_host(fleet: Fleet, table: Table, name: str) -> None:
    live(fleet.master, table, name, AGENT)


def test_the_notifications_name_the_culprits(fleet: Fleet, table: Table) -> None:
    for _ in range(2):
        fleet.master.again(BAD)
    for name in BAD:
        answer = table.answers[name]
        state, first, *rest = fleet.master.mail(name).splitlines()
        assert (state, first.rstrip(" "), "\n".join(rest)) == (STATES[answer.state], answer.text, answer.long)
