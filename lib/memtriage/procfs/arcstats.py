"""/proc/spl/kstat/zfs/arcstats: the read cache of ZFS (OpenZFS, module/zfs/arc.c; zfs(4)).

The ARC stands in no line of meminfo but for its part in slab caches, and MemAvailable does not count it. It shrinks down to ``c_min``.
"""

from __future__ import annotations

from memtriage.procfs import files, keyed

Arcstats = keyed.Keyed

FIELDS = {
    "size": "bytes the ARC holds",
    "c": "bytes the ARC aims at",
    "c_min": "bytes the ARC does not go below",
    "c_max": "bytes the ARC does not go above",
    "hits": "reads answered from the ARC",
    "misses": "reads that went to the disks",
    "data_size": "bytes of file data; since ZFS 0.6",
    "metadata_size": "bytes of metadata; since ZFS 0.7",
    "dbuf_size": "bytes of dbuf structures, in slab; since ZFS 0.7",
    "dnode_size": "bytes of dnode structures, in slab; since ZFS 0.7",
    "bonus_size": "bytes of bonus buffers; since ZFS 0.7",
    "hdr_size": "bytes of headers",
    "anon_size": "bytes written and not yet on disk",
    "abd_chunk_waste_size": "bytes lost at the end of pages; since ZFS 2.0",
    "arc_meta_used": "bytes of all metadata; up to ZFS 2.1",
    "memory_throttle_count": "times a writer was held up because memory was short",
    "memory_all_bytes": "bytes of RAM the ARC believes the host has; since ZFS 0.7",
    "memory_free_bytes": "bytes of RAM the ARC believes to be free; since ZFS 0.7",
    "memory_available_bytes": "bytes the ARC may still grow by, negative where it has to shrink; since ZFS 0.7",
    "arc_no_grow": "1 while memory is too short to grow",
    "arc_need_free": "bytes the kernel asked for and has not got yet",
}
"""The values that tell about memory: unit, meaning, first release. Lines not listed here are kept all the same."""

_NUMBERS = (b"1", b"2", b"3", b"4", b"5", b"6")  # 32 and 64 bit, signed and not, long; 0 and 7 are texts


def parse(data: bytes) -> Arcstats:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the heading ``name type data`` does not stand in the first two lines."""
    lines, odd = files.whole_lines(data)
    if len(lines) < 2 or lines[1].split() != [b"name", b"type", b"data"]:
        raise files.Malformed("spl/kstat/zfs/arcstats", "no heading" if data.strip() else "empty")
    values: dict[str, int] = {}
    for line in lines[2:]:
        words = line.split()
        if len(words) >= 2 and words[1] in (b"0", b"7"):
            continue
        value = _signed(words[2]) if len(words) == 3 and words[1] in _NUMBERS else None
        name = files.text(words[0]) if words else ""
        if value is not None and name not in values:
            values[name] = value
        elif words:
            odd.append(files.text(line))
    return keyed.Keyed(values, odd)


def _signed(word: bytes) -> int | None:
    value = files.number(word.lstrip(b"-") if word[:2] != b"--" else word)
    return -value if value is not None and word.startswith(b"-") else value


def read(proc: str = "/proc") -> Arcstats:
    """Reads ``proc/spl/kstat/zfs/arcstats``. ``Missing`` is the answer of a host without ZFS."""
    return parse(files.read(proc, "spl/kstat/zfs/arcstats"))
