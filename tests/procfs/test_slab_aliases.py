import os
from pathlib import Path

import pytest

from memtriage.procfs import slab_aliases
from memtriage.procfs.files import Missing


@pytest.fixture
def sys(tmp_path: Path) -> str:
    slab = tmp_path / "kernel/slab"
    (slab / "dentry").mkdir(parents=True)
    (slab / "dentry/reclaim_account").write_bytes(b"1\n")
    (slab / "task_struct").mkdir()
    (slab / "task_struct/reclaim_account").write_bytes(b"0\n")
    (slab / "mqueue_inode_cache").mkdir()
    (slab / "a!b").mkdir()
    (slab / "a!b/reclaim_account").write_bytes(b"1\n")
    for name, target in {
        "nfs_inode_cache": ":a-0001096",
        "isofs_inode": ":a-0001096",
        "kmalloc-192": ":0000192",
        "pid": ":A-0000192",
        "buffer_head": ":aA-0000104",
        "old": ":at-0000104",
        "kmalloc-rcl-96": "../slab/:a-0000096",
        "weird": "dentry",
    }.items():
        os.symlink(target, slab / name)  # the targets do not exist, as in a tree kept in git
    (slab / ":0000192").mkdir()
    return str(tmp_path)


def test_names_that_share_a_cache(sys: str) -> None:
    found = slab_aliases.read(sys)
    assert found.groups == {
        ":a-0001096": ["isofs_inode", "nfs_inode_cache"],
        ":0000192": ["kmalloc-192"],
        ":A-0000192": ["pid"],
        ":aA-0000104": ["buffer_head"],
        ":at-0000104": ["old"],
        ":a-0000096": ["kmalloc-rcl-96"],
    }
    assert found.aliases("nfs_inode_cache") == ["isofs_inode"]
    assert found.aliases("pid") == []
    assert found.aliases("dentry") == []
    assert found.aliases("no such cache") == []


@pytest.mark.parametrize(
    ("name", "reclaimable"),
    [
        ("nfs_inode_cache", True),
        ("buffer_head", True),
        ("old", True),
        ("kmalloc-rcl-96", True),
        ("kmalloc-192", False),
        ("pid", False),
        ("dentry", True),
        ("task_struct", False),
        ("a/b", True),
        ("mqueue_inode_cache", None),
        ("no such cache", None),
        ("../slab/dentry", None),
        ("a\0b", None),
    ],
)
def test_reclaimable(sys: str, name: str, reclaimable: "bool | None") -> None:
    assert slab_aliases.reclaimable(sys, name) is reclaimable


@pytest.mark.parametrize(
    ("data", "count"),
    [(b"133954 N0=133954\n", 133954), (b"7\n", 7), (b"0\n", 0), (b"", None), (b"\n", None), (b"-1\n", None), (b"many N0=7\n", None)],
)
def test_objects(sys: str, data: bytes, count: "int | None") -> None:
    assert slab_aliases.objects(sys, "a/b") is None  # no such file
    Path(sys, "kernel/slab/a!b/objects").write_bytes(data)
    assert slab_aliases.objects(sys, "a/b") == count


@pytest.mark.parametrize(
    ("target", "reclaimable"),
    [
        (":0000128", False),
        (":a-0000128", True),
        (":A-0000128", False),
        (":dA-0000128", False),
        (":daFA-0000128", True),
        (":0000256-00000012", False),
        ("", False),
    ],
)
def test_flags(target: str, reclaimable: bool) -> None:
    assert slab_aliases.reclaim_account(target) is reclaimable


def test_missing_without_slub(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        slab_aliases.read(str(tmp_path))
