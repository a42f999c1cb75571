"""Parsers for the files of one process, /proc/<pid>/...: one kernel file, one module, as in :mod:`memtriage.procfs`.

``read(proc, pid)`` takes the folder that stands for /proc and the process's number, or ``"self"``. A process that ended meanwhile is
:class:`~memtriage.procfs.files.Missing`.
"""

from __future__ import annotations

import os

from memtriage.procfs import files


def pids(proc: str = "/proc") -> list[int]:
    """Returns the processes' numbers, sorted. Raises :class:`~memtriage.procfs.files.ProcfsError`.

    Processes hidden by the mount option ``hidepid`` are not among them.
    """
    return sorted(int(name) for name in files.listing(proc) if name.isascii() and name.isdigit() and len(name) <= 10)


def sockets(proc: str = "/proc", pid: int | str = "self") -> set[int]:
    """Returns the inodes of the sockets a process has open, of any kind. Raises :class:`~memtriage.procfs.files.ProcfsError`.

    Others' are ``Denied`` without CAP_SYS_PTRACE. What is closed meanwhile is left out.
    """
    found = set()
    for name in files.listing(proc, f"{pid}/fd"):
        try:
            kind, _, inode = os.readlink(f"{proc}/{pid}/fd/{name}").partition(":")
        except OSError:
            continue
        if kind == "socket" and inode[1:-1].isdecimal():
            found.add(int(inode[1:-1]))
    return found
