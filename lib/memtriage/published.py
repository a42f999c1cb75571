"""The copy of slabinfo that the flight recorder publishes for the monitoring group: /run/memtriage/slabinfo, mode 0640.

It is written in place, so that no memory need be found for it, and carries a checksum, so that a reader that comes in between notices.
"""

from __future__ import annotations

import os
import stat
import time
import zlib

SLABINFO = "/run/memtriage/slabinfo"
MAX_AGE = 120.0
_HEAD = 128
_LIMIT = 8 * 1024 * 1024
_TITLE = b"memtriage published 1"


class Publisher:
    """The writing side. ``write`` never raises: a full /run costs the copy and nothing else."""

    def __init__(self, path: str, boot_id: str, group: int = -1) -> None:
        """Makes the file, owned by ``group`` if given. Raises ``OSError``."""
        self.boot_id = boot_id.encode()
        self.length = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self.handle = os.open(path, flags, 0o640)
        if group >= 0:
            os.fchown(self.handle, -1, group)
        os.fchmod(self.handle, 0o640)

    def write(self, data: bytes) -> None:
        stamp = time.clock_gettime(time.CLOCK_BOOTTIME)
        head = b"%s %s %.3f %d %08x" % (_TITLE, self.boot_id, stamp, len(data), zlib.crc32(data))
        try:
            os.pwritev(self.handle, [head.ljust(_HEAD - 1) + b"\n", data], 0)
            if _HEAD + len(data) < self.length:
                os.ftruncate(self.handle, _HEAD + len(data))
            self.length = _HEAD + len(data)
        except OSError:
            pass

    def close(self) -> None:
        """Empties it: a copy that nobody renews is none."""
        try:
            os.ftruncate(self.handle, 0)
        finally:
            os.close(self.handle)


def published(path: str, boot_id: str, max_age: float, now: float | None = None) -> bytes | None:
    """The published file if it is of this boot, at most ``max_age`` seconds old, whole, and written by root or this user; else ``None``.

    ``now`` is seconds since boot (CLOCK_BOOTTIME), which no change of the wall clock moves.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o022 or info.st_size > _LIMIT:
            return None
        for _ in range(5):  # it may be written at this moment
            data = os.pread(handle, _LIMIT, 0)
            words = data[:_HEAD].split()
            title = len(_TITLE.split())
            if len(words) != title + 4 or words[:title] != _TITLE.split():
                return None
            boot, stamp, length, check = words[title:]
            body = data[_HEAD:]
            if b"%d" % len(body) == length and b"%08x" % zlib.crc32(body) == check:
                age = (time.clock_gettime(time.CLOCK_BOOTTIME) if now is None else now) - float(stamp)
                return body if boot == boot_id.encode() and -1.0 <= age <= max_age else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(handle)
    return None
