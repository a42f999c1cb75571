"""/sys/kernel/slab: which slab caches SLUB has merged into one (Documentation/ABI/testing/sysfs-kernel-slab; mm/slub.c).

slabinfo shows one name for a merged cache, often not that of the cache's largest user. Here every name is a link to the cache's id, such as
``:aA-0000192``; a cache that may not be merged is a folder. Needs SLUB, and CONFIG_SLUB_SYSFS since Linux 5.0. Listing needs no root.
"""

from __future__ import annotations

import os

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Aliases(NamedTuple):
    sys: str
    """The folder that was read for /sys."""
    groups: dict[str, list[str]]
    """The names that share a cache, sorted, by the cache's id."""

    def aliases(self, name: str) -> list[str]:
        """Returns the other names that share the cache of ``name``, sorted; none where it has the cache for itself or is not known."""
        for names in self.groups.values():
            if name in names:
                return [other for other in names if other != name]
        return []


def reclaimable(sys: str, name: str) -> bool | None:
    """Says whether the cache counts as SReclaimable. Of one not merged it reads ``reclaim_account``: ``None`` where only root may."""
    path = "kernel/slab/" + name.replace("/", "!")
    try:
        target = os.path.basename(os.readlink(os.path.join(sys, path)))
        if target.startswith(":"):
            return reclaim_account(target)
    except (OSError, ValueError):
        pass  # a cache of its own, or no SLUB; ValueError: a NUL in the name
    try:
        data = files.read(sys, path + "/reclaim_account")
    except files.ProcfsError:
        return None
    return {b"0": False, b"1": True}.get(data.strip())


def objects(sys: str, name: str) -> int | None:
    """Objects in use, counted, as slabinfo did before Linux 6.10: it estimates them since where a node has more than 10,000 partial slabs.

    ``None`` where only root may and without SLUB. Takes the lock of each node's list of slabs for as long as it is.
    """
    try:
        data = files.read(sys, "kernel/slab/" + name.replace("/", "!") + "/objects").split()
    except files.ProcfsError:
        return None
    return int(data[0]) if data and data[0].isdigit() else None


def reclaim_account(target: str) -> bool:
    """Says whether an id, ``:flags-size`` or ``:size``, has flag ``a`` for SLAB_RECLAIM_ACCOUNT (create_unique_id in mm/slub.c)."""
    flags, dash, _ = target.lstrip(":").partition("-")
    return bool(dash) and "a" in flags


def group(links: dict[str, str]) -> dict[str, list[str]]:
    """Turns name -> id into id -> names, sorted."""
    groups: dict[str, list[str]] = {}
    for name in sorted(links):
        groups.setdefault(links[name], []).append(name)
    return groups


def read(sys: str = "/sys") -> Aliases:
    """Lists ``sys/kernel/slab`` and reads its links; nothing in it is opened. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    links: dict[str, str] = {}
    prefix = os.path.join(sys, "kernel/slab/")
    for name in files.listing(sys, "kernel/slab"):
        if name.startswith(":"):
            continue
        try:
            target = os.path.basename(os.readlink(prefix + name))
        except OSError:  # a cache of its own, or one that went away meanwhile
            continue
        if target.startswith(":"):
            links[name] = target
    return Aliases(sys, group(links))
