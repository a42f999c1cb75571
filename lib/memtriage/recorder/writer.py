"""From memory to disk, in a thread of its own: a disk that stalls, is full or fails delays what is written and never what is sampled."""

from __future__ import annotations

import _thread
import os
import select
import threading
import time
from collections import deque

from memtriage.recorder.sources import touched
from memtriage.recording import layout
from memtriage.recording.ring import Refused, Ring

AGAIN_S = 10.0
"""Between two attempts to open the file anew."""
SAID_S = 60.0
"""Between two complaints of a disk that takes samples now and then."""


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
        self._reopen = False
        self.anew = False
        """Set once the file is another one."""
        self._refused = ""
        self._failing = False
        self._complained = -SAID_S
        self._again = 0.0
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

    def open_anew(self) -> None:
        """Has the file opened anew, at once or as soon as that can be done."""
        self._reopen, self._again = True, 0.0
        self.wake()

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
                self.problem = self._refused
                if self._failing:
                    self._failing = False
                    _say("the disk takes samples again")
            except Exception as error:  # whatever it is, this thread must not end: the next attempt may go well
                self.problem = (error.strerror or "I/O error") if isinstance(error, OSError) else str(error) or type(error).__name__
                if self._stopping:
                    return
                self._complain()
                self._go.acquire(timeout=1.0)
            if self._stopping and not self.buffer.records and not self._dirty:
                return

    def _complain(self) -> None:
        now = time.monotonic()
        if not self._failing and now - self._complained >= SAID_S:
            self._failing, self._complained = True, now
            _say(f"the disk takes no samples, they wait in memory: {self.problem}")

    def _once(self) -> None:
        if self._reopen and time.monotonic() >= self._again:
            self._open_anew()
        self._drain()
        if self._dirty and (self._stopping or time.monotonic() - self._synced >= self.sync_s):
            self.ring.sync()
            self._dirty = False
            self._synced = time.monotonic()
            self._space()
            if not self._reopen:
                self._look()

    def _look(self) -> None:
        """Whether what has the recording's name is still what is written to, and all of it: else nobody could read it."""
        ring = self.ring
        try:
            there: os.stat_result | None = os.lstat(ring.path)
        except FileNotFoundError:
            there = None
        except OSError:
            return
        if there is None or not os.path.samestat(there, os.fstat(ring.handle)):
            _say(f"{ring.path} was removed or replaced by somebody")
            self.open_anew()
        elif there.st_size != ring.file.size:
            ring.mend()
            self.anew = True
            _say(f"{ring.path} was cut to {there.st_size} bytes by somebody; it has {ring.file.size} again")

    def _drain(self) -> None:
        records = self.buffer.records
        while records:
            start, length, head = records[0]
            self.ring.append(self.buffer.view[start : start + length], head)
            records.popleft()
            self._dirty = True

    def _open_anew(self) -> None:
        """Where that cannot be done the old file goes on, and it is tried again."""
        try:
            ring = Ring.open(self.ring.path, self.ring.file.size)
        except (OSError, Refused) as error:
            if not self._refused:
                _say(f"not opened anew, the file that was open goes on: {error}")
            self._refused = (error.strerror if isinstance(error, OSError) else str(error)) or "I/O error"
            self._again = time.monotonic() + AGAIN_S
            return
        self._reopen = False
        if self._refused:
            _say("opened anew")
            self._refused = ""
        if os.path.samestat(os.fstat(ring.handle), os.fstat(self.ring.handle)):
            ring.close()
            return
        try:
            self._drain()  # what has come meanwhile leans on what is in the old file
            self.ring.sync()
        except OSError:
            pass  # a disk that failed may be why; then the new file has what waits
        old, self.ring = self.ring, ring
        self.floor = max(self.floor, ring.seq)
        self.anew = True
        old.close()

    def _space(self) -> None:
        disk = os.fstatvfs(self.ring.handle)
        self.disk = b"%d %d" % (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)


def _say(text: str) -> None:
    """Where it would have to wait, as on a pipe that nobody empties, it is not said: this thread has more to do."""
    try:
        ready = select.poll()
        ready.register(2, select.POLLOUT)
        if ready.poll(0):
            os.write(2, f"memtriage record: {text}\n".encode("ascii", "replace"))
    except OSError:
        pass  # nobody listens
