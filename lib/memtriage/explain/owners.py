"""Who among the processes holds memory: by program, with the unit it runs in, in PSS where that may be read."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from memtriage.procfs import files, pid
from memtriage.procfs.pid import cgroup, smaps_rollup, stat, statm


class Owner(NamedTuple):
    """Processes of one program. Bytes; shared pages are divided among their users where ``exact``, else counted once for each of them."""

    name: str
    unit: str
    """The systemd unit (or last part of the cgroup) that most of them run in; empty at the root."""
    members: int
    anon: int
    shmem: int
    """Pages of tmpfs, memfd and SysV memory that they map."""
    rss: int
    exact: bool


class Owners(NamedTuple):
    groups: list[Owner]
    """By private and shared memory together, largest first."""
    unreadable: int
    """Processes whose shared pages could not be divided, for want of rights or of a kernel since 4.14."""

    @property
    def anon(self) -> int:
        return sum(group.anon for group in self.groups)


def read(proc: str, page: int, exact: bool = True) -> Owners:
    """Raises :class:`~memtriage.procfs.files.ProcfsError` where the folder itself cannot be read. Who ends meanwhile is left out."""
    found: dict[str, list[int]] = {}
    units: dict[str, Counter[str]] = {}
    divided: dict[str, bool] = {}
    unreadable = 0
    for data in pid.stats(proc):
        try:
            process = stat.parse(data)
            if process.rss_pages <= 0:
                continue
            pages = statm.read(proc, process.pid)
            where = _unit(cgroup.read(proc, process.pid))
        except files.ProcfsError:
            continue
        anon, shmem, known = pages.anon_pages * page, 0, False
        if exact:
            try:
                rollup = smaps_rollup.read(proc, process.pid)
                anon_share, shmem_share = rollup.get("Pss_Anon"), rollup.get("Pss_Shmem")
                if anon_share is not None and shmem_share is not None:  # since Linux 5.3
                    anon, shmem, known = anon_share, shmem_share, True
            except files.ProcfsError:
                pass
        unreadable += not known
        sums = found.setdefault(process.comm, [0, 0, 0, 0])
        for place, value in enumerate((1, anon, shmem, pages.resident_pages * page)):
            sums[place] += value
        units.setdefault(process.comm, Counter())[where] += 1
        divided[process.comm] = divided.get(process.comm, True) and known
    groups = [Owner(name, units[name].most_common(1)[0][0], members, anon, shmem, rss, divided[name])
              for name, (members, anon, shmem, rss) in found.items()]
    return Owners(sorted(groups, key=lambda group: (-group.anon - group.shmem, group.name)), unreadable)


def _unit(memberships: list[cgroup.Membership]) -> str:
    """The last part of the cgroup that says most: of version 2, of systemd's own, or of memory."""
    for wanted in ("", "name=systemd", "memory"):
        for entry in memberships:
            if (wanted in entry.controllers if wanted else not entry.controllers) and entry.path != "/":
                return entry.path.rstrip("/").rpartition("/")[2]
    return ""
