"""One fleet of known truth through a real Icinga 2: 2,000 hosts, fed by passive results in three rounds, asked after each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.fleet import asking, icinga, made
from tests.fleet.icinga import Icinga

SIZE = 2000
MOST_S, MOST_MIB = 10.0, 300
TRIES = 3
NOBODY = ("No: kernel memory grows on no host.", "Not one release: ")
"""What may be said as long as too little is proven."""


class Costs(NamedTuple):
    """The most of all questions of a seed. ``engine``: CPU of Icinga 2 meanwhile."""

    took: float
    spent: float
    engine: float
    held: float


class Ran(NamedTuple):
    costs: Costs
    verdicts: list[str]
    """One a round."""
    tree: dict[str, Any]
    """The last round's."""
    leaking: int
    """Hosts that leak in truth."""


def words(to: Icinga, *options: str) -> list[str]:
    return ["--api", to.url, "--credentials", to.credentials(), "--ca", to.ca, "--name", icinga.NODE, *options]


def ask(to: Icinga, *options: str) -> tuple[str, Costs]:
    """What it says, within the limits: :data:`MOST_S` seconds of CPU, its own and Icinga 2's together, and of the clock; of the clock in
    one of :data:`TRIES`, since the machine may have other work, which takes nothing from CPU."""
    worst = Costs(0, 0, 0, 0)
    for _ in range(TRIES):
        before = icinga.cpu(to.pid)
        done = asking.ask(words(to, *options))
        costs = Costs(done.took, done.spent, icinga.cpu(to.pid) - before, done.held)
        assert costs.spent + costs.engine < MOST_S and costs.held < MOST_MIB, costs
        worst = most(worst, costs)
        if done.took < MOST_S:
            return done.out, worst
    raise AssertionError(f"{TRIES} times longer than {MOST_S:g} s: {worst}")


def most(one: Costs, other: Costs) -> Costs:
    return Costs(*(max(pair) for pair in zip(one, other)))


def results(hosts: list[made.Host], said: Any, at: int, ended: float) -> Iterator[dict[str, Any]]:
    for host in hosts:
        for check, service in enumerate(made.SERVICES):
            answer = said[host.life][1][at][check]
            yield icinga.result(service, host.name, answer, made.paced(answer, host), ended, made.output(answer, host))


def run(seed: int, folder: Path) -> Ran:
    """Raises AssertionError where anything but the release that leaks is named in any round, or where it is not in the last."""
    said = made.played(seed)
    hosts = made.fleet(seed, SIZE, [kind for kind, _ in said])
    history = str(folder / f"history-{seed}")
    verdicts = []
    with icinga.running(icinga.definitions(hosts)) as to:
        out, worst = ask(to)
        assert f"{SIZE} hosts of {to.url}: 0 judged, {SIZE} never checked" in out
        for at in range(len(made.ROUNDS)):
            assert to.feed(results(hosts, said, at, time.time())) == 2 * SIZE
            out, costs = ask(to, "--json", "--history", history)
            worst = most(worst, costs)
            tree = json.loads(out)
            assert tree["hosts"]["ok"] == SIZE and tree["perfdata_odd"] == 0
            verdicts.append(tree["verdict"]["kernel"])
            named = [cause["attributes"] for cause in causes(tree)]
            assert named in ([], [[{"key": "kernel", "value": made.BAD}]]), named
            assert verdicts[-1] == verdict(named) or (not named and verdicts[-1].startswith(NOBODY)), verdicts
            assert [found for found in tree["programs"]["findings"] if found["kind"] == "cause"] == []
            assert tree["verdict"]["programs"][:9] in ("No: progr", "Nothing s"), tree["verdict"]
        assert causes(tree), verdicts
        out, costs = ask(to)
        assert f"Is it the kernel?  {verdicts[-1]}" in out.splitlines()
    return Ran(most(worst, costs), verdicts, tree, sum(host.leaks for host in hosts))


def causes(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [found for found in tree["kernel"]["findings"] if found["kind"] == "cause"]


def verdict(named: list[Any]) -> str:
    return f"Yes, by the odds: growth goes with kernel={made.BAD}." if named else NOBODY[0]
