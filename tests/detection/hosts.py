"""Simulated hosts with a known truth, for the scoreboard of detection: what the state file of a real host would hold, one sample a run.

A host is RAM, parts that grow by themselves or with the day, and at most one story: a leak (then the truth is what leaks, and when memory
is gone) or something that looks like one and is none. All parameters stand at the generators; all randomness comes from the seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Callable, NamedTuple

HOUR, DAY = 3600.0, 86400.0
MIB, GIB = 1024.0**2, 1024.0**3
PAGE = 4096
BOOT = "11111111-2222-3333-4444-555555555555"


class Story(NamedTuple):
    """What happens. Functions of seconds since boot (and of the host's own noise) give bytes."""

    name: str
    parts: dict[str, Callable[[float], float]]
    """``g.NAME``, ``c.NAME`` or ``p.NAME`` -> bytes. Groups add to p.anon, caches to their slab part."""
    truth: frozenset[str]
    """Keys that are right to name; empty for the benign."""
    start: float
    """When the leak begins, seconds since boot."""
    days: float
    """How long a benign series is followed, and a leak at most."""
    reclaimable: frozenset[str] = frozenset()
    """Caches among the parts that count as SReclaimable."""
    in_use: float | None = None
    """Share of the objects of the reclaimable caches that is in use."""
    members: Callable[[float], int] = lambda time: 1


class Host(NamedTuple):
    total: float
    story: Story
    exhausted: float | None
    """When memory is gone, seconds since boot; ``None`` where it never is."""
    samples: list[tuple[float, dict[str, int], float]]
    """Seconds since boot, raw counters, and what is really left in bytes."""


def ramp(start: float, slope: float) -> Callable[[float], float]:
    return lambda time: max(0.0, time - start) * slope


def host(story: Story, seed: int, total: float, step: float = 300.0, rough: bool = False) -> Host:
    """Runs a story on a host with ordinary noise. ``rough``: runs come late by up to half a step, and one in six is missed."""
    chance = random.Random(f"{story.name}{seed}{rough}")
    base = total * chance.uniform(0.15, 0.3)  # processes that stay
    kernel = total * 0.03
    filesystem = total * 0.4  # how far the page cache would like to grow
    noise = total * 0.004
    time, pgscan = 120.0, 0.0
    samples: list[tuple[float, dict[str, int], float]] = []
    exhausted = None
    while time < story.days * DAY:
        values = {key: max(0.0, part(time)) for key, part in story.parts.items()}
        groups = {key: value for key, value in values.items() if key.startswith("g.")}
        groups["g.base"] = base + chance.gauss(0, noise)
        caches = {key: value for key, value in values.items() if key.startswith("c.")}
        caches["c.kmalloc-512"] = kernel * (1 + chance.gauss(0, 0.02))
        caches["c.dentry"] = caches.get("c.dentry", 0.0) + kernel * (0.5 + chance.gauss(0, 0.02))
        easy = {key for key in caches if key in story.reclaimable or key == "c.dentry"}
        reclaimable = sum(caches[key] for key in easy)
        fixed = sum(caches[key] for key in caches if key not in easy)
        anon = sum(groups.values())
        other = {key[2:]: value for key, value in values.items() if key.startswith("p.")}
        taken = anon + fixed + sum(other.values()) + total * 0.03
        kept = sum(caches[key] for key in story.reclaimable if story.in_use is not None and key in caches) * (story.in_use or 0)
        left = total - taken - kept
        available = min(total, max(0.0, total - taken))
        # Reclaimable caches give way before programs do, if nothing holds them.
        room = max(0.0, total - taken)
        reclaimable = min(reclaimable, max(kept, room))
        for key in easy:
            caches[key] = min(caches[key], max(kept if key in story.reclaimable else 0.0, room))
        cache = max(0.0, min(filesystem * min(1.0, time / DAY), room - reclaimable))
        free = max(0.0, room - reclaimable - cache)
        if free < total * 0.02:
            pgscan += total / PAGE * 0.05
        row = {"available": available / 1024, "total": total / 1024, "p.free": free / 1024, "p.anon": anon / 1024,
               "p.page_cache": cache / 1024, "p.slab_reclaimable": reclaimable / 1024, "p.slab_unreclaimable": fixed / 1024,
               "pgscan": pgscan}
        row.update({f"p.{key}": value / 1024 for key, value in other.items()})
        row.update({key: value / PAGE for key, value in caches.items() if value >= 256 * 1024})
        row.update({key: value / PAGE for key, value in groups.items() if value >= 4 * MIB})
        for key in groups:
            row["n." + key[2:]] = story.members(time) if key in values else 12
        if left < total * 0.01:
            exhausted = time
            break
        if not (rough and chance.random() < 1 / 6):
            samples.append((time, {key: int(value) for key, value in row.items()}, left))
        time += step * (chance.uniform(0.7, 1.5) if rough else 1.0)
    return Host(total, story, exhausted, samples)


# --- leaks: total time from start to exhaustion is ``length``, which the host's noise and other parts shorten a little -------------------

def _plan(name: str, seed: int) -> tuple[random.Random, float, float, float]:
    """Chance, RAM (2 GiB to 256 GiB), start of the leak (3 h to 2 d) and its length (6 h to 4 d, evenly in the logarithm)."""
    chance = random.Random(name + str(seed))
    total = GIB * 2 ** chance.randint(1, 8)
    return chance, total, chance.uniform(3 * HOUR, 2 * DAY), math.exp(chance.uniform(math.log(6 * HOUR), math.log(4 * DAY)))


def _leak(name: str, key: str, seed: int, shape: Callable[[random.Random, float, float, float], Callable[[float], float]],
          truth: frozenset[str] | None = None) -> tuple[Story, float]:
    chance, total, start, length = _plan(name, seed)
    part = shape(chance, start, length, total * 0.7)
    return Story(name, {key: part}, truth or frozenset([key]), start, (start + 6 * length) / DAY), total


def linear(chance: random.Random, start: float, length: float, room: float) -> Callable[[float], float]:
    return ramp(start, room / length)


def stepped(chance: random.Random, start: float, length: float, room: float) -> Callable[[float], float]:
    """A step of equal height every 24th of the time."""
    return lambda time: room / 24 * math.floor(max(0.0, time - start) / (length / 24))


def bursty(chance: random.Random, start: float, length: float, room: float) -> Callable[[float], float]:
    """120 bursts at random moments, heights from 0.2 to 3 of the mean."""
    times = sorted(start + length * 1.5 * chance.random() for _ in range(180))
    heights = [room / 120 * min(3.0, max(0.2, chance.expovariate(1.0))) for _ in times]

    def value(time: float) -> float:
        return sum(height for moment, height in zip(times, heights) if moment <= time)
    return value


def noisy(chance: random.Random, start: float, length: float, room: float) -> Callable[[float], float]:
    """Slow, with a noise of 3 % of RAM."""
    own = random.Random(chance.random())
    return lambda time: max(0.0, time - start) * room / length + abs(own.gauss(0, 0.03 * room / 0.7))


def nightly(chance: random.Random, start: float, length: float, room: float) -> Callable[[float], float]:
    """Grows in 16 hours of the day only."""
    def value(time: float) -> float:
        since = max(0.0, time - start)
        days, rest = divmod(since, DAY)
        return (days * 16 * HOUR + min(rest, 16 * HOUR)) * room / (length * 2 / 3)
    return value


def fan_out(seed: int) -> tuple[Story, float]:
    """40 to 200 workers of equal size, started one after the other."""
    chance, total, start, length = _plan("fan-out", seed)
    workers = int(chance.uniform(40, 200))

    def members(time: float) -> int:
        return int(max(0.0, time - start) / length * workers)
    return Story("worker fan-out", {"g.httpd": lambda time: members(time) * total * 0.7 / workers}, frozenset(["g.httpd"]), start,
                 (start + 3 * length) / DAY, members=members), total


def two(seed: int) -> tuple[Story, float]:
    """A process and a cache, 35 to 65 % of the loss each."""
    chance, total, start, length = _plan("two", seed)
    part = chance.uniform(0.35, 0.65)
    parts = {"g.java": ramp(start, total * 0.7 * part / length), "c.kmalloc-2k": ramp(start, total * 0.7 * (1 - part) / length)}
    return Story("two at once", parts, frozenset(parts), start, (start + 3 * length) / DAY), total


def pinned(seed: int) -> tuple[Story, float]:
    """The story itself: MemAvailable counts all of it, and 97 % of it is in use."""
    _, total, start, length = _plan("pinned", seed)
    parts = {"c.nfs_inode_cache": ramp(start, total * 0.7 / length)}
    return Story("nfs inodes pinned", parts, frozenset(parts), start, (start + 3 * length) / DAY, frozenset(parts), 0.97), total


def cgroups(seed: int) -> tuple[Story, float]:
    """What abandoned cgroups leave: two caches and per-CPU memory."""
    _, total, start, length = _plan("cgroups", seed)
    parts = {"c.kmalloc-4k": ramp(start, total * 0.28 / length), "c.kernfs_node_cache": ramp(start, total * 0.16 / length),
             "p.per_cpu": ramp(start, total * 0.26 / length)}
    return Story("dying cgroups", parts, frozenset(parts), start, (start + 3 * length) / DAY), total


def limit(seed: int) -> tuple[Story, float]:
    """The total is the limit of a cgroup: 256 MiB to 4 GiB."""
    chance, _, start, length = _plan("limit", seed)
    total = chance.choice([0.25, 0.5, 1.0, 4.0]) * GIB
    parts = {"g.gunicorn": ramp(start, total * 0.7 / length)}
    return Story("process under a cgroup limit", parts, frozenset(parts), start, (start + 3 * length) / DAY), total


def leaks(seed: int) -> Iterator[tuple[Story, float]]:
    """One leak of each kind, with the RAM of its host."""
    for name, key, shape in (
        ("slab linear", "c.kmalloc-4k", linear), ("slab stepped", "c.filp", stepped), ("slab bursty", "c.skbuff_head_cache", bursty),
        ("slab under noise", "c.kmalloc-1k", noisy), ("slab pauses at night", "c.task_struct", nightly),
        ("process linear", "g.java", linear), ("process stepped", "g.python3", stepped), ("process bursty", "g.httpd", bursty),
        ("process under noise", "g.node", noisy), ("process pauses at night", "g.celery", nightly), ("tmpfs", "p.shmem", bursty),
        ("no counter explains", "p.unaccounted", linear), ("page tables", "p.page_tables", linear),
    ):
        yield _leak(name, key, seed, shape)
    for special in (fan_out, two, pinned, cgroups, limit):
        yield special(seed)


# --- not leaks: the heights are shares of RAM ---

def _benign(name: str, days: float, parts: dict[str, Callable[[float], float]], reclaimable: frozenset[str] = frozenset(),
            in_use: float | None = None, members: Callable[[float], int] = lambda time: 1) -> Story:
    return Story(name, parts, frozenset(), 0.0, days, reclaimable, in_use, members)


def steady(chance: random.Random, total: float) -> Story:
    """A random walk of 3 % around 20 %."""
    return _benign("steady with noise", 5, {"g.java": _wander(chance, total * 0.2, total * 0.03)})


def daily(chance: random.Random, total: float) -> Story:
    """A sine of 8 to 25 % with the day; workers come and go with it."""
    high, shift = total * chance.uniform(0.08, 0.25), chance.uniform(0, DAY)

    def load(time: float) -> float:
        return (1 - math.cos(2 * math.pi * (time - shift) / DAY)) / 2
    return _benign("daily load, up and down", 6, {"g.httpd": lambda time: high * load(time)}, members=lambda time: 5 + int(80 * load(time)))


def saw(chance: random.Random, total: float) -> Story:
    """Grows 8 to 20 % a day, restarted at midnight."""
    tooth = total * chance.uniform(0.08, 0.2)
    return _benign("daily saw-tooth, restarted at night", 6, {"g.java": lambda time: tooth * (time % DAY) / DAY})


def heap(chance: random.Random, total: float) -> Story:
    """A garbage collector: 10 to 30 %, every 20 minutes to 4 hours."""
    top, period = total * chance.uniform(0.1, 0.3), chance.uniform(0.3, 4) * HOUR
    return _benign("garbage collector", 4, {"g.java": lambda time: top * (0.4 + 0.6 * (time % period) / period)})


def deploys(chance: random.Random, total: float) -> Story:
    """A service of 15 to 40 % that warms up (time constant 12 to 90 minutes) after each restart, every 6 to 30 hours."""
    plateau, tau, every = total * chance.uniform(0.15, 0.4), chance.uniform(0.2, 1.5) * HOUR, chance.uniform(6, 30) * HOUR
    return _benign("deploys and restarts", 5, {"g.puma": lambda time: plateau * (1 - math.exp(-(time % every) / tau))})


def warm_up(chance: random.Random, total: float) -> Story:
    """20 to 50 % after boot, time constant 30 minutes to 3 hours, and 5 % of slab with it."""
    warm, slow = total * chance.uniform(0.2, 0.5), chance.uniform(0.5, 3) * HOUR
    return _benign("warm-up after boot", 3, {"g.postgres": lambda time: warm * (1 - math.exp(-time / slow)),
                                             "c.kmalloc-1k": lambda time: total * 0.05 * (1 - math.exp(-time / slow))})


def find(chance: random.Random, total: float) -> Story:
    """A walk over all files each night: 30 % of dentries, 45 % of inodes, in 2 hours, given back hours later."""
    hour = chance.uniform(1, 5) * HOUR

    def walked(time: float) -> float:
        return min(1.0, max(0.0, (time % DAY - hour) / (2 * HOUR))) if time % DAY < hour + 5 * HOUR else 0.0
    parts = {"c.dentry": lambda time: total * 0.3 * walked(time), "c.ext4_inode_cache": lambda time: total * 0.45 * walked(time)}
    return _benign("find at night fills dentries and inodes", 4, parts, frozenset(parts), 0.02)


def cache(chance: random.Random, total: float) -> Story:
    """An inode cache that takes all free memory in 6 hours to 4 days and stays, 3 % of it in use."""
    start, length = chance.uniform(3 * HOUR, 2 * DAY), math.exp(chance.uniform(math.log(6 * HOUR), math.log(4 * DAY)))
    parts = {"c.xfs_inode": lambda time: min(total * 0.8, max(0.0, time - start) * total / length)}
    return _benign("inode cache fills free memory and stays", (start + 2 * length) / DAY + 1, parts, frozenset(parts), 0.03)


def compiles(chance: random.Random, total: float) -> Story:
    """Jobs of 5 to 90 minutes, each up to 20 to 55 %."""
    jobs = _jobs(chance, 6 * DAY, total * chance.uniform(0.2, 0.55))
    return _benign("compile farm", 6, {"g.cc1plus": jobs}, members=lambda time: 1 + int(jobs(time) / (200 * MIB)))


def once(chance: random.Random, total: float) -> Story:
    """10 to 40 %, evenly within 3 minutes to 6 hours, and no more."""
    start, rise, took = chance.uniform(3 * HOUR, 2 * DAY), total * chance.uniform(0.1, 0.4), chance.uniform(0.05, 6) * HOUR
    return _benign("one-off growth that stops", 4, {"g.redis-server": lambda time: rise * min(1.0, max(0.0, time - start) / took)})


def slab_once(chance: random.Random, total: float) -> Story:
    """3 to 15 % at once."""
    start, grown = chance.uniform(3 * HOUR, 2 * DAY), total * chance.uniform(0.03, 0.15)
    return _benign("slab grows once with a service", 4, {"c.filp": lambda time: grown if time > start else 0.0})


def batch(chance: random.Random, total: float) -> Story:
    """15 to 45 % for 30 minutes to 4 hours each night."""
    high, wide, first = total * chance.uniform(0.15, 0.45), chance.uniform(0.5, 4) * HOUR, chance.uniform(0.2, 0.8) * DAY

    def job(time: float) -> float:
        since = time % DAY - first
        return high * min(1.0, since / wide * 2) if 0 < since < wide else 0.0
    return _benign("nightly batch job", 5, {"g.sort": job})


def moves(chance: random.Random, total: float) -> Story:
    """20 to 40 % goes from an old program to a new one within 8 hours."""
    start, moved = chance.uniform(3 * HOUR, 2 * DAY), total * chance.uniform(0.2, 0.4)

    def done(time: float) -> float:
        return min(1.0, max(0.0, time - start) / (8 * HOUR))
    parts = {"g.old": lambda time: moved * (1 - done(time)), "g.new": lambda time: moved * done(time)}
    return _benign("load moves to a new program", 4, parts)


def tmpfs(chance: random.Random, total: float) -> Story:
    """10 to 30 % of files a day, deleted at midnight."""
    files = total * chance.uniform(0.1, 0.3)
    return _benign("tmpfs cleaned each night", 5, {"p.shmem": lambda time: files * (time % DAY) / DAY})


KINDS = (steady, daily, saw, heap, deploys, warm_up, find, cache, compiles, once, slab_once, batch, moves, tmpfs)


def benign(seed: int) -> Iterator[tuple[Story, float]]:
    """One host of each kind that must not alarm, and its RAM (2 GiB to 256 GiB)."""
    for kind in KINDS:
        chance = random.Random(f"{kind.__name__}{seed}")
        total = GIB * 2 ** chance.randint(1, 8)
        yield kind(chance, total), total


def _wander(chance: random.Random, middle: float, wide: float) -> Callable[[float], float]:
    """A random walk that is drawn back to its middle; steps of five minutes."""
    steps = [0.0]
    for _ in range(12 * 24 * 8):
        steps.append(steps[-1] * 0.99 + chance.gauss(0, 0.14))
    return lambda time: middle + wide * steps[min(len(steps) - 1, int(time / 300))]


def _jobs(chance: random.Random, length: float, high: float) -> Callable[[float], float]:
    """Jobs of 5 to 90 minutes at random moments, about half of the time, each up to ``high``."""
    jobs = []
    time = HOUR
    while time < length:
        took = chance.uniform(5, 90) * 60
        jobs.append((time, time + took, high * chance.uniform(0.3, 1.0)))
        time += took + chance.expovariate(1 / (45 * 60))

    def value(moment: float) -> float:
        for begin, end, peak in jobs:
            if begin <= moment < end:
                return peak * min(1.0, (moment - begin) / ((end - begin) * 0.8))
        return 0.0
    return value
