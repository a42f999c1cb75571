"""/proc/<pid>/limits: what setrlimit(2) allows a process (proc_pid_limits(5); fs/proc/base.c). Since Linux 2.6.24."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Limit(NamedTuple):
    soft: int | None
    """``None`` is unlimited."""
    hard: int | None
    """``None`` is unlimited."""
    unit: str
    """Such as ``bytes``, ``files``, ``processes``; empty where there is none."""


class Limits(NamedTuple):
    values: dict[str, Limit]
    """By the kernel's names, such as ``Max address space``, ``Max open files``, ``Max processes``."""
    odd: list[str]
    """Lines that could not be understood, as text."""

    def get(self, name: str) -> Limit | None:
        """Returns the limit, or ``None`` where this kernel does not have it."""
        return self.values.get(name)


_NAME_WIDTH = 25


def parse(data: bytes) -> Limits:
    """Raises :class:`~memtriage.procfs.files.Malformed` where the heading is not there."""
    lines, odd = files.whole_lines(data)
    if not lines or not lines[0].startswith(b"Limit "):
        raise files.Malformed("limits", "no heading" if data.strip() else "empty")
    values: dict[str, Limit] = {}
    for line in lines[1:]:
        name = files.text(line[:_NAME_WIDTH].strip())
        words = line[_NAME_WIDTH:].split()
        bounds = [None if word == b"unlimited" else files.number(word) for word in words[:2]]
        bad = [word for word, bound in zip(words, bounds) if bound is None and word != b"unlimited"]
        if not name or len(words) not in (2, 3) or bad or name in values:
            if line.strip():
                odd.append(files.text(line))
            continue
        values[name] = Limit(bounds[0], bounds[1], files.text(words[2]) if len(words) == 3 else "")
    return Limits(values, odd)


def read(proc: str = "/proc", pid: int | str = "self") -> Limits:
    """Reads ``proc/<pid>/limits``. Raises :class:`~memtriage.procfs.files.ProcfsError`; before 2.6.38 only owner and root may."""
    return parse(files.read(proc, f"{pid}/limits"))
