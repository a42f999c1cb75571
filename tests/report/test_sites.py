"""Who allocated what grows, as an evidence bundle tells it: the words, the file, what is private in it, and why there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memtriage.diagnosis import Cache
from memtriage.report import host, sites
from memtriage.report.private import Private
from tests.procfs import samples

FIXTURE = Path(__file__).parents[1] / "fixtures/sites"
NFS = Cache("nfs_inode_cache", 8041 * 1172, True, (), 8041)
NO_PROFILING = "no /proc/allocinfo (Linux 6.10 and later with CONFIG_MEM_ALLOC_PROFILING, booted with sysctl.vm.mem_profiling=1)"


class Told:
    def __init__(self, root: Path, cache: Cache | None, release: str = "6.1.0-56-amd64", hide: tuple[str, ...] = (),
                 objsize: int = 0) -> None:
        texts: dict[str, bytes] = {}
        self.lacking: list[tuple[str, str]] = []
        self.private = Private((), ["nfs"], ["alloc"], hide)
        """A host and a user whose names stand in those of functions."""
        self.said = sites.find(cache, objsize, release, self.private, texts, self.lacking, str(root / "proc"), str(root / "sys"))
        self.file = texts[sites.FILE].decode() if texts else None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    folder = tmp_path / "sys/kernel/debug/slab/nfs_inode_cache"
    folder.mkdir(parents=True)
    (folder / "alloc_traces").write_bytes((FIXTURE / "alloc_traces").read_bytes())
    return tmp_path


def test_of_a_real_kernel(root: Path) -> None:
    told = Told(root, NFS)
    assert told.said == [
        "Who allocated the 8041 objects of 'nfs_inode_cache' that are in use (allocation-sites.txt has the stack traces):",
        "  nfs_alloc_inode [nfs]: 8041 objects, 8.99 MiB, 100.0%",
        "  of these 8000 called by alloc_inode, iget5_locked, nfs_fhget [nfs], nfs_readdir_entry_decode [nfs], "
        "nfs_readdir_page_filler [nfs], nfs_readdir_xdr_to_array [nfs], nfs_readdir [nfs], iterate_dir, "
        "__x64_sys_getdents64, do_syscall_64",
        "  of these 40 called by alloc_inode, iget5_locked, nfs_fhget [nfs], nfs_lookup [nfs], nfs_atomic_open [nfs], path_openat, "
        "do_filp_open, do_sys_openat2, __x64_sys_openat, do_syscall_64",
        "  of these 1 called by alloc_inode, iget5_locked, nfs_fhget [nfs], nfs_get_root [nfs], nfs_get_tree_common [nfs], vfs_get_tree, "
        "fc_mount, do_nfs4_mount [nfsv4], nfs4_try_get_tree [nfsv4], vfs_get_tree"]
    assert told.file is not None and told.lacking == []
    head, _, rest = told.file.partition("\n")
    assert head == "# alloc_traces of nfs_inode_cache: objects, function, age in jiffies (least/mean/greatest), processes; the way to it"
    assert rest == (FIXTURE / "alloc_traces").read_text()  # nothing in it is private


def test_hidden_words_and_addresses(root: Path) -> None:
    file = root / "sys/kernel/debug/slab/nfs_inode_cache/alloc_traces"
    file.write_bytes(b"      3 acme_new+0x1/0x2 [acmefs] age=1 pid=9\n        0xffffffffc04a6123\n\n" + samples.ALLOC_TRACES_KMALLOC)
    told = Told(root, NFS, hide=("acme",))
    assert told.file is not None and "      3 word1_new+0x1/0x2 [word1fs] age=1 pid=9\n        0x0\n" in told.file
    assert "     12 0x0 age=5 pid=7\n        0x0\n" in told.file and "acme" not in " ".join(told.said)
    assert "  <not-available>: 4000 objects, 4.47 MiB, 91.9%" in told.said and "  0x0: 12 objects, 13.7 KiB, 0.28%" in told.said


def test_limits(root: Path) -> None:
    file = root / "sys/kernel/debug/slab/nfs_inode_cache/alloc_traces"
    file.write_text("".join(f"   {1000 - number} f{number}+0x1/0x2 age=1 pid=1\n        f{number}+0x1/0x2\n        g+0x1/0x2\n\n"
                            for number in range(150)))
    told = Told(root, NFS)
    assert len(told.said) == 1 + 2 * sites.FUNCTIONS + 1 and told.file is not None
    assert told.said[1] == "  f0: 1000 objects, 66.3 KiB, 0.72%" and told.said[2] == "  of these 1000 called by g"
    assert told.said[-1] == "  142 more functions: 130853 objects, 8.47 MiB, 94.3%"
    assert told.file.endswith("# 50 more, 43775 objects\n")


@pytest.mark.parametrize(("release", "aliases", "words"), [
    ("6.1.0-56-amd64", (), "slub_debug=U,nfs_inode_cache"), ("6.8.12", (), "slub_debug=U,nfs_inode_cache"),
    ("6.9.1", ("pid", "eventpoll_epi"), "slab_debug=U,nfs_inode_cache,pid,eventpoll_epi"), ("", (), "slab_debug=U,nfs_inode_cache"),
    ("7.2", (), "slab_debug=U,nfs_inode_cache"), ("weird", (), "slab_debug=U,nfs_inode_cache")])
def test_what_to_boot_with(tmp_path: Path, release: str, aliases: tuple[str, ...], words: str) -> None:
    """Of a merged cache all names: each becomes a cache of its own, and only one of them grows."""
    told = Told(tmp_path, NFS._replace(aliases=aliases), release)
    why = f"the kernel does not track who allocated 'nfs_inode_cache': boot with {words} and mount debugfs; {NO_PROFILING}"
    assert told.lacking == [(sites.FILE, why)] and told.said == [f"Allocation sites are not known: {why}."] and told.file is None


def test_why_there_are_none(root: Path) -> None:
    (root / "sys/kernel/debug/slab/nfs_inode_cache/alloc_traces").unlink()
    (root / "sys/kernel/slab/nfs_inode_cache").mkdir(parents=True)
    (root / "sys/kernel/slab/nfs_inode_cache/store_user").write_text("1\n")
    assert Told(root, NFS).lacking == [(sites.FILE, "the kernel tracks who allocated 'nfs_inode_cache', and debugfs is not mounted on "
                                        f"/sys/kernel/debug; {NO_PROFILING}")]
    assert Told(root, None).lacking == [(sites.FILE, NO_PROFILING)]
    (root / "proc/allocinfo").write_text("allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\n    0 0 mm/a.c:1 func:a\n")
    assert Told(root, None).lacking == [(sites.FILE, "/proc/allocinfo counts nothing: boot with sysctl.vm.mem_profiling=1")]
    (root / "proc/allocinfo").write_text("nonsense\n")
    assert Told(root, None).lacking == [(sites.FILE, "allocinfo: no version line")]


def test_lines_of_source_beside_the_traces(root: Path) -> None:
    (root / "proc/allocinfo").write_bytes(samples.ALLOCINFO_2 + b"     2097152      512 /home/joe/src/x.c:88 [x_driver] func:x_refill\n")
    told = Told(root, NFS)
    assert told.said[-3:] == ["Lines of source that allocated most of all the kernel's memory, the slab's pages and the objects in them "
                              "both (/proc/allocinfo; allocation-sites.txt has 2):",
                              "  2.00 MiB in 512 calls: /path1:88 [x_driver] func:x_refill",
                              "  48.0 KiB in 48 calls: arch/x86/kernel/cpu/mce/core.c:2709 func:mce_device_create (the kernel missed some)"]
    assert told.file is not None and told.file.endswith(
        "# /proc/allocinfo, the 2 largest: bytes, calls, place\n"
        "     2097152      512 /path1:88 [x_driver] func:x_refill\n"
        "       49152       48 arch/x86/kernel/cpu/mce/core.c:2709 func:mce_device_create accurate:no\n")
    assert "  nfs_alloc_inode [nfs]: 8041 objects, 8.99 MiB, 100.0%" in told.said


def test_lines_whose_objects_are_of_the_size(tmp_path: Path) -> None:
    """As Linux 7.2 counted while file locks leaked: in slabinfo they stand under another name."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/allocinfo").write_bytes((FIXTURE / "allocinfo").read_bytes())
    told = Told(tmp_path, Cache("names_cache", 11_775_000, False, ("file_lock_cache",), 60360), "7.2.13", objsize=192)
    assert told.said[0] == ("Lines of source that allocated objects of 192 bytes, the size of those of 'names_cache' (/proc/allocinfo; "
                            "other caches may have that size too):")
    assert re.fullmatch(r"  11\.0 MiB in 60000 calls: fs/locks\.c:[0-9]+ func:locks_alloc_lock", told.said[1])
    assert told.said[6].startswith("Lines of source that allocated most of all") and len(told.said) == 1 + sites.ALIKE + 1 + sites.FUNCTIONS
    assert told.file is not None and told.file.count("\n") == 1 + sites.LARGEST and told.lacking == []
    assert not any("the size of those" in said for said in Told(tmp_path, None, objsize=0).said)


def test_modules_of_a_real_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is unsigned; another, made up, goes just now and taints by nothing."""
    data = (FIXTURE / "modules").read_bytes()
    data += b"going 16384 0 - Unloading 0xffffffffc0275000 (-)\nacme 1 0 - Loading 0xffffffffc0275000 (POE+)\n"
    monkeypatch.setattr(host.files, "read", lambda root, name: data)
    texts: dict[str, bytes] = {}
    assert host._modules(Private((), [], [], ["acme"]), texts, []) == "26 (modules.txt); tainting: failover (E), word1 (POE)"
    assert texts["modules.txt"].startswith(b"failover 16384 0 - Live 0x0 (E)\nnfsv4 1056768 1 - Live 0x0\n")
    assert b"0xf" not in texts["modules.txt"] and b"acme" not in texts["modules.txt"]
