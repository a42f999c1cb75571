"""One HTTP connection that is opened before it is needed and kept, with the server's certificate verified."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.parse
from collections.abc import Mapping

from memtriage import certificates
from memtriage.passive import Failed

TIMEOUT_S = 5.0


class Connection:
    """To the server of ``url``. TLS is verified against ``ca``, or against the system's store where that is empty."""

    def __init__(self, url: str, ca: str) -> None:
        """Raises ``ValueError`` for an address that is none and for certificates that cannot be read."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError(f"'{url}' is no address such as https://icinga.example:5665")
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.path = parts.path.rstrip("/")
        self.tls = certificates.context(ca) if parts.scheme == "https" else None
        self.session: ssl.SSLSession | None = None
        self.http = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        self.addresses: list[tuple[str, int]] = []
        """Where the name led to last: a resolver is one more thing that may not answer when memory is short."""

        self._live: socket.socket | None = None

    def open(self) -> None:
        """Raises :class:`~memtriage.passive.Failed`."""
        if self.http.sock is not None:
            return
        try:
            raw = self._live = self._raw()
            if self.tls is None:
                self.http.sock = raw
                return
            try:
                secure = self._live = self.tls.wrap_socket(
                    raw, server_hostname=self.host, session=self.session, do_handshake_on_connect=False)
                secure.do_handshake()
            except BaseException:
                self._live.close()
                raise
            self.http.sock = secure
        except ssl.SSLCertVerificationError as error:
            raise Failed(f"the certificate of {self.host} is not accepted: {error.verify_message}") from None
        except (OSError, ValueError) as error:
            raise Failed(f"{self.host} port {self.port}: {_why(error)}") from None

    def _raw(self) -> socket.socket:
        problem: OSError | None = None
        for known in (True, False):
            if not known or not self.addresses:
                found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                self.addresses = list(dict.fromkeys((str(entry[4][0]), int(entry[4][1])) for entry in found))[:4]
            for address in list(self.addresses):
                try:
                    sock = socket.create_connection(address, TIMEOUT_S)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return sock
                except OSError as error:
                    problem = error
            self.addresses = []
        raise problem or OSError("no address")

    def request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and reply. A connection that the server has closed meanwhile is opened anew, once. Raises ``Failed``."""
        for fresh in (self.http.sock is None, True):
            self.open()
            try:
                self.http.request(method, self.path + path, body, dict(headers))
                reply = self.http.getresponse()
                data = reply.read(1 << 16)
                if reply.will_close or reply.read(1):
                    self.close()
                elif isinstance(self.http.sock, ssl.SSLSocket):
                    self.session = self.http.sock.session
                return reply.status, data
            except (http.client.HTTPException, OSError, ValueError) as error:
                self.close()
                if fresh or isinstance(error, socket.timeout):
                    raise Failed(f"{self.host} port {self.port}: {_why(error)}") from None
        raise Failed("closed")  # not reached: the second turn returns or raises

    def close(self) -> None:
        self.http.close()

    def abort(self) -> None:
        """Ends what another thread waits for: a server that sends a byte now and then is never silent for so long as a time-out needs."""
        cut(self._live)


def cut(live: socket.socket | None) -> None:
    """Below TLS, whose own farewell is not for two threads at once."""
    try:
        if live is not None:
            socket.socket.shutdown(live, socket.SHUT_RDWR)
    except OSError:
        pass  # closed meanwhile


def _why(error: Exception) -> str:
    if isinstance(error, socket.timeout):  # since Python 3.10 another name for TimeoutError
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
