"""OOM kills between runs: counters first, then what the kernel's log says of those that were counted.

The kernel counts: ``oom_kill`` of /proc/vmstat, of a cgroup's memory.events (version 2, its subtree included) or memory.oom_control
(version 1, each group its own victims), all since Linux 4.13. A log can be rotated, overrun or denied; a counter cannot. Where there is no
counter, kills are told apart by their lines in the log, and remembered as counters of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from memtriage.oomlog import Log, Now, age
from memtriage.procfs import files, keyed, vmstat
from memtriage.record import NamedTuple
from memtriage.state import Sample

GROUPS = 5000
"""Cgroups of version 1 looked at below one path at most."""


class NoCounter(Exception):
    """This kernel does not count OOM kills (before Linux 4.13)."""


class Count(NamedTuple):
    """Kills since boot (or since a cgroup was made), by a key that another life of the same cgroup does not have."""

    values: dict[str, int]
    source: str

    @property
    def total(self) -> int:
        return sum(self.values.values())


def host(proc: str) -> Count:
    """Raises :class:`NoCounter` or :class:`~memtriage.procfs.files.ProcfsError`."""
    counters = vmstat.read(proc)
    killed = counters.get("oom_kill")
    if killed is not None:
        return Count({"k.host": killed}, "vmstat")
    if counters.get("nr_free_pages") is None or counters.odd:
        raise files.Malformed(os.path.join(proc, "vmstat"), "cut short or not a vmstat file")
    raise NoCounter


def cgroup(sys: str, path: str) -> Count:
    """The same of a cgroup and all below it. Raises also :class:`~memtriage.procfs.files.Missing` where there is no such cgroup."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise files.Missing(path, "no such cgroup")
    first = os.path.join(sys, "fs/cgroup")
    for mount, name in ((first, "memory.events"), (os.path.join(first, "memory"), "memory.oom_control"),
                        (os.path.join(first, "unified"), "memory.events")):
        folder = os.path.join(mount, *parts)
        if not os.path.exists(os.path.join(folder, name)):
            continue
        if name == "memory.events":
            killed = keyed.parse(files.read(folder, name)).get("oom_kill")
            if killed is None:
                raise NoCounter
            return Count({_key(folder): killed}, name)
        return _below(folder)
    raise files.Missing(os.path.join(first, *parts), "no such cgroup with a memory controller")


def _key(folder: str) -> str:
    try:
        return f"k.{os.stat(folder).st_ino}"
    except OSError as error:
        raise files.failure(folder, error) from None


def _below(folder: str) -> Count:
    """Version 1: each group counts the victims that were its own members."""
    values: dict[str, int] = {}
    waiting, looked = [folder], 0
    while waiting and looked < GROUPS:
        here = waiting.pop()
        looked += 1
        try:
            killed = keyed.parse(files.read(here, "memory.oom_control")).get("oom_kill")
            if killed is None and here == folder:
                raise NoCounter
            if killed or here == folder:
                values[_key(here)] = killed or 0
            waiting += [entry.path for entry in os.scandir(here) if entry.is_dir(follow_symlinks=False)]
        except (files.ProcfsError, OSError):
            if here == folder:
                raise
            continue  # removed meanwhile
    return Count(values, "memory.oom_control")


class Rise(NamedTuple):
    """Kills between two runs; ages in seconds before now."""

    kills: int
    newest_s: float
    """They are at least so old."""
    oldest_s: float
    """And at most so old."""
    dated: bool
    """False before the first run of all: then only the log tells when."""
    earlier: bool
    """Whether they were seen before the last reboot."""


def rises(samples: list[Sample]) -> list[Rise]:
    """What each sample has more than the one before it. A reboot or a new cgroup of the same name begins at 0, never below."""
    found: list[Rise] = []
    since, end, ages = 0.0, samples[-1].uptime if samples else 0.0, []
    for place in range(len(samples) - 1, -1, -1):
        if place + 1 < len(samples) and samples[place].boot != samples[place + 1].boot:
            since, end = since + end, samples[place].uptime  # at least: how long it was off is not known
        ages.append(since + end - samples[place].uptime)
    ages.reverse()
    for place, sample in enumerate(samples):
        before = samples[place - 1] if place else None
        kills = _more(before, sample)
        within = before is not None and before.boot == sample.boot
        oldest = ages[place - 1] if within else ages[place] + sample.uptime  # since then, or since boot
        found.append(Rise(kills, ages[place], oldest, before is not None, sample.boot != samples[-1].boot))
    return found


def _more(before: Sample | None, sample: Sample) -> int:
    more = 0
    for key, value in sample.values.items():
        if key.startswith("k."):
            same = before is not None and (before.boot == sample.boot or key.startswith("k.l"))
            old = before.values.get(key, 0) if before is not None and same else 0
            more += value - old if value >= old else value
    return more


class Held(NamedTuple):
    """The kills that alarm, and what the log says of them."""

    new: int | None
    """Since the run before; ``None`` on the first."""
    kills: int
    window_s: float
    """All of them are younger than this."""
    undated: int
    """Kills before the first run of which nothing tells when they were."""
    log: Log | None
    """Its kills are those that alarm, as far as they could be found."""


def held(samples: list[Sample], moment: Now, hold: float, open_log: Callable[[int, bool], Log]) -> Held:
    """Kills seen less than ``hold`` seconds ago, or first seen now. ``open_log`` gives the last so many of this boot, or of any."""
    steps = rises(samples)
    alarming = [step for step in steps if step.kills and step.newest_s < hold and (step.dated or step.oldest_s <= hold)]
    kills, window = sum(step.kills for step in alarming), max((max(1.0, step.oldest_s) for step in alarming), default=hold)
    new = steps[-1].kills if steps and steps[-1].dated else None
    first = steps[0] if steps and not steps[0].dated and steps[0].kills and steps[0].newest_s < hold < steps[0].oldest_s else None
    if not kills and first is None:
        return Held(new, 0, hold, 0, None)
    log = open_log(kills + (first.kills if first else 0), not any(step.earlier for step in alarming))
    ages = [age(kill, moment) for _, kill in log.found]
    undated = 0
    if first is not None:
        recent = sum(passed is not None and passed < hold for passed in ages)
        if log.problem or any(passed is None for passed in ages) or len(ages) < kills + first.kills:
            undated = first.kills - max(0, recent - kills)
        if recent > kills:
            kills, window = recent, max(window, hold)
    slack = 120 + moment.up_s / 1000  # the log's clock runs a little apart from the others
    ours = [pair for pair, passed in zip(log.found, ages) if passed is None or passed <= window + slack]
    return Held(new, kills, window, undated, log._replace(found=ours[len(ours) - min(kills, len(ours)) :]))
