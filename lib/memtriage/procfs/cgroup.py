"""Memory of control groups: limit and use of a process's group and of all groups above it.

Version 1 (Documentation/admin-guide/cgroup-v1/memory.rst): memory.limit_in_bytes, memory.usage_in_bytes, memory.stat. Version 2
(Documentation/admin-guide/cgroup-v2.rst): memory.max, memory.current, memory.stat. The memory controller is in one of the two at a time.
"""

from __future__ import annotations

import os

from memtriage.procfs import files, keyed
from memtriage.procfs.pid import cgroup as pid_cgroup
from memtriage.record import NamedTuple


class Group(NamedTuple):
    """One control group, the groups below it included. Bytes; ``None`` where the kernel does not say."""

    path: str
    """Below the mount as this reader sees it: ``/`` is the host's root, or in a container the container's own group."""
    version: int
    """1 or 2."""
    limit: int | None
    """``None`` where there is no limit. A lower one further up holds as well."""
    usage: int | None
    """All memory charged, cache too. Version 2 does not say for the host's root."""
    inactive_file: int | None
    active_file: int | None
    slab_reclaimable: int | None
    """Version 2 only."""
    file: int | None
    """Page cache, shmem included."""
    shmem: int | None


class _Names(NamedTuple):
    version: int
    limit: str
    usage: str
    stat: tuple[str, str, str, str, str]
    """Keys of memory.stat, in the order of Group's fields."""


_V1 = _Names(1, "memory.limit_in_bytes", "memory.usage_in_bytes",
             ("total_inactive_file", "total_active_file", "total_slab_reclaimable", "total_cache", "total_shmem"))
_V2 = _Names(2, "memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable", "file", "shmem"))

NO_LIMIT = 2**62
"""Version 1 writes the largest number of whole pages where there is no limit, and that depends on the page size. No host has this much."""


def parse_limit(data: bytes) -> int | None:
    """Returns bytes, or ``None`` for no limit. Raises :class:`~memtriage.procfs.files.Malformed` for other than a number or ``max``."""
    line = files.one_line("memory limit", data).strip()
    value = files.number(line)
    if value is None and line != b"max":
        raise files.Malformed("memory limit", "not a number: " + files.text(line[:60]))
    return None if value is None or value >= NO_LIMIT else value


def read_limits(sys: str, membership: list[pid_cgroup.Membership]) -> list[Group]:
    """Returns the groups of a process from its own up to the mount's root; none where no memory controller is mounted below ``sys``.

    ``membership`` is what :mod:`memtriage.procfs.pid.cgroup` read. A path that the mount does not show, as in a container, and one that
    leads out of it (``/../x``) stand for the mount's root. Raises :class:`~memtriage.procfs.files.ProcfsError`.
    """
    first = os.path.join(sys, "fs/cgroup")
    unified = os.path.join(first, "unified")
    if os.path.exists(os.path.join(first, "cgroup.controllers")) or not os.path.isdir(unified):
        unified = first
    for member in membership:
        if "memory" in member.controllers:
            groups = _groups(os.path.join(first, "memory"), _V1, member.path)
            if groups:
                return groups
    for member in membership:
        if member.hierarchy == 0 and not member.controllers:
            return _groups(unified, _V2, member.path)
    return []


def _groups(mount: str, names: _Names, path: str) -> list[Group]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or not os.path.isdir(os.path.join(mount, *parts)):
        parts = []
    levels = [parts[:count] for count in range(len(parts), -1, -1)]
    groups = [_group(mount, names, "/".join(level)) for level in levels]
    return [group for group in groups if group is not None]


def _group(mount: str, names: _Names, path: str) -> Group | None:
    folder = os.path.join(mount, path)
    limit, usage, stat = (_optional(folder, name) for name in (names.limit, names.usage, "memory.stat"))
    if limit is None and usage is None and stat is None:
        return None
    values = keyed.parse(stat or b"")
    return Group("/" + path, names.version, parse_limit(limit) if limit is not None else None,
                 files.number((usage or b"").strip()), *(values.get(key) for key in names.stat))


def _optional(folder: str, name: str) -> bytes | None:
    try:
        return files.read(folder, name)
    except files.Missing:
        return None


def read(proc: str = "/proc", sys: str = "/sys", pid: int | str = "self") -> list[Group]:
    """Reads ``proc/<pid>/cgroup`` and the memory files of its groups below ``sys/fs/cgroup``; see :func:`read_limits`."""
    return read_limits(sys, pid_cgroup.read(proc, pid))


def dying(sys: str = "/sys") -> int | None:
    """Returns how many removed groups of version 2 are still in memory because something holds them (``nr_dying_descendants`` of the root's
    cgroup.stat, since Linux 4.14); ``None`` where this host does not say."""
    for folder in ("fs/cgroup", "fs/cgroup/unified"):
        try:
            return keyed.parse(files.read(sys, folder + "/cgroup.stat")).get("nr_dying_descendants")
        except files.ProcfsError:
            continue
    return None
