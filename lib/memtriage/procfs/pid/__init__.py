"""Parsers for the files of one process, /proc/<pid>/...: one kernel file, one module, as in :mod:`memtriage.procfs`.

``read(proc, pid)`` takes the folder that stands for /proc and the process's number, or ``"self"``. A process that ended meanwhile is
:class:`~memtriage.procfs.files.Missing`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from memtriage.procfs import files


def pids(proc: str = "/proc") -> list[int]:
    """Returns the processes' numbers, sorted. Raises :class:`~memtriage.procfs.files.ProcfsError`.

    Processes hidden by the mount option ``hidepid`` are not among them.
    """
    return sorted(int(name) for name in files.listing(proc) if name.isascii() and name.isdigit() and len(name) <= 10)


def stats(proc: str = "/proc") -> Iterator[bytes]:
    """Yields the bytes of every process's ``stat``; those that end meanwhile or may not be read are left out.

    For thousands of processes: the kernel gives all of this file at the first read, which :func:`~memtriage.procfs.files.read` does not
    rely on. Raises :class:`~memtriage.procfs.files.ProcfsError` where the folder itself cannot be read.
    """
    for name in files.listing(proc):
        if not "0" <= name[0] <= "9":
            continue
        try:
            yield small(os.path.join(proc, name, "stat"))
        except OSError:
            continue


def small(path: str) -> bytes:
    """Returns a small file with one read: ``stat`` and ``statm`` are whole then. Raises ``OSError``."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(handle, 4096)
    finally:
        os.close(handle)


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
