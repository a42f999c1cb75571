"""The right attribution and no wrong one: 20 fleets of 2,000 hosts, each with one release that leaks on 70 % of its hosts."""

from __future__ import annotations

import time
from typing import Any

import pytest

from memtriage.fleet import hosts, screen, summary
from tests.checks.command import run
from tests.checks.timeline import Moment, show
from tests.fleet import made

KINDS = ("leak", "busy", "calm", "stray", "programs")
Played = list[tuple[str, list[tuple[made.Said, made.Said]]]]


@pytest.fixture(scope="module")
def said() -> Played:
    """One life of each kind at its last moment: 2 s; all of them at all moments are in test_icinga.py."""
    lives = dict(reversed(made.lives(1)))
    return [(kind, [made.play(lives[kind], made.LENGTH)]) for kind in KINDS]


def asked(fleet: list[made.Host], said: Any, by: tuple[str, ...] = ()) -> summary.Summary:
    now = time.time()
    found = hosts.Fleet(now)
    some, services = made.rows(fleet, said, 0, now)
    found.add_hosts(some)
    found.add_services(services)
    return summary.summarise(found, "https://m1:5665", by, None, None)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))])
def test_the_release_and_nothing_else(said: Played, seed: int) -> None:
    fleet = made.fleet(seed, 2000, [kind for kind, _ in said])
    found = asked(fleet, said)
    assert [cause.group.names for cause in found.kernel.causes] == [[("kernel", made.BAD)]]
    assert found.programs.causes == []
    cause = found.kernel.causes[0]
    members = [host for host in fleet if host.release == made.BAD]
    leaking = sum(host.leaks for host in fleet)
    assert cause.table.a + cause.table.b == len(members) and leaking <= cause.table.a <= leaking + 15
    assert [cache.label for cache in found.details[cause.group.mask].caches] == ["kmalloc_4k"]
    assert {("role", made.BUSY)} <= {name for busy in found.busy.causes for name in busy.group.names}
    assert screen.verdict(found) == f"Yes, by the odds: growth goes with kernel={made.BAD}."
    leaking_names = {host.name for host in fleet if host.leaks}
    told = [end for end in found.ends if end.host in leaking_names]
    assert len(told) == leaking and {end.culprit for end in told} == {"kmalloc_4k"}
    assert [end.eta for end in found.ends] == sorted(end.eta for end in found.ends)


@pytest.mark.parametrize("seed", [20, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(21, 40))])
def test_without_a_bad_release_nobody_is_blamed(said: Played, seed: int) -> None:
    kinds = [kind for kind, _ in said]
    fleet = [host._replace(life=kinds.index("calm")) if host.leaks else host for host in made.fleet(seed, 2000, kinds)]
    found = asked(fleet, said)
    assert found.kernel.causes == [] and found.programs.causes == []
    assert screen.verdict(found) == (f"Not one release: growth on {found.kernel.grow} hosts goes with none of {found.kernel.compared} "
                                     "groups compared.")


def test_what_was_not_compared_is_not_acquitted(said: Played) -> None:
    kinds = [kind for kind, _ in said]
    fleet = made.fleet(3, 200, kinds)
    alike = [host._replace(release=made.BAD) for host in fleet]
    for hosts_, by, reason in ((alike, (), "the same on all hosts"), (fleet, ("role",), "--by leaves it out"),
                               (fleet[:8], (), "no value on 5 hosts and not on 5 others"), (fleet, ("nosuch",), "--by leaves it out")):
        found = asked(hosts_, said, by)
        assert screen.verdict(found) == (f"Cannot be told: growth on {found.kernel.grow} of {len(hosts_)} hosts, and no kernel could be "
                                         f"compared: {reason}."), (len(hosts_), by)
    grows = [host._replace(life=kinds.index("programs" if place % 2 else "calm")) for place, host in enumerate(fleet)]
    assert screen.us(asked(grows, said, ("nosuch",))) == "Cannot be told: growth on 100 of 200 hosts, and no groups to compare."
    by_role = [host._replace(release=made.BAD, life=kinds.index("leak" if host.variables["role"] == "web" else "calm")) for host in fleet]
    assert screen.verdict(asked(by_role, said)) == (
        "Cannot be told: growth goes with role=web; no kernel could be compared: the same on all hosts.")


def test_a_release_among_sixty(said: Played) -> None:
    """More than any other attribute may have values; it is the one that is asked about."""
    fleet = [host if host.release == made.BAD else host._replace(release=f"6.1.{place % 60}-amd64")
             for place, host in enumerate(made.fleet(5, 2000, [kind for kind, _ in said]))]
    assert screen.verdict(asked(fleet, said)) == f"Yes, by the odds: growth goes with kernel={made.BAD}."


def test_when_it_is_us(said: Played) -> None:
    """The programs of one role leak, on every kernel alike."""
    kinds = [kind for kind, _ in said]
    fleet = [host._replace(life=kinds.index("programs" if host.variables["role"] == "web" and host.pace > 1 else "calm"))
             for host in made.fleet(40, 1000, kinds)]
    found = asked(fleet, said)
    assert screen.verdict(found) == "No: kernel memory grows on no host."
    assert screen.us(found) == "Programs' growth goes with role=web."


def test_when_it_cannot_be_told(said: Played) -> None:
    """The bad release runs on all hosts of one role, and nowhere else."""
    fleet = [host._replace(variables={**host.variables, "role": "build" if host.release == made.BAD else "web"})
             for host in made.fleet(41, 1000, [kind for kind, _ in said])]
    assert screen.verdict(asked(fleet, said)) == (f"Cannot be told: kernel={made.BAD} and role=build are on the same hosts. "
                                                 "Boot some of them with another kernel.")


def test_when_it_is_a_role(said: Played) -> None:
    kinds = [kind for kind, _ in said]
    fleet = [host._replace(life=kinds.index("leak" if host.variables["role"] == "db" and host.pace > 0.8 else "calm"))
             for host in made.fleet(42, 1000, kinds)]
    assert screen.verdict(asked(fleet, said)) == "No release stands out; growth goes with role=db."


def test_nobody_can_be_judged() -> None:
    found = asked([], [])
    assert list(screen.lines(found)) == [
        "0 hosts of https://m1:5665: 0 judged", "",
        "Is it the kernel?  Nobody can tell: no host has a result of check_slab_growth that can be judged.", "",
        "Is it us?  Nobody can tell: no host has results of both checks."]


@pytest.mark.parametrize("kind", ["leak", "busy"])
def test_what_is_played_is_what_the_checks_print(kind: str, tmp_path: Any) -> None:
    """In this process and as programs, byte for byte."""
    life = dict(made.lives(2))[kind]
    memory = made.history(tmp_path, life, made.LENGTH, made.random.Random(1))
    file = next((tmp_path / "state").rglob("memory.json"))
    before = file.read_bytes()
    proc = show(tmp_path, Moment(made.LENGTH, made.scenario(life, made.LENGTH)))
    for check in ("check_slab_growth", "check_free_mem"):
        file.write_bytes(before)
        here = made.judge(check, proc, memory)
        file.write_bytes(before)
        answer = run(check, "--procfs", proc, "--state-dir", memory).sound()
        first, _, rest = here.text.partition("\n")
        assert (answer.code, answer.out) == (here.code, f"{first} | {' '.join(here.perfdata)}\n{rest}\n")
