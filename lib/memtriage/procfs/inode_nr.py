"""/proc/sys/fs/inode-nr: how many inodes the kernel holds (Documentation/admin-guide/sysctl/fs.rst, "inode-nr")."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class InodeNr(NamedTuple):
    nr_inodes: int
    """Inodes in memory, of all file systems."""
    nr_free: int
    """Of these, the unused ones. 0 on most hosts: file systems with lists of their own are not counted."""


def parse(data: bytes) -> InodeNr:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there are not two numbers."""
    found = files.numbers("sys/fs/inode-nr", data, 2)
    return InodeNr(found[0], found[1])


def read(proc: str = "/proc") -> InodeNr:
    """Reads ``proc/sys/fs/inode-nr``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "sys/fs/inode-nr"))
