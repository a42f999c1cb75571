"""The files that only ``memtriage explain`` reads: values, odd lines, and what is no such file at all."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from memtriage.procfs import allocinfo, buddyinfo, hugepages, kpageflags, sysvipc_shm, vmallocinfo
from memtriage.procfs.files import Denied, Malformed, Missing
from tests.procfs import samples


def test_buddyinfo() -> None:
    found = buddyinfo.parse(samples.BUDDYINFO)
    assert [(zone.node, zone.name) for zone in found.zones] == [(0, "DMA"), (0, "Normal")]
    assert found.zones[1].free_pages() == 4806 + 2 * 2589 + 4 * 1928
    assert found.zones[1].free_pages(2) == 4 * 1928 and found.zones[1].free_pages(9) == 0
    assert len(found.odd) == 1 and buddyinfo.parse(b"").zones == []


def test_vmallocinfo() -> None:
    found = vmallocinfo.parse(samples.VMALLOCINFO)
    assert found.owners() == {"kernel_clone": 8, "unknown": 1}
    assert [area.kind for area in found.areas] == ["vmap", "ioremap", "vmalloc", "vmalloc", "vmalloc", "unpurged"]
    assert found.areas[1].pages is None and found.areas[0].caller == "irq_init_percpu_irqstack"
    assert found.odd == ["what is this"]


def test_allocinfo() -> None:
    found = allocinfo.parse(samples.ALLOCINFO)
    assert found.largest(1) == [allocinfo.Site(10485760, 2560, "mm/slub.c:2424 func:alloc_slab_page")]
    assert found.odd == ["           x        0 broken"]
    found = allocinfo.parse(samples.ALLOCINFO_2)
    assert found.largest(1) == [allocinfo.Site(49152, 48, "arch/x86/kernel/cpu/mce/core.c:2709 func:mce_device_create", False)]
    assert found.sites[1].accurate and found.odd == []
    found = allocinfo.parse(samples.ALLOCINFO_7_2)  # a real one: a blank ends each of its lines
    assert found.odd == [] and len(found.sites) > 400 and 0 < sum(not site.accurate for site in found.sites) < 10
    locks, = (site for site in found.sites if site.place.endswith(" func:locks_alloc_lock"))
    assert (locks.size, locks.calls) == (60_000 * 192, 60_000) and re.fullmatch(r"locks_alloc_lock at fs/locks\.c:[0-9]+", locks.words)
    assert any(re.fullmatch(r"loop_add \[loop\] at drivers/block/loop\.c:[0-9]+", site.words) for site in found.sites)
    assert allocinfo.Site(1, 1, "what").words == "what"
    for data in (b"", b"\n", b"allocinfo\n", b"allocinfo - version: x\n"):
        with pytest.raises(Malformed):
            allocinfo.parse(data)


def test_shared_memory_segments() -> None:
    found = sysvipc_shm.parse(samples.SYSVIPC_SHM)
    assert found.segments == [sysvipc_shm.Segment(3, 67108864, 702, 6, 33554432, 0)]
    assert len(found.odd) == 1
    old = sysvipc_shm.parse(b"key shmid perms size cpid lpid nattch\n0 3 1600 4096 7 7 1\n")
    assert old.segments == [sysvipc_shm.Segment(3, 4096, 7, 1, None, None)]
    with pytest.raises(Malformed):
        sysvipc_shm.parse(b"")


def test_each_page_counts_once_by_what_it_is() -> None:
    bits = [1 << kpageflags.LRU | 1 << kpageflags.MMAP, 1 << kpageflags.SLAB, 1 << kpageflags.BUDDY, 1 << kpageflags.NOPAGE, 0, 0,
            1 << kpageflags.HUGE | 1 << kpageflags.COMPOUND_HEAD, 1 << kpageflags.PGTABLE, 1 << kpageflags.RESERVED]
    data = struct.pack(f"{len(bits)}Q", *bits)
    expected = kpageflags.Counts(absent=1, free=1, lru=1, slab=1, tables=1, huge=1, reserved=1, bare=2)
    assert kpageflags.tally(data) == kpageflags.tally(data + b"cut") == expected
    assert sum(kpageflags.tally(b"")) == 0


def test_page_flags_are_read_in_blocks(tmp_path: Path) -> None:
    (tmp_path / "kpageflags").write_bytes(bytes(kpageflags.BLOCK + 16))
    assert [len(block) for block in kpageflags.read(str(tmp_path))] == [kpageflags.BLOCK, 16]
    with pytest.raises(Missing):
        list(kpageflags.read(str(tmp_path / "none")))


def test_pools_of_huge_pages(tmp_path: Path) -> None:
    for name, values in (("hugepages-2048kB", (1280, 300, 20, 0)), ("hugepages-1048576kB", (1, 1, 0, 0)), ("odd", ())):
        folder = tmp_path / "kernel/mm/hugepages" / name
        folder.mkdir(parents=True)
        for file, value in zip(("nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages"), values):
            (folder / file).write_text(f"{value}\n")
    assert hugepages.read(str(tmp_path)) == [hugepages.Pool(2 * 1024**2, 1280, 300, 20, 0), hugepages.Pool(1024**3, 1, 1, 0, 0)]
    with pytest.raises(Missing):
        hugepages.read(str(tmp_path / "none"))


def test_on_this_kernel() -> None:
    for read, what in ((buddyinfo.read, "zones"), (vmallocinfo.read, "areas"), (sysvipc_shm.read, "segments")):
        try:
            found = read()
        except (Missing, Denied):
            continue
        assert found.odd == [] and isinstance(getattr(found, what), list)
