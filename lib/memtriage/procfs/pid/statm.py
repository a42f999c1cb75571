"""/proc/<pid>/statm: the memory of a process, in pages (Documentation/filesystems/proc.rst, table 1-3). Readable by everybody.

Cheap, and not exact: before Linux 6.2 every thread, since then every CPU, keeps up to some dozen pages to itself before they are counted.
"""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Statm(NamedTuple):
    """All in pages of the host's page size."""

    size_pages: int
    """Address space."""
    resident_pages: int
    """RSS: anonymous, file and shmem pages in memory."""
    shared_pages: int
    """Of these, file and shmem pages; shmem (tmpfs, SysV) cannot be dropped like files."""
    text_pages: int
    """Address space of the program's code."""
    data_pages: int
    """Address space of data and stack."""

    @property
    def anon_pages(self) -> int:
        """Anonymous pages in memory: resident less shared, never below 0 although the two are counted separately."""
        return max(0, self.resident_pages - self.shared_pages)


def parse(data: bytes) -> Statm:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there are not seven numbers. Kernel threads and zombies have 0 everywhere."""
    found = files.numbers("statm", data, 7)
    return Statm(found[0], found[1], found[2], found[3], found[5])


def read(proc: str = "/proc", pid: int | str = "self") -> Statm:
    """Reads ``proc/<pid>/statm``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, f"{pid}/statm"))
