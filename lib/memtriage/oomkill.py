"""OOM kills between runs: counters first, then what the kernel's log says of those that were counted.

The kernel counts: ``oom_kill`` of /proc/vmstat, of a cgroup's memory.events (version 2, its subtree included) or memory.oom_control
(version 1, each group its own victims), all since Linux 4.13. A log can be rotated, overrun or denied; a counter cannot. Where there is no
counter, kills are told apart by their lines in the log, and remembered as counters of their own.
"""

from __future__ import annotations

import os
import time
from typing import Callable, NamedTuple

from memtriage import logtail
from memtriage.procfs import boot_id, files, keyed, stat, uptime, vmstat
from memtriage.procfs.oom_report import Kill, Report, parse
from memtriage.procfs.pid.cgroup import Membership
from memtriage.state import Sample
from memtriage.wording import label

GROUPS = 5000
"""Cgroups of version 1 looked at below one path at most."""
REMEMBERED = 200
"""Kills told apart by the log at most: what one sample of the state file may hold beside others."""


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
    if not parts and os.path.isdir(first):
        raise files.Missing(os.path.join(first, "memory.events"), "the root cgroup has no counter of its own; leave --cgroup out")
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


class Now(NamedTuple):
    """The moment of this run, by the tree that is read."""

    boot: str
    up_s: float
    log_s: float
    """The same by the log's clock, which stands still in suspend."""
    epoch_s: float | None


def now(proc: str) -> Now:
    """Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    up = uptime.read(proc).up_s
    try:
        born = stat.read(proc).btime
    except files.ProcfsError:
        born = None
    live = os.path.abspath(proc) == "/proc"
    return Now(boot_id.read(proc), up, time.clock_gettime(time.CLOCK_MONOTONIC) if live else up, None if born is None else born + up)


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
        if before is not None and before.boot == sample.boot:
            oldest = ages[place - 1]
        else:
            oldest = ages[place] + sample.uptime
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


class Log(NamedTuple):
    """What the log has of this boot's kills, oldest first."""

    name: str
    found: list[tuple[Report, Kill]]
    problem: files.ProcfsError | None
    """Why it could not be read; ``None`` where it was."""
    notes: list[str]


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
    kills, window = sum(step.kills for step in alarming), max((step.oldest_s for step in alarming), default=hold)
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


def readable(path: str | None) -> files.ProcfsError | None:
    """Why the log could not be read if it were needed; ``None`` where it could."""
    path = path or "/dev/kmsg"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return files.failure(path, error)
    except ValueError:
        return files.Missing(path, "no such file")
    return None


def read_log(path: str | None, wanted: int, within: str | None, boot: bool = True) -> Log:
    """The last ``wanted`` kills of ``path``, or of the kernel's ring where it is ``None``; only those of the cgroup ``within``."""
    from memtriage.procfs import kmsg  # noqa: PLC0415 - only an alarm reads the log

    notes = []
    try:
        if path is None:
            ring = kmsg.ring()
            tail = logtail.around(ring.data, None if within else wanted)
            if ring.lost:
                notes.append("The kernel's ring was overwritten while it was read: some lines are lost.")
        else:
            tail = logtail.read(path, None if within else wanted, boot=boot)
            if not tail.whole:
                notes.append(f"Only the last {logtail.SEARCHED // 1024**2} MiB of {path} were searched.")
    except files.ProcfsError as error:
        return Log(error.path, [], error, notes)
    found = [(report, kill) for part in tail.parts for report in parse(part).reports for kill in report.kills]
    if within is not None:
        found = [(report, kill) for report, kill in found if _inside(report, within)]
    return Log(path or "/dev/kmsg", found[len(found) - min(wanted, len(found)) :], None, notes)


def _inside(report: Report, path: str) -> bool:
    group = report.task_memcg or report.oom_memcg
    return group is not None and Membership(0, (), group).within(path)


def identities(found: list[tuple[Report, Kill]]) -> dict[str, int]:
    """A counter for each kill, by its number in the ring or by what its line says and how often it has said so."""
    values: dict[str, int] = {}
    times: dict[str, int] = {}
    for _, kill in found[-REMEMBERED:]:
        record = kill.record
        if record.seq is not None:
            key = f"k.s{record.seq}"
        else:
            import zlib  # noqa: PLC0415 - a shared library, and only old kernels need it

            line = f"{record.up_s} {record.wall} {record.text}"
            times[line] = times.get(line, 0) + 1
            key = f"k.l{zlib.crc32(f'{times[line]} {line}'.encode('utf-8', 'replace')):08x}"
        values[key] = 1
    return values


def age(kill: Kill, moment: Now) -> float | None:
    """Seconds since the kill by its line, ``None`` where the line has no time or one of another boot."""
    record = kill.record
    if record.up_s is not None:
        passed = moment.log_s - record.up_s
    elif record.wall is not None and moment.epoch_s is not None:
        passed = moment.epoch_s - _epoch(record.wall, moment.epoch_s)
    else:
        return None
    return max(0.0, passed) if passed > -120 else None


def _epoch(wall: object, present: float) -> float:
    from memtriage.procfs.kmsg import Wall  # noqa: PLC0415 - as above

    assert isinstance(wall, Wall)
    if wall.year is not None and wall.offset_s is not None:
        return _days(wall.year, wall.month, wall.day) * 86400.0 + wall.second - wall.offset_s
    years = [wall.year] if wall.year is not None else [time.localtime(present).tm_year + step for step in (0, -1)]
    moments = []
    for year in years:
        try:
            moments.append(time.mktime((year, wall.month, wall.day, 0, 0, wall.second, 0, 0, -1)))
        except (OverflowError, ValueError):
            continue
    fitting = [moment for moment in moments if moment < present + 86400]
    return max(fitting, default=moments[0] if moments else 0.0)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar."""
    year -= month <= 2
    era_year = year % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year // 400 * 146097 + era_year * 365 + era_year // 4 - era_year // 100 + day_of_year - 719468


def remedy(problem: files.ProcfsError) -> str:
    """What to do where the log may not be read."""
    if not isinstance(problem, files.Denied):
        return "Give --log a text file, such as /var/log/kern.log or /var/log/messages."
    if problem.path == "/dev/kmsg":
        return ("Give --log a file this user may read (group adm: /var/log/kern.log), or grant it by sudo (in sudoers: "
                "nagios ALL=(root) NOPASSWD: /usr/lib/nagios/plugins/check_oom_kill), or set kernel.dmesg_restrict=0.")
    return "Add the user to the file's group (mostly adm), or grant it by sudo."


def state_name(path: str | None) -> str:
    """One history for the host and one for each cgroup asked for."""
    if not path:
        return "check_oom_kill"
    import zlib  # noqa: PLC0415 - a shared library

    name = "/".join(part for part in path.split("/") if part not in ("", "."))
    return f"check_oom_kill.{label(name)[:40]}_{zlib.crc32(name.encode('utf-8', 'replace')):08x}"
