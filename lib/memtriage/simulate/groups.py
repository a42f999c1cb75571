"""cgroups created and abandoned: removed from the tree, and kept alive by one page that is still charged to each.

Such a cgroup is in no listing any more, and only /proc/cgroups still counts it. The page lies in a file that no folder shows, so the end
of the process ends the cgroups, too. Where the memory controller is not in the folder the cgroups just stay there, empty.
"""

from __future__ import annotations

import mmap
import os

from memtriage.procfs.pid import cgroup
from memtriage.simulate.place import Place


class Abandoned:
    """The unit is a cgroup."""

    def __init__(self, place: Place) -> None:
        self.folder = place.groups
        self.charged = any(os.path.exists(os.path.join(self.folder, name)) for name in ("memory.max", "memory.limit_in_bytes"))
        self.home = os.path.join(os.path.dirname(self.folder), "cgroup.procs")
        self.file = os.memfd_create("memtriage-simulate")
        self.made = 0
        if self.charged and os.path.exists(os.path.join(self.folder, "memory.max")):
            # Version 2: from the root's point of view, since only there processes and controllers may share a folder.
            own = next((entry.path for entry in cgroup.read("/proc", "self") if entry.hierarchy == 0), "/")
            self.home = os.path.join(os.path.dirname(self.folder), own.lstrip("/"), "cgroup.procs")
            _write(os.path.join(self.folder, "cgroup.subtree_control"), b"+memory")

    def grow(self, count: int) -> None:
        for _ in range(count):
            path = os.path.join(self.folder, str(self.made))
            os.mkdir(path)
            if self.charged:
                _write(os.path.join(path, "cgroup.procs"), b"0")
                try:
                    os.pwrite(self.file, b"x", self.made * mmap.PAGESIZE)
                finally:
                    _write(self.home, b"0")
                os.rmdir(path)
            self.made += 1


def _write(path: str, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)


def new_folder(sys: str, name: str) -> str:
    """Makes a cgroup ``name`` for the above: in the memory controller's hierarchy below this process's own group, else at the root of
    version 2. Returns its folder; raises ``OSError`` where that is not allowed or there are no cgroups."""
    base = os.path.join(sys, "fs/cgroup")
    version_1 = os.path.join(base, "memory")
    for member in cgroup.read("/proc", "self"):
        if "memory" in member.controllers and os.path.isdir(version_1):
            own = os.path.join(version_1, member.path.lstrip("/"))
            folder = os.path.join(own if os.path.isdir(own) else version_1, name)
            os.mkdir(folder)
            return folder
    root = base if os.path.exists(os.path.join(base, "cgroup.procs")) else os.path.join(base, "unified")
    folder = os.path.join(root, name)
    os.mkdir(folder)
    return folder
