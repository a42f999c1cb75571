"""All that is said of a fleet, as data: how many grow, what growth goes with, which caches, since when, and who runs out first."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from memtriage.fleet import attribution, hosts
from memtriage.fleet.attribution import Answer, Finding
from memtriage.fleet.hosts import Fleet, Host
from memtriage.record import NamedTuple

KERNEL = re.compile(r"(^|[._ -])kernel([._ -]?(release|version))?$", re.IGNORECASE)
"""Attributes that hold a kernel's release, unless one is named."""
MOVES = 1 << 20
"""Bytes an hour from which on a cache is counted as going up or down."""
BUSY = 16 << 20
"""The same, from which on a host without proven growth is busy."""
CACHES = 3
"""Caches told of one cause."""
SELDOM = 0.1
"""A cache that grows fastest on fewer of a cause's growing hosts is not told."""


class Spread(NamedTuple):
    """One cache over hosts on which its growth is known (it is among their five largest): bytes an hour."""

    known: int
    up: int
    down: int
    median: float


class Cache(NamedTuple):
    """``culprit``: on how many growing hosts of the group it grows fastest."""

    label: str
    culprit: int
    group: Spread
    others: Spread


class Began(NamedTuple):
    """When growth was first seen on a group's growing hosts, seconds since 1970: on the first, and on half of them."""

    hosts: int
    first: float
    half: float
    at_start: int
    """Of how many it was seen at the history's first run, so that it may have begun before."""


class End(NamedTuple):
    """One host that runs out: seconds left, its culprit cache (``None``: programs, or no name) and bytes an hour."""

    host: str
    eta: float
    kind: str
    culprit: str | None
    rate: float | None
    kernel: str | None


class Detail(NamedTuple):
    """What is told of one cause beside its odds."""

    caches: list[Cache]
    began: Began | None


class Summary(NamedTuple):
    api: str
    now: float
    states: dict[str, int]
    """Hosts by the state of check_slab_growth: ok, silent, empty, unknown, none."""
    total: int
    odd: int
    ahead: int
    kernel_keys: list[str]
    kernel: Answer
    programs: Answer
    busy: Answer
    """Hosts without proven growth whose caches move; a cause here is a role at work, no leak."""
    details: dict[int, Detail]
    """By a cause's mask, of ``kernel``."""
    moves: dict[int, tuple[int, int]]
    """By a cause's mask, of ``busy``: on how many hosts a cache goes up and down so fast."""
    steady: int
    """Hosts whose growth only the history proves."""
    history_started: float | None
    ends: list[End]
    growth: dict[str, dict[str, list[tuple[float, bool]]]]
    """For pictures: of ``kernel_keys`` and the causes' keys, by value: growth_per_hour of each judged host, and whether it is proven."""


def summarise(fleet: Fleet, api: str, by: Collection[str], kernel_var: str | None, history_started: float | None) -> Summary:
    everyone = [fleet.hosts[name] for name in sorted(fleet.hosts)]
    judged = [host for host in everyone if host.state == hosts.OK]
    states = dict.fromkeys((hosts.OK, hosts.SILENT, hosts.EMPTY, hosts.UNKNOWN, "none"), 0)
    for host in everyone:
        states[host.state or "none"] += 1
    # A large fleet runs more releases than any other attribute may have values.
    keys = [kernel_var] if kernel_var else sorted({key for host in judged for key in host.attributes if KERNEL.search(key)})
    kernel = attribution.find([host.attributes for host in judged], [host.kernel_grows for host in judged], by, keys)
    # On a host whose slab grows, the other check's trend is that of slab, too: nothing is known of its programs.
    both = [host for host in judged if host.memory and host.memory.state == hosts.OK and not host.kernel_grows]
    programs = attribution.find([host.attributes for host in both], [host.programs_grow for host in both], by, keys)
    quiet = [host for host in judged if not host.kernel_grows]
    busy = attribution.find([host.attributes for host in quiet], [_busy(host) for host in quiet], by, keys)
    details = {cause.group.mask: _detail(judged, cause, history_started) for cause in kernel.causes}
    shown = dict.fromkeys([*keys, *(key for cause in kernel.causes for key, _ in cause.group.names)])
    moves = {cause.group.mask: _moves(quiet, cause) for cause in busy.causes}
    return Summary(api, fleet.now, states, len(everyone), fleet.odd, fleet.ahead, keys, kernel, programs, busy, details, moves,
                   sum(host.steady and host.figure("eta", host.slab) is None for host in judged), history_started,
                   _ends(everyone, keys), {key: _growth(judged, key) for key in shown})


def _busy(host: Host) -> bool:
    return any(abs(rate) >= BUSY for rate in host.growth.values())


def _moves(quiet: list[Host], cause: Finding) -> tuple[int, int]:
    rates = [list(host.growth.values()) or [0] for place, host in enumerate(quiet) if cause.group.mask >> place & 1]
    return sum(max(row) >= BUSY for row in rates), sum(min(row) <= -BUSY for row in rates)


def _detail(judged: list[Host], cause: Finding, started: float | None) -> Detail:
    inside = [bool(cause.group.mask >> place & 1) for place in range(len(judged))]
    group = [host for host, member in zip(judged, inside) if member]
    others = [host for host, member in zip(judged, inside) if not member]
    growing = [host for host in group if host.kernel_grows]
    named: dict[str, int] = {}
    for host in growing:
        if host.culprit:
            named[host.culprit] = named.get(host.culprit, 0) + 1
    often = [label for label in sorted(named, key=lambda label: (-named[label], label)) if named[label] >= SELDOM * len(growing)][:CACHES]
    return Detail([Cache(label, named[label], spread(growing, label), spread(others, label)) for label in often], _began(growing, started))


def spread(among: Iterable[Host], label: str) -> Spread:
    rates = sorted(host.growth[label] for host in among if label in host.growth)
    return Spread(len(rates), sum(rate >= MOVES for rate in rates), sum(rate <= -MOVES for rate in rates), median(rates))


def median(ordered: list[int]) -> float:
    """Of a sorted list; 0 of none."""
    middle = len(ordered) // 2
    return 0.0 if not ordered else float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _began(growing: list[Host], started: float | None) -> Began | None:
    times = sorted(host.since for host in growing if host.since is not None)
    if not times or started is None:
        return None
    return Began(len(times), times[0], times[(len(times) - 1) // 2], sum(time <= started + 1 for time in times))


def _ends(everyone: list[Host], keys: list[str]) -> list[End]:
    found = []
    for host in everyone:
        eta = host.eta
        if eta is None:
            continue
        kind = "kernel" if host.kernel_grows else "programs" if host.programs_grow else "unseen"
        culprit = host.culprit if kind == "kernel" else None
        rate = host.growth[culprit] if culprit else host.figure("growth_per_hour", host.slab) if kind == "kernel" else None
        release = next((host.attributes[key] for key in keys if key in host.attributes), None)
        found.append(End(host.name, eta, kind, culprit, rate, release))
    return sorted(found, key=lambda end: (end.eta, end.host))


def _growth(judged: list[Host], key: str) -> dict[str, list[tuple[float, bool]]]:
    found: dict[str, list[tuple[float, bool]]] = {}
    for host in judged:
        rate = host.figure("growth_per_hour", host.slab)
        if rate is not None and key in host.attributes:
            found.setdefault(host.attributes[key], []).append((rate, host.kernel_grows))
    return found
