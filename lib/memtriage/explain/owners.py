"""Who among the processes holds memory: by program, with the unit it runs in, in PSS where that may be read."""

from __future__ import annotations

from memtriage import diagnosis
from memtriage.procfs import files, pid
from memtriage.procfs.pid import cgroup, smaps_rollup, stat, statm
from memtriage.record import NamedTuple


class Owner(NamedTuple):
    """Processes of one program. Bytes; ``anon`` and ``shmem`` are divided among those who share pages where ``exact``."""

    name: str
    unit: str
    """The systemd unit (or last part of the cgroup) that the largest of them runs in; empty at the root."""
    members: int
    anon: int
    shmem: int
    """Pages of tmpfs, memfd and SysV memory that they map; 0 where not ``exact``."""
    rss: int
    rough: int
    """``anon`` by statm, with shared pages counted once for each process: what the checks reckon with."""
    exact: bool


class Owners(NamedTuple):
    groups: list[Owner]
    """By private and shared memory together, largest first."""
    unreadable: int
    """Processes whose shared pages could not be divided, for want of rights, of a kernel since 5.3, or because it was not asked for."""

    @property
    def anon(self) -> int:
        return sum(group.anon for group in self.groups)

    def as_groups(self) -> list[diagnosis.Group]:
        """As :func:`memtriage.survey.groups` gives them."""
        found = [diagnosis.Group(group.name, group.members, group.rough, group.rss) for group in self.groups]
        return sorted(found, key=lambda group: (-group.anon, group.name))


class _Sums:
    members = anon = shmem = rss = rough = largest = largest_pid = 0
    exact = True


def read(proc: str, page: int, exact: bool = True) -> Owners:
    """Raises :class:`~memtriage.procfs.files.ProcfsError` where the folder itself cannot be read. Who ends meanwhile is left out."""
    found: dict[str, _Sums] = {}
    unreadable = 0
    for data in pid.stats(proc):
        try:
            process = stat.parse(data)
            if process.rss_pages <= 0:
                continue
            pages = statm.parse(pid.small(f"{proc}/{process.pid}/statm"))
        except (files.ProcfsError, OSError):
            continue
        rough = pages.anon_pages * page
        shares = _shares(proc, process.pid) if exact else None
        unreadable += shares is None
        anon, shmem = shares or (rough, 0)
        sums = found.setdefault(process.comm, _Sums())
        sums.members += 1
        sums.anon += anon
        sums.shmem += shmem
        sums.rss += pages.resident_pages * page
        sums.rough += rough
        sums.exact = sums.exact and shares is not None
        if anon + shmem >= sums.largest:
            sums.largest, sums.largest_pid = anon + shmem, process.pid
    groups = [Owner(name, _unit(proc, sums.largest_pid), sums.members, sums.anon, sums.shmem, sums.rss, sums.rough, sums.exact)
              for name, sums in found.items()]
    return Owners(sorted(groups, key=lambda group: (-group.anon - group.shmem, group.name)), unreadable)


def _shares(proc: str, number: int) -> tuple[int, int] | None:
    """Private and shared memory of a process, each page divided by its users."""
    try:
        rollup = smaps_rollup.read(proc, number)
    except files.ProcfsError:
        return None
    anon, shmem = rollup.get("Pss_Anon"), rollup.get("Pss_Shmem")
    return (anon, shmem) if anon is not None and shmem is not None else None


def _unit(proc: str, number: int) -> str:
    """The last part of the cgroup that says most: of version 2, of systemd's own, or of memory."""
    try:
        memberships = cgroup.read(proc, number)
    except files.ProcfsError:
        return ""
    for wanted in ("", "name=systemd", "memory"):
        for entry in memberships:
            if (wanted in entry.controllers if wanted else not entry.controllers) and entry.path != "/":
                return entry.path.rstrip("/").rpartition("/")[2]
    return ""
