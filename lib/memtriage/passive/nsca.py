"""NSCA: the old receiver's packet of version 3, plain or with its XOR. Neither hides a password from who can listen: for a safe network."""

from __future__ import annotations

import itertools
import socket
import struct
import zlib
from collections.abc import Mapping

from memtriage.passive import Failed, Result
from memtriage.passive.https import cut

_PACKET = struct.Struct("!hxxLLh64s128s4096sxx")
_GREETING = 132
OUTPUT = 4095
TIMEOUT_S = 5.0


class Nsca:
    """A connection a result, as the daemon closes it afterwards; it never says whether it took the result."""

    idle_s = 0.0

    def __init__(self, words: Mapping[str, str]) -> None:
        """Raises ``ValueError`` for a port or an encryption that is none."""
        self.address = (words["server"], int(words.get("port", "5667")))
        self.password = words.get("password", "").encode()
        method = words.get("encryption", "1")
        if method not in ("0", "1"):
            raise ValueError(f"encryption '{method}' is not done here: 0 is none, 1 the protocol's XOR")
        self.scramble = method == "1"
        self.host = words["host"]
        self._live: socket.socket | None = None

    def ping(self) -> None:
        """Nothing can be opened before: the daemon's greeting holds the time that the packet must have."""

    def send(self, result: Result) -> None:
        try:
            with socket.create_connection(self.address, TIMEOUT_S) as sock:
                self._live = sock
                greeting = b""
                while len(greeting) < _GREETING:
                    part = sock.recv(_GREETING - len(greeting))
                    if not part:
                        raise Failed("NSCA closed the connection without its greeting")
                    greeting += part
                sock.sendall(self.packet(result, greeting))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(256):
                    pass  # until it has read all and closed
        except OSError as error:
            raise Failed(f"{self.address[0]} port {self.address[1]}: {error.strerror or error}") from None

    def packet(self, result: Result, greeting: bytes) -> bytes:
        """The packet with the greeting's time. The daemon itself escapes newlines for the engine."""
        text = result.text(OUTPUT).encode("ascii", "replace")
        fields = (result.state, self.host.encode()[:63], result.service.encode()[:127], text)
        moment = struct.unpack("!L", greeting[128:132])[0]
        blank = _PACKET.pack(3, 0, moment, *fields)
        packet = _PACKET.pack(3, zlib.crc32(blank), moment, *fields)
        if self.scramble:
            packet = bytes(x ^ y for x, y in zip(packet, itertools.cycle(greeting[:128])))
            if self.password:
                packet = bytes(x ^ y for x, y in zip(packet, itertools.cycle(self.password)))
        return packet

    def close(self) -> None:
        """Nothing is open between two results."""

    def abort(self) -> None:
        cut(self._live)
