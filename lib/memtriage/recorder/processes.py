"""The processes: stat of each at every sample, and statm where stat has changed, from descriptors kept open; cmdline and cgroup when one is
first seen.

Kernel threads, half of all on a small host, have no memory of their own: theirs are read every few seconds only.

The latter two may block, the one on the process's own memory lock, the other on the lock of all control groups: they are read by a thread
of their own (:mod:`memtriage.recorder.slow`) and come when they come.
"""

from __future__ import annotations

import errno
import os
import time

from memtriage.recorder.sources import READ_ONLY
from memtriage.recording.payload import Content, Process, Source

_SHORT = 470
"""Bytes: what stat needs nearly always, and small enough to be freed to where it is met again."""
_SPARE = 192
"""Descriptors for all else: 120 of them for files of control groups."""
_NOTHING = b"0 0 0 0 0 0 0\n"
"""statm of a kernel thread or of what has ended; neither has memory again, so it is not read any more, unless stat says that it has."""
MOST = 16384
"""Processes recorded at most."""


class _Entry:
    __slots__ = ("kernel", "process", "stat", "statm")

    def __init__(self, stat: int, statm: int) -> None:
        self.stat = stat
        self.statm = statm
        self.process = Process(b"", b"")
        self.kernel = False


class Processes:
    """The table, kept from sample to sample."""

    def __init__(self, root: str, files: int) -> None:
        """``files`` is how many descriptors may be open in all."""
        self.root = root
        self.handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.entries: dict[int, _Entry] = {}
        self.wanted: list[int] = []
        """Processes whose cmdline and cgroup should be read."""
        self.budget = max(0, (files - _SPARE) // 2)
        self.kernel_ns = 0
        """When kernel threads were read last, on the monotonic clock."""

    def read(self, zero_ns: int, kernel: bool = True) -> tuple[dict[int, Process], Source]:
        """One pass. A process that ended meanwhile is left out. Without ``kernel`` kernel threads are listed as they were read last."""
        begin = time.monotonic_ns()
        if kernel:
            self.kernel_ns = begin
        number = 0
        found: dict[int, Process] = {}
        try:
            names = os.listdir(self.handle)
        except OSError as error:
            number = error.errno or errno.EIO
            names = []
        for pid in sorted([int(name) for name in names if name.isdigit() and name.isascii() and len(name) < 10])[:MOST]:
            entry = self.entries.get(pid)
            process = entry.process if entry is not None and entry.kernel and not kernel else self._one(pid, entry)
            if process is not None:
                found[pid] = process
        if len(self.entries) > len(found):
            for pid in [pid for pid in self.entries if pid not in found]:
                self._forget(pid)
        took = (time.monotonic_ns() - begin) // 1000
        return found, Source(None if number else b"", number, (begin - zero_ns) // 1000, took)

    def _one(self, pid: int, entry: _Entry | None) -> Process | None:
        if entry is None or entry.stat < 0:
            return self._first(pid)
        try:
            stat = os.pread(entry.stat, _SHORT, 0)
            if len(stat) == _SHORT:
                stat = _long(entry.stat, stat)
            if stat == entry.process.stat:
                return entry.process  # it has taken no fault and lost no page, so statm says what it said
            if entry.statm < 0 and _has_memory(stat):  # a helper that the kernel started, seen before its exec
                self._forget(pid)
                return self._first(pid)
            statm = os.pread(entry.statm, _SHORT, 0) if entry.statm >= 0 else _NOTHING
        except OSError:  # it ended, and its number may be another's by now
            self._forget(pid)
            return self._first(pid)
        return self._taken(pid, entry, stat, statm)

    def _taken(self, pid: int, entry: _Entry, stat: bytes, statm: bytes) -> Process:
        before = entry.process
        if stat == before.stat and statm == before.statm:
            return before
        if stat[: stat.rfind(b")")] != before.stat[: before.stat.rfind(b")")]:  # exec: another program, another command line
            self.wanted.append(pid)
        entry.process = Process(stat, statm, before.cmdline, before.cgroup)
        return entry.process

    def _first(self, pid: int) -> Process | None:
        stat_handle = statm_handle = -1
        try:
            stat_handle = os.open(f"{pid}/stat", READ_ONLY, dir_fd=self.handle)
            statm_handle = os.open(f"{pid}/statm", READ_ONLY, dir_fd=self.handle)
            stat = os.pread(stat_handle, _SHORT, 0)
            if len(stat) == _SHORT:
                stat = _long(stat_handle, stat)
            statm = os.pread(statm_handle, _SHORT, 0)
        except OSError:
            for handle in (stat_handle, statm_handle):
                if handle >= 0:
                    os.close(handle)
            return None
        entry = self.entries.get(pid)
        if entry is None:
            entry = self.entries[pid] = _Entry(-1, -1)
        entry.kernel = statm == _NOTHING and _kernel_thread(stat)
        if len(self.entries) <= self.budget:
            entry.stat, entry.statm = stat_handle, statm_handle
            if statm == _NOTHING:
                os.close(statm_handle)
                entry.statm = -1
        else:
            os.close(stat_handle)
            os.close(statm_handle)
        return self._taken(pid, entry, stat, statm)

    def _forget(self, pid: int) -> None:
        entry = self.entries.pop(pid, None)
        if entry is not None and entry.stat >= 0:
            os.close(entry.stat)
            if entry.statm >= 0:
                os.close(entry.statm)

    def describe(self, pid: int, cmdline: bytes, cgroup: bytes) -> Process | None:
        """Takes what the thread found out about a process, and returns it; ``None`` where it is gone by now."""
        entry = self.entries.get(pid)
        if entry is None:
            return None
        entry.process = Process(*entry.process[:2], cmdline, cgroup)
        return entry.process

    def close(self) -> None:
        for pid in list(self.entries):
            self._forget(pid)
        os.close(self.handle)


def without(content: Content, spared: int) -> Content:
    """A sample that no record would hold, smaller. 1: without command lines and control groups of processes; 2: without processes."""
    if spared == 0:
        return content
    if spared == 1:
        return content._replace(processes={pid: Process(*process[:2]) for pid, process in content.processes.items()})
    return content._replace(processes={}, listing=content.listing._replace(data=None, errno=errno.EFBIG))


def _kernel_thread(stat: bytes) -> bool:
    """Whether the flags, the seventh field behind the name, have PF_KTHREAD."""
    words = stat[stat.rfind(b")") :].split(None, 8)
    return len(words) > 7 and words[7].isdigit() and bool(int(words[7]) & 0x00200000)


def _has_memory(stat: bytes) -> bool:
    """Whether the size of its memory, the 21st field behind the name, is not 0."""
    words = stat[stat.rfind(b")") :].split(None, 22)
    return len(words) > 21 and words[21] != b"0"


def _long(handle: int, start: bytes) -> bytes:
    parts = [start]
    size = len(start)
    while size < 16384:
        part = os.pread(handle, 4096, size)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)
