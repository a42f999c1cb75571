"""/proc/slabinfo: the kernel's slab caches, their objects and their pages (slabinfo(5); mm/slab_common.c).

Versions 1.1 (Linux 2.4), 2.0 (2.6.0 to 2.6.9) and 2.1 are read, the statistics columns of CONFIG_DEBUG_SLAB passed over. Readable by root
only since Linux 2.6.39 or so (mode 0400), and absent from kernels without CONFIG_SLUB_DEBUG since Linux 6.8.
"""

from __future__ import annotations

from memtriage.procfs.files import Malformed, number, text
from memtriage.procfs.files import read as read_file
from memtriage.record import NamedTuple


class Cache(NamedTuple):
    """One slab cache. Objects are counted, sizes are bytes, a slab is ``pages_per_slab`` pages of the host's page size."""

    name: str
    """As the kernel writes it: may hold colons, blanks (2.4, 2.6) and, from Linux 3.8 to 5.8, ``name(123:cgroup)``."""
    active_objs: int
    """Objects in use. SLUB counts those in per-CPU lists as used, so 100 % says little there.

    An estimate since Linux 6.10 where a node has more than 10,000 partial slabs (``count_partial_free_approx`` in mm/slub.c).
    """
    num_objs: int
    objsize: int
    objperslab: int | None
    """``None`` in version 1.1, which does not say."""
    pagesperslab: int
    active_slabs: int
    num_slabs: int

    def footprint(self, page_size: int) -> int:
        """Bytes of RAM the cache holds: ``num_slabs`` x ``pagesperslab`` x ``page_size``.

        Not objects x size, which leaves out what a slab cannot fill. An upper bound where SLUB had to fall back to smaller slabs.
        """
        return self.num_slabs * self.pagesperslab * page_size


class Slabinfo(NamedTuple):
    version: str
    caches: list[Cache]
    odd: list[str]
    """Lines that could not be understood, as text."""


_VERSIONS = (b"1.1", b"2.0", b"2.1")


def parse(data: bytes) -> Slabinfo:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the first line is not a known version; an odd line costs only itself."""
    lines = data.split(b"\n")
    head = lines[0].split(b"version:", 1)
    words = head[1].split() if len(head) == 2 and head[0].strip().startswith(b"slabinfo") else []
    if not words or words[0] not in _VERSIONS:
        raise Malformed("slabinfo", "empty" if not data.strip() else "unknown version line: " + text(lines[0][:60]))
    one = words[0] == b"1.1"
    caches: list[Cache] = []
    odd: list[str] = []
    tail = lines.pop()
    if tail.strip():  # cut in the middle of a line, perhaps of a number
        odd.append(text(tail))
    for line in lines[1:]:
        if not line.strip() or line.startswith(b"#"):
            continue
        cache = _version_1(line) if one else _version_2(line)
        if cache is None:
            odd.append(text(line))
        else:
            caches.append(cache)
    return Slabinfo(text(words[0]), caches, odd)


def _version_2(line: bytes) -> Cache | None:
    # The name may hold " : " itself, so the fixed part is found from its end: ": tunables" comes once, after five numbers.
    left, tunables, right = line.partition(b" : tunables ")
    _, slabdata, data = right.partition(b" : slabdata ")
    head = left.rsplit(None, 5)
    words = data.split(None, 3)
    if not tunables or not slabdata or len(head) != 6 or len(words) < 3:
        return None
    columns = head[1:] + words[:2]
    name = head[0].strip()
    # As files.number judges each, at once: a host has hundreds of lines.
    if not name or not b"".join(columns).isdigit() or max(map(len, columns)) > 20:
        return None
    return Cache(text(name), *map(int, columns))


def _version_1(line: bytes) -> Cache | None:
    # name active total objsize active_slabs num_slabs pagesperslab [: limit batchcount]
    left = line.rpartition(b" : ")[0] if b" : " in line else line
    head = left.rsplit(None, 6)
    if len(head) != 7 or not head[0].strip():
        return None
    numbers = [number(word) for word in head[1:]]
    if None in numbers:
        return None
    active, total, size, active_slabs, slabs, pages = (value or 0 for value in numbers)
    return Cache(text(head[0].strip()), active, total, size, None, pages, active_slabs, slabs)


def read(proc: str = "/proc") -> Slabinfo:
    """Reads ``proc/slabinfo``. Raises :class:`~memtriage.procfs.files.ProcfsError`; ``Denied`` is the normal answer without root."""
    return parse(read_file(proc, "slabinfo"))
