"""/proc/<pid>/auxv: what the kernel tells a program at its start (uapi/linux/auxvec.h; since Linux 2.6).

Pairs of words as wide as the program's, in the machine's byte order; here only the page size is wanted.
"""

from __future__ import annotations

import struct

from memtriage.procfs import files
from memtriage.record import NamedTuple

AT_NULL, AT_PAGESZ = 0, 6


class Auxv(NamedTuple):
    page_size: int
    """Bytes of a page (AT_PAGESZ)."""


def parse(data: bytes) -> Auxv:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there is no page size in it."""
    for form in ("<QQ", "<II", ">QQ", ">II"):
        width = struct.calcsize(form)
        for key, value in struct.iter_unpack(form, data[: len(data) // width * width]):
            if key == AT_PAGESZ and 512 <= value <= 2**24 and value & (value - 1) == 0:
                return Auxv(value)
            if key == AT_NULL:
                break
    raise files.Malformed("auxv", "no page size in it")


def made(page_size: int) -> bytes:
    """The file of a captured tree whose page size is known otherwise."""
    return struct.pack("<QQQQ", AT_PAGESZ, page_size, AT_NULL, 0)


def read(proc: str = "/proc", pid: int | str = "self") -> Auxv:
    """Reads ``proc/<pid>/auxv``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, f"{pid}/auxv"))
