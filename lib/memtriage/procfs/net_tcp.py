"""/proc/net/tcp and tcp6: the TCP sockets of the reader's network namespace (Documentation/networking/proc_net_tcp.rst)."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple

ESTABLISHED, LISTEN = 1, 10
"""States, as include/net/tcp_states.h numbers them."""


class Socket(NamedTuple):
    local_port: int
    remote_port: int
    """0 of a listening socket."""
    state: int
    inode: int
    """As ``socket:[inode]`` in /proc/<pid>/fd; 0 where no process holds it, as a connection not accepted yet."""


class Sockets(NamedTuple):
    sockets: list[Socket]
    odd: list[str]
    """Lines that could not be understood, as text."""


def parse(data: bytes) -> Sockets:
    """Never raises. Addresses are left out: they are in the byte order of the host that wrote them."""
    sockets: list[Socket] = []
    lines, odd = files.whole_lines(data)
    for line in lines[1:]:
        words = line.split(None, 10)
        found = _socket(words) if len(words) >= 10 else None
        if found:
            sockets.append(found)
        elif line.strip():
            odd.append(files.text(line))
    return Sockets(sockets, odd)


def _socket(words: list[bytes]) -> Socket | None:
    local, remote, state = _hex(words[1].rpartition(b":")[2]), _hex(words[2].rpartition(b":")[2]), _hex(words[3])
    inode = files.number(words[9])
    if local is None or remote is None or state is None or inode is None:
        return None
    return Socket(local, remote, state, inode)


def _hex(word: bytes) -> int | None:
    return int(word, 16) if 1 <= len(word) <= 4 and not word.strip(b"0123456789ABCDEFabcdef") else None


def read(proc: str = "/proc") -> Sockets:
    """Reads ``proc/net/tcp`` and, where there is IPv6, ``proc/net/tcp6``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    first = parse(files.read(proc, "net/tcp"))
    try:
        second = parse(files.read(proc, "net/tcp6"))
    except files.Missing:
        return first
    return Sockets(first.sockets + second.sockets, first.odd + second.odd)
