"""The resident speaker: the same checks inside a process that is there already, and their results to the engine without being asked.

For the time when a host can start nothing any more: NRPE and agents are silent then, and the engine shows a time-out and no culprit.
"""

from __future__ import annotations

from memtriage.record import NamedTuple


class Service(NamedTuple):
    """A service of the engine: its name there, the check, and the check's options."""

    name: str
    check: str
    words: tuple[str, ...]


class Result(NamedTuple):
    """What a check said: as an active check would have brought it."""

    service: str
    state: int
    lines: list[str]
    """First line without perfdata, then the long output."""
    perfdata: list[str]
    began: float
    """Wall clock, seconds since 1970."""
    ended: float

    def text(self, budget: int, newline: str = "\n") -> str:
        """The whole output, perfdata on the first line, in at most ``budget`` bytes: long output gives way, last line first."""
        head = self.lines[0] + (" | " + " ".join(self.perfdata) if self.perfdata else "")
        rest = list(self.lines[1:])
        while rest and len(head) + sum(len(line) + len(newline) for line in rest) > budget:
            rest.pop()
        return newline.join([head, *rest])[:budget]


class Failed(Exception):
    """A result could not be delivered now; it is tried again."""


class Rejected(Exception):
    """The engine will never take this result; the text says why."""


def parted(service: str, state: int, output: str, began: float, ended: float) -> Result:
    """A check's output as a result: the bar and what follows it on the first line is perfdata."""
    first, *rest = output.split("\n")
    head, _, perfdata = first.partition(" | ")
    return Result(service, state, [head, *rest], perfdata.split(), began, ended)
