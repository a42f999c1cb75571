"""From memory to disk, in a thread of its own: a disk that stalls, is full or fails delays what is written and never what is sampled."""

from __future__ import annotations

import _thread
import os
import threading
import time
from collections import deque

from memtriage.recorder.sources import touched
from memtriage.recording import layout
from memtriage.recording.ring import Ring


class Buffer:
    """A fixed piece of memory that records wait in, first in, first out."""

    def __init__(self, size: int) -> None:
        self.memory = touched(size)
        self.view = memoryview(self.memory)
        self.records: deque[tuple[int, int, layout.Head]] = deque()
        self.tail = 0

    def put(self, head: layout.Head, payload: bytes) -> bool:
        """Takes one record in, with room for its head in front; ``False`` where there is no room, and then it is lost."""
        length = head.length
        start = self.tail
        try:
            first = self.records[0][0]
        except IndexError:  # the writer took the last one, perhaps just now
            first = -1
        if first < 0:
            start = 0
        if start >= first:  # what is free lies behind the tail, and in front of the oldest
            if start + length > len(self.memory):
                start = 0
                if first >= 0 and length >= first:
                    return False
        elif start + length >= first:
            return False
        if length > len(self.memory):
            return False
        end = start + layout.ALIGN + len(payload)
        self.view[start + layout.ALIGN : end] = payload
        self.view[end : start + length] = bytes(start + length - end)
        self.tail = start + length
        self.records.append((start, length, head))
        return True


class Writer:
    """Writes what is in the buffer; ``problem`` says what is wrong with the disk, or is empty."""

    def __init__(self, ring: Ring, size: int, sync_s: float) -> None:
        self.ring = ring
        self.buffer = Buffer(size)
        self.sync_s = sync_s
        self.problem = ""
        self.disk = b""
        """Free and total bytes of the file system, as text."""
        self.floor = ring.seq
        """The least number for the next record."""
        self.reopen = False
        self._stopping = False
        self._dirty = False
        self._synced = time.monotonic()
        self._go = _thread.allocate_lock()
        self._go.acquire()
        self._space()
        self.thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.thread.start()

    def put(self, head: layout.Head, payload: bytes) -> bool:
        fits = self.buffer.put(head, payload)
        self.wake()
        return fits

    def wake(self) -> None:
        try:
            self._go.release()
        except RuntimeError:
            pass  # it was awake already

    def stop(self, seconds: float) -> bool:
        """Has everything written, as far as it can be in the time; says whether it was."""
        self._stopping = True
        self.wake()
        self.thread.join(seconds)
        return not self.thread.is_alive() and not self.buffer.records

    def _run(self) -> None:
        while True:
            due = self._synced + self.sync_s - time.monotonic() if self._dirty else -1.0
            if not self._stopping:
                if due > 0:
                    self._go.acquire(timeout=due)
                elif due < 0 and not self._dirty:
                    self._go.acquire()
            try:
                self._once()
                self.problem = ""
            except Exception as error:  # whatever it is, this thread must not end: the next attempt may go well
                self.problem = (error.strerror or "I/O error") if isinstance(error, OSError) else str(error) or type(error).__name__
                if self._stopping:
                    return
                self._go.acquire(timeout=1.0)
            if self._stopping and not self.buffer.records and not self._dirty:
                return

    def _once(self) -> None:
        if self.reopen:
            self.reopen = False
            ring = Ring.open(self.ring.path, self.ring.file.size)
            self.ring.close()
            self.ring = ring
            self.floor = max(self.floor, ring.seq)
        records = self.buffer.records
        while records:
            start, length, head = records[0]
            self.ring.append(self.buffer.view[start : start + length], head)
            records.popleft()
            self._dirty = True
        if self._dirty and (self._stopping or time.monotonic() - self._synced >= self.sync_s):
            self.ring.sync()
            self._dirty = False
            self._synced = time.monotonic()
            self._space()

    def _space(self) -> None:
        disk = os.fstatvfs(self.ring.handle)
        self.disk = b"%d %d" % (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
