"""What kind of page everything is, counted one by one in /proc/kpageflags: tells drivers' pages from memory that is simply not counted."""

from __future__ import annotations

from typing import Callable, NamedTuple

from memtriage import accounting
from memtriage.procfs import kpageflags


class Deep(NamedTuple):
    """Bytes."""

    pages: kpageflags.Counts
    drivers: int
    """Pages without any flag, less free memory and what the ledger knows of such (stacks, per-CPU, vmalloc): what drivers, DMA and network
    rings took straight from the page allocator."""


def count(proc: str, page: int, book: accounting.Ledger, progress: Callable[[float], None]) -> Deep:
    """Raises :class:`~memtriage.procfs.files.ProcfsError`. ``progress`` is told the share that is done."""
    total = kpageflags.Counts(0, 0, 0, 0, 0, 0, 0, 0)
    done, expected = 0, max(1, book.total // page * 8)
    for block in kpageflags.read(proc):
        total = kpageflags.Counts(*(one + more for one, more in zip(total, kpageflags.tally(block))))
        done += len(block)
        progress(min(1.0, done / expected))
    get = book.parts.get
    # Only the first page of a free block is flagged free, so the bare ones hold the rest of MemFree. Page tables have a flag of their own.
    known = sum(get(name) or 0 for name in ("free", "kernel_stacks", "per_cpu", "vmalloc", "balloon"))
    # Frames that were never given to the page allocator (holes, the map of pages) have no flag either, and are not in MemTotal.
    outside = max(0, (sum(total) - total.absent - total.reserved) * page - book.total)
    return Deep(total, max(0, (total.bare + total.free) * page - known - outside))
