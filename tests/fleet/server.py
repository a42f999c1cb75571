"""A server that answers as Icinga 2's API does, or as it should not: TLS on loopback, with a certificate made for the test."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

from tests.simulate.command import Answer, environment

__all__ = ["Answer", "Server", "certificate", "environment", "running"]


class Server(NamedTuple):
    url: str
    ca: str
    credentials: str
    asked: list[tuple[str, dict[str, Any]]]
    """Path and body of each request that was let in."""


def certificate(folder: Path, name: str = "server") -> Path:
    """A self-signed certificate for 127.0.0.1 and ``m1``, and its key, in one file; made once for all tests of a run."""
    path = folder / f"{name}.pem"
    if name not in _MADE:
        _make(path, name)
        _MADE[name] = path.read_text("ascii"), Path(f"{path}.crt").read_text("ascii")
    path.write_text(_MADE[name][0], "ascii")
    Path(f"{path}.crt").write_text(_MADE[name][1], "ascii")
    return path


_MADE: dict[str, tuple[str, str]] = {}


def _make(path: Path, name: str) -> None:
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:m1", "-keyout", path, "-out", f"{path}.crt"],
                       check=True, capture_output=True, timeout=90)
    except FileNotFoundError:
        pytest.skip("needs openssl")
    with open(path, "a", encoding="ascii") as file:
        file.write(Path(f"{path}.crt").read_text("ascii"))


def whole(rows: Iterable[dict[str, Any]]) -> bytes:
    return b'{"results":[' + b",".join(json.dumps({"attrs": row, "joins": {}, "meta": {}, "name": "x", "type": "y"}).encode()
                                       for row in rows) + b"]}"


@contextlib.contextmanager
def running(folder: Path, reply: Callable[[str], Iterable[bytes]], length: int | None = None, status: int = 200,
            error: bytes = b"") -> Iterator[Server]:
    """``reply("hosts")`` gives the pieces of a body. ``length`` is claimed; without it the end of the connection is the end of the body.
    ``error``: the body that goes with another ``status``."""
    pem = certificate(folder)
    asked: list[tuple[str, dict[str, Any]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Authorization"] != "Basic " + base64.b64encode(b"reader:p:\xc3\xa4").decode():
                self.answer(401, b'{"error":401,"status":"Unauthorized. Please check your user credentials."}')
                return
            asked.append((self.path, body))
            if status != 200:
                self.answer(status, error or b'{"error":%d,"status":"No objects found."}' % status)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            if length is not None:
                self.send_header("Content-Length", str(length))
                for piece in self.started(reply(self.path.rpartition("/")[2])):
                    self.wfile.write(piece)
                self.close_connection = True
                return
            self.send_header("Transfer-Encoding", "chunked")
            for piece in self.started(reply(self.path.rpartition("/")[2])):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def started(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
            self.end_headers()
            yield from (piece for piece in pieces if piece)

        def answer(self, code: int, data: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # the other side hung up, as it should

    httpd = Quiet(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    httpd.socket = tls.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    secret = folder / "credentials"
    secret.write_text("reader:p:\u00e4\n", "utf-8")
    secret.chmod(0o600)
    try:
        yield Server(f"https://127.0.0.1:{httpd.server_address[1]}", f"{pem}.crt", str(secret), asked)
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(5)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
