"""/proc/uptime: how long the host has been up (proc_uptime(5))."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Uptime(NamedTuple):
    up_s: float
    """Seconds since boot, time asleep included. In a container LXCFS may put the container's own age here."""
    idle_s: float
    """Seconds that the CPUs were idle, all of them added up."""


def parse(data: bytes) -> Uptime:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there are not two numbers."""
    line = files.one_line("uptime", data)
    known = [value for value in map(files.decimal, line.split()) if value is not None]
    if len(known) != 2 or len(line.split()) != 2:
        raise files.Malformed("uptime", "not two numbers: " + files.text(line[:60]))
    return Uptime(known[0], known[1])


def read(proc: str = "/proc") -> Uptime:
    """Reads ``proc/uptime``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "uptime"))
