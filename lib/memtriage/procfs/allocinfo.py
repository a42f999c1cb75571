"""/proc/allocinfo: bytes of all page and slab allocations by the line of kernel source that made them.

Documentation/mm/allocation-profiling.rst. Since Linux 6.10 with CONFIG_MEM_ALLOC_PROFILING, and only where sysctl vm.mem_profiling is on:
without CONFIG_MEM_ALLOC_PROFILING_ENABLED_BY_DEFAULT the host must be booted with ``sysctl.vm.mem_profiling=1``, or 0 to turn it on later.
"""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Site(NamedTuple):
    size: int
    """Bytes allocated there and not yet freed."""
    calls: int
    """Allocations not yet freed."""
    place: str
    """``file:line [module] func:name`` as the kernel writes it."""
    accurate: bool = True
    """False where the kernel says that it could not count all (version 2.0, Linux 6.18)."""

    @property
    def words(self) -> str:
        """``loop_add [loop] at drivers/block/loop.c:2004``."""
        spot, _, name = self.place.partition(" func:")
        file, bracket, module = spot.partition(" [")
        return f"{name}{bracket}{module} at {file}" if name else self.place


class Allocinfo(NamedTuple):
    sites: list[Site]
    odd: list[str]
    """Lines that could not be understood, as text."""

    def largest(self, count: int) -> list[Site]:
        """Returns the ``count`` largest sites, largest first."""
        return sorted(self.sites, key=lambda site: -site.size)[:count]


def parse(data: bytes) -> Allocinfo:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the first line is not ``allocinfo - version: 1`` or a later one."""
    lines, odd = files.whole_lines(data)
    version = lines[0].partition(b"version:")[2].strip() if lines and lines[0].startswith(b"allocinfo - version:") else b""
    if not version.replace(b".", b"", 1).isdigit():
        raise files.Malformed("allocinfo", "no version line" if data.strip() else "empty")
    sites: list[Site] = []
    for line in lines[1:]:
        words = line.split(None, 2)
        if not words or words[0].startswith(b"#"):
            continue
        size, calls = (files.number(word) for word in [*words, b"", b""][:2])
        if size is None or calls is None or len(words) < 3:
            odd.append(files.text(line))
            continue
        place = words[2].split()
        accurate = place[-1] != b"accurate:no"
        sites.append(Site(size, calls, files.text(b" ".join(place if accurate else place[:-1])), accurate))
    return Allocinfo(sites, odd)


def read(proc: str = "/proc") -> Allocinfo:
    """Reads ``proc/allocinfo``. Raises :class:`~memtriage.procfs.files.ProcfsError`; root only."""
    return parse(files.read(proc, "allocinfo"))
