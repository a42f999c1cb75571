"""The writing side: a file of fixed size, written in full when it is made, in which the oldest record gives way to the newest.

Nothing here allocates blocks once :meth:`Ring.open` has returned, and nothing is read but at the start. One recorder at a time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Callable

from memtriage.recording import layout
from memtriage.recording.scan import Entry, Window, newest, scan

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_STEP = 1024 * 1024
_NO_ATIME, _NO_COW = 0x80, 0x800000
_OTHER_WAY = ("ppc", "mips", "sparc", "alpha")
"""Where ioctl numbers have read and write in other bits."""


class Refused(Exception):
    """The file cannot be recorded to; the text says why and what to do."""


class Busy(Refused):
    """Another recorder holds the file."""


class Ring:
    """A recording open for writing. ``seq`` is the number the next record should have."""

    def __init__(self, path: str, handle: int, head: layout.FileHead, last: Entry | None) -> None:
        self.path = path
        self.handle = handle
        self.file = head
        self.end = head.size - layout.EDGE
        self.largest = (self.end - layout.EDGE) // 2
        """Bytes that a record may take."""
        self.seq = last.head.seq + 1 if last else 1
        self.offset = last.offset + last.head.length if last else layout.EDGE
        self.back = last.offset // layout.ALIGN if last else 0
        self._filler = bytearray(layout.ALIGN)

    @classmethod
    def open(cls, path: str, size: int, say: Callable[[str], None] = lambda text: None) -> Ring:
        """Opens the recording ``path`` of ``size`` bytes, or makes it. What is there in another size is renamed to ``path.old``.

        Raises :class:`Refused`, and ``OSError`` where the disk does.
        """
        size = size // layout.EDGE * layout.EDGE
        if size < layout.SMALLEST_FILE:
            raise Refused(f"a recording has at least {layout.SMALLEST_FILE} bytes")
        try:
            handle = os.open(path, _FLAGS)
        except FileNotFoundError:
            return cls._make(path, size)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused(f"{path} is a symbolic link; give the file itself") from None
            raise
        try:
            length = os.fstat(handle).st_size
            head = layout.unpack_file(os.pread(handle, layout.EDGE, 0))
            if head is None:
                head = layout.unpack_file(os.pread(handle, layout.EDGE, max(0, length - layout.EDGE)))
            if head is None and length:
                raise Refused(f"{path} is not a recording of this version; move it away or give another --output")
            if head is not None and head.size == length == size:
                if head.version != layout.VERSION:  # what is appended from here on is of this version
                    head = head._replace(version=layout.VERSION)
                    _write_edges(handle, head)
                _have(handle, _NO_ATIME)
                ring = cls(path, handle, head, _last(handle, head))
                handle = -1
                return ring
        finally:
            if handle >= 0:
                os.close(handle)
        ring = cls._make(path, size, aside=bool(length))
        if length:
            say(f"{path} had {length} bytes and not {size}: kept as {path}.old")
        return ring

    @classmethod
    def _make(cls, path: str, size: int, aside: bool = False) -> Ring:
        """Under another name until it is whole: a crash meanwhile leaves nothing that looks like a recording, a full disk what was there.

        ``aside``: that is kept, as ``path.old``.
        """
        new = path + ".new"
        try:
            os.unlink(new)
        except FileNotFoundError:
            pass
        handle = os.open(new, _FLAGS | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            _have(handle, _NO_ATIME)
            _have(handle, _NO_COW)
            disk = os.fstatvfs(handle)
            if disk.f_bavail * disk.f_frsize < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC) + f": {size} bytes wanted, {disk.f_bavail * disk.f_frsize} left")
            try:
                os.posix_fallocate(handle, 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
            # Written, not only reserved: turning a reserved block into a written one would need the journal at the worst moment.
            zeros = bytes(_STEP)
            for offset in range(0, size, _STEP):
                _write(handle, memoryview(zeros)[: min(_STEP, size - offset)], offset)
            head = layout.FileHead(size, time.time_ns(), os.urandom(8))
            _write_edges(handle, head)
            os.fsync(handle)
            if aside:
                os.replace(path, path + ".old")
            os.replace(new, path)
        except BaseException:
            os.close(handle)
            os.unlink(new)
            raise
        _sync_folder(path)
        return cls(path, handle, head, None)

    def write(self, head: layout.Head, stored: bytes) -> None:
        """Writes one record of which the payload is at hand, as :meth:`append`."""
        record = bytearray(head.length)
        record[layout.ALIGN : layout.ALIGN + len(stored)] = stored
        self.append(memoryview(record), head)

    def append(self, record: memoryview, head: layout.Head) -> None:
        """Writes one record. ``record`` has room for the head in front and is padded; the head's ``name`` and ``back`` are set here.

        Raises ``OSError``; then the same record may be tried again.
        """
        offset = self.offset
        if offset + len(record) > self.end:
            if offset < self.end:
                rest = self.end - offset - layout.ALIGN
                filler = head._replace(name=self.file.name, stored=rest, raw=0, back=self.back, kind=layout.FILLER, flags=0)
                layout.pack_into(self._filler, 0, filler)
                _write(self.handle, memoryview(self._filler), offset)
            offset = layout.EDGE
        layout.pack_into(record, 0, head._replace(name=self.file.name, back=self.back))
        _write(self.handle, record, offset)
        self.offset = offset + len(record)
        self.back = offset // layout.ALIGN

    def mend(self) -> None:
        """Gives a file that somebody cut or lengthened its size and ends again; what was cut off is lost. Raises ``OSError``."""
        os.ftruncate(self.handle, self.file.size)
        try:
            os.posix_fallocate(self.handle, 0, self.file.size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        _write_edges(self.handle, self.file)
        os.fsync(self.handle)

    def sync(self) -> None:
        os.fdatasync(self.handle)

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def _write_edges(handle: int, head: layout.FileHead) -> None:
    for offset in (head.size - layout.EDGE, 0):
        _write(handle, memoryview(layout.pack_file(head)), offset)


def _have(handle: int, flag: int) -> None:
    """Sets a flag of the file, as chattr(1) does, where its file system has such (ioctl_iflags(2)): none needs them to record.

    No atime: else whoever reads a file that is being written has the time of that put on the disk, and hangs where it stands still.
    No copy on write (btrfs; only while the file is empty): else what is written to the ring goes elsewhere, and a full disk takes nothing.
    """
    size = struct.calcsize("l")
    read, write = (1 << 30, 1 << 31) if os.uname().machine.startswith(_OTHER_WAY) else (1 << 31, 1 << 30)
    get, put = (way | size << 16 | ord("f") << 8 | number for way, number in ((read, 1), (write, 2)))
    try:
        (flags,) = struct.unpack_from("I", fcntl.ioctl(handle, get, bytes(size)))
        if not flags & flag:
            fcntl.ioctl(handle, put, struct.pack("I", flags | flag).ljust(size, b"\0"))
    except OSError:
        pass


def _sync_folder(path: str) -> None:
    """Has the name on disk, too: the records that follow are synced without it."""
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        pass  # a folder that may not be read, a file system that syncs none: as good as it was


def _last(handle: int, head: layout.FileHead) -> Entry | None:
    found = newest(handle, head.name, head.size)
    if found is not None:
        return found
    entries = scan(Window(handle), head.name, layout.EDGE, head.size - layout.EDGE)
    return max(entries, key=lambda entry: entry.head.seq, default=None)


def _write(handle: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(handle, data, offset)
        data = data[done:]
        offset += done


def lock(path: str) -> int:
    """Returns a descriptor that holds the recording ``path`` for this process until it is closed. Raises :class:`Busy` with its holder."""
    handle = os.open(path + ".lock", _FLAGS | os.O_CREAT, 0o640)
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_nlink != 1:
        os.close(handle)
        raise Refused(f"{path}.lock is not this user's own file; remove it")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise Busy(f"process {holder or '(unknown)'} records to {path} already") from None
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    except OSError:
        pass  # the disk is full: it holds the file all the same, and the recording has all the room that it needs
    return handle
