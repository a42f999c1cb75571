"""Nagios' and Icinga's external command file, or a plain file in the same form for any other way of transport."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from memtriage.passive import Failed, Rejected, Result

OUTPUT = 8192
_LEAST = 4096
"""PIPE_BUF: a write of so much is never mixed with that of others."""


class CommandFile:
    """A line a result. A FIFO is written to without waiting: where nobody reads it the result is tried again."""

    idle_s = 0.0

    def __init__(self, words: Mapping[str, str]) -> None:
        self.path = words["path"]
        self.host = words["host"]
        if not os.path.isabs(self.path):
            raise ValueError(f"'{self.path}' is no absolute path")

    def ping(self) -> None:
        """A FIFO has a reader or has not; a file needs nothing beforehand."""

    def send(self, result: Result) -> None:
        if ";" in self.host + result.service:
            raise Rejected(f"a command file has no way to name '{self.host}!{result.service}': there is a ';' in it")
        head = f"[{int(result.ended)}] PROCESS_SERVICE_CHECK_RESULT;{self.host};{result.service};{result.state};"
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise Failed(f"{self.path}: {error.strerror}") from None
        try:
            fifo = stat.S_ISFIFO(os.fstat(handle).st_mode)
            most = (_LEAST if fifo else OUTPUT) - len(head.encode()) - 1
            line = f"{head}{result.text(most, chr(92) + 'n')}\n".encode("utf-8", "replace")
            if os.write(handle, line) != len(line):
                raise Failed(f"{self.path}: no room left")
        except OSError as error:
            raise Failed(f"{self.path}: {error.strerror}") from None
        finally:
            os.close(handle)

    def close(self) -> None:
        """Nothing is open between two results."""

    def abort(self) -> None:
        """Nothing is waited for but a disk."""
