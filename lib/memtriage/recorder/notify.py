"""Tells systemd that the service is ready and alive (sd_notify(3)), without its library and without ever waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notify:
    """Does nothing where no supervisor asked for it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.socket: socket.socket | None = None
        self.every_s = 0.0
        """How often the watchdog wants to hear of us: half its time, 0 for never."""
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return
        word = environ.get("WATCHDOG_USEC", "")
        if word.isdigit() and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.every_s = int(word) / 2e6
        try:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self.socket.connect("\0" + address[1:] if address[0] == "@" else address)
            self.socket.setblocking(False)
        except OSError:
            self.socket = None

    def send(self, words: bytes) -> None:
        if self.socket is not None:
            try:
                self.socket.send(words)
            except OSError:
                pass  # a supervisor that is busy hears of us next time
