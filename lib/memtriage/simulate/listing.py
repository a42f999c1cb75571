"""What ``find -printf`` wrote, read back: types, sizes and names of a tree of files.

The names are anybody's: they may hold newlines (then the format must end in ``\\0``), lead out of the tree, or contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

FORMAT = r"%y %s %P\n"
ENTRIES = 1_000_000
"""More are not made."""
LONGEST = 3000
"""Bytes of a path, which must fit below a temporary folder's."""
_PATTERNS = {"y": rb"(?P<kind>[a-zA-Z?])", "s": rb"(?P<size>[0-9]{1,19})", "p": rb"(?P<path>.*)", "P": rb"(?P<path>.*)",
             "l": rb".*", "f": rb".*", "m": rb"[0-7]{1,5}", **dict.fromkeys(("M", "u", "g"), rb"\S+"),
             **dict.fromkeys(("n", "i", "k", "b", "U", "G", "d"), rb"[0-9]+"), **dict.fromkeys(("T@", "A@", "C@"), rb"-?[0-9.]+")}
_ESCAPES = {"n": b"\n", "0": b"\0", "t": b"\t", "\\": b"\\"}


class Entry(NamedTuple):
    kind: str
    """``f`` file, ``d`` folder, ``l`` link."""
    size: int
    path: bytes
    """Relative, never empty, without ``.`` and ``..``."""


class Format(NamedTuple):
    pattern: re.Pattern[bytes]
    end: bytes
    """One byte: a newline or a NUL."""


class Tree(NamedTuple):
    entries: list[Entry]
    left_out: int
    """Lines not understood, names that lead out of the tree, devices, pipes, sockets, and what is beyond the limits."""


def compiled(text: str) -> Format:
    """Reads a format of find's -printf. Raises ``ValueError`` with a sentence for the user."""
    pattern, end, rest = b"", b"", text
    while rest:
        if end:
            raise ValueError(f"'{text}' goes on after its line end")
        if rest[0] == "\\" and rest[1:2] in _ESCAPES:
            piece = _ESCAPES[rest[1]]
            if piece in (b"\n", b"\0"):
                end = piece
            else:
                pattern += re.escape(piece)
            rest = rest[2:]
        elif rest[:2] == "%%":
            pattern, rest = pattern + b"%", rest[2:]
        elif rest[0] == "%":
            name = next((name for name in (rest[1:3], rest[1:2]) if name in _PATTERNS), None)
            if name is None:
                known = " ".join("%" + name for name in _PATTERNS)
                raise ValueError(f"'{text}' has '{rest[:2]}', which is not understood (known: {known})")
            pattern, rest = pattern + _PATTERNS[name], rest[1 + len(name):]
        else:
            pattern, rest = pattern + re.escape(rest[0].encode()), rest[1:]
    if not end:
        raise ValueError(rf"'{text}' does not end in \n or \0")
    try:
        found = re.compile(pattern, re.DOTALL)
    except re.error:
        raise ValueError(f"'{text}' names the same thing twice") from None
    if "path" not in found.groupindex:
        raise ValueError(f"'{text}' has no %P or %p")
    return Format(found, end)


def records(stream: BinaryIO, end: bytes) -> Iterator[bytes]:
    """The pieces of ``stream`` up to each ``end``; one without, at the end of the file, was cut and is left out. None above 16 KiB."""
    pending = b""
    while True:
        block = stream.read(1 << 16)
        if not block:
            return
        pieces = (pending + block).split(end)
        pending = pieces.pop()[: 1 << 14]
        yield from pieces


def entry(record: bytes, form: Format) -> Entry | None:
    """The entry of one record, ``None`` where it is none that can be made, as the start folder itself with its empty ``%P``."""
    match = form.pattern.fullmatch(record)
    if not match:
        return None
    words = match.groupdict()
    kind = (words.get("kind") or b"f").decode("ascii")
    parts = [part for part in words["path"].split(b"/") if part not in (b"", b".")]
    path = b"/".join(parts)
    if kind not in "fdl" or not parts or b".." in parts or b"\0" in path or len(path) > LONGEST or max(map(len, parts)) > 255:
        return None
    return Entry(kind, int(words.get("size") or 0) if kind == "f" else 0, path)


def read(stream: BinaryIO, form: Format) -> Tree:
    """Never raises, whatever the bytes; raises ``OSError`` where the stream cannot be read."""
    found: list[Entry] = []
    left_out = 0
    for record in records(stream, form.end):
        known = entry(record, form) if len(found) < ENTRIES else None
        if known:
            found.append(known)
        elif record and not (len(found) < ENTRIES and _start(record, form)):
            left_out += 1
    return Tree(found, left_out)


def _start(record: bytes, form: Format) -> bool:
    match = form.pattern.fullmatch(record)
    return match is not None and not match["path"].strip(b"./")
