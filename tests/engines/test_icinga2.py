"""What a real Icinga 2 holds after it ran the checks, field by field, what it sends to graphs, and what it tells people.

Commands and services are those of ``memtriage config``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import foreground, icinga2
from tests.engines.icinga2 import Icinga, Node, Result, Sink
from tests.engines.services import BAD, LIVE, STATES, STEADY, Answer, Table, shown_name

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    """Takes what Icinga 2 sends to Graphite."""
    made = Sink()
    yield made
    made.close()


@pytest.fixture(scope="module")
def engine(table: Table, sink: Sink) -> Iterator[Icinga]:
    with foreground.folder("icinga2") as folder:
        node = Node(folder, icinga2.MASTER, table.plugins)
        table.definitions("icinga2", folder / "objects.d")
        node.watch()
        (folder / "objects.d" / "graphite.conf").write_text(icinga2.GRAPHITE.format(port=sink.port))
        node.certify(node)
        with icinga2.started(node) as running:
            running.up()
            # What is measured before the writer is connected is lost.
            foreground.until("the writer", lambda: sink.connected, alive=running.server.trouble)
            running.again()
            yield running


def as_held(answer: Answer, source: str = icinga2.MASTER) -> Result:
    """Icinga 2 keeps the blank before the bar."""
    output = answer.text + (" " if answer.perfdata else "") + ("\n" + answer.long if answer.long else "")
    return Result(answer.state, output, answer.perfdata.split(" ") if answer.perfdata else [], source)


@pytest.mark.parametrize("name", STEADY)
def test_every_field_arrives(engine: Icinga, table: Table, name: str) -> None:
    assert engine.results([name])[name] == as_held(table.answers[name])


def points(item: str) -> dict[str, float]:
    """What a graph should get of one perfdata item: all but thresholds that are no plain number, which Icinga 2 leaves out."""
    label, _, rest = item.partition("=")
    value, *ends = rest.split(";")
    names = ("value", "warn", "crit", "min", "max")
    return {f"{label}.{name}": float(text.rstrip("Bsc%")) for name, text in zip(names, [value, *ends]) if text and ":" not in text}


@pytest.mark.parametrize("name", STEADY)
def test_graphs_get_every_number_and_its_thresholds(engine: Icinga, table: Table, sink: Sink, name: str) -> None:
    wanted: dict[str, float] = {}
    for item in as_held(table.answers[name]).perfdata:
        wanted.update(points(item))
    prefix = f"icinga2.{icinga2.MASTER}.services.{name}.memtriage-{table.services[name].check[6:].replace('_', '-')}.perfdata."

    def sent() -> dict[str, float]:
        return {path[len(prefix):]: float(value) for path, value in sink.values().items() if path.startswith(prefix)}

    foreground.until("the writer", lambda: set(sent()) >= set(wanted), alive=engine.server.trouble)
    assert sent() == wanted


def live(engine: Icinga, table: Table, name: str, source: str = icinga2.MASTER) -> None:
    """The largest holder may change between two runs."""
    shown = shown_name(name)
    for _ in range(5):
        result, answer = engine.again([shown])[shown], table.direct(name)
        first, _, rest = result.output.partition("\n")
        held = Answer(result.state, first.rstrip(" "), " ".join(result.perfdata), rest)
        if held.shape == answer.shape and result.source == source:
            break
    else:
        pytest.fail(f"{result} is not {answer}")


@pytest.mark.parametrize("name", LIVE)
def test_this_very_host(engine: Icinga, table: Table, name: str) -> None:
    live(engine, table, name)


@pytest.fixture(scope="module")
def told(engine: Icinga) -> Icinga:
    """The definitions want up to three looks at a bad state before a person is told."""
    for _ in range(2):
        engine.again(BAD)
    return engine


@pytest.mark.parametrize("name", BAD)
def test_the_notification_names_the_culprit(told: Icinga, table: Table, name: str) -> None:
    answer = table.answers[name]
    state, first, *rest = told.mail(name).splitlines()
    assert state == STATES[answer.state]
    assert first.rstrip(" ") == answer.text and table.services[name].culprit in first
    assert "\n".join(rest) == answer.long
