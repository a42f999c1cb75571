"""A fleet with a known truth. What its checks said is what our checks say: run in this process on made trees with made histories.

The box is that of tests/fixtures (4 GiB). A life is a share of something that grows, by time; a host has one, and every life is played once
for each of the rounds at which the fleet is asked, so that thousands of hosts cost some dozen runs of the checks.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

from memtriage import following, options, plugin, state, thinning
from tests.checks.timeline import Moment, show
from tests.fixtures.make import TOTAL, Scenario

HOUR, DAY = 3600.0, 86400.0
LENGTH = 3 * DAY
"""Of a life, since boot."""
ROUNDS = (0.75 * DAY, 2 * DAY, LENGTH)
STEP = 1800.0
BAD = "6.1.0-13-amd64"
"""The release that leaks, on 70 % of its hosts."""
RELEASES = (BAD, "6.1.0-12-amd64", "6.1.0-17-amd64", "5.10.0-26-amd64", "6.5.0-0.deb12.4-amd64")
ROLES = ("build", "web", "db", "cache", "mail", "ci")
BUSY = "cache"
"""The role whose kernel memory is large and goes up and down with the day, on all its hosts at the same time."""


SERVICES = ("slab growth", "free memory")


class Said(NamedTuple):
    """What one check printed: exit code, text, perfdata, as an engine takes it apart."""

    code: int
    text: str
    perfdata: list[str]


class Life(NamedTuple):
    """``share(time)`` of ``high`` kB is taken by a slab cache, or by a process group where ``cache`` is None."""

    cache: str | None
    high: int
    share: Callable[[float], float]


class Host(NamedTuple):
    name: str
    release: str
    variables: dict[str, Any]
    life: int
    leaks: bool
    pace: float
    """Its figures of growth are so many times those of the life that it shares with others."""


def scenario(life: Life, time: float) -> Scenario:
    taken = int(life.high * life.share(time))
    if life.cache is None:
        return Scenario("fleet", "made", available=int(TOTAL * 0.75) - taken, group=("httpd", 8, 17408 + taken // 8 // 4 * 4))
    return Scenario("fleet", "made", available=int(TOTAL * 0.75) - taken, slab={life.cache: 4000 + taken})


def linear(start: float, chance: random.Random) -> Callable[[float], float]:
    """From ``start`` to the end of the life, with a noise of 1 %."""
    return lambda time: max(0.0, (time - start) / (LENGTH - start)) * (1 + chance.uniform(-0.01, 0.01))


def daily(shift: float, chance: random.Random) -> Callable[[float], float]:
    """Low and high once a day; the last round falls into the steepest rise."""
    return lambda time: 0.55 + 0.4 * math.sin(2 * math.pi * (time - LENGTH + shift) / DAY) + chance.uniform(-0.04, 0.04)


def lives(seed: int) -> list[tuple[str, Life]]:
    """By kind: ``leak`` and ``busy``, and what else there is on any host: ``calm``, ``stray`` (a leak of its own), ``programs``."""
    chance = random.Random(seed)
    found = []
    for _ in range(6):
        found.append(("leak", Life("kmalloc-4k", int(TOTAL * chance.uniform(0.45, 0.65)), linear(chance.uniform(0.2, 0.7) * DAY, chance))))
    for _ in range(5):
        found.append(("busy", Life("kmalloc-1k", int(TOTAL * chance.uniform(0.2, 0.4)), daily(chance.uniform(-1, 1) * HOUR, chance))))
    for _ in range(5):
        size, level = int(TOTAL * chance.uniform(0.01, 0.08)), chance.uniform(0.3, 0.7)
        found.append(("calm", Life("filp", size, lambda time, level=level: level + chance.uniform(-0.2, 0.2))))  # type: ignore[misc]
    for cache in ("filp", "kmalloc-2k"):
        found.append(("stray", Life(cache, int(TOTAL * 0.5), linear(0.5 * DAY, chance))))
    for _ in range(2):
        found.append(("programs", Life(None, int(TOTAL * 0.5), linear(0.3 * DAY, chance))))
    return found


def _module(name: str) -> Any:
    module = importlib.import_module(f"checks.{name}")
    gc.enable()  # a check has no use for it, the tests do
    return module


def judge(check: str, proc: str, memory: str) -> Said:
    """What the check prints on this tree and history: its own code, in this process."""
    module = _module(check)
    name = check[len("check_") :]
    args = options.parse(name, "", module.OPTIONS, ["--procfs", proc, "--state-dir", memory])
    text = plugin.render(name.upper(), module.judge(args), 4096).decode()
    first, _, rest = text.partition("\n")
    line, _, perfdata = first.partition(" | ")
    state_now = plugin.STATES.index(line.split(" ")[1])
    return Said(state_now, line + "\n" + rest.rstrip("\n"), perfdata.split(" "))


_SAMPLES: dict[str, state.Sample] = {}


def _sample(folder: Path, key: str, wanted: Scenario) -> state.Sample:
    """Raw counters of a made tree; a tree has a hundred files, and many lives begin alike."""
    if key not in _SAMPLES:
        proc = show(folder, Moment(1000.0, wanted))
        _SAMPLES[key] = following.sample(proc, following.read(proc, os.path.join(proc, "../sys")))
    return _SAMPLES[key]


def history(folder: Path, life: Life, end: float, chance: random.Random) -> str:
    """The state folder of a host that has been checked every half hour since boot: straight lines between two trees' samples."""
    low = Life(life.cache, life.high, lambda time: 0.0)
    high = Life(life.cache, life.high, lambda time: 1.0)
    ends = [_sample(folder, repr(scenario(kind, 0)), scenario(kind, 0)) for kind in (low, high)]
    samples = []
    time = STEP
    while time < end:
        part = life.share(time)
        values = {key: int(ends[0].values.get(key, 0) + part * (ends[1].values.get(key, 0) - ends[0].values.get(key, 0)))
                  for key in {**ends[0].values, **ends[1].values}}
        samples.append(state.Sample(ends[0].boot, time, values))
        time += STEP * chance.uniform(0.97, 1.03)
    own = folder / "state" / str(os.geteuid())
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = thinning.thinned(samples)
    data, cut = thinning.fitted(following.NAME, kept, kept[-1])
    assert not cut
    (own / "memory.json").write_bytes(data)
    (own / "memory.json").chmod(0o600)
    return str(folder / "state")


def play(life: Life, end: float, seed: int = 1) -> tuple[Said, Said]:
    """check_slab_growth and check_free_mem at a moment of a life."""
    # In memory: what a check remembers it waits to have on the disk, for some tenths of a second.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        folder = Path(name)
        memory = history(folder, life, end, random.Random(seed))
        proc = show(folder, Moment(end, scenario(life, end)))
        return judge("check_slab_growth", proc, memory), judge("check_free_mem", proc, memory)


def played(seed: int, rounds: tuple[float, ...] = ROUNDS) -> list[tuple[str, list[tuple[Said, Said]]]]:
    """All lives of a seed at all rounds."""
    return [(kind, [play(life, end, seed) for end in rounds]) for kind, life in lives(seed)]


def fleet(seed: int, size: int, kinds: list[str]) -> list[Host]:
    """Hosts of known truth. The bad release is twice as frequent on build and cache hosts, and its distribution release goes with it."""
    chance = random.Random(1000 + seed)
    by_kind = {kind: [place for place, name in enumerate(kinds) if name == kind] for kind in set(kinds)}
    found = []
    for number in range(size):
        role = chance.choices(ROLES, (3, 5, 3, 3, 2, 1))[0]
        weights = [4 if role in ("build", BUSY) else 2, 3, 3, 2, 1]
        release = chance.choices(RELEASES, weights)[0]
        leaks = release == BAD and chance.random() < 0.7
        dice = chance.random()
        kind = "leak" if leaks else "stray" if dice < 0.01 else "programs" if dice < 0.02 else "busy" if role == BUSY else "calm"
        debian = {"6": "12", "5": "11"}[release[0]] + "." + str(chance.randint(1, 4))
        variables = {"role": role, "os": {"family": "Debian", "release": debian},
                     "hardware": chance.choice(["r640", "r740", "kvm", "c220"]),
                     "packages": {"nfs-common": chance.choice(["2.6.2-4", "1.3.4-6"]),
                                  "openssl": chance.choice(["3.0.11", "3.0.13", "3.0.14"])},
                     "site": chance.choice(["a", "b", "c"]), "owner": f"team{chance.randint(1, 12)}",
                     "address": f"10.1.{number >> 8}.{number & 255}", "snmp_community": "not to be shown",
                     "tags": chance.sample(["nfs", "lvm", "ipv6", "docker"], 2)}
        life = chance.choice(by_kind[kind])
        found.append(Host(f"h{number:05d}.example.net", release, variables, life, leaks, chance.uniform(0.6, 1.5)))
    return found


def rows(hosts: list[Host], said: list[tuple[str, list[tuple[Said, Said]]]], at: int, now: float) -> tuple[
        list[dict[str, Any]], Iterator[dict[str, Any]]]:
    """``attrs`` of hosts and services as the API gives them, at one of the rounds."""
    return ([{"name": host.name, "vars": host.variables, "groups": ["linux"], "zone": ""} for host in hosts],
            (service(host, check, said, at, now) for host in hosts for check in (0, 1)))


def output(said: Said, host: Host) -> str:
    """The text, with the host's own kernel in place of the made tree's."""
    return said.text.replace("Linux 6.1.0-28-amd64", f"Linux {host.release}")


def paced(said: Said, host: Host) -> list[str]:
    """The perfdata, growth and time to exhaustion at the host's own pace; everything else as the check printed it."""
    found = []
    for item in said.perfdata:
        label, _, rest = item.partition("=")
        number = re.match(r"-?[0-9]+", rest)
        if number and (label in ("eta", "growth_per_hour") or label.startswith("g_")):
            factor = 1 / host.pace if label == "eta" else host.pace
            rest = f"{int(int(number.group()) * factor)}{rest[number.end():]}"
        found.append(f"{label}={rest}")
    return found


def service(host: Host, check: int, said: list[tuple[str, list[tuple[Said, Said]]]], at: int, now: float) -> dict[str, Any]:
    answer, ended = said[host.life][1][at][check], now - 30.5
    return {"name": SERVICES[check], "host_name": host.name, "check_command": "passive", "check_interval": 300,
            "last_check_result": {"active": False, "check_source": "m1", "command": None, "execution_end": ended, "execution_start": ended,
                                  "exit_status": answer.code, "output": output(answer, host), "performance_data": paced(answer, host),
                                  "previous_hard_state": 99, "schedule_end": now - 30, "schedule_start": now - 30,
                                  "scheduling_source": "m1", "state": answer.code, "ttl": 0, "type": "CheckResult",
                                  "vars_after": {"attempt": 1, "reachable": True, "state": answer.code, "state_type": 1},
                                  "vars_before": None}}
