"""/proc/<pid>/cgroup: the control groups a process is in (cgroups(7); Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from memtriage.procfs import files
from memtriage.record import NamedTuple


class Membership(NamedTuple):
    hierarchy: int
    """0 is version 2."""
    controllers: tuple[str, ...]
    """Version 1: those mounted together, or one such as ``name=systemd``. Empty in version 2."""
    path: str
    """Below the hierarchy's mount; may hold colons, start with ``/..`` in a control group namespace, and end in `` (deleted)``."""

    @property
    def deleted(self) -> bool:
        """Says whether the group was removed, which happens under a zombie. A group may also be named so."""
        return self.path.endswith(" (deleted)")

    def within(self, path: str) -> bool:
        """Whether this is the cgroup ``path`` or lies below it."""
        path = "/" + path.strip("/")
        return self.path == path or self.path.startswith(path.rstrip("/") + "/")


def parse(data: bytes) -> list[Membership]:
    """Returns the lines in the kernel's order. Never raises: a line that is not understood, or is cut, is left out."""
    found: list[Membership] = []
    for line in files.whole_lines(data)[0]:
        words = line.split(b":", 2)
        hierarchy = files.number(words[0])
        if len(words) == 3 and hierarchy is not None and words[2].startswith(b"/"):
            controllers = tuple(files.text(word) for word in words[1].split(b",") if word)
            found.append(Membership(hierarchy, controllers, files.text(words[2])))
    return found


def read(proc: str = "/proc", pid: int | str = "self") -> list[Membership]:
    """Reads ``proc/<pid>/cgroup``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, f"{pid}/cgroup"))
