"""/proc/sys/kernel/osrelease: the kernel's release, as ``uname -r`` prints it (Documentation/admin-guide/sysctl/kernel.rst)."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Osrelease(NamedTuple):
    text: str
    version: tuple[int, int] | None
    """The first two numbers, ``None`` where it does not begin with them. Distributions carry newer features back."""


def parse(data: bytes) -> Osrelease:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the file is empty or cut."""
    line = files.one_line("sys/kernel/osrelease", data).strip()
    major, point, rest = line.partition(b".")
    minor = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    first, second = files.number(major), files.number(minor)
    version = (first, second) if point and first is not None and second is not None else None
    return Osrelease(files.text(line), version)


def read(proc: str = "/proc") -> Osrelease:
    """Reads ``proc/sys/kernel/osrelease``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "sys/kernel/osrelease"))
