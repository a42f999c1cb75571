"""Which kind of file it is, and its history: recordings, state files of the checks, plain logs, one or several of a host."""

from __future__ import annotations

import os
from collections.abc import Sequence

from memtriage.report import recordings
from memtriage.report.history import History, Progress, Unusable, joined


def read(paths: Sequence[str], start: float | None = None, end: float | None = None, progress: Progress | None = None) -> History:
    """Raises :class:`~memtriage.report.history.Unusable` with a sentence that names the file."""
    return joined([_one(path, start, end, progress) for path in paths])


def _one(path: str, start: float | None, end: float | None, progress: Progress | None) -> History:
    kind = _kind(path)
    if kind == "recording":
        return recordings.read(path, start, end, progress)
    if kind == "state":
        from memtriage.report import remembered  # noqa: PLC0415 - one kind of file at a time

        return remembered.read(path, start, end)
    from memtriage.report import textlog  # noqa: PLC0415 - as above

    return textlog.read(path, start, end, progress)


def _kind(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise Unusable(f"{path}: {error.strerror if isinstance(error, OSError) and error.strerror else 'no such file'}") from None
    try:
        data = os.pread(handle, 1 << 16, 0)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)
    if not data:
        raise Unusable(f"{path}: empty")
    if data.startswith(b'{"format":'):
        return "state"
    if data.startswith(b"memtriage recording\n") or b"\xf5mtR" in data or b"\0" in data:
        return "recording"
    return "log"
