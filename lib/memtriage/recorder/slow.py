"""Reads that may block for long, each kind in a thread of its own: the sample waits a moment for them and then goes on without.

slabinfo takes the lock under which caches are made and destroyed; a command line needs the memory lock of its process, which a process
short of memory holds while it waits for the disk, and one that hangs for good; control groups are listed under a lock of all of them.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from memtriage.recorder.sources import READ_ONLY, File, Scratch
from memtriage.recording.payload import Source

T = TypeVar("T")
_CMDLINE = 1024
_CGROUP = 512
_RESCAN = 60.0
_GROUPS = 24
_FOLDERS = 4000
_V1 = ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat")
_V2 = ("memory.current", "memory.max", "memory.stat", "memory.events", "memory.pressure")


class Worker(Generic[T]):
    """A thread that does one thing when asked. Two bare locks carry the question and the answer; nothing is allocated by them."""

    def __init__(self, work: Callable[[], T], name: str, first: Callable[[], None] = lambda: None) -> None:
        """``first`` is called once, in the thread."""
        self.work = work
        self.first = first
        self.busy = False
        self.result: T | None = None
        self._go = _thread.allocate_lock()
        self._done = _thread.allocate_lock()
        self._go.acquire()
        self._done.acquire()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        self.first()
        while True:
            self._go.acquire()
            try:
                self.result = self.work()
            except Exception:
                self.result = None  # a bug here must not end the recording; the source is recorded as lost
            self._done.release()

    def ask(self) -> None:
        """Starts the work unless it is still being done."""
        if not self.busy:
            self.busy = True
            self._go.release()

    def answer(self, seconds: float) -> T | None:
        """The result, or ``None`` where it does not come in time; then it can be asked for again later."""
        if not self.busy or not self._done.acquire(timeout=seconds):
            return None
        self.busy = False
        return self.result


def _nameable(name: str) -> bool:
    """Whether a record can hold a source of this name: 255 bytes of UTF-8 at most."""
    try:
        return len(name.encode()) <= 255
    except UnicodeEncodeError:
        return False


class Slab:
    """slabinfo, and the published copy of it. The answer carries the monotonic time, which the sample turns into its own."""

    def __init__(self, root: str, publish: Callable[[bytes], None] | None) -> None:
        """Raises ``FileNotFoundError`` where this kernel has none."""
        self.file = File("slabinfo", os.path.join(root, "slabinfo"))
        self.publish = publish
        self.scratch = Scratch(256 * 1024)

    def read(self) -> Source:
        source = self.file.read(self.scratch, 0)
        if self.publish is not None and source.data is not None:
            self.publish(source.data)
        return source


class Details:
    """Command lines and control groups of processes just seen."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.pids: list[int] = []

    def read(self) -> list[tuple[int, bytes, bytes]]:
        """Number, command line and control group of each."""
        pids, self.pids = self.pids, []
        return [(pid, self._text(f"{pid}/cmdline", _CMDLINE), self._text(f"{pid}/cgroup", _CGROUP)) for pid in pids]

    def _text(self, name: str, most: int) -> bytes:
        try:
            handle = os.open(os.path.join(self.root, name), READ_ONLY)
        except OSError:
            return b""
        try:
            return os.pread(handle, most, 0)
        except OSError:
            return b""
        finally:
            os.close(handle)


class GroupFiles:
    """Memory files of the larger control groups."""

    def __init__(self, groups: str, above: int) -> None:
        """``groups`` is the folder of the memory controller, empty for none; ``above`` the bytes from which a group is recorded."""
        self.groups = groups
        self.above = above
        self.names = _V2 if os.path.exists(os.path.join(groups, "cgroup.controllers")) else _V1
        self.longest = max(self.names, key=len)
        self.calm = True
        """Whether there is time to look for new groups."""
        self.full = True
        """Whether to read all files of control groups. Else only how much they have: for memory.stat the kernel adds up all CPUs."""
        self.scratch = Scratch(65536)
        self.files: list[File] = []
        self._scanned = -1e9

    def idle(self) -> bool:
        """Whether :meth:`read` would do no more than :meth:`sizes` does."""
        return not ((self.files and self.full) or self._due())

    def sizes(self) -> dict[str, Source]:
        """How much each of the control groups has: a counter and no lock, not worth waking another thread for. Only while that is idle."""
        return {file.name: file.read(self.scratch, 0) for file in self.files if file.name.endswith(self.names[0])}

    def _due(self) -> bool:
        return bool(self.groups) and self.calm and time.monotonic() - self._scanned > _RESCAN

    def read(self) -> tuple[list[str], dict[str, Source]]:
        """Names of all files of control groups; those of them that were read."""
        if self._due():
            self._scanned = time.monotonic()
            self._rescan()
            self.full = True
        read = {file.name: file.read(self.scratch, 0) for file in self.files} if self.full else self.sizes()
        return [file.name for file in self.files], read

    def _rescan(self) -> None:
        """The largest groups; the root is left out, as meminfo tells of it."""
        sizes: list[tuple[int, str]] = []
        for count, (folder, folders, _) in enumerate(os.walk(self.groups)):
            folders.sort()
            if count > _FOLDERS:
                break
            if folder != self.groups and _nameable(os.path.join(folder, self.longest)):
                word = self._size(folder)
                if word >= self.above:
                    sizes.append((word, folder))
        wanted = sorted(sorted(sizes, reverse=True)[:_GROUPS], key=lambda pair: pair[1])
        paths = [os.path.join(folder, name) for _, folder in wanted for name in self.names]
        kept = {file.path: file for file in self.files}
        self.files = []
        for path in paths:
            file = kept.pop(path, None)
            if file is not None and not file.current():  # a service that was restarted has another group under the same name
                file.close()
                file = None
            if file is None:
                try:
                    file = File(path, path)
                except FileNotFoundError:
                    continue
            self.files.append(file)
        for file in kept.values():
            file.close()

    def _size(self, folder: str) -> int:
        try:
            handle = os.open(os.path.join(folder, self.names[0]), READ_ONLY)
        except OSError:
            return -1
        try:
            return int(os.pread(handle, 32, 0))
        except (OSError, ValueError):
            return -1
        finally:
            os.close(handle)


def memory_groups(sysfs: str) -> str:
    """The folder of the memory controller, version 1 or 2, or an empty text."""
    first = os.path.join(sysfs, "fs/cgroup")
    for folder, sign in ((os.path.join(first, "memory"), "memory.usage_in_bytes"), (first, "cgroup.controllers")):
        if os.path.exists(os.path.join(folder, sign)):
            return folder
    return ""
