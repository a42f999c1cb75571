"""/proc/buddyinfo: free blocks by size in each zone (mm/vmstat.c; proc.rst "buddyinfo"). Since Linux 2.4. 0400 in some containers."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Zone(NamedTuple):
    node: int
    name: str
    blocks: tuple[int, ...]
    """Free blocks of 2^order pages, by order from 0 on."""

    def free_pages(self, order: int = 0) -> int:
        """Pages in free blocks of ``order`` and above: what a request of that order could use without compaction."""
        return sum(count << place for place, count in enumerate(self.blocks) if place >= order)


class Buddyinfo(NamedTuple):
    zones: list[Zone]
    odd: list[str]
    """Lines that could not be understood, as text."""


def parse(data: bytes) -> Buddyinfo:
    """Never raises: an empty file gives no zones."""
    zones: list[Zone] = []
    lines, odd = files.whole_lines(data)
    for line in lines:
        head, _, rest = line.partition(b", zone ")
        words = rest.split()
        node = files.number(head[5:].strip()) if head.startswith(b"Node ") else None
        counts = [files.number(word) for word in words[1:]]
        known = [count for count in counts if count is not None]
        if node is None or not known or len(known) != len(counts):
            if line.strip():
                odd.append(files.text(line))
            continue
        zones.append(Zone(node, files.text(words[0]), tuple(known)))
    return Buddyinfo(zones, odd)


def read(proc: str = "/proc") -> Buddyinfo:
    """Reads ``proc/buddyinfo``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "buddyinfo"))
