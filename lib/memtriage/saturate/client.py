"""The connections: each opened, given most of a request, held, finished, and timed. One process, no threads, nothing blocks."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import time
from typing import Callable

from memtriage.saturate.target import Target

ANSWER = 1 << 20
"""Bytes of an answer that are read; what comes after its first line is thrown away."""
CONNECTING, SHAKING, SENDING, HELD, ENDING, READING, DONE = range(7)


class Connection:
    """``status`` of the answer, or ``failure`` in words; ``took`` is seconds from the request's end to the answer's."""

    def __init__(self, where: Target, pieces: tuple[bytes, bytes]) -> None:
        self.where, self.end = where, pieces[1]
        self.pending = pieces[0]
        self.head = b""
        self.read = 0
        self.status: int | None = None
        self.failure: str | None = None
        self.early = False
        """Answered or closed while it was held."""
        self.opened = time.monotonic()
        self.finished = 0.0
        self.took: float | None = None
        self.state = CONNECTING
        self.socket: socket.socket = socket.socket(where.family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        code = self.socket.connect_ex(where.address)
        if code not in (0, errno.EINPROGRESS):
            self._fail(os.strerror(code))

    @property
    def port(self) -> int:
        """Our end's, by which /proc/net/tcp tells whether somebody has accepted the connection."""
        try:
            return int(self.socket.getsockname()[1])
        except OSError:
            return 0

    @property
    def interest(self) -> int:
        if self.state == SHAKING:
            return selectors.EVENT_READ | selectors.EVENT_WRITE
        return selectors.EVENT_WRITE if self.state in (CONNECTING, SENDING, ENDING) else selectors.EVENT_READ

    def finish(self) -> None:
        """Lets the rest of the request go."""
        if self.state == HELD:
            self.pending, self.state, self.finished = self.end, ENDING, time.monotonic()

    def give_up(self, why: str) -> None:
        if self.state != DONE:
            self._fail(why)

    def work(self) -> None:
        """Goes on as far as it can without waiting."""
        try:
            if self.state == CONNECTING:
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self.state = SENDING
                if self.where.tls:
                    self.socket = self.where.tls.wrap_socket(self.socket, server_hostname=self.where.host, do_handshake_on_connect=False)
                    self.state = SHAKING
            if self.state == SHAKING:
                self.socket.do_handshake()  # type: ignore[attr-defined]
                self.state = SENDING
            if self.state in (SENDING, ENDING):
                self.pending = self.pending[self.socket.send(self.pending):]
                if not self.pending:
                    self.state = HELD if self.state == SENDING else READING
            elif self.state in (HELD, READING):
                self._receive()
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._fail(getattr(error, "verify_message", "") or error.strerror or str(error))

    def _receive(self) -> None:
        while self.state != DONE:
            data = self.socket.recv(65536)
            if not data:
                self._ended()
                return
            self.early = self.early or self.state == HELD
            self.read += len(data)
            if len(self.head) < 1024:
                self.head += data[:1024]
            if self.read > ANSWER:
                self._ended()

    def _ended(self) -> None:
        self.early = self.early or self.state == HELD
        words = self.head.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit() or len(words[1]) != 3:
            self._fail("closed without an answer" if not self.head else "not HTTP/1.1")
            return
        self.status = int(words[1])
        self.took = time.monotonic() - (self.finished or self.opened)
        self._close()

    def _fail(self, why: str) -> None:
        self.failure = why
        self._close()

    def _close(self) -> None:
        self.state = DONE
        self.socket.close()


class Crowd:
    """All connections of a run. ``close`` must be called, whatever happens."""

    def __init__(self, where: Target, pieces: tuple[bytes, bytes]) -> None:
        self.where, self.pieces = where, pieces
        self.all: list[Connection] = []
        self.selector = selectors.DefaultSelector()

    def open(self, count: int, rate: float, between: Callable[[], None]) -> None:
        """Opens ``count`` connections, ``rate`` a second, and calls ``between`` now and then."""
        start = time.monotonic()
        while len(self.all) < count:
            due = min(count, 1 + int((time.monotonic() - start) * rate))
            while len(self.all) < due:
                one = Connection(self.where, self.pieces)
                self.all.append(one)
                if one.state != DONE:
                    self.selector.register(one.socket, one.interest, one)
            self.step(0.02)
            between()

    def wait(self, seconds: float, wanted: Callable[[Connection], bool], between: Callable[[], None]) -> None:
        """Works until every connection is as wanted, or the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(map(wanted, self.all)):
            self.step(min(0.05, max(0.0, end - time.monotonic())))
            between()

    def finish(self) -> None:
        for one in self.all:
            if one.state == HELD:
                one.finish()
                self.selector.modify(one.socket, one.interest, one)

    def step(self, seconds: float) -> None:
        ready = self.selector.select(seconds)
        for key, _ in ready:
            one: Connection = key.data
            before, handle = one.interest, one.socket.fileno()
            one.work()
            if one.state == DONE:
                self.selector.unregister(key.fileobj)
            elif one.socket.fileno() != handle or one.socket is not key.fileobj or one.interest != before:
                self.selector.unregister(key.fileobj)
                self.selector.register(one.socket, one.interest, one)
        if not ready and not self.selector.get_map():
            time.sleep(seconds)

    def close(self, why: str) -> None:
        """Ends every connection that is still open."""
        for one in self.all:
            one.give_up(why)
        self.selector.close()
