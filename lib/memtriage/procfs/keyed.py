"""Files of the shape ``key value [unit]``: the part that meminfo, vmstat, memory.stat and their like have in common."""

from __future__ import annotations

from memtriage.procfs.files import number, text
from memtriage.record import NamedTuple

_UNITS = {b"kB": 1024, b"": 1}


class Keyed(NamedTuple):
    """Numbers by the kernel's own names, and the lines that were none."""

    values: dict[str, int]
    """Base units: a value written in kB is in bytes here (the kernel's kB is 1024 bytes)."""
    odd: list[str]
    """Lines that could not be understood, as text."""

    def get(self, key: str) -> int | None:
        """Returns the value of ``key``, or ``None`` where this kernel does not have it. Absent is not 0."""
        return self.values.get(key)


def parse(data: bytes, separator: bytes | None = None) -> Keyed:
    """Reads ``key<separator>value [kB]`` lines; ``separator`` is white space where ``None``, else the byte that ends the key.

    A key that comes twice keeps its first value and makes the second line odd. Never raises.
    """
    values: dict[str, int] = {}
    odd: list[str] = []
    lines = data.split(b"\n")
    # A file cut in the middle of a number would otherwise give a number that is 10 or 1000 times too small.
    tail = lines.pop()
    if tail.strip():
        odd.append(text(tail))
    for line in lines:
        key, found, rest = line.partition(separator) if separator else _split(line)
        words = rest.split()
        unit = _UNITS.get(words[1]) if len(words) == 2 else 1 if len(words) == 1 else None
        value = number(words[0]) if words else None
        name = text(key.strip())
        if not found or not name or value is None or unit is None or name in values:
            if line.strip():
                odd.append(text(line))
            continue
        values[name] = value * unit
    return Keyed(values, odd)


def _split(line: bytes) -> tuple[bytes, bytes, bytes]:
    words = line.split(None, 1)
    return (words[0], b" ", words[1]) if len(words) == 2 else (line, b"", b"")
