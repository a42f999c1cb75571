"""/proc/vmallocinfo: areas of vmalloc and who asked for them (mm/vmalloc.c; proc.rst "vmallocinfo"). Since Linux 2.6.28, root only."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Area(NamedTuple):
    size: int
    """Bytes of address space, one guard page included."""
    caller: str
    """The function, without offset; empty where the kernel has none."""
    pages: int | None
    """Pages of memory behind it; ``None`` for mappings of devices, which take none."""
    kind: str
    """``vmalloc``, ``vmap``, ``ioremap``, ``user``, ``unpurged`` or empty."""


class Vmallocinfo(NamedTuple):
    areas: list[Area]
    odd: list[str]
    """Lines that could not be understood, as text."""

    def owners(self) -> dict[str, int]:
        """Pages by caller, largest first; areas without pages are left out."""
        found: dict[str, int] = {}
        for area in self.areas:
            if area.pages:
                found[area.caller or "unknown"] = found.get(area.caller or "unknown", 0) + area.pages
        return dict(sorted(found.items(), key=lambda item: -item[1]))


_KINDS = (b"vmalloc", b"vmap", b"ioremap", b"user", b"unpurged", b"dma-coherent", b"sparse")


def parse(data: bytes) -> Vmallocinfo:
    """Never raises: an empty file gives no areas."""
    areas: list[Area] = []
    lines, odd = files.whole_lines(data)
    for line in lines:
        words = line.split()
        size = files.number(words[1]) if len(words) > 1 and words[0].startswith(b"0x") and b"-" in words[0] else None
        if size is None:
            if words:
                odd.append(files.text(line))
            continue
        rest = words[2:]
        pages = [files.number(word[6:]) for word in rest if word.startswith(b"pages=")]
        kind = next((files.text(word) for word in rest if word in _KINDS), "")
        caller = rest[0] if rest and b"=" not in rest[0] and rest[0] not in _KINDS else b""
        areas.append(Area(size, files.text(caller.partition(b"+")[0]), pages[0] if pages else None, kind))
    return Vmallocinfo(areas, odd)


def read(proc: str = "/proc") -> Vmallocinfo:
    """Reads ``proc/vmallocinfo``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "vmallocinfo"))
