"""The bytes of a recording: the file's head and the head of a record. docs/recording-format.md describes both for other readers.

A recording is a ring of fixed size in a file that was written in full when it was made, so that no block need be found for it later. What
a record holds is the business of :mod:`memtriage.recording.payload`.
"""

from __future__ import annotations

import struct
import zlib

from memtriage.record import NamedTuple

ALIGN = 64
"""Records begin at multiples of this many bytes; also the length of a record's head."""
EDGE = 4096
"""Bytes at either end of the file that hold the file's head; the ring lies between."""
VERSION = 2
READABLE = (1, 2)
"""Versions that are read. In version 1 no record has :data:`PLAIN`."""
LARGEST = 8 * 1024 * 1024
"""Bytes a record may have, packed or not: nobody's recorder writes one like it, and a damaged length is met before it is believed."""
SMALLEST_FILE = 256 * 1024

KEY, DELTA, FILLER = 1, 2, 3
"""A record that stands alone; one that needs the record ``base`` before it; nothing, up to the end of the ring."""
FIRST, PLAIN = 1, 2
"""Flags: the first record of a run of the recorder; one whose payload begins with what :mod:`memtriage.recording.glance` has."""

_FILE = struct.Struct("<20sHHIQq8s")
_TITLE = b"memtriage recording\n"
_RECORD = struct.Struct("<8sQqqIIIIIBBH")
MARK = b"\xf5mtR"
"""The first four bytes of a record."""
_CRC = struct.Struct("<I")


class FileHead(NamedTuple):
    size: int
    """Bytes of the whole file."""
    made_ns: int
    """When it was made, nanoseconds since 1970."""
    name: bytes
    """Eight random bytes, which every record of this file carries: what lies within recorded text is not taken for a record."""
    version: int = VERSION


class Head(NamedTuple):
    """The head of one record."""

    name: bytes
    seq: int
    """Counts the samples that were due; what is missing in between was lost or overwritten."""
    real_ns: int
    """The wall clock when the sample began, nanoseconds since 1970."""
    boot_ns: int
    """Nanoseconds since boot, time asleep included (CLOCK_BOOTTIME); never steps while the host is up."""
    stored: int
    """Bytes of the payload in the file."""
    raw: int
    """Bytes of the payload once inflated."""
    check: int
    """CRC-32 of the stored payload."""
    interval_ms: int
    """The distance of samples that was aimed at when this one was taken."""
    back: int
    """Where the record written before this one begins, in units of :data:`ALIGN`; 0 where there is none."""
    kind: int
    flags: int
    base: int
    """For :data:`DELTA` how many samples back the record lies that it is compressed against."""

    @property
    def length(self) -> int:
        """Bytes of the ring it takes."""
        return padded(ALIGN + self.stored)


def padded(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


def pack_file(head: FileHead) -> bytes:
    """The :data:`EDGE` bytes for either end of the file."""
    words = _FILE.pack(_TITLE, head.version, ALIGN, EDGE, head.size, head.made_ns, head.name)
    return (words + _CRC.pack(zlib.crc32(words))).ljust(EDGE, b"\0")


def unpack_file(data: bytes) -> FileHead | None:
    """Reads a file's head, or ``None`` where it is damaged, of another version or none at all."""
    words = data[: _FILE.size]
    if len(data) < _FILE.size + _CRC.size or _CRC.unpack_from(data, _FILE.size)[0] != zlib.crc32(words):
        return None
    title, version, align, edge, size, made, name = _FILE.unpack(words)
    if title != _TITLE or version not in READABLE or align != ALIGN or edge != EDGE:
        return None
    return FileHead(size, made, name, version)


def other_version(data: bytes) -> int | None:
    """The version of a recording of one that is not read, else ``None``."""
    if len(data) >= _FILE.size and data.startswith(_TITLE):
        version: int = _FILE.unpack_from(data)[1]
        return version if version not in READABLE else None
    return None


def describe(stored: bytes, raw: int, seq: int, real_ns: int, boot_ns: int, interval_ms: int, flags: int = 0, base: int = 0) -> Head:
    """The head for a payload as :func:`memtriage.recording.glance.stored` gives it; a ``base`` of 0 for one that stands alone."""
    kind = DELTA if base else KEY
    return Head(b"", seq, real_ns, boot_ns, len(stored), raw, zlib.crc32(stored), interval_ms, 0, kind, flags | PLAIN, base)


def pack_into(buffer: bytearray | memoryview, offset: int, head: Head) -> None:
    """Writes a record's head into ``buffer``."""
    _RECORD.pack_into(buffer, offset + 8, *head)
    buffer[offset : offset + 4] = MARK
    _CRC.pack_into(buffer, offset + 4, zlib.crc32(buffer[offset + 8 : offset + ALIGN]))


def unpack(data: bytes, offset: int = 0) -> Head | None:
    """Reads a record's head at ``offset`` of ``data``, or ``None`` where there is no sound one."""
    if len(data) - offset < ALIGN or data[offset : offset + 4] != MARK:
        return None
    if _CRC.unpack_from(data, offset + 4)[0] != zlib.crc32(data[offset + 8 : offset + ALIGN]):
        return None
    head = Head(*_RECORD.unpack_from(data, offset + 8))
    if max(head.stored, head.raw) > LARGEST or head.kind not in (KEY, DELTA, FILLER):
        return None
    return head
