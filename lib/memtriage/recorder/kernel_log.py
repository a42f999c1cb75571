"""New records of the kernel's log, raw, as /dev/kmsg gives them (Documentation/ABI/testing/dev-kmsg; since Linux 3.5)."""

from __future__ import annotations

import errno
import os

from memtriage.recorder.sources import EMPTY, READ_ONLY
from memtriage.recording.payload import Source

_RECORD = 8192
_MOST = 128 * 1024
"""Bytes of one sample; what is more waits for the next. An OOM report with a thousand processes has about as much."""


class KernelLog:
    """From now on; what was logged before is in the machine's own logs."""

    def __init__(self, path: str) -> None:
        self.errno = 0
        self.handle = -1
        self.view = memoryview(bytearray(_RECORD))
        try:
            self.handle = os.open(path, READ_ONLY)
            os.lseek(self.handle, 0, os.SEEK_END)
        except OSError as error:
            self.errno = error.errno or errno.EIO
        self.refused = Source(None, self.errno, 0, 0)

    def read(self) -> Source:
        """What came since the last call. Records that were overwritten before they could be read are said to be lost."""
        if self.errno:
            return self.refused
        parts: list[bytes] = []
        size = 0
        while size < _MOST:
            try:
                length = os.readv(self.handle, [self.view])
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:
                    parts.append(b"# records lost: overwritten before they were read\n")
                    size += _RECORD
                    continue
                if not parts:
                    return Source(None, error.errno or errno.EIO, 0, 0)
                break
            if length == 0:
                break
            parts.append(bytes(self.view[:length]))
            size += length
        return Source(b"".join(parts), 0, 0, 0) if parts else EMPTY
