"""/sys/block/zram*/mm_stat: RAM that holds compressed swap or files (Documentation/admin-guide/blockdev/zram.rst).

Its pages come from zsmalloc and stand in no line of meminfo. Since Linux 4.1.
"""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class MmStat(NamedTuple):
    """Bytes where the name does not say pages. A device without a size has 0 everywhere."""

    orig_data_size: int
    """What is stored, before compression."""
    compr_data_size: int
    """The same, compressed."""
    mem_used_total: int
    """RAM taken for it, the allocator's loss included."""
    mem_limit: int
    """Most RAM it may take; 0 is no limit."""
    mem_used_max: int
    """Most RAM it has taken."""
    same_pages: int
    """Pages filled with one value, which take no RAM."""
    pages_compacted: int
    """Pages freed by compaction, since the device was set up."""
    huge_pages: int | None
    """Pages that do not compress; since Linux 4.19."""


class Device(NamedTuple):
    name: str
    """Such as ``zram0``."""
    mm_stat: MmStat


def parse(data: bytes) -> MmStat:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there are not at least seven numbers."""
    found = files.numbers("block/zram/mm_stat", data, 7)
    original, compressed, total, limit, most, same, compacted = found[:7]
    return MmStat(original, compressed, total, limit, most, same, compacted, found[7] if len(found) > 7 else None)


def read(sys: str = "/sys") -> list[Device]:
    """Reads ``sys/block/zram*/mm_stat``, in the order of the names; a device that goes away meanwhile is left out.

    Raises :class:`~memtriage.procfs.files.ProcfsError`; a host without zram has an empty list.
    """
    devices: list[Device] = []
    for name in sorted(name for name in files.listing(sys, "block") if name.startswith("zram")):
        try:
            devices.append(Device(name, parse(files.read(sys, f"block/{name}/mm_stat"))))
        except files.Missing:
            continue
    return devices
