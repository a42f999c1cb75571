"""/proc/sysvipc/shm: System V shared memory segments (ipc/shm.c; sysvipc(7)). Since Linux 2.4; sizes in memory since Linux 2.6.36."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Segment(NamedTuple):
    shmid: int
    size: int
    """Bytes asked for."""
    creator: int
    """Process that made it."""
    attached: int
    """Attachments now; 0: nobody uses it, and it stays until it is removed (ipcrm)."""
    rss: int | None
    """Bytes in memory."""
    swap: int | None


class Segments(NamedTuple):
    segments: list[Segment]
    odd: list[str]
    """Lines that could not be understood, as text."""


def parse(data: bytes) -> Segments:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the first line does not name the columns."""
    lines, odd = files.whole_lines(data)
    names = lines[0].split() if lines else []
    if not {b"shmid", b"size", b"cpid", b"nattch"} <= set(names):
        raise files.Malformed("sysvipc/shm", "no column heads" if data.strip() else "empty")
    found: list[Segment] = []
    for line in lines[1:]:
        row = dict(zip(names, line.split()))
        shmid, size, creator, attached = (files.number(row.get(name, b"")) for name in (b"shmid", b"size", b"cpid", b"nattch"))
        if shmid is None or size is None or creator is None or attached is None:
            odd.append(files.text(line))
            continue
        rss, swap = files.number(row.get(b"rss", b"")), files.number(row.get(b"swap", b""))
        found.append(Segment(shmid, size, creator, attached, rss, swap))
    return Segments(found, odd)


def read(proc: str = "/proc") -> Segments:
    """Reads ``proc/sysvipc/shm``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "sysvipc/shm"))
