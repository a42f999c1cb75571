"""/proc/zoneinfo: the zones that memory is divided into, and the watermarks that start reclaim (mm/vmstat.c; vm.rst on min_free_kbytes)."""

from __future__ import annotations

from collections.abc import Iterable

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Zone(NamedTuple):
    """One zone of one node, everything in pages of the host's page size."""

    node: int
    name: str
    free_pages: int
    min_pages: int
    """Below this only atomic and emergency allocations succeed."""
    low_pages: int
    """Below this kswapd starts to reclaim."""
    high_pages: int
    """Above this kswapd stops."""
    spanned_pages: int
    present_pages: int
    managed_pages: int | None
    """Present less what was reserved at boot; since Linux 3.9, else ``None``."""
    protection_pages: tuple[int, ...]
    """lowmem_reserve: what is kept here from allocations that could use a higher zone, by that zone."""


class Zoneinfo(NamedTuple):
    zones: list[Zone]
    odd: list[str]
    """Lines that could not be understood, as text, and the headings of zones that lack a watermark."""


_WANTED = (b"free", b"min", b"low", b"high", b"spanned", b"present", b"managed")
_HEADINGS = (b"per-node stats", b"pagesets")


def parse(data: bytes) -> Zoneinfo:
    """Never raises: an empty file gives no zones. A zone without all its watermarks is odd as a whole."""
    zones: list[Zone] = []
    lines, odd = files.whole_lines(data)
    heading = b""
    values: dict[bytes, int] = {}
    protection: tuple[int, ...] = ()
    for line in [*lines, b"Node"]:  # the added one ends the last zone
        words = line.split()
        if words and words[0] == b"Node" and not line[:1].isspace():
            zone = _zone(heading, values, protection)
            if zone is not None:
                zones.append(zone)
            elif heading:
                odd.append(files.text(heading))
            heading, values, protection = line, {}, ()
        elif words and words[0] == b"protection:":
            limits = [files.number(word) for word in line.partition(b":")[2].strip(b" ()").replace(b",", b" ").split()]
            protection = tuple(limit for limit in limits if limit is not None)
            if len(protection) != len(limits) or not heading:
                odd.append(files.text(line))
        elif words:
            key = words[1] if words[0] == b"pages" and len(words) == 3 else words[0]
            value = files.number(words[-1])
            if not heading or (value is None and key != b"scanned" and not _heading(line)):
                odd.append(files.text(line))
            elif key in _WANTED and key not in values and value is not None:
                values[key] = value
    return Zoneinfo(zones, odd)


def _heading(line: bytes) -> bool:
    return line.strip() in _HEADINGS


def _zone(heading: bytes, values: dict[bytes, int], protection: tuple[int, ...]) -> Zone | None:
    words = heading.replace(b",", b" ").split()
    node = files.number(words[1]) if len(words) == 4 and words[2] == b"zone" else None
    if node is None or any(key not in values for key in _WANTED[:-1]):
        return None
    free, low_min, low, high, spanned, present = (values[key] for key in _WANTED[:-1])
    return Zone(node, files.text(words[3]), free, low_min, low, high, spanned, present, values.get(b"managed"), protection)


def low_watermark_pages(zones: Iterable[Zone]) -> int:
    """Sum of the low watermarks: how much cache MemAvailable holds to be needed (si_mem_available in mm/show_mem.c)."""
    return sum(zone.low_pages for zone in zones)


def reserve_pages(zones: Iterable[Zone]) -> int:
    """The kernel's totalreserve_pages, free memory that MemAvailable does not count (calculate_totalreserve_pages in mm/page_alloc.c).

    By zone: the largest protection and the high watermark, at most what the zone has: its managed pages, before Linux 3.9 its present ones.
    """
    total = 0
    for zone in zones:
        most = zone.present_pages if zone.managed_pages is None else zone.managed_pages
        total += min(most, max(zone.protection_pages, default=0) + zone.high_pages)
    return total


def read(proc: str = "/proc") -> Zoneinfo:
    """Reads ``proc/zoneinfo``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "zoneinfo"))
