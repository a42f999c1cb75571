"""/proc/net/sockstat: sockets by protocol and the memory in their buffers (net/ipv4/proc.c; proc_net(5)).

It belongs to the reader's network namespace, but the ``mem`` of TCP and UDP is that of the whole host.
"""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Sockstat(NamedTuple):
    protocols: dict[str, dict[str, int]]
    """By protocol (``sockets``, ``TCP``, ``UDP``, ``FRAG``, ...), the kernel's numbers by their names."""
    odd: list[str]
    """Lines that could not be understood, as text."""

    @property
    def memory_pages(self) -> int | None:
        """Pages in the buffers of TCP and UDP sockets, IPv6 ones too; ``None`` where the kernel says neither."""
        found = [self.protocols.get(name, {}).get("mem") for name in ("TCP", "UDP")]
        known = [value for value in found if value is not None]
        return sum(known) if known else None

    @property
    def fragment_bytes(self) -> int | None:
        """Bytes, not pages, of IPv4 fragments that wait for their other parts; ``None`` where the kernel does not say."""
        return self.protocols.get("FRAG", {}).get("memory")


def parse(data: bytes) -> Sockstat:
    """Never raises: an empty file gives no protocols."""
    protocols: dict[str, dict[str, int]] = {}
    lines, odd = files.whole_lines(data)
    for line in lines:
        name, colon, rest = line.partition(b":")
        words = rest.split()
        values = [files.number(word) for word in words[1::2]]
        key = files.text(name.strip())
        if not colon or not key or not words or len(words) % 2 or None in values or key in protocols:
            if line.strip():
                odd.append(files.text(line))
            continue
        protocols[key] = {files.text(word): value or 0 for word, value in zip(words[::2], values)}
    return Sockstat(protocols, odd)


def read(proc: str = "/proc") -> Sockstat:
    """Reads ``proc/net/sockstat``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "net/sockstat"))
