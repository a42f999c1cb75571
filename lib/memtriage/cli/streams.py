"""Standard input, output and error as a command may find them: closed, full, or with nobody at the other end."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import IO, Any


def ready() -> None:
    """Puts something in the place of each that is closed; or the next file opened, a recording, would get what is meant for a person.

    What stdin then has is empty, what goes to stderr is gone. Writing to stdout fails with EBADF as before, since the answer is lost.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(_nowhere(os.O_WRONLY if number == 2 else os.O_RDONLY), True)  # the lowest that is free is this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)


def _nowhere(how: int) -> int:
    try:
        return os.open(os.devnull, how)
    except OSError:  # a container without /dev: what is read from a pipe without a writer is empty, and it cannot be written to
        reading, writing = os.pipe()
        os.close(writing)
        return reading


def forget(number: int) -> None:
    """What Python still holds for this descriptor goes nowhere: it would complain again at its own exit, and leave with 120."""
    handle = _nowhere(os.O_WRONLY)
    os.dup2(handle, number)
    os.close(handle)


def complain(text: str) -> None:
    """A line on stderr, if anybody is there to read it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        forget(2)


def reason(error: OSError) -> str:
    """In words, with the file where there is one."""
    if error.errno == errno.EBADF and not error.filename:
        return "standard output is closed"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


class Parser(argparse.ArgumentParser):
    """argparse's own passes over help that cannot be written, or raises for a complaint that cannot, as its version has it."""

    def _print_message(self, message: str, file: IO[str] | Any = None) -> None:
        if file is not None and file is sys.stdout:
            file.write(message)
        elif message:
            complain(message)
