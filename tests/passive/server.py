"""A server on loopback, TLS with an authority made for the test, that takes passive results and does as it is told."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any


def authority(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A self-signed certificate for ``name`` and its key: for a test its own authority."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name}", "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    return cert, key


class Server:
    """``answers`` are (status, body) to be given one after the other, the last one for ever; ``hang`` seconds come before each."""

    def __init__(self, tls: tuple[Path, Path] | None, answers: list[tuple[int, bytes]]) -> None:
        self.answers = answers
        self.hang = 0.0
        self.drop = False
        """Close each connection after its answer without saying so."""
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                owner.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                owner.requests.append((self.command, self.path, dict(self.headers), body))
                time.sleep(owner.hang)
                status, answer = owner.answers.pop(0) if len(owner.answers) > 1 else owner.answers[0]
                try:
                    self.answer(status, answer)
                except OSError:
                    self.close_connection = True  # the client has given up waiting

            def answer(self, status: int, answer: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                if owner.drop:
                    self.close_connection = True

            do_GET = do_POST

            def log_message(self, *words: Any) -> None:
                """Says nothing."""

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.httpd.server_address[1]
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
