"""/proc/swaps: the swap areas in use (proc_swaps(5); mm/swapfile.c)."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Swap(NamedTuple):
    name: str
    """Path of the device or file, blanks and backslashes as they are; ends in `` (deleted)`` where the file was removed."""
    type: str
    """``partition`` or ``file``."""
    size: int
    """Bytes."""
    used: int
    """Bytes."""
    priority: int
    """The higher, the sooner used; negative where the kernel chose it."""


class Swaps(NamedTuple):
    areas: list[Swap]
    odd: list[str]
    """Lines that could not be understood, as text."""


def parse(data: bytes) -> Swaps:
    """No swap is an empty list. Raises :class:`~memtriage.procfs.files.Malformed` where the heading is not there."""
    lines, odd = files.whole_lines(data)
    if not lines or not lines[0].startswith(b"Filename"):
        raise files.Malformed("swaps", "no heading" if data.strip() else "empty")
    areas: list[Swap] = []
    for line in lines[1:]:
        area = _area(line)
        if area is not None:
            areas.append(area)
        elif line.strip():
            odd.append(files.text(line))
    return Swaps(areas, odd)


def _area(line: bytes) -> Swap | None:
    words = line.rsplit(None, 4)
    if len(words) != 5 or not words[0].strip():
        return None
    size, used = files.number(words[2]), files.number(words[3])
    sign, digits = (-1, words[4][1:]) if words[4].startswith(b"-") else (1, words[4])
    priority = files.number(digits)
    if size is None or used is None or priority is None:
        return None
    return Swap(files.text(unescape(words[0].strip())), files.text(words[1]), size * 1024, used * 1024, sign * priority)


def unescape(name: bytes) -> bytes:
    """Undoes the kernel's ``\\ooo``: three octal digits for a blank, tab, newline or backslash (seq_path in fs/seq_file.c)."""
    first, *rest = name.split(b"\\")
    parts = [first]
    for part in rest:
        code = part[:3]
        if len(code) == 3 and code.strip(b"01234567") == b"" and code[:1] in b"0123":
            parts.append(bytes((int(code, 8),)) + part[3:])
        else:
            parts.append(b"\\" + part)
    return b"".join(parts)


def read(proc: str = "/proc") -> Swaps:
    """Reads ``proc/swaps``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "swaps"))
