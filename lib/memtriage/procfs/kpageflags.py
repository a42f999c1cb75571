"""/proc/kpageflags: 64 bits for each page frame (Documentation/admin-guide/mm/pagemap.rst). Since Linux 2.6.25, root only.

The one place that tells a driver's page from a free one. It is large (2 MiB of it for each GiB of RAM), so it is read in blocks.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator

from memtriage.procfs import files
from memtriage.record import NamedTuple

LRU, SLAB, BUDDY, MMAP, ANON, HUGE, NOPAGE, ZERO_PAGE, OFFLINE, PGTABLE, RESERVED = 5, 7, 10, 11, 12, 17, 20, 24, 23, 26, 32
COMPOUND_HEAD, COMPOUND_TAIL = 15, 16
"""Bits of the flags (include/uapi/linux/kernel-page-flags.h; RESERVED is for kernel hackers)."""
BLOCK = 1 << 19
"""Bytes read at a time: the flags of 256 MiB of memory."""


class Counts(NamedTuple):
    """Pages by what they are, each counted once."""

    absent: int
    """Holes: no memory behind the frame number."""
    free: int
    """Free blocks: the kernel flags only a block's first page, the others carry no flag and no mapping, and stand under ``bare``."""
    lru: int
    """Of programs and files."""
    slab: int
    tables: int
    """Page tables."""
    huge: int
    """Of hugetlbfs."""
    reserved: int
    """The kernel's own image and maps, outside MemTotal for the most part."""
    bare: int
    """No flag: taken by drivers straight from the page allocator, stacks, per-CPU, vmalloc; and inner pages of free blocks."""


def tally(data: bytes) -> Counts:
    """Counts the pages of a block of flags. A last entry that is cut is left out."""
    flags = array("Q")
    flags.frombytes(data[: len(data) // 8 * 8])
    kinds = {"absent": 0, "free": 0, "lru": 0, "slab": 0, "tables": 0, "huge": 0, "reserved": 0, "bare": 0}
    seen: dict[int, int] = {}
    for value in flags:
        seen[value] = seen.get(value, 0) + 1
    for value, count in seen.items():
        kinds[_kind(value)] += count
    return Counts(**kinds)


def _kind(value: int) -> str:
    for bit, name in ((NOPAGE, "absent"), (HUGE, "huge"), (SLAB, "slab"), (BUDDY, "free"), (PGTABLE, "tables"), (RESERVED, "reserved"),
                      (OFFLINE, "reserved")):
        if value >> bit & 1:
            return name
    return "lru" if value & (1 << LRU | 1 << MMAP | 1 << ANON) else "bare"


def read(proc: str = "/proc") -> Iterator[bytes]:
    """Yields the file in blocks of :data:`BLOCK` bytes. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    path = os.path.join(proc, "kpageflags")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise files.failure(path, error) from None
    try:
        while True:
            try:
                data = os.read(handle, BLOCK)
            except OSError as error:
                raise files.failure(path, error) from None
            if not data:
                return
            yield data
    finally:
        os.close(handle)
