"""Memory pressure between runs: the time lost since then (PSI), what kind of pressure it is, and who holds the memory.

PSI says how much time is lost, not why: that is told by the counters of swapping, direct reclaim, refaults and major faults.
"""

from __future__ import annotations

import os

from memtriage import diagnosis, exhaustion, following, state, survey
from memtriage.procfs import boot_id, cgroup, files, keyed, pressure, uptime, vmstat
from memtriage.procfs.pid.cgroup import Membership
from memtriage.record import NamedTuple
from memtriage.wording import clean, duration, size

LEAST_S = 5.0
"""Seconds that must lie between two runs for a rate; a run by hand just after another is compared with the one before."""
RULES = exhaustion.Rules(4 * 3600.0, 3600.0, 6)
"""The defaults of the checks that tell the time to exhaustion."""


class NoPressure(Exception):
    """This kernel, or this cgroup, does not measure pressure; the words say why and what to do."""


class Now(NamedTuple):
    """One reading: the averages, and the counters to remember, microseconds and events."""

    pressure: pressure.Pressure
    boot: str
    up_s: float
    values: dict[str, int]
    page: int


def folder(sys: str, path: str, name: str) -> str | None:
    """The folder of the cgroup ``path`` that holds the file ``name``, in whichever hierarchy; ``None`` where none does."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        return None
    for mount in ("fs/cgroup", "fs/cgroup/unified", "fs/cgroup/memory"):
        found = os.path.join(sys, mount, *parts)
        if os.path.exists(os.path.join(found, name)):
            return found
    return None


def read(proc: str, sys: str, path: str | None) -> Now:
    """Raises :class:`NoPressure` or :class:`~memtriage.procfs.files.ProcfsError`."""
    boot, up = boot_id.read(proc), uptime.read(proc).up_s
    page = survey.page_size(proc)
    if path is None:
        events, group = vmstat.read(proc), None
        found = _pressure(proc, "pressure/memory", "Linux 4.20 and later have it with CONFIG_PSI; where it is off, boot with psi=1")
    else:
        group = folder(sys, path, "memory.pressure")
        if group is None:
            if folder(sys, path, "cgroup.procs") is None:
                raise files.Missing(os.path.join(sys, "fs/cgroup", path.strip("/")), "no such cgroup")
            raise NoPressure(f"cgroup '{clean(path)}' has no memory.pressure: only version 2 has, with PSI on (psi=1) and below the root")
        found = _pressure(group, "memory.pressure", "PSI is off here: boot with psi=1, or write 1 to the cgroup's cgroup.pressure")
        counts = folder(sys, path, "memory.stat")
        events = keyed.parse(files.read(counts, "memory.stat")) if counts else keyed.Keyed({}, [])
    for stall in (found.some, found.full):
        if stall is not None and max(stall.avg10, stall.avg60, stall.avg300) > 100:
            where = os.path.join(group, "memory.pressure") if group else os.path.join(proc, "pressure/memory")
            raise files.Malformed(where, "more than 100% of the time")
    return Now(found, boot, up, _counters(found, events, group), page)


def _pressure(root: str, name: str, hint: str) -> pressure.Pressure:
    try:
        return pressure.read(root, name)
    except files.Missing as error:
        raise NoPressure(f"{error.path} does not exist: {hint}") from None
    except files.Unreadable as error:
        raise NoPressure(f"{error.path}: {error.reason}: {hint}") from None


def _counters(found: pressure.Pressure, events: keyed.Keyed, group: str | None) -> dict[str, int]:
    values = {"some": found.some.total_us}
    if found.full is not None:
        values["full"] = found.full.total_us
    if group is not None:
        try:
            values["cgroup"] = os.stat(group).st_ino
        except OSError as error:
            raise files.failure(group, error) from None
    refaults = [events.get(name) for name in ("workingset_refault", "workingset_refault_anon", "workingset_refault_file")]
    known = [count for count in refaults if count is not None]
    if known:
        values["refault"] = sum(known)
    for key, name in (("swap_in", "pswpin"), ("swap_out", "pswpout"), ("reclaim", "pgscan_direct"), ("faults", "pgmajfault")):
        count = events.get(name)
        if count is None and group is not None:
            count = events.get("total_" + name)  # version 1
        if count is not None:
            values[key] = count
    return values


class Change(NamedTuple):
    """What happened since the run before."""

    span: float
    rates: dict[str, float]
    """By the keys of the sample, a second; a counter that went back, or is new, is left out."""

    def share(self, key: str) -> float | None:
        """Per cent of the time since then that was lost."""
        lost = self.rates.get(key)
        return None if lost is None else min(100.0, lost / 10_000)


def change(samples: list[state.Sample]) -> Change | None:
    """``None`` on the first run, after a reboot, or for a cgroup that was made anew."""
    if not samples:
        return None
    last = samples[-1]
    same = [one for one in samples[:-1] if one.boot == last.boot and one.values.get("cgroup") == last.values.get("cgroup")]
    old = [one for one in same if last.uptime - one.uptime >= LEAST_S] or same[:1]
    if not old or last.uptime <= old[-1].uptime:
        return None
    span = last.uptime - old[-1].uptime
    rates = {key: (value - old[-1].values[key]) / span for key, value in last.values.items()
             if key != "cgroup" and 0 <= old[-1].values.get(key, -1) <= value}
    return Change(span, rates)


def kind(found: Change | None, page: int) -> str:
    """What kind of pressure it is, in a few words: by the traffic that costs the most. Empty before the second run."""
    if found is None:
        return ""
    rate = {key: found.rates.get(key, 0.0) * page for key in ("swap_in", "swap_out", "refault", "reclaim")}
    swapped = rate["swap_in"] + rate["swap_out"]
    floor = 64 * 1024.0
    if swapped >= floor and swapped >= rate["refault"] / 2:
        return f"swapping {size(rate['swap_in'])}/s in, {size(rate['swap_out'])}/s out"
    if rate["refault"] >= floor:
        return f"thrashing {size(rate['refault'])}/s"
    if rate["reclaim"] >= floor:
        return f"direct reclaim {size(rate['reclaim'])}/s"
    return "no paging traffic"


def kind_meaning(found: Change | None, page: int) -> str | None:
    """What the kind means for whoever reads the alert."""
    words = kind(found, page)
    if words.startswith("swapping"):
        return "Programs wait for their own memory to come back from swap: more is in use than fits."
    if words.startswith("thrashing"):
        return "File pages, programs' own code among them, are dropped and read again at once: the working set does not fit."
    if words.startswith("direct reclaim"):
        return "Programs free memory themselves before they get any: kswapd cannot keep up with them."
    return None


class Holder(NamedTuple):
    """Who holds the memory, by the same rules as check_free_mem."""

    culprit: diagnosis.Culprit
    contrast: str
    trouble: str | None


def holder(proc: str, sys: str, short: bool, remembered: str) -> Holder:
    """``remembered`` is the state folder, whose history of memory is only asked for where memory is ``short`` and there is one.

    Raises :class:`~memtriage.procfs.files.ProcfsError`.
    """
    followed = short and os.path.exists(os.path.join(remembered, following.NAME + ".json"))
    if not followed:  # no other check has remembered anything: then there is no trend to know
        memory = survey.memory(proc, sys)
        page = survey.page_size(proc, memory.info)
        if short:
            return _now(memory, survey.slab(proc, sys, page).caches, survey.groups(proc, page, memory.limited_by), True)
        parts = {name: value for name, value in memory.book.parts.items() if name != "free"}
        slab = max(parts, key=lambda name: parts[name]).startswith("slab")
        caches = survey.slab(proc, sys, page).caches if slab else []
        return _now(memory, caches, survey.groups(proc, page, memory.limited_by) if memory.limited_by else [], False)
    now = following.read(proc, sys)
    now = now._replace(slab=survey.aliased(now.slab, sys))
    memory = now.memory
    groups = survey.groups(proc, now.page, memory.limited_by)
    trouble = None
    try:
        sample = following.sample(proc, now)
        past = state.remember(remembered, following.NAME, sample)
        trouble = past.problem
        outlook = following.outlook(now, following.history(past.samples, now.page), RULES)
        if outlook.causes:
            found = diagnosis.cause_culprit(outlook.causes[0], sample.values, now.slab.caches)
            return Holder(found, diagnosis.contrast(memory.book, found, groups) if memory.limited_by is None else "", trouble)
    except files.ProcfsError as lacking:
        trouble = f"no trend: {lacking.path}: {lacking.reason}"
    return _now(memory, now.slab.caches, groups, True)._replace(trouble=trouble)


def _now(memory: survey.Memory, caches: list[diagnosis.Cache], groups: list[diagnosis.Group], short: bool) -> Holder:
    if memory.limited_by:
        return Holder(diagnosis.limit_culprit(memory.limited_by, memory.total, groups), "", None)
    found = diagnosis.culprit(memory.book, caches, groups, short, memory.info.get("Mlocked") or 0)
    return Holder(found, diagnosis.contrast(memory.book, found, groups), None)


def group_holder(proc: str, sys: str, path: str) -> Holder | None:
    """The same for one cgroup, where it or one above it has a limit; ``None`` where the host's memory is all that limits it."""
    path = "/" + path.strip("/")
    either = [Membership(1, ("memory",), path), Membership(0, (), path)]
    limited = [group for group in cgroup.read_limits(sys, either) if group.limit is not None]
    if not limited:
        return None
    smallest = min(limited, key=lambda group: group.limit or 0)
    groups = survey.groups(proc, survey.page_size(proc), smallest.path)
    return Holder(diagnosis.limit_culprit(smallest.path, smallest.limit or 0, groups), "", None)


def traffic(found: Change | None, page: int) -> list[str]:
    """The rates since the last run, in one line."""
    if found is None:
        return ["Rates are said from the second run on."]
    words = {"swap_in": "swap-in", "swap_out": "swap-out", "reclaim": "direct reclaim", "refault": "refaults"}
    said = [f"{word} {size(found.rates[key] * page)}/s" for key, word in words.items() if key in found.rates]
    if "faults" in found.rates:
        said.append(f"major faults {found.rates['faults']:.1f}/s")
    return [f"In the last {duration(found.span)}: {', '.join(said)}."] if said else []
