"""Reading kernel files, and the errors that reading and parsing can end with.

The kernel makes up most files of /proc while they are read, so their size is not known beforehand and a reader must go on until
nothing comes any more. A file that vanished, one that may not be read and one that holds nonsense are three different answers.
"""

from __future__ import annotations

import errno
import os
from _thread import get_ident

LIMIT = 8 * 1024 * 1024
"""Bytes read of one file at most: 30 times the longest slabinfo seen, and still little on a host of 256 MiB."""

_reading: dict[int, str] = {}
"""By thread: checks that run in one process must not be told of each other's files."""


def at(path: str) -> None:
    """This thread reads ``path`` from now on, or nothing where it is empty: so that a time-out can name the file that blocked."""
    _reading[get_ident()] = path


def current(thread: int | None = None) -> str:
    """What a thread, by its ``get_ident``, is reading at this moment, or this one; empty for nothing."""
    return _reading.get(get_ident() if thread is None else thread, "")


class ProcfsError(Exception):
    """A kernel file could not be used. ``path`` names it, ``reason`` says why in words fit for an alert."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Missing(ProcfsError):
    """This kernel, or this captured tree, does not have the file."""


class Denied(ProcfsError):
    """The file exists and may not be read by this user."""


class Unreadable(ProcfsError):
    """The file exists and reading it failed in another way, such as an I/O error or a process that ended meanwhile."""


class Malformed(ProcfsError):
    """The file was read and does not hold what its kernel document says."""


_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ESRCH}
_DENIED = {errno.EACCES, errno.EPERM}


def failure(path: str, error: OSError) -> ProcfsError:
    """Turns an ``OSError`` met at ``path`` into this library's error of the same meaning."""
    if error.errno in _MISSING:
        return Missing(path, "no such file")
    if error.errno in _DENIED:
        return Denied(path, "permission denied")
    return Unreadable(path, os.strerror(error.errno) if error.errno else str(error))


def read(root: str, name: str, limit: int = LIMIT) -> bytes:
    """Returns the whole of ``root/name`` as bytes, at most ``limit`` of them.

    Raises :class:`Missing`, :class:`Denied` or :class:`Unreadable`. A file longer than ``limit`` is :class:`Malformed`: no kernel
    file is, and half a file would be taken for a whole one.
    """
    path = os.path.join(root, name)
    at(path)
    try:
        # O_NONBLOCK: a captured tree may hold a FIFO, and opening one would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            blocks: list[bytes] = []
            size = 0
            while True:
                block = os.read(handle, 65536)
                if not block:
                    break
                blocks.append(block)
                size += len(block)
                if size > limit:
                    raise Malformed(path, f"longer than {limit} bytes")
        finally:
            os.close(handle)
    except OSError as error:
        at("")
        raise failure(path, error) from None
    except ValueError:  # a NUL byte in the path
        at("")
        raise Missing(path, "no such file") from None
    at("")
    return b"".join(blocks)


def listing(root: str, name: str = "") -> list[str]:
    """Returns the names in the folder ``root/name``, unsorted. Raises like :func:`read`."""
    path = os.path.join(root, name)
    at(path)
    try:
        names = os.listdir(path)
    except OSError as error:
        at("")
        raise failure(path, error) from None
    except ValueError:  # a NUL byte in the path
        at("")
        raise Missing(path, "no such file") from None
    at("")
    return names


def text(raw: bytes) -> str:
    """Decodes a name or a line from the kernel without ever failing; bytes that are not UTF-8 become ``\\xNN``."""
    return raw.decode("utf-8", "backslashreplace")


def number(word: bytes) -> int | None:
    """Returns the non-negative decimal number ``word``, or ``None``. Stricter than ``int``: no sign, blank, underscore or foreign digit.

    Numbers of more than 20 digits do not fit the kernel's 64 bits and are not numbers here.
    """
    if word.isdigit() and len(word) <= 20:
        return int(word)
    return None


def decimal(word: bytes) -> float | None:
    """Returns the non-negative number ``digits.digits``, or ``None``. Stricter than ``float``: no sign, exponent, ``nan`` or ``inf``."""
    whole, point, part = word.partition(b".")
    if point and whole.isdigit() and part.isdigit() and len(word) <= 40:
        return float(word)
    return None


def whole_lines(data: bytes) -> tuple[list[bytes], list[str]]:
    """Returns the lines that end in a newline, and as text what stands after the last one: a line cut short, perhaps in a number."""
    lines = data.split(b"\n")
    tail = lines.pop()
    return lines, [text(tail)] if tail.strip() else []


def one_line(name: str, data: bytes) -> bytes:
    """Returns the first line of a file that has only one. Raises :class:`Malformed` where it is empty or cut before its newline."""
    line, newline, _ = data.partition(b"\n")
    if not line.strip():
        raise Malformed(name, "empty")
    if not newline:
        raise Malformed(name, "cut short: " + text(line[:60]))
    return line


def numbers(name: str, data: bytes, least: int) -> list[int]:
    """Returns the numbers of a one-line file, ``least`` of them or more. Raises :class:`Malformed` where they are fewer or not numbers."""
    line = one_line(name, data)
    found = [number(word) for word in line.split()]
    known = [value for value in found if value is not None]
    if len(known) != len(found) or len(known) < least:
        raise Malformed(name, f"not {least} numbers: " + text(line[:60]))
    return known
