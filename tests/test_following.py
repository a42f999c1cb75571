"""How much of a cache is in use, out of counters that the host has only one of."""

from __future__ import annotations

import pytest

from memtriage import diagnosis, following, survey
from memtriage.procfs.dentry_state import DentryState
from memtriage.procfs.inode_nr import InodeNr


def in_use(name: str, objects: dict[str, int], inodes: int, unused: int) -> float | None:
    caches = [diagnosis.Cache(other, count * 1000, True, (), count) for other, count in objects.items()]
    dentries = DentryState(inodes, unused, 45, 0, 0)
    now = following.Now(None, 4096, survey.Slab(caches, None, []), {}, dentries, InodeNr(inodes, 0), {})  # type: ignore[arg-type]
    return following._in_use(next(cache for cache in caches if cache.name == name), now)


@pytest.mark.parametrize(("name", "objects", "inodes", "unused", "share"), [
    # find over 20,000 files, beside 15,000 inodes of sysfs and its like, all held: those are not the files' (a guest was told they were)
    ("ext4_inode_cache", {"ext4_inode_cache": 20000, "inode_cache": 15000}, 35000, 20000, 0.0),
    ("nfs_inode_cache", {"nfs_inode_cache": 40000, "inode_cache": 15000}, 55000, 4000, 0.9),
    ("inode_cache", {"inode_cache": 40000, "ext4_inode_cache": 100}, 40100, 0, 1.0),
    ("nfs_inode_cache", {"nfs_inode_cache": 40000, "shmem_inode_cache": 5000, "sock_inode_cache": 5000}, 20000, 0, 0.25),
    ("radix_tree_node", {"radix_tree_node": 40000}, 100, 0, 0.0),
    ("filp", {"filp": 40000}, 100, 0, None),
])
def test_in_use(name: str, objects: dict[str, int], inodes: int, unused: int, share: float | None) -> None:
    assert in_use(name, objects, inodes, unused) == share
