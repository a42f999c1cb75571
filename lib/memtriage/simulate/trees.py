"""Names and inodes in slab: a tree that was walked, a tree that is held open, and names that do not exist."""

from __future__ import annotations

import ctypes
import os
import resource

from memtriage.simulate import libc
from memtriage.simulate.place import Place

DESCRIPTORS = 4000
"""Of the walked tree: each is two files in every thread's folder."""
DEPTH = 64
"""Of the tree held open: who holds the deepest folder holds all above it."""


class Walked:
    """A tree of files, each looked at once and never opened: only cache. The unit is a file.

    The tree is /proc/self/task/*/fd and fdinfo, with 4,000 descriptors of one open file and as many threads as it takes: real names and
    inodes, reclaimable like any other, with nothing on a disk and so nothing in the page cache; the kernel forgets them with the process.
    """

    def __init__(self, place: Place) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        wanted = DESCRIPTORS if limit == resource.RLIM_INFINITY else max(1, min(DESCRIPTORS, limit - 100))
        file = os.open("/dev/null", os.O_RDONLY)
        self.numbers = [os.dup(file) for _ in range(wanted)]
        libc.pausing_threads(place.units // (2 * wanted) + 1, 16384)
        self.folders = [f"/proc/self/task/{thread}/{kind}" for thread in os.listdir("/proc/self/task") for kind in ("fd", "fdinfo")]
        self.next = 0

    def grow(self, count: int) -> None:
        for index in range(self.next, self.next + count):
            folder, number = divmod(index, len(self.numbers))
            os.lstat(f"{self.folders[folder]}/{self.numbers[number]}")
        self.next += count


class Pinned:
    """Folders within folders, 64 deep, the deepest held open: reclaimable by their flag, and nothing can take them back.

    On a ramfs in a mount namespace of its own, which ends with the process. The unit is a folder.
    """

    def __init__(self, place: Place) -> None:
        user, group = os.geteuid(), os.getegid()
        if user:
            libc.call("unshare", libc.CLONE_NEWUSER | libc.CLONE_NEWNS)
            for name, words in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(words)
        else:
            libc.call("unshare", libc.CLONE_NEWNS)
        libc.call("mount", b"none", b"/", None, ctypes.c_ulong(libc.MS_REC | libc.MS_PRIVATE), None)
        libc.call("mount", b"none", os.fsencode(place.folder), b"ramfs", ctypes.c_ulong(0), None)
        self.root = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY)
        self.depth = max(DEPTH, place.units // 4000)
        self.deepest, self.made = self.root, 0

    def grow(self, count: int) -> None:
        for _ in range(count):
            above = self.deepest if self.made % self.depth else self.root
            os.mkdir(str(self.made), dir_fd=above)
            self.deepest = os.open(str(self.made), os.O_PATH | os.O_DIRECTORY, dir_fd=above)
            if above != self.root:
                os.close(above)
            self.made += 1


class Absent:
    """Names looked up that do not exist: the kernel remembers that, too. The unit is a name."""

    def __init__(self, place: Place) -> None:
        self.folder = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY)
        self.next = 0

    def grow(self, count: int) -> None:
        for index in range(self.next, self.next + count):
            os.access(str(index), os.F_OK, dir_fd=self.folder)
        self.next += count
