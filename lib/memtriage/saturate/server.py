"""The server on this host: who listens on its port, its workers, how busy they are and what they take."""

from __future__ import annotations

from memtriage.budget import Sample
from memtriage.procfs import files, net_tcp, pid
from memtriage.procfs.pid import smaps_rollup, stat, status
from memtriage.record import NamedTuple


class Worker(NamedTuple):
    pid: int
    comm: str
    sockets: int
    """How many it has open: one more than when idle means a connection is its."""
    sample: Sample | None
    """``None`` where its memory may not be read."""


class Snapshot(NamedTuple):
    """``workers`` without their master; ``accepted`` of our connections are in some process's hands."""

    workers: list[Worker]
    denied: int
    """Processes whose descriptors may not be seen."""

    @property
    def samples(self) -> list[Sample]:
        return [worker.sample for worker in self.workers if worker.sample is not None]

    def busy(self, idle: int) -> int:
        return sum(worker.sockets > idle for worker in self.workers)


def workers(port: int, name: str | None, proc: str = "/proc") -> Snapshot:
    """The processes called ``name``, or those that hold a socket listening on ``port``; of a parent among them only its children.

    Raises :class:`~memtriage.procfs.files.ProcfsError`.
    """
    listening = {entry.inode for entry in net_tcp.read(proc).sockets if entry.state == net_tcp.LISTEN and entry.local_port == port}
    found: dict[int, tuple[stat.PidStat, set[int]]] = {}
    denied = 0
    for number in pid.pids(proc):
        try:
            process = stat.read(proc, number)
            if process.kthread or process.state == "Z" or (name is not None and process.comm != name[:15]):
                continue
            sockets = pid.sockets(proc, number)
        except files.Denied:
            denied += 1
            continue
        except files.ProcfsError:
            continue
        if name is not None or sockets & listening:
            found[number] = (process, sockets)
    masters = {process.ppid for process, _ in found.values()} & set(found)
    return Snapshot([Worker(number, process.comm, len(sockets), _sample(proc, number)) for number, (process, sockets) in found.items()
                     if number not in masters or len(found) == 1], denied)


def _sample(proc: str, number: int) -> Sample | None:
    try:
        found = smaps_rollup.read(proc, number)
        tables = status.read(proc, number).get("VmPTE") or 0
    except files.ProcfsError:
        return None
    pss, clean, dirty = found.get("Pss"), found.get("Private_Clean"), found.get("Private_Dirty")
    if pss is None:
        return None
    return Sample(pss, None if clean is None or dirty is None else clean + dirty, tables)
