"""Whom to connect to: a URL, resolved once, and refused where it is not this host's own loopback."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from urllib.parse import urlsplit

from memtriage.record import NamedTuple


class Refused(Exception):
    """It is not done; the text says why."""


class Target(NamedTuple):
    host: str
    port: int
    path: str
    """With the query, as it goes into the request line."""
    family: int
    address: tuple[object, ...]
    """Where every connection goes: the name is looked up only once."""
    loopback: bool
    tls: ssl.SSLContext | None


def target(url: str, others_too: bool, insecure: bool) -> Target:
    """Raises :class:`Refused`. ``insecure`` leaves a server's certificate unchecked."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        host = parts.hostname or ""
    except ValueError as error:
        raise Refused(f"'{url}': {error}") from None
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    if parts.scheme not in ("http", "https") or not host or not port:
        raise Refused(f"'{url}' is no URL such as http://127.0.0.1:8080/path")
    if parts.username or parts.password or not path.isascii() or not path.isprintable() or " " in path or not host.isascii():
        raise Refused(f"'{url}' holds a user, a blank or a letter that cannot go into a request")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{host}: {error}") from None
    local = [entry for entry in found if ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback]
    if not local and not others_too:
        raise Refused(f"{host} ({found[0][4][0]}) is not this host's loopback: --i-own-this-server says that you may")
    family, _, _, _, address = (local or found)[0]
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    return Target(host, port, path, family, tuple(address), bool(local), context)


def request(where: Target, post: bool) -> tuple[bytes, bytes]:
    """The request in two pieces: what is sent at once, and the end that is held back.

    Of a GET that is the end of the empty line after the header; of a POST the one byte of the body, which a server needs where a proxy
    in front of it waits for the whole header.
    """
    host = f"[{where.host}]" if ":" in where.host else where.host
    default = 443 if where.tls else 80
    name = host if where.port == default else f"{host}:{where.port}"
    head = f"{'POST' if post else 'GET'} {where.path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: memtriage-saturate\r\nConnection: close\r\n"
    if post:
        return (head + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\na").encode("ascii"), b"="
    return head.encode("ascii") + b"\r", b"\n"
