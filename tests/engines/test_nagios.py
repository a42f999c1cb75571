"""What a real Nagios 4 holds after it ran the checks itself or through NRPE, field by field, and what it tells people.

Commands and services are those of ``memtriage config``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import foreground, nagios, nrpe
from tests.engines.nagios import Nagios
from tests.engines.nrpe import Nrpe
from tests.engines.services import BAD, CHECKS, LIVE, ROWS, STATES, STEADY, Answer, Table, shown_name

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
SHORT = [name for name in STEADY if name.endswith("_short")]
OLD_PACKETS = [*SHORT, "free_mem_critical", "slab_critical", "proc_critical", "oom_critical", "pressure_critical", "recorder_critical",
               "free_mem_tmpfs"]
"""Asked with packets of version 2, of whose text 1,023 bytes arrive, and with ``check_nrpe -3``: this daemon refuses packets of version 3,
and the client falls back to version 2."""
ROUTES = ("2", "3")


@pytest.fixture(scope="module")
def engine(table: Table) -> Iterator[Nagios]:
    """Nagios on the host that it watches."""
    def define(objects: Path) -> None:
        table.definitions("nagios", objects, "--local", "box", "--template", "tested")

    with foreground.folder("nagios") as folder, nagios.nagios(folder, define) as running:
        running.results()
        yield running


@pytest.fixture(scope="module")
def daemon(table: Table) -> Iterator[Nrpe]:
    """NRPE, for those alone that have a certificate."""
    if nrpe.programs() is None:
        pytest.skip("needs NRPE: apt-get install nagios-nrpe-server nagios-nrpe-plugin")
    with foreground.folder("nrpe") as folder:
        (folder / "nrpe.d").mkdir()
        table.definitions("nrpe", folder / "nrpe.d")
        with Nrpe(folder, {}, foreground.account(), tls=True, lines=f"include_dir={folder}/nrpe.d\n") as running:
            yield running


@pytest.fixture(scope="module")
def remote(table: Table, daemon: Nrpe) -> Iterator[Nagios]:
    """Nagios that asks NRPE."""

    def define(objects: Path) -> None:
        client = table.plugins / "check_nrpe"
        client.write_text(f'#!/bin/sh\nexec {shlex.join([daemon.client, *daemon.options])} -p {daemon.port} "$@"\n')
        client.chmod(0o755)
        table.definitions("nagios", objects, "--template", "tested")
        (objects / "more.cfg").write_text("".join(
            nagios.service(f"v{route} {name}", shlex.join(daemon.question(name, f"-{route}")), "  active_checks_enabled 0\n")
            for name in OLD_PACKETS for route in ROUTES))

    with foreground.folder("nagios") as folder, nagios.nagios(folder, define, "  hostgroups memtriage\n") as running:
        old = {name for name in running.names if name[:3] in ("v2 ", "v3 ")}
        running.results(running.names - old)
        for route in ROUTES:  # one after the other: both remember in the same place
            running.again({name for name in old if name[1] == route})
        yield running


def as_held(answer: Answer) -> nagios.Result:
    """Nagios puts a colon in the place of a semicolon in the first line; all else is what the check printed."""
    return nagios.Result(answer.state, answer.text.replace(";", ":"), answer.perfdata, answer.long)


def test_the_table_has_every_check_in_every_state() -> None:
    assert {(row[1], row[4]) for row in ROWS if row[2]} == {(check, state) for check in CHECKS for state in STATES}


@pytest.mark.parametrize("name", STEADY)
def test_the_command_says_what_the_table_says(table: Table, name: str) -> None:
    assert table.answers[name].state == table.services[name].state
    assert table.services[name].culprit in table.answers[name].text


@pytest.mark.parametrize("name", STEADY)
def test_every_field_arrives(engine: Nagios, table: Table, name: str) -> None:
    assert engine.results([name])[name] == as_held(table.answers[name])


def live(engine: Nagios, table: Table, name: str) -> None:
    """The largest holder may change between two runs."""
    shown = shown_name(name)
    for _ in range(5):
        result, answer = engine.again([shown])[shown], table.direct(name)
        held = Answer(*result)
        if held.shape == answer._replace(text=answer.text.replace(";", ":")).shape:
            break
    else:
        pytest.fail(f"{result} is not {answer}")


@pytest.mark.parametrize("name", LIVE)
def test_this_very_host(engine: Nagios, table: Table, name: str) -> None:
    live(engine, table, name)


@pytest.fixture(scope="module")
def told(engine: Nagios) -> Nagios:
    """The definitions want up to three looks at a bad state before a person is told."""
    for _ in range(2):
        engine.again(BAD)
    return engine


def mailed(answer: Answer) -> str:
    """Nagios takes quotes and the like out of what it puts into a command."""
    kept = str.maketrans("", "", nagios.ILLEGAL)
    held = as_held(answer)
    return f"State: {STATES[held.state]}\n\n{held.text.translate(kept)}\n{held.long.translate(kept)}\n"


@pytest.mark.parametrize("name", BAD)
def test_the_notification_names_the_culprit(told: Nagios, table: Table, name: str) -> None:
    mail = told.mail(name)
    assert mail == mailed(table.answers[name])
    assert table.services[name].culprit.replace(";", ":").translate(str.maketrans("", "", nagios.ILLEGAL)) in mail.splitlines()[2]


def test_through_nrpe_every_field_arrives(remote: Nagios, table: Table) -> None:
    """TLS with certificates on both sides, packets of version 4."""
    held = remote.results()
    for name in STEADY:
        assert held[name] == as_held(table.answers[name])
    assert held["NRPE"].state == 0 and held["NRPE"].text.startswith("NRPE v4"), held["NRPE"]


@pytest.mark.parametrize("name", OLD_PACKETS)
def test_through_old_packets_only_long_output_is_cut(remote: Nagios, table: Table, name: str) -> None:
    """With --short nothing is."""
    answer = table.answers[name]
    whole = as_held(answer)
    room = nrpe.OLD_ROOM - len(answer.first_line) - 1
    assert (room < len(answer.long)) == (name in ("free_mem_critical", "free_mem_tmpfs"))
    for route in ROUTES:
        held = remote.results([f"v{route} {name}"])[f"v{route} {name}"]
        assert held == whole._replace(long=answer.long[: max(0, room)].rstrip("\n"))


@pytest.mark.parametrize("name", LIVE)
def test_through_nrpe_this_very_host(remote: Nagios, table: Table, name: str) -> None:
    live(remote, table, name)
