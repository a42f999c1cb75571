"""Who allocated a slab cache's objects: the file of a real kernel, those of others, and what stands in for it where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memtriage.procfs import alloc_traces, files
from memtriage.procfs.alloc_traces import Site
from tests.procfs import samples


def test_of_linux_6_1() -> None:
    found = alloc_traces.parse(samples.ALLOC_TRACES)
    assert [site.objects for site in found.sites] == [8000, 40, 1] and found.objects == 8041 and found.odd == []
    first, _, last = found.sites
    assert first.place == "nfs_alloc_inode+0x1d/0x60 [nfs]" and re.fullmatch("age=[0-9]+/[0-9]+/[0-9]+ pid=[0-9]+", first.more)
    assert first.function == "nfs_alloc_inode [nfs]" and re.fullmatch("age=[0-9]+ pid=[0-9]+", last.more)
    assert [len(site.stack) for site in found.sites] == [12, 12, 15]
    assert first.callers[:4] == ("alloc_inode", "iget5_locked", "nfs_fhget [nfs]", "nfs_readdir_entry_decode [nfs]")
    assert last.callers[-1] == "entry_SYSCALL_64_after_hwframe" and "do_nfs4_mount [nfsv4]" in last.callers
    assert [(name, objects, len(sites)) for name, objects, sites in found.functions()] == [("nfs_alloc_inode [nfs]", 8041, 3)]


def test_of_kmalloc_and_without_names() -> None:
    found = alloc_traces.parse(samples.ALLOC_TRACES_KMALLOC)
    unknown, device, nameless = found.sites
    assert unknown == Site(4000, "<not-available>", "age=1/2/3 pid=0-77", ()) and unknown.callers == ()
    assert device.more == "waste=521872/1544 age=290837/291891/293509 pid=1 cpus=106 nodes=0-1"
    assert device.callers == ("pci_scan_single_device",)  # not the allocator's own
    assert nameless.function == "0xffffffffc04a6123" and nameless.callers == () and found.odd == []


def test_before_stacks_were_kept() -> None:
    found = alloc_traces.parse(samples.ALLOC_CALLS)
    assert found.sites == [Site(99, "bio_alloc_bioset.cold+0x1/0x2 [md_mod]", "age=1/2/3 pid=0-9 cpus=0,3", ()),
                           Site(7, "acpi_ns_internalize_name+0x44/0xa0", "age=89 pid=1", ())]
    assert found.functions()[0][0] == "bio_alloc_bioset.cold [md_mod]"


def test_odd_lines_cost_themselves() -> None:
    found = alloc_traces.parse(b"        stray+0x1/0x2\nwhat\n"
                               b"      1 a+0x1/0x2 age=1 pid=1\n        b+0x1/0x2\n\n        late+0x1/0x2\n      2 cu")
    assert found.sites == [Site(1, "a+0x1/0x2", "age=1 pid=1", ("b+0x1/0x2",))]
    assert found.odd == ["      2 cu", "stray+0x1/0x2", "what", "late+0x1/0x2"]
    assert alloc_traces.parse(b"No data\n") == alloc_traces.Traces([], [])
    for data in (b"", b"\n \n"):
        with pytest.raises(files.Malformed):
            alloc_traces.parse(data)


def test_the_newer_file_first_then_the_older(tmp_path: Path) -> None:
    newer, older = tmp_path / "kernel/debug/slab/dentry", tmp_path / "kernel/slab/dentry"
    with pytest.raises(files.Missing, match="kernel/debug/slab/dentry/alloc_traces: no such file"):
        alloc_traces.read(str(tmp_path), "dentry")
    older.mkdir(parents=True)
    assert not alloc_traces.tracked(str(tmp_path), "dentry")
    (older / "alloc_calls").write_bytes(samples.ALLOC_CALLS)
    assert alloc_traces.read(str(tmp_path), "dentry").objects == 106
    newer.mkdir(parents=True)
    (newer / "alloc_traces").write_bytes(samples.ALLOC_TRACES)
    assert alloc_traces.read(str(tmp_path), "dentry").objects == 8041
    for word, known in (("0\n", False), ("1\n", True)):
        (older / "store_user").write_text(word)
        assert alloc_traces.tracked(str(tmp_path), "dentry") == known


def test_what_cannot_be_read_is_not_tracked_nor_missing(tmp_path: Path) -> None:
    """Of a cache that is not tracked the older file answers ENOSYS; here a folder answers EISDIR."""
    (tmp_path / "kernel/slab/dentry/alloc_calls").mkdir(parents=True)
    with pytest.raises(files.Missing, match="alloc_calls: not tracked"):
        alloc_traces.read(str(tmp_path), "dentry")
    (tmp_path / "kernel/debug/slab/dentry/alloc_traces").mkdir(parents=True)
    with pytest.raises(files.Unreadable):
        alloc_traces.read(str(tmp_path), "dentry")
