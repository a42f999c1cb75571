"""Parsers for the files of one process, /proc/<pid>/...: one kernel file, one module, as in :mod:`memtriage.procfs`.

``read(proc, pid)`` takes the folder that stands for /proc and the process's number, or ``"self"``. A process that ended meanwhile is
:class:`~memtriage.procfs.files.Missing`.
"""

from __future__ import annotations

from memtriage.procfs import files


def pids(proc: str = "/proc") -> list[int]:
    """Returns the processes' numbers, sorted. Raises :class:`~memtriage.procfs.files.ProcfsError`.

    Processes hidden by the mount option ``hidepid`` are not among them.
    """
    return sorted(int(name) for name in files.listing(proc) if name.isascii() and name.isdigit() and len(name) <= 10)
