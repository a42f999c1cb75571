"""Who asks: the name and password of an Icinga 2 API user, from a file that nobody else can read."""

from __future__ import annotations

import os
import stat

from memtriage.fleet.trouble import Trouble
from memtriage.record import NamedTuple

MOST = 4096
"""Bytes of such a file."""


class Credentials(NamedTuple):
    """Both may hold any character but a line end; a colon ends the user's name."""

    user: str
    password: str


def read(path: str) -> Credentials:
    """The file's one line is ``user:password``. Raises :class:`~memtriage.fleet.trouble.Trouble`, which repeats nothing of the file."""
    try:
        # Without waiting: opening a FIFO would block for ever.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise Trouble(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        # Of the open file, since another one may have been put in its place after the question.
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Trouble(f"{path}: it is no file")
        if status.st_mode & 0o077:
            raise Trouble(f"{path}: others may read or write it (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600")
        data = os.read(handle, MOST + 1)
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)
    try:
        line, _, more = data.decode("utf-8").partition("\n")
    except UnicodeDecodeError:
        raise Trouble(f"{path}: it is not UTF-8") from None
    # Not splitlines(), for which much else ends a line, too.
    user, colon, password = line.rstrip("\r").partition(":") if not more and len(data) <= MOST else ("", "", "")
    if not user or not colon or not password:
        raise Trouble(f"{path}: it must hold one line, user:password")
    return Credentials(user, password)
