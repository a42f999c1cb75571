"""Memory of control groups: limit and use of a process's group and of all groups above it, version 1 and 2.

What a version's files are called is in :mod:`memtriage.procfs.cgroup_v1` and :mod:`memtriage.procfs.cgroup_v2`.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from memtriage.procfs import files, keyed
from memtriage.procfs.pid.cgroup import Membership


class Group(NamedTuple):
    """One control group, groups below it included. Bytes; ``None`` where the kernel does not say."""

    path: str
    """Below the mount as this reader sees it: ``/`` is the host's root, or in a container the container's own group."""
    version: int
    """1 or 2."""
    limit: int | None
    """``None`` where there is no limit. One that is lower further up holds as well."""
    usage: int | None
    """All memory charged, cache too."""
    inactive_file: int | None
    active_file: int | None
    slab_reclaimable: int | None
    """Version 2 only."""
    file: int | None
    """Page cache, shmem included."""
    shmem: int | None


class Names(NamedTuple):
    """What a version of control groups calls its files and counters."""

    version: int
    mounts: tuple[str, ...]
    """Folders below /sys where the hierarchy may be mounted, the first existing one is taken."""
    limit: str
    usage: str
    stat: tuple[str, str, str, str, str]
    """Keys of memory.stat for inactive_file, active_file, slab_reclaimable, file and shmem; empty where there is none."""


NO_LIMIT = 2**62
"""Version 1 writes the largest number of whole pages for no limit, which depends on the page size; no host has this much memory."""


def parse_limit(data: bytes) -> int | None:
    """Returns bytes, or ``None`` for no limit: ``max``, or a number beyond all memory. Raises ``Malformed`` for anything else."""
    line = files.one_line("memory limit", data).strip()
    value = files.number(line)
    if value is None and line != b"max":
        raise files.Malformed("memory limit", "not a number: " + files.text(line[:60]))
    return None if value is None or value >= NO_LIMIT else value


def read_limits(sys: str, membership: list[Membership]) -> list[Group]:
    """Returns the groups of a process from its own up to the mount's root; empty where no memory controller is mounted below ``sys``.

    ``membership`` is what :mod:`memtriage.procfs.pid.cgroup` read. A path that the mount does not show, as in a container, stands for the
    mount's root. Raises :class:`~memtriage.procfs.files.ProcfsError`; a file that is missing is ``None`` in the group.
    """
    from memtriage.procfs import cgroup_v1, cgroup_v2  # noqa: PLC0415 - they import this module

    for names, path in ((cgroup_v1.NAMES, cgroup_v1.path(membership)), (cgroup_v2.NAMES, cgroup_v2.path(membership))):
        mount = next((name for name in names.mounts if os.path.isdir(os.path.join(sys, name))), None)
        if path is not None and mount is not None:
            return _groups(names, os.path.join(sys, mount), path)
    return []
