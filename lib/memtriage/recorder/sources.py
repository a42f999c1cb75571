"""Kernel files that are kept open and read into fixed memory, each with the time before and after."""

from __future__ import annotations

import errno
import os
import time

from memtriage.recording.payload import Source

FILES = ("meminfo", "vmstat", "zoneinfo", "pressure/memory", "pressure/io", "pressure/cpu", "swaps", "loadavg", "net/sockstat", "uptime",
         "sys/fs/dentry-state", "sys/fs/inode-nr", "sys/fs/file-nr")
"""Read at every sample, but for :data:`RARE`. meminfo comes first, as whether memory is short is judged by it."""
REMOVED = ("/sys/fs/cgroup/cgroup.stat", "/sys/fs/cgroup/unified/cgroup.stat")
"""One of them, read at every sample too, says how many removed control groups are still in memory; the kernel takes no lock for it."""
RARE = frozenset(("zoneinfo",))
"""Of these read every few seconds only, as is slabinfo; in between samples have what was read last, with the time it was read."""
_AT_ONCE = frozenset(("meminfo", "pressure/memory", "pressure/io", "pressure/cpu", "loadavg", "net/sockstat", "uptime"))
"""Made by the kernel in one piece (single_open): the first read has all of it, however long, and none need follow to find the end."""
ONCE = ("sys/kernel/random/boot_id", "sys/kernel/osrelease", "version", "cmdline", "stat", "sys/vm/min_free_kbytes",
        "sys/vm/overcommit_memory", "sys/vm/overcommit_ratio", "sys/vm/swappiness", "self/cgroup")
"""Read at the start. Of ``stat`` it is the line ``btime`` that is wanted."""
ALIASES = "/sys/kernel/slab"
READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
EMPTY = Source(b"", 0, 0, 0)
_LONGEST = 4 * 1024 * 1024
_LITTLE = 512


def touched(size: int) -> bytearray:
    """Memory that is really there: each page of it has been written to."""
    memory = bytearray(size)
    for offset in range(0, size, 4096):
        memory[offset] = 0
    return memory


class Scratch:
    """Memory that a thread reads into. It grows where a file is longer, which is once."""

    def __init__(self, size: int) -> None:
        self.memory = touched(size)
        self.views = [memoryview(self.memory)]
        self.little = memoryview(bytearray(_LITTLE))

    def read(self, handle: int, small: bool = False, at_once: bool = False) -> bytes:
        """The whole file from its beginning. Raises ``OSError``.

        ``small`` is for /proc/sys: there the kernel allocates as many bytes as are asked for, and 256 KiB took seconds to be found where
        memory was short.
        """
        if small:
            return bytes(self.little[: os.preadv(handle, [self.little], 0)])
        done = os.preadv(handle, self.views, 0)
        total = done
        while done and not (at_once and total < len(self.memory)):
            if total == len(self.memory):
                if total >= _LONGEST:
                    break
                self._grow()
            done = os.preadv(handle, [self.views[0][total:]], total)
            total += done
        return bytes(self.views[0][:total])

    def _grow(self) -> None:
        larger = bytearray(2 * len(self.memory))
        larger[: len(self.memory)] = self.memory
        self.memory, self.views = larger, [memoryview(larger)]


class File:
    """One file kept open."""

    def __init__(self, name: str, path: str) -> None:
        """Raises ``FileNotFoundError`` where this kernel has no such file; any other failure is recorded at each sample."""
        self.name = name
        self.path = path
        self.small = name.startswith("sys/")
        self.at_once = name in _AT_ONCE
        self.rare = name in RARE
        self.handle = -1
        self.errno = 0
        self._open()
        if self.errno == errno.ENOENT:
            raise FileNotFoundError(self.errno, os.strerror(self.errno), path)

    def _open(self) -> None:
        try:
            self.handle = os.open(self.path, READ_ONLY)
            self.errno = 0
        except OSError as error:
            self.errno = error.errno or errno.EIO

    def read(self, scratch: Scratch, zero_ns: int) -> Source:
        """Reads it; ``zero_ns`` is the monotonic time that the record's time stamp stands for."""
        begin = time.monotonic_ns()
        data: bytes | None = None
        number = self.errno
        if self.handle >= 0:
            try:
                data = scratch.read(self.handle, self.small, self.at_once)
            except OSError as error:
                number = error.errno or errno.EIO
        return Source(data, number if data is None else 0, (begin - zero_ns) // 1000, (time.monotonic_ns() - begin) // 1000)

    def current(self) -> bool:
        """Whether it is still what has its name; another control group may have been given that meanwhile."""
        try:
            return os.path.samestat(os.fstat(self.handle), os.stat(self.path))
        except OSError:
            return False

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def opened(root: str, names: tuple[str, ...]) -> list[File]:
    """Those of ``names`` that are there."""
    found = []
    for name in names:
        try:
            found.append(File(name, os.path.join(root, name)))
        except FileNotFoundError:
            continue
    return found


def removed(sysfs: str) -> list[File]:
    """The file of :data:`REMOVED` that is there, below another folder than /sys where that is said."""
    for name in REMOVED:
        try:
            return [File(name, sysfs + name[len("/sys"):])]
        except FileNotFoundError:
            continue
    return []


def once(root: str, aliases: str) -> dict[str, Source]:
    """What does not change while the host is up, and which slab caches were merged under one name."""
    found: dict[str, Source] = {}
    scratch = Scratch(65536)
    zero = time.monotonic_ns()
    for file in opened(root, ONCE):
        source = file.read(scratch, zero)
        file.close()
        if file.name == "stat" and source.data is not None:
            source = source._replace(data=b"".join(line + b"\n" for line in source.data.split(b"\n") if line.startswith(b"btime ")))
        found[file.name] = source
    links = []
    try:
        for name in sorted(os.listdir(aliases)):
            path = os.path.join(aliases, name)
            links.append(f"{name} {os.readlink(path) if os.path.islink(path) else '.'}\n")
    except OSError:
        pass  # a kernel with SLAB or SLOB, or a tree without /sys
    if links:
        found[ALIASES] = Source("".join(links).encode("utf-8", "surrogateescape"), 0, 0, 0)
    return found
