"""TCP connections on loopback, filled with data that nobody reads. The unit is 4,096 bytes sent."""

from __future__ import annotations

import socket

from memtriage.simulate.place import Place

UNIT = 4096
_DATA = memoryview(b"unread\r\n" * 32768)


class Unread:
    def __init__(self, place: Place) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1)
        self.ends: list[tuple[socket.socket, socket.socket]] = []
        self._connect()

    def grow(self, count: int) -> None:
        left, refused = count * UNIT, 0
        while left > 0:
            try:
                left -= self.ends[-1][0].send(_DATA[: min(left, len(_DATA))])
                refused = 0
            except BlockingIOError:
                refused += 1
                if refused > 3:  # new connections that take nothing: TCP as a whole is short of memory
                    raise
                self._connect()

    def _connect(self) -> None:
        client = socket.create_connection(self.listener.getsockname(), timeout=5)
        server, _ = self.listener.accept()
        client.setblocking(False)
        self.ends.append((client, server))
