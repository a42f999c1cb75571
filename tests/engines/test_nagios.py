"""What a real Nagios 4 holds after it ran the checks itself, field by field, and what it tells people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.engines import foreground, nagios
from tests.engines.nagios import Nagios
from tests.engines.services import CHECKS, ROWS, STATES, Answer, Table

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
NAMES = [row[0] for row in ROWS]
BAD = [row[0] for row in ROWS if row[4] != "OK"]


@pytest.fixture(scope="module")
def engine(table: Table) -> Iterator[Nagios]:
    with foreground.folder("nagios") as folder:
        lines = {name: shlex.join(table.command(service)) for name, service in table.services.items()}
        with nagios.nagios(folder, lines) as running:
            running.results()
            yield running


def same(result: nagios.Result, answer: Answer) -> None:
    """Nagios puts a colon in the place of a semicolon in the first line; all else is what the check printed."""
    assert result == nagios.Result(answer.state, answer.text.replace(";", ":"), answer.perfdata, answer.long)


def test_the_table_has_every_check_in_every_state() -> None:
    assert {(row[1], row[4]) for row in ROWS} == {(check, state) for check in CHECKS for state in STATES}


@pytest.mark.parametrize("name", NAMES)
def test_every_field_arrives(engine: Nagios, table: Table, name: str) -> None:
    service = table.services[name]
    answer = table.answers[name]
    assert answer.state == service.state and service.culprit in answer.text, answer.out
    same(engine.results([name])[name], answer)


@pytest.mark.parametrize("name", BAD)
def test_the_notification_names_the_culprit(engine: Nagios, table: Table, name: str) -> None:
    """Nagios takes quotes and the like out of what it puts into a command."""
    answer = table.answers[name]
    kept = str.maketrans("", "", nagios.ILLEGAL)
    state = STATES[answer.state]
    first = answer.text.replace(";", ":").translate(kept)
    assert engine.mail(name) == f"Service: {name}\nState: {state}\n\n{first}\n{answer.long.translate(kept)}\n"
    assert table.services[name].culprit.replace(";", ":").translate(kept) in first
