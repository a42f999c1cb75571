"""/proc/<pid>/status: a process's name, owner and memory (Documentation/filesystems/proc.rst, table 1-2; proc_pid_status(5))."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple

FIELDS = {
    "VmPeak": "bytes; most address space so far",
    "VmSize": "bytes of address space",
    "VmLck": "bytes locked with mlock(2)",
    "VmPin": "bytes that may not be moved; since Linux 3.2",
    "VmHWM": "bytes; most VmRSS so far",
    "VmRSS": "bytes in memory: RssAnon + RssFile + RssShmem",
    "RssAnon": "bytes of anonymous memory; since Linux 4.5",
    "RssFile": "bytes of mapped files; since Linux 4.5",
    "RssShmem": "bytes of tmpfs, SysV and shared anonymous memory; since Linux 4.5",
    "VmData": "bytes of address space",
    "VmStk": "bytes of address space",
    "VmExe": "bytes of address space",
    "VmLib": "bytes of address space",
    "VmPTE": "bytes of page tables",
    "VmPMD": "bytes of page tables, second level; Linux 4.0 to 4.14",
    "VmSwap": "bytes in swap, shmem not counted; since Linux 2.6.34",
    "HugetlbPages": "bytes of huge pages, not in VmRSS; since Linux 4.4",
    "Pid": "number of the thread",
    "Tgid": "number of the process",
    "PPid": "number of the parent",
    "Threads": "number of threads",
}
"""The lines kept: meaning, unit, first kernel. Other lines in kB are kept too, other lines of any kind pass."""


class Status(NamedTuple):
    name: str
    """As the process has it: the kernel's ``\\n`` and ``\\\\`` are a newline and a backslash again."""
    uids: tuple[int, int, int, int] | None
    """Real, effective, saved and file system user, ``None`` where the line is missing."""
    values: dict[str, int]
    """Lines in kB as bytes, and Threads, Pid, Tgid, PPid. A kernel thread has no Vm lines."""
    odd: list[str]
    """Lines that could not be understood, as text."""

    def get(self, key: str) -> int | None:
        """Returns the value of ``key``, or ``None`` where there is none. Absent is not 0."""
        return self.values.get(key)


def parse(data: bytes) -> Status:
    """Raises :class:`~memtriage.procfs.files.Malformed` where there is no line ``Name:``."""
    lines, odd = files.whole_lines(data)
    name: str | None = None
    uids: tuple[int, int, int, int] | None = None
    values: dict[str, int] = {}
    for line in lines:
        key, colon, rest = line.partition(b":")
        words = rest.split()
        known = files.text(key)
        if key == b"Name" and name is None:
            name = files.text(unescape(rest[1:] if rest[:1] == b"\t" else rest))
        elif key == b"Uid" and uids is None:
            uids = _uids(words)
            if uids is None:
                odd.append(files.text(line))
        elif words[1:] == [b"kB"] or known in FIELDS:
            value = files.number(words[0]) if len(words) == 2 or (len(words) == 1 and not known.startswith(("Vm", "Rss"))) else None
            if value is None or known in values:
                odd.append(files.text(line))
            else:
                values[known] = value * 1024 if len(words) == 2 else value
        elif line.strip() and (not colon or key in (b"Name", b"Uid")):
            odd.append(files.text(line))
    if name is None:
        raise files.Malformed("status", "no line 'Name'" if data.strip() else "empty")
    return Status(name, uids, values, odd)


def _uids(words: list[bytes]) -> tuple[int, int, int, int] | None:
    known = [value for value in map(files.number, words) if value is not None]
    return (known[0], known[1], known[2], known[3]) if len(known) == len(words) == 4 else None


def unescape(name: bytes) -> bytes:
    """Undoes the kernel's ``\\n`` and ``\\\\`` in a name (proc_task_name in fs/proc/array.c)."""
    return b"\\".join(part.replace(b"\\n", b"\n") for part in name.split(b"\\\\"))


def read(proc: str = "/proc", pid: int | str = "self") -> Status:
    """Reads ``proc/<pid>/status``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, f"{pid}/status"))
