"""What a record says before its packed payload: MemFree and MemAvailable, so that a look at a million records unpacks none of them."""

from __future__ import annotations

import struct
import zlib

from memtriage.recording.payload import Content

_PAIR = struct.Struct("<qq")
SIZE = _PAIR.size
UNKNOWN = -1
"""Where the host has no such number: MemAvailable before Linux 3.14, or a meminfo that could not be read."""


def of(content: Content) -> bytes:
    """The :data:`SIZE` bytes: MemFree and MemAvailable, bytes of RAM."""
    source = content.sources.get("meminfo")
    pair = [value(source.data or b"", name) for name in (b"MemFree:", b"MemAvailable:")] if source is not None else [None, None]
    return _PAIR.pack(*(UNKNOWN if number is None else number for number in pair))


def stored(content: Content, raw: bytes, level: int = 6) -> bytes:
    """A payload as it is in the file: what is seen at a glance, then ``raw``, which is ``content`` encoded, packed."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return of(content) + packer.compress(raw) + packer.flush()


def read(data: bytes) -> tuple[int, int]:
    """MemFree and MemAvailable at the beginning of a stored payload, bytes of RAM, each :data:`UNKNOWN` where it is."""
    free, available = _PAIR.unpack_from(data) if len(data) >= SIZE else (UNKNOWN, UNKNOWN)
    return free, available


def value(meminfo: bytes, name: bytes, unit: bytes = b"kB") -> int | None:
    """The number of a line ``Name:  number unit`` of meminfo, ``None`` where there is none; bytes for kB."""
    start = 0 if meminfo.startswith(name) else meminfo.find(b"\n" + name) + 1
    end = meminfo.find(b"\n", start)
    words = meminfo[start:end].split() if end >= 0 else []
    if words[:1] != [name] or words[2:] != unit.split() or not words[1].isdigit() or len(words[1]) > 15:
        return None
    return int(words[1]) * (1024 if unit else 1)
