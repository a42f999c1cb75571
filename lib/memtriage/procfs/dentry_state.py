"""/proc/sys/fs/dentry-state: the directory entry cache (Documentation/admin-guide/sysctl/fs.rst, "dentry-state")."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class DentryState(NamedTuple):
    nr_dentry: int
    """Entries, used and unused."""
    nr_unused: int
    """Entries nobody uses: what a shrinker can free."""
    age_limit: int
    """Seconds after which entries can be reclaimed when memory is short; not used by the kernel for long."""
    want_pages: int
    """Not used by the kernel for long."""
    nr_negative: int | None
    """Unused entries that say a file does not exist; since Linux 5.0 (and 4.18 of RHEL 8).

    Older kernels write 0 in its place, a kernel that counts never shows 0 for long: 0 is read as ``None``.
    """


def parse(data: bytes) -> DentryState:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there are not at least five numbers."""
    found = files.numbers("sys/fs/dentry-state", data, 5)
    return DentryState(found[0], found[1], found[2], found[3], found[4] or None)


def read(proc: str = "/proc") -> DentryState:
    """Reads ``proc/sys/fs/dentry-state``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "sys/fs/dentry-state"))
