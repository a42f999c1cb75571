"""What a leak is given, and what it must be able to do."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Place(NamedTuple):
    units: int
    """How many units will be asked for at most."""
    folder: str
    """A temporary folder of its own, on disk unless the user named another; removed afterwards by somebody else."""
    groups: str
    """A cgroup of its own, removed afterwards by somebody else; empty where the kind needs none."""


class Leak(Protocol):
    """Lives in a process of its own, and is undone by that process's end."""

    def grow(self, count: int) -> None:
        """Makes ``count`` more units. Raises ``OSError`` or ``MemoryError`` where the kernel refuses."""


class Refused(Exception):
    """The kernel, or a limit, does not let the leak grow; the text says why in words."""
