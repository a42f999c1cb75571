"""/proc/stat: CPU time, boot time and process counts (Documentation/filesystems/proc.rst, "Miscellaneous kernel statistics")."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Cpu(NamedTuple):
    """Time of all CPUs together since boot, in clock ticks (mostly 100 a second). ``None`` where the kernel is older than the column."""

    user_ticks: int
    """Holds guest_ticks."""
    nice_ticks: int
    """Holds guest_nice_ticks."""
    system_ticks: int
    idle_ticks: int
    iowait_ticks: int | None
    """Since Linux 2.5.41; not reliable, and can go back."""
    irq_ticks: int | None
    """Since Linux 2.6.0."""
    softirq_ticks: int | None
    """Since Linux 2.6.0."""
    steal_ticks: int | None
    """Since Linux 2.6.11."""
    guest_ticks: int | None
    """Since Linux 2.6.24."""
    guest_nice_ticks: int | None
    """Since Linux 2.6.33."""


class Stat(NamedTuple):
    """``None`` where the kernel does not have the line."""

    cpu: Cpu | None
    btime: int | None
    """Boot time in seconds of the epoch; moves when the clock is set."""
    processes: int | None
    """Forks since boot."""
    procs_running: int | None
    """Tasks running or ready to; since Linux 2.5.45."""
    procs_blocked: int | None
    """Tasks that wait for I/O; since Linux 2.5.45."""
    odd: list[str]
    """Lines of these that could not be understood, as text."""


def parse(data: bytes) -> Stat:
    """Lines of no interest here (intr, ctxt, a CPU's own) pass unread. Never raises: an empty file gives no values."""
    cpu: Cpu | None = None
    values: dict[bytes, int] = {}
    lines, odd = files.whole_lines(data)
    for line in lines:
        key, _, rest = line.partition(b" ")
        if key == b"cpu":
            times = _cpu(rest)
            if times is None or cpu is not None:
                odd.append(files.text(line))
            else:
                cpu = times
        elif key in (b"btime", b"processes", b"procs_running", b"procs_blocked"):
            value = files.number(rest.strip())
            if value is None or key in values:
                odd.append(files.text(line))
            else:
                values[key] = value
    one = values.get
    return Stat(cpu, one(b"btime"), one(b"processes"), one(b"procs_running"), one(b"procs_blocked"), odd)


def _cpu(rest: bytes) -> Cpu | None:
    found = [files.number(word) for word in rest.split()[:10]]
    if len(found) < 4 or None in found:
        return None
    user, nice, system, idle = (value or 0 for value in found[:4])
    more = found[4:] + [None] * (10 - len(found))
    return Cpu(user, nice, system, idle, *more)


def read(proc: str = "/proc") -> Stat:
    """Reads ``proc/stat``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "stat"))
