"""/proc/<pid>/cmdline: a process's arguments, as the process has them now (proc_pid_cmdline(5); fs/proc/base.c)."""

from __future__ import annotations

from memtriage.procfs import files


def parse(data: bytes) -> list[str]:
    """Returns the arguments; none for kernel threads and zombies. Never raises.

    A process that wrote its title there (``nginx: worker process``, padded or not) has that one text, blanks in it kept and those at its
    end cut. Empty arguments at the end cannot be told from padding and are left out.
    """
    body = data.rstrip(b"\0")
    if b"\0" not in body:
        body = body.rstrip()
    return [files.text(word) for word in body.split(b"\0")] if body else []


def read(proc: str = "/proc", pid: int | str = "self") -> list[str]:
    """Reads ``proc/<pid>/cmdline``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, f"{pid}/cmdline"))
