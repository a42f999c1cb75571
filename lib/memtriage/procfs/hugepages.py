"""/sys/kernel/mm/hugepages: pools of huge pages by size (Documentation/admin-guide/mm/hugetlbpage.rst). Since Linux 2.6.27."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Pool(NamedTuple):
    size: int
    """Bytes of one page."""
    total: int
    """Pages in the pool, used or not."""
    free: int
    """Pages nobody has touched; some of them may be promised (reserved)."""
    reserved: int
    surplus: int


def size(name: str) -> int | None:
    """The page size in bytes out of a folder's name, ``hugepages-2048kB``."""
    text = name.encode("utf-8", "replace")
    number = files.number(text[10:-2]) if text.startswith(b"hugepages-") and text.endswith(b"kB") else None
    return number * 1024 if number is not None else None


def read(sys: str = "/sys") -> list[Pool]:
    """Pools by page size. Raises :class:`~memtriage.procfs.files.ProcfsError` where the kernel has none."""
    pools = []
    for name in files.listing(sys, "kernel/mm/hugepages"):
        each = size(name)
        if each is None:
            continue
        values = []
        for file in ("nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages"):
            data = files.read(sys, f"kernel/mm/hugepages/{name}/{file}")
            values.append(files.numbers(file, data, 1)[0])
        pools.append(Pool(each, *values))
    return sorted(pools)
