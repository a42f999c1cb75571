"""What processes hold, and what the kernel holds for them: heap, workers, shared memory, page tables, threads."""

from __future__ import annotations

import mmap
import os
import struct

from memtriage.procfs.pid import smaps_rollup
from memtriage.simulate import libc
from memtriage.simulate.place import Place, Refused

PAGE = mmap.PAGESIZE
STRIDE = PAGE // 8 * PAGE
"""Address space that one page of page tables maps: 512 entries of 4 KiB on x86-64."""
WORKER = 7 * 1024 * 1024
"""Bytes that each worker of a fan-out holds: a prime number of MiB."""
STACK = 16384
_ENDED = "a worker ended: killed, perhaps by the OOM killer"
_FILLING = b"leak" * (PAGE // 4)


def private(size: int, protection: int = mmap.PROT_READ | mmap.PROT_WRITE) -> mmap.mmap:
    """Address space without memory behind it yet. No huge pages: they would be taken 2 MiB at a time."""
    space = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=protection)
    try:
        space.madvise(mmap.MADV_NOHUGEPAGE)
    except (OSError, AttributeError):
        pass  # a kernel without huge pages
    return space


class Heap:
    """One process that allocates and never frees. The unit is a page."""

    def __init__(self, place: Place) -> None:
        self.space = private(place.units * PAGE)

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.space.write(_FILLING)


class Workers:
    """A fan-out: one process after the other, each filled up to 7 MiB of its own. The unit is a page.

    What a fork copies of its parent belongs to the worker's 7 MiB: each asks the kernel how much is its own and adds the rest.
    """

    def __init__(self, place: Place) -> None:
        self.left = 0
        self.asks = self.answers = -1

    def grow(self, count: int) -> None:
        if self.asks >= 0 and os.waitpid(-1, os.WNOHANG)[0]:
            raise Refused(_ENDED)
        while count > 0:
            if not self.left:
                self._fork()
                self.left = WORKER // PAGE
            step = min(count, self.left)
            self.left -= step
            count -= step
            try:
                os.write(self.asks, struct.pack("=q", WORKER // PAGE - self.left))
                answer = os.read(self.answers, 1)
            except BrokenPipeError:
                answer = b""
            if answer != b"+":
                raise Refused(_ENDED)

    def _fork(self) -> None:
        if self.asks >= 0:
            os.close(self.answers)  # the pipe of asks stays open: the worker lives until it is closed
        (orders, self.asks), (self.answers, done) = os.pipe(), os.pipe()
        if os.fork():
            os.close(orders)
            os.close(done)
            return
        try:
            # Earlier workers' pipes, which would keep them alive; and the leaker's own are its to hear.
            os.close(self.answers)
            _only(orders, done)
            _worker(orders, done)
        finally:
            os._exit(1)


def _only(*wanted: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in wanted:
            try:
                os.close(int(name))
            except OSError:
                pass  # the listing's own


def _worker(orders: int, done: int) -> None:
    space = private(WORKER)
    while True:
        order = os.read(orders, 8)
        if len(order) < 8:
            os._exit(0)
        wanted = struct.unpack("=q", order)[0] * PAGE
        for _ in range(8):  # each look may itself copy a page
            own = smaps_rollup.read("/proc", "self")
            missing = (wanted - (own.get("Private_Dirty") or 0)) // PAGE
            if missing <= 0:
                break
            for _ in range(missing):
                space.write(_FILLING)  # page by page: one long text would be memory, too
        os.write(done, b"+")


class SharedMemory:
    """A file in memory that no folder shows (memfd_create(2)): shared memory and tmpfs are counted alike. The unit is a page."""

    def __init__(self, place: Place) -> None:
        self.file = os.memfd_create("memtriage-simulate")
        self.pages = 0

    def grow(self, count: int) -> None:
        if count:
            os.posix_fallocate(self.file, self.pages * PAGE, count * PAGE)
        self.pages += count


class PageTables:
    """Much address space and nothing in it: one read in each stretch that a page of page tables maps. The unit is such a page.

    What is read is the kernel's one page of zeros, which is counted nowhere.
    """

    def __init__(self, place: Place) -> None:
        self.space = private((place.units + 1) * STRIDE, mmap.PROT_READ)
        self.next = 0

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.space[self.next]
            self.next += STRIDE


class Threads:
    """Threads that sleep. The unit is a thread, and with it its kernel stack."""

    def __init__(self, place: Place) -> None:
        libc.pausing_threads(1, STACK)  # the C library's own set-up is not the leak

    def grow(self, count: int) -> None:
        libc.pausing_threads(count, STACK)
