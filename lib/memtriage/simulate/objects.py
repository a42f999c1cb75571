"""Kernel objects that a process holds and that are in nobody's RSS: locks, open files, unread messages, other descriptors."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
from typing import Callable

from memtriage.simulate import libc
from memtriage.simulate.place import Place, Refused

LOCKS_PER_FILE = 400
"""A new lock is compared with all others of its file."""
IN_FLIGHT = 253
"""SCM_MAX_FD: descriptors in one message (include/net/scm.h)."""
_CLOCK_MONOTONIC = 1


class Locks:
    """POSIX record locks, 400 a file that no folder shows (fcntl(2), F_SETLK). The unit is a lock."""

    def __init__(self, place: Place) -> None:
        self.file, self.left = -1, 0

    def grow(self, count: int) -> None:
        for _ in range(count):
            if not self.left:
                self.file, self.left = os.memfd_create("memtriage-simulate"), LOCKS_PER_FILE
            # From the end to the start, with a gap: at the head of a sorted list, and no two are merged.
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * self.left)
            self.left -= 1


class Descriptors:
    """Open descriptors, 253 at a time put into a unix socket as a message nobody reads: so the limit of open files is not reached.

    The unit is a descriptor. Without CAP_SYS_ADMIN no more may be in flight than a process may have open.
    """

    def __init__(self, opened: Callable[[], int]) -> None:
        self.opened = opened
        self.batch = array.array("i")
        self.ends: list[tuple[socket.socket, socket.socket]] = []

    def grow(self, count: int) -> None:
        for _ in range(count):
            if len(self.batch) == IN_FLIGHT:
                self._send()
            self.batch.append(self.opened())

    def _send(self) -> None:
        message = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self.batch)]
        try:
            if not self.ends:
                raise BlockingIOError
            self.ends[-1][0].sendmsg([b"x"], message)
        except BlockingIOError:
            self.ends.append(pair())
            self.ends[-1][0].sendmsg([b"x"], message)
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                raise Refused("the limit of open files (ulimit -Hn) is the limit of descriptors in flight, too, without root") from None
            raise
        for number in self.batch:
            os.close(number)
        self.batch = array.array("i")


def pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair()
    ends[0].setblocking(False)
    return ends


class Messages:
    """One-byte messages that nobody reads, in unix sockets: a socket buffer each. The unit is a message."""

    def __init__(self, place: Place) -> None:
        self.ends = [pair()]

    def grow(self, count: int) -> None:
        for _ in range(count):
            try:
                self.ends[-1][0].send(b"x")
            except BlockingIOError:
                self.ends.append(pair())
                self.ends[-1][0].send(b"x")


def files(place: Place) -> Descriptors:
    """Open files: /dev/null, again and again."""
    return Descriptors(lambda: os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))


def eventfds(place: Place) -> Descriptors:
    """eventfd(2), since Linux 2.6.22."""
    return Descriptors(lambda: libc.call("eventfd", 0, 0))


def epolls(place: Place) -> Descriptors:
    """epoll_create1(2), since Linux 2.6.27."""
    return Descriptors(lambda: libc.call("epoll_create1", 0))


def timerfds(place: Place) -> Descriptors:
    """timerfd_create(2), since Linux 2.6.25."""
    return Descriptors(lambda: libc.call("timerfd_create", _CLOCK_MONOTONIC, 0))
