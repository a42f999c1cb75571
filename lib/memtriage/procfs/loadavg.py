"""/proc/loadavg: tasks that ran or waited for a disk, on average, and how many there are (proc_loadavg(5))."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Loadavg(NamedTuple):
    load1: float
    """Tasks, averaged over one minute."""
    load5: float
    load15: float
    runnable: int
    """Tasks running or ready to, at this moment."""
    tasks: int
    """All processes and threads: what the limits on PIDs and threads count."""
    last_pid: int
    """The PID given out last."""


def parse(data: bytes) -> Loadavg:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the line is not as the kernel writes it."""
    line = files.one_line("loadavg", data)
    words = line.split()
    loads = [files.decimal(word) for word in words[:3]]
    counts = [files.number(word) for word in b" ".join(words[3:]).replace(b"/", b" ", 1).split()]
    known = [value for value in loads if value is not None]
    whole = [value for value in counts if value is not None]
    if len(words) != 5 or len(known) != 3 or len(whole) != 3 or len(counts) != 3:
        raise files.Malformed("loadavg", "not understood: " + files.text(line[:60]))
    return Loadavg(known[0], known[1], known[2], whole[0], whole[1], whole[2])


def read(proc: str = "/proc") -> Loadavg:
    """Reads ``proc/loadavg``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "loadavg"))
