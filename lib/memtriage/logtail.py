"""The end of a log file that holds kernel messages: the stretches around the last kills, found without reading all of a large file."""

from __future__ import annotations

import os
import re
import stat

from memtriage.procfs import files
from memtriage.record import NamedTuple

BLOCK = 1024 * 1024
SEARCHED = 128 * 1024 * 1024
"""Bytes searched from the end at most."""
BEFORE, AFTER = 256 * 1024, 16 * 1024
"""Bytes kept before and after a kill's line: a report with a task table of 2,000 processes has 150 KiB before it."""
KEPT = 2 * 1024 * 1024
"""Bytes kept in all at most, those of the last kills first: what is kept is parsed, at some 20 MiB a second."""
_MARK = re.compile(rb"Killed process [0-9]")
_BOOT = b"Linux version "
_BINARY = ((b"LPKSHHRH", "a binary journal; give it as text: journalctl -k"), (b"\x1f\x8b", "compressed"), (b"(\xb5/\xfd", "compressed"),
           (b"\xfd7zXZ", "compressed"), (b"BZh", "compressed"))


class Tail(NamedTuple):
    """The stretches of a log in which processes were killed."""

    parts: list[bytes]
    """Oldest first, each for :mod:`memtriage.procfs.oom_report`."""
    marks: int
    """Lines with ``Killed process`` from ``since`` on, as far as was searched."""
    size: int
    inode: int
    whole: bool
    """Whether the search came to its end: the beginning, ``since``, the last boot, or as many kills as were wanted."""


def around(data: bytes, wanted: int | None = None) -> Tail:
    """The same of bytes in memory, such as the ring's."""
    marks = [found.start() for found in _MARK.finditer(data)]
    chosen = marks if wanted is None else marks[-wanted:]
    return Tail([_whole(data[start:end], start) for start, end in _stretches(chosen, 0, len(data))], len(marks), len(data), 0, True)


def read(path: str, wanted: int | None = None, since: int = 0, boot: bool = True) -> Tail:
    """Searches ``path`` backwards for the last ``wanted`` kills, or for all behind the byte ``since``.

    With ``boot`` nothing before the last start of a kernel counts. Raises :class:`~memtriage.procfs.files.ProcfsError`, also for a log
    that is no text.
    """
    files.current = path
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                raise files.Malformed(path, "not a regular file")
            head = os.pread(handle, 8, 0)
            for magic, words in _BINARY:
                if head.startswith(magic):
                    raise files.Malformed(path, words)
            return _search(handle, info.st_size, info.st_ino, wanted, since, boot)
        finally:
            os.close(handle)
    except OSError as error:
        raise files.failure(path, error) from None
    except ValueError:  # a NUL byte in the path
        raise files.Missing(path, "no such file") from None
    finally:
        files.current = ""


def _search(handle: int, size: int, inode: int, wanted: int | None, since: int, boot: bool) -> Tail:
    since = since if since <= size else 0  # truncated in place, as copytruncate does
    marks: list[int] = []
    end, first = size, max(since, size - SEARCHED)
    whole = False
    while end > first and not whole:
        start = max(first, end - BLOCK)
        block = os.pread(handle, end - start + 32, start)  # a mark that crosses the edge begins in this block
        found = [start + mark.start() for mark in _MARK.finditer(block) if start + mark.start() < end]
        edge = block.rfind(_BOOT, 0, end - start + len(_BOOT)) if boot else -1
        if edge >= 0:
            first = start + edge
            found = [mark for mark in found if mark > first]
        marks[:0] = found
        whole = edge >= 0 or start == since or (wanted is not None and len(marks) >= wanted)
        end = start
    chosen = marks if wanted is None else marks[-wanted:]
    parts = [_whole(os.pread(handle, end - start, start), start) for start, end in _stretches(chosen, first, size)]
    return Tail(parts, len(marks), size, inode, whole or size == since)


def _stretches(marks: list[int], first: int, size: int) -> list[tuple[int, int]]:
    """Where to read, oldest first, overlaps joined; as far back as :data:`KEPT` allows."""
    found: list[tuple[int, int]] = []
    for mark in reversed(marks):
        start, end = max(first, mark - BEFORE), min(size, mark + AFTER)
        if found and end >= found[-1][0]:
            found[-1] = (min(start, found[-1][0]), found[-1][1])
        else:
            found.append((start, end))
        if sum(stop - begin for begin, stop in found) >= KEPT:
            break
    return found[::-1]


def _whole(data: bytes, start: int) -> bytes:
    """Without the rest of a line that begins before."""
    return data[data.find(b"\n") + 1 :] if start else data
