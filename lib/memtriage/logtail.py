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
LINE = 4096
"""Bytes of a line before its mark that are looked at."""
KEPT = 2 * 1024 * 1024
"""Bytes kept in all at most, those of the last kills first: what is kept is parsed, at some 20 MiB a second."""
_MARK = re.compile(rb"Killed process [0-9]")
_BOOT = b"Linux version "
_HEADER = b"oom-killer: gfp_mask="
_BINARY = ((b"LPKSHHRH", "a binary journal; give it as text: journalctl -k"), (b"\x1f\x8b", "compressed"), (b"(\xb5/\xfd", "compressed"),
           (b"\xfd7zXZ", "compressed"), (b"BZh", "compressed"))


class Tail(NamedTuple):
    """The stretches of a log in which processes were killed."""

    parts: list[bytes]
    """Oldest first, each for :mod:`memtriage.procfs.oom_report`."""
    marks: int
    """The kernel's lines with ``Killed process`` from ``since`` on, as far as was searched."""
    size: int
    inode: int
    whole: bool
    """Whether the search came to its end: the beginning, ``since``, the last boot, or as many kills as were wanted."""


def around(data: bytes, wanted: int | None = None) -> Tail:
    """The same of bytes in memory, such as the ring's."""
    marks = _kernels(data, 0, len(data))
    chosen = marks if wanted is None else marks[-wanted:]
    parts = [_report(data[start:end], mark - start) for start, end, mark in _stretches(chosen, 0, len(data))]
    return Tail(parts, len(marks), len(data), 0, True)


def read(path: str, wanted: int | None = None, since: int = 0, boot: bool = True) -> Tail:
    """Searches ``path`` backwards for the last ``wanted`` kills, or for all behind the byte ``since``.

    With ``boot`` nothing before the last start of a kernel counts. Raises :class:`~memtriage.procfs.files.ProcfsError`, also for a log
    that is no text.
    """
    files.at(path)
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
        files.at("")


def _search(handle: int, size: int, inode: int, wanted: int | None, since: int, boot: bool) -> Tail:
    since = since if since <= size else 0  # truncated in place, as copytruncate does
    marks: list[int] = []
    end, first = size, max(since, size - SEARCHED)
    whole = False
    while end > first and not whole:
        start = max(first, end - BLOCK)
        low = max(first, start - LINE)
        block = os.pread(handle, end - low + LINE, low)  # a line that crosses the edge is known by where its mark begins
        found = _kernels(block, start - low, end - low)
        edge = block.rfind(_BOOT, start - low, end - low + len(_BOOT)) if boot else -1
        if edge >= 0:
            first = low + edge
        marks[:0] = [low + mark for mark in found if mark > edge]
        whole = edge >= 0 or start == since or (wanted is not None and len(marks) >= wanted)
        end = start
    chosen = marks if wanted is None else marks[-wanted:]
    parts = [_report(os.pread(handle, end - start, start), mark - start) for start, end, mark in _stretches(chosen, first, size)]
    return Tail(parts, len(marks), size, inode, whole or size == since)


def _kernels(data: bytes, low: int, high: int) -> list[int]:
    """Where the kernel says that it killed somebody, from ``low`` to ``high``; what other programs quote, or forge, is passed over."""
    from memtriage.procfs import kmsg  # noqa: PLC0415 - a log without a kill does not need it

    found = []
    for mark in _MARK.finditer(data, low):
        place = mark.start()
        if place >= high:
            break
        line = data[max(0, place - LINE, data.rfind(b"\n", 0, place) + 1) : mark.end()]
        if kmsg.parse(line).records:
            found.append(place)
    return found


def _stretches(marks: list[int], first: int, size: int) -> list[tuple[int, int, int]]:
    """Where to read, oldest first, overlaps joined, as far back as :data:`KEPT` allows; and the first mark in each."""
    found: list[tuple[int, int, int]] = []
    for mark in reversed(marks):
        start, end = max(first, mark - BEFORE), min(size, mark + AFTER)
        if found and end >= found[-1][0]:
            found[-1] = (min(start, found[-1][0]), found[-1][1], mark)
        else:
            found.append((start, end, mark))
        if sum(stop - begin for begin, stop, _ in found) >= KEPT:
            break
    return found[::-1]


def _report(data: bytes, mark: int) -> bytes:
    """From the report's header on, which is the first behind the kill before ``mark``; without one, from behind that kill's line."""
    before = [found.start() for found in _MARK.finditer(data, 0, mark)]
    start = before[-1] if before else 0
    header = data.find(_HEADER, start, mark)
    # A stretch that begins within a line, or with another kill's, begins behind that line.
    edge = data.rfind(b"\n", 0, header) if header >= 0 else data.find(b"\n", start, mark) if start else -1
    return data[edge + 1 :]
