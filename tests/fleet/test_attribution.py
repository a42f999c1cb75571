"""What growth goes with, on fleets whose truth is known: causes, their shadows, and what cannot be told apart."""

from __future__ import annotations

import random
from typing import Callable

import pytest

from memtriage.fleet import attribution
from memtriage.fleet.attribution import CAUSE, EXPLAINED, INSEPARABLE, Answer

Pairs = dict[str, str]


def found(size: int, seed: int, attributes: Callable[[random.Random], Pairs], chance: Callable[[Pairs], float], asked: tuple[str, ...] = ()
          ) -> Answer:
    dice = random.Random(seed)
    hosts = [attributes(dice) for _ in range(size)]
    return attribution.find(hosts, [dice.random() < chance(host) for host in hosts], asked)


def kinds(answer: Answer, kind: str) -> list[list[tuple[str, str]]]:
    return [finding.group.names for finding in answer.findings if finding.kind == kind]


def apart(dice: random.Random) -> Pairs:
    return {"kernel": dice.choice("abcd"), "role": dice.choice("wxyz"), "hardware": dice.choice("123")}


@pytest.mark.parametrize("seed", range(20))
def test_chance_is_no_cause(seed: int) -> None:
    answer = found(600, seed, apart, lambda host: 0.15)
    assert kinds(answer, CAUSE) == kinds(answer, EXPLAINED) == kinds(answer, INSEPARABLE) == []


@pytest.mark.parametrize("seed", range(10))
def test_one_cause(seed: int) -> None:
    answer = found(600, seed, apart, lambda host: 0.4 if host["kernel"] == "b" else 0.02)
    assert kinds(answer, CAUSE) == [[("kernel", "b")]]
    assert kinds(answer, INSEPARABLE) == kinds(answer, EXPLAINED) == []


@pytest.mark.parametrize("seed", range(10))
def test_two_causes_of_their_own(seed: int) -> None:
    answer = found(1500, seed, apart, lambda host: 0.5 if host["kernel"] == "b" else 0.3 if host["role"] == "x" else 0.01)
    assert sorted(kinds(answer, CAUSE)) == [[("kernel", "b")], [("role", "x")]]


@pytest.mark.parametrize("seed", range(10))
def test_a_shadow_is_explained(seed: int) -> None:
    """Role x runs the leaking kernel four times as often as others do, and has no part in it."""
    def hosts(dice: random.Random) -> Pairs:
        role = dice.choice("wxyz")
        return {"role": role, "kernel": dice.choices("abcd", (1, 12 if role == "x" else 1, 1, 1))[0]}

    answer = found(1500, seed, hosts, lambda host: 0.7 if host["kernel"] == "b" else 0.01)
    assert kinds(answer, CAUSE) == [[("kernel", "b")]]
    assert kinds(answer, EXPLAINED) == [[("role", "x")]]
    shadow = next(finding for finding in answer.findings if finding.kind == EXPLAINED)
    assert shadow.odds.ratio > 4 and shadow.within is not None and shadow.within.odds.low < 1.5
    assert shadow.by is not None and shadow.by.names == [("kernel", "b")]


def test_four_strays_of_fifty_are_no_second_cause() -> None:
    """Kernel b leaks on all its hosts, so that nothing can be told there. Of the others 13 grow by chance, 4 of them of the 50 with role x:
    once in a thousand fleets, and there are six groups."""
    def hosts(kernel: str, role: str, grow: int, size: int) -> list[tuple[Pairs, bool]]:
        return [({"kernel": kernel, "role": role}, number < grow) for number in range(size)]

    rows = [*hosts("b", "x", 60, 60), *hosts("b", "y", 100, 100), *hosts("b", "z", 100, 100),
            *hosts("a", "x", 4, 50), *hosts("a", "y", 5, 700), *hosts("a", "z", 4, 700)]
    answer = attribution.find([pairs for pairs, _ in rows], [grows for _, grows in rows])
    assert kinds(answer, CAUSE) == [[("kernel", "b")]]
    assert kinds(answer, EXPLAINED) == [[("role", "x")]]


def test_a_fleet_may_run_many_kernels() -> None:
    """More than any other attribute may have values; it is the one that is asked about."""
    rows = [{"kernel": f"6.{number % 60}", "serial": str(number % 60)} for number in range(1200)]
    grows = [number % 60 == 7 for number in range(1200)]
    assert attribution.find(rows, grows).compared == 0
    answer = attribution.find(rows, grows, (), ["kernel"])
    assert kinds(answer, CAUSE) == [[("kernel", "6.7")]] and set(answer.left_out) == {"serial"}


def test_the_same_hosts_make_one_group() -> None:
    def hosts(dice: random.Random) -> Pairs:
        kernel = dice.choice("abcd")
        return {"kernel": kernel, "debian": {"a": "11", "b": "12"}.get(kernel, "13")}

    answer = found(400, 1, hosts, lambda host: 0.6 if host["kernel"] == "b" else 0.02)
    assert kinds(answer, CAUSE) == [[("debian", "12"), ("kernel", "b")]]


@pytest.mark.parametrize("seed", range(10))
def test_nearly_the_same_hosts_cannot_be_told_apart(seed: int) -> None:
    """All but one in a hundred of the hosts with kernel b have role x, and nearly no others."""
    def hosts(dice: random.Random) -> Pairs:
        kernel = dice.choice("abcd")
        strange = dice.random() < 0.01
        return {"kernel": kernel, "role": "x" if (kernel == "b") != strange else "y"}

    answer = found(400, seed, hosts, lambda host: 0.6 if host["kernel"] == "b" else 0.05)
    together = [name for names in kinds(answer, CAUSE) + kinds(answer, INSEPARABLE) for name in names]
    assert ("kernel", "b") in together and ("role", "x") in together
    assert len(kinds(answer, CAUSE)) == 1


def test_growth_everywhere_is_no_ones() -> None:
    answer = found(300, 1, apart, lambda host: 1.0)
    assert answer.grow == 300 and answer.causes == []


def test_what_is_not_compared() -> None:
    dice = random.Random(1)
    hosts = [{"kernel": "a" if number % 2 else "b", "address": str(number), "os": "Linux", "owner": "me" if number < 3 else "",
              "serial": str(number // 2)} for number in range(200)]
    hosts = [{key: value for key, value in host.items() if value} for host in hosts]
    answer = attribution.find(hosts, [dice.random() < 0.1 for _ in hosts])
    assert answer.left_out == {"address": "too many different values", "serial": "too many different values", "os": "the same on all hosts",
                               "owner": "no value on 5 hosts and not on 5 others"}
    assert answer.compared == 2
    answer = attribution.find(hosts, [False] * 200, ["owner", "os"])
    assert set(answer.left_out) == {"os", "owner"}


def test_asked_for_by_their_beginning() -> None:
    hosts = [{"tags[nfs]": "yes", "tagsold": "1", "packages.nfs": "2" if number % 2 else "3"} if number % 3 else {} for number in range(60)]
    groups, _ = attribution.groups(hosts, ["tags", "packages"])
    assert sorted(name for group in groups for name in group.names) == [("packages.nfs", "2"), ("packages.nfs", "3"), ("tags[nfs]", "yes")]


@pytest.mark.parametrize("size", [0, 1, 4, 9])
def test_too_few_hosts(size: int) -> None:
    answer = attribution.find([{"kernel": "a"}] * size, [True] * size)
    assert answer.findings == [] and answer.judged == size


def test_sets_of_hosts() -> None:
    assert attribution.mask([0, 9, 64], 65) == 1 | 1 << 9 | 1 << 64
    assert attribution.count(attribution.mask(range(10_000), 10_000)) == 10_000
