"""/proc/sys/fs/file-nr: how many open files the kernel holds (Documentation/admin-guide/sysctl/fs.rst, "file-max & file-nr")."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class FileNr(NamedTuple):
    allocated: int
    """Open files (struct file) of all processes and of the kernel."""
    free: int
    """Allocated and not used; always 0 since Linux 2.6."""
    maximum: int
    """fs.file-max; 9223372036854775807 stands for no limit."""


def parse(data: bytes) -> FileNr:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there are not three numbers."""
    found = files.numbers("sys/fs/file-nr", data, 3)
    return FileNr(found[0], found[1], found[2])


def read(proc: str = "/proc") -> FileNr:
    """Reads ``proc/sys/fs/file-nr``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "sys/fs/file-nr"))
