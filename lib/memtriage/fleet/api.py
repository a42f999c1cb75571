"""Asks the API of an Icinga 2 master or satellite: one connection, TLS verified, replies read as they come.

Queries go as POST with ``X-HTTP-Method-Override: GET``, so that filters need not fit into a URL (Icinga 2 documentation, "Icinga 2 API").
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from memtriage import certificates
from memtriage.fleet import stream
from memtriage.fleet.credentials import Credentials
from memtriage.fleet.trouble import Trouble
from memtriage.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

PORT = 5665
SILENCE = 240.0
"""Seconds without a byte after which the server is given up. Icinga 2.13 makes a whole reply before it sends the first byte of it: of
10,000 hosts with six services each in half a minute, where the machine is busy."""
WHOLE = 900.0
"""Seconds after which a reply is given up that still comes, a byte now and then: run by cron, each would stay and wait for ever."""


class Where(NamedTuple):
    host: str
    port: int
    name: str
    """The name the certificate must have."""


def where(url: str, name: str | None) -> Where:
    """Raises :class:`~memtriage.fleet.trouble.Trouble` for anything but ``https://HOST[:PORT]``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host and not _can_be(host):
        host = None
    if not host or parts.scheme != "https" or parts.path.strip("/") not in ("", "v1") or parts.query or parts.username is not None:
        raise Trouble(f"'{url}' is no https://HOST:PORT")
    if not _can_be(name or host):
        raise Trouble(f"'{name}' is no name that a certificate could have")
    return Where(host, port or PORT, name or host)


def _can_be(name: str) -> bool:
    """Whether it can be asked for; Python raises ValueError, where one expects errors of the network, for what cannot."""
    try:
        return bool(name.encode("idna"))
    except ValueError:
        return False


class Api:
    """Use as a context manager."""

    def __init__(self, at: Where, ca: str | None, who: Credentials) -> None:
        """``ca``: the file of certificates to believe; else the system's. Raises :class:`~memtriage.fleet.trouble.Trouble`."""
        self.at = at
        try:
            self.connection = _Connection(at, certificates.context(ca))
        except ValueError as error:
            raise Trouble(str(error)) from None
        token = base64.b64encode(f"{who.user}:{who.password}".encode()).decode()
        self.secrets = (token, who.password)
        self.headers = {"Authorization": f"Basic {token}", "Accept": "application/json", "Content-Type": "application/json",
                        "X-HTTP-Method-Override": "GET"}

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *about: object) -> None:
        self.connection.close()

    def objects(self, kind: str, attrs: list[str], filter_: str | None) -> Iterator[dict[str, Any]]:
        """``attrs`` of all objects of a kind (``hosts``, ``services``), one after the other, as they arrive.

        Raises :class:`~memtriage.fleet.trouble.Trouble` whatever goes wrong; its text repeats nothing of the credentials, also where the
        server does.
        """
        watch = threading.Timer(WHOLE, self.connection.cut)
        watch.daemon = True
        watch.start()
        try:
            yield from self._objects(kind, attrs, filter_)
        except Trouble as trouble:
            if self.connection.late:
                raise Trouble(f"{self.at.host}:{self.at.port}: the reply is not whole after {WHOLE:g} s") from None
            raise trouble.without(*self.secrets) from None
        finally:
            watch.cancel()

    def _objects(self, kind: str, attrs: list[str], filter_: str | None) -> Iterator[dict[str, Any]]:
        query: dict[str, Any] = {"attrs": attrs}
        if filter_:
            query["filter"] = filter_
        try:
            self.connection.request("POST", f"/v1/objects/{kind}", json.dumps(query), self.headers)
            reply = self.connection.getresponse()
            if reply.status != 200:
                raise self.refused(reply, kind)
            for row in stream.results(reply.read):
                attributes = row.get("attrs")
                if isinstance(attributes, dict):
                    yield attributes
        except ssl.SSLCertVerificationError as error:
            raise Trouble(f"the certificate of {self.at.host}:{self.at.port} is not to be trusted: {error.verify_message}; "
                          "--ca FILE names the authority (Icinga's: /var/lib/icinga2/certs/ca.crt), --name the node") from None
        except ssl.SSLError as error:
            raise Trouble(f"{self.at.host}:{self.at.port}: no TLS connection: {error.reason or error}") from None
        except socket.timeout:
            raise Trouble(f"{self.at.host}:{self.at.port}: nothing came for {SILENCE:g} s") from None
        except http.client.IncompleteRead:
            raise Trouble("the reply ends in the middle: the server or the network gave up") from None
        except http.client.HTTPException as error:
            raise Trouble(f"{self.at.host}:{self.at.port} does not speak HTTP as Icinga 2 does: {type(error).__name__}") from None
        except OSError as error:
            raise Trouble(f"{self.at.host}:{self.at.port}: {error.strerror or error}") from None

    def refused(self, reply: http.client.HTTPResponse, kind: str) -> Trouble:
        what = "Host" if kind == "hosts" else "Service"
        said = reply.read(stream.LONG).decode("utf-8", "replace")
        if reply.status == 401:
            return Trouble("Icinga 2 does not know this API user and password (401)")
        if reply.status == 403 or (reply.status == 404 and "No objects found" in said):
            # So it answers a filter that it cannot read, and a user who may not query.
            return Trouble(f"Icinga 2 shows no {kind} ({reply.status}): the API user needs the permission objects/query/{what}, "
                           "and a filter must be one that Icinga 2 understands")
        return Trouble(f"Icinga 2 answered {reply.status} ", f"{reply.reason[:60]}: {said}")


class _Connection(http.client.HTTPSConnection):
    """An HTTPS connection to one name, with a certificate made out to another where that is said."""

    def __init__(self, at: Where, tls: ssl.SSLContext) -> None:
        super().__init__(at.host, at.port, timeout=SILENCE, context=tls)
        self.at, self.tls = at, tls
        self.late = False
        self.kept: socket.socket | None = None
        """The connection, also when :mod:`http.client` has handed it on to a reply."""

    def connect(self) -> None:
        plain = socket.create_connection((self.at.host, self.at.port), 20)
        plain.settimeout(SILENCE)
        try:
            self.sock = self.tls.wrap_socket(plain, server_hostname=self.at.name, do_handshake_on_connect=False)
            self.kept = self.sock
            self.sock.do_handshake()
        except BaseException:
            plain.close()
            raise

    def cut(self) -> None:
        """Ends it from another thread, which wakes whoever waits for it."""
        self.late = True
        if self.kept is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which takes TLS away from under the reader.
                socket.socket.shutdown(self.kept, socket.SHUT_RDWR)
