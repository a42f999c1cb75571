"""/proc/<pid>/stat: state, times and sizes of a process (proc_pid_stat(5); fs/proc/array.c). Readable by everybody."""

from __future__ import annotations

from operator import itemgetter

from memtriage.procfs import files
from memtriage.record import NamedTuple

PF_KTHREAD = 0x00200000
"""Flag of kernel threads; since Linux 2.6.27 (include/linux/sched.h)."""


class PidStat(NamedTuple):
    pid: int
    comm: str
    """The name, cut to 15 bytes (63 for kernel workers); may hold blanks, brackets and newlines."""
    state: str
    """R running, S sleeping, D waiting for I/O, Z zombie, T stopped, I idle kernel thread, ..."""
    ppid: int
    flags: int
    minflt: int
    majflt: int
    utime_ticks: int
    stime_ticks: int
    num_threads: int
    starttime_ticks: int
    """Clock ticks from boot to the start of the process: with the PID, it names one process."""
    vsize: int
    """Bytes of address space."""
    rss_pages: int
    """Pages; not exact, see statm."""

    @property
    def kthread(self) -> bool:
        """Says whether it is a thread of the kernel, which has no memory of its own."""
        return bool(self.flags & PF_KTHREAD)


_COLUMNS = itemgetter(1, 6, 7, 9, 11, 12, 17, 19, 20, 21)  # after the name; the first, 0, is the state


def parse(data: bytes) -> PidStat:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the line is not as the kernel writes it, or is cut."""
    left, bracket, right = data.rpartition(b")")
    pid, opening, comm = left.partition(b" (")
    words = right.split(None, 22)
    number = files.number(pid)
    if not bracket or not opening or number is None or len(words) < 22 or not right.endswith(b"\n"):
        raise files.Malformed("stat", "empty" if not data.strip() else "not understood: " + files.text(data[:60]))
    columns = _COLUMNS(words)
    if not b"".join(columns).isdigit() or max(map(len, columns)) > 20:  # as files.number judges, in a third of the time
        raise files.Malformed("stat", "not a number where one belongs: " + files.text(data[:60]))
    return PidStat(number, files.text(comm), files.text(words[0]), *map(int, columns))


def read(proc: str = "/proc", pid: int | str = "self") -> PidStat:
    """Reads ``proc/<pid>/stat``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, f"{pid}/stat"))
