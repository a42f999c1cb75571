"""Is memory short right now? By the kernel's own alarm where it has pressure stall information, and always by what is left.

Both, since measured on a slow disk pressure stayed below 6 % while programs took 18 s to start: it counts waiting for memory, not for the
program's own pages to come back.
"""

from __future__ import annotations

import os
import select
import time

from memtriage.recorder.sources import File, Scratch
from memtriage.recording import glance

TRIGGERS = (b"some 150000 1000000\0", b"some 300000 2000000\0")
"""Microseconds stalled in a window. The second is for a user without CAP_SYS_RESOURCE: windows of two seconds only, since Linux 6.5."""
HOLD_S = 30.0
"""How long a shortage counts after its last sign."""
LEFT = 0.10
"""Share of RAM above the low watermark below which memory is short."""
ENOUGH = 8 * 1024**3
"""Bytes above it with which no host is short: a tenth of a TiB is many programs' start away."""


class Shortage:
    """``poll`` is where the caller waits; an event on :attr:`handle` is given to :meth:`alarmed`."""

    def __init__(self, root: str, low_watermark: int, poll: select.poll) -> None:
        """``low_watermark`` in bytes, of all zones together. The trigger is set on the live kernel only."""
        self.low = low_watermark
        self.until = -1.0
        self.why = "-"
        self.handle = -1
        self.trigger = "none"
        self._poll = poll
        if os.path.abspath(root) == "/proc":
            self._arm(os.path.join(root, "pressure/memory"))

    def _arm(self, path: str) -> None:
        for trigger in TRIGGERS:
            handle = -1
            try:
                handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                os.write(handle, trigger)
                self._poll.register(handle, select.POLLPRI)
                self.handle, self.trigger = handle, trigger[:-1].decode()
                return
            except OSError as error:
                self.trigger = f"none: {error.strerror}"
                if handle >= 0:
                    os.close(handle)

    def alarmed(self, events: int) -> None:
        """The kernel's trigger went off, or is gone."""
        if events & select.POLLPRI:
            self._short("psi")
        if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):  # with POLLPRI, where the kernel takes the trigger away
            self._poll.unregister(self.handle)
            os.close(self.handle)
            self.handle = -1

    def judge(self, meminfo: bytes | None) -> None:
        """Looks at what is left. Kernels before 3.14 have no MemAvailable: then free and page cache are counted."""
        if meminfo is None:
            return
        total = glance.value(meminfo, b"MemTotal:")
        left = glance.value(meminfo, b"MemAvailable:")
        if left is None:
            left = sum(glance.value(meminfo, name) or 0 for name in (b"MemFree:", b"Cached:")) - (glance.value(meminfo, b"Shmem:") or 0)
        if total and left - self.low < min(LEFT * (total - _huge(meminfo)), ENOUGH):
            self._short("low")

    def _short(self, why: str) -> None:
        self.until = time.monotonic() + HOLD_S
        self.why = why

    @property
    def now(self) -> bool:
        return time.monotonic() < self.until


def _huge(meminfo: bytes) -> int:
    """Bytes set aside as huge pages, which are no longer there to be short of; the sum is in meminfo since Linux 4.20."""
    found = glance.value(meminfo, b"Hugetlb:")
    if found is None:
        found = (glance.value(meminfo, b"HugePages_Total:", b"") or 0) * (glance.value(meminfo, b"Hugepagesize:") or 0)
    return found


def low_watermark(files: list[File], scratch: Scratch) -> int:
    """Bytes of all zones' low watermarks, 0 where the kernel does not say."""
    pages = 0
    for file in files:
        if file.name == "zoneinfo":
            data = file.read(scratch, 0).data or b""
            for line in data.split(b"\n"):
                words = line.split()
                if len(words) == 2 and words[0] == b"low" and words[1].isdigit():
                    pages += int(words[1])
    return pages * int(os.sysconf("SC_PAGE_SIZE"))
