"""What the kernel's log says of OOM kills, and when they were: /dev/kmsg, or a log file from its end."""

from __future__ import annotations

import os
import time

from memtriage.procfs import boot_id, files, stat, uptime
from memtriage.procfs.pid.cgroup import Membership
from memtriage.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:  # a quiet host need not pay for what reads the log
    from memtriage.procfs.kmsg import Wall
    from memtriage.procfs.oom_report import Kill, Report

REMEMBERED = 200
"""Kills told apart by the log at most: what one sample of the state file may hold beside others."""


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


class Log(NamedTuple):
    """What the log has of this boot's kills, oldest first."""

    name: str
    found: list[tuple[Report, Kill]]
    problem: files.ProcfsError | None
    """Why it could not be read; ``None`` where it was."""
    notes: list[str]


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
    from memtriage import logtail  # noqa: PLC0415 - only an alarm reads the log
    from memtriage.procfs import kmsg, oom_report  # noqa: PLC0415 - as above

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
    found = [(report, kill) for part in tail.parts for report in oom_report.parse(part).reports for kill in report.kills]
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


def _epoch(wall: Wall, present: float) -> float:
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
