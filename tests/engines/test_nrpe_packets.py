"""Packet by packet, what Debian's NRPE daemon answers: version 2 and 4, and nothing to version 3, whether in the clear or by TLS.

So ``check_nrpe -3``, which falls back to version 2, says nothing of the daemon's version 3: the packets here are made by hand.
"""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import nrpe
from tests.engines.nrpe import Nrpe

pytestmark = [pytest.mark.engine, pytest.mark.slow]
TEXT = b"FREE_MEM CRITICAL - " + b"x" * 3000
REFUSED = "Request packet version was invalid!"


def old(command: bytes) -> bytes:
    """Version 2: a buffer of 1,024 bytes, and two of padding."""
    def pack(crc: int) -> bytes:
        return struct.pack(">hhIh", 2, 1, crc, 0) + command.ljust(1024, b"\0") + b"\0\0"
    return pack(zlib.crc32(pack(0)))


def sized(version: int, command: bytes, padding: bytes) -> bytes:
    """Versions 3 and 4: a buffer as long as it is said to be; version 3 has the three bytes of padding of its C structure after it."""
    def pack(crc: int) -> bytes:
        return struct.pack(">hhIhhi", version, 1, crc, 0, 0, len(command) + 1) + command + b"\0" + padding
    return pack(zlib.crc32(pack(0)))


PADDING = b"\0\0\0"
PACKETS = {"2": old(b"long"), "3": sized(3, b"long", PADDING), "3 without padding": sized(3, b"long", b""), "4": sized(4, b"long", b"")}


@pytest.fixture(params=[False, True], ids=["clear", "TLS"])
def daemon(request: pytest.FixtureRequest, public_path: Path) -> Iterator[Nrpe]:
    if nrpe.programs() is None:
        pytest.skip("needs NRPE: apt-get install nagios-nrpe-server nagios-nrpe-plugin")
    folder = public_path / "nrpe"
    folder.mkdir()
    script = public_path / "long"
    script.write_bytes(b"#!/bin/sh\nprintf %s '" + TEXT + b"'; exit 2\n")
    script.chmod(0o755)
    with Nrpe(folder, {"long": str(script)}, tls=request.param) as running:
        if request.param:
            yield running
            return
        running.stop()  # its own option for the clear is not one of the configuration
        process = subprocess.Popen([running.daemon, "-c", str(folder / "nrpe.cfg"), "-f", "-n"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", running.port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < end and process.poll() is None
                    time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            process.wait(5)


def answered(daemon: Nrpe, packet: bytes) -> bytes:
    """What comes back before the daemon closes the connection."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as plain:
        line: socket.socket = plain
        if daemon.options:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(daemon.folder / "ca.pem")
            context.load_cert_chain(daemon.folder / "client.pem", daemon.folder / "client.key")
            line = context.wrap_socket(plain)
        line.sendall(packet)
        found = b""
        try:
            while part := line.recv(65536):
                found += part
        except (ConnectionResetError, ssl.SSLError):
            pass
        return found


@pytest.mark.parametrize("name", PACKETS)
def test_what_the_daemon_answers(daemon: Nrpe, name: str) -> None:
    found = answered(daemon, PACKETS[name])
    log = (daemon.folder / "nrpe.log").read_text()
    assert (REFUSED in log) is name.startswith("3"), log
    if name == "2":
        assert len(found) == 1036 and struct.unpack(">hhIh", found[:10])[::3] == (2, 2)
        assert found[10:1034].rstrip(b"\0") == TEXT[: nrpe.OLD_ROOM]
    elif name == "4":
        version, kind, _, state, _, size = struct.unpack(">hhIhhi", found[:16])
        assert (version, kind, state, size) == (4, 2, 2, len(TEXT) + 1)
        assert found[16:] == TEXT + b"\0"
    else:
        assert found == b""
