"""What is not read at every sample: slabinfo, which costs as much as all the rest, zoneinfo, most files of control groups.

In between a sample has what was read last, with the time of that: before the sample's own clocks.
"""

from __future__ import annotations

from memtriage.recorder.slow import Worker
from memtriage.recorder.sources import File, Scratch
from memtriage.recording import glance
from memtriage.recording.payload import Source

SLAB_WAIT = 0.25
"""Seconds a sample waits for slabinfo."""
MOVED = 50
"""Part of the slab by which it has to change for slabinfo to be read before it is due."""


class Rare:
    """Asked once a sample, by :meth:`begin` first. ``slab`` is ``None`` where the kernel has no slabinfo."""

    def __init__(self, slab: Worker[Source] | None) -> None:
        self.slab = slab
        self.every_s = 0.0
        """Between two readings; 0 is at every sample."""
        self.due = True
        self._next_ns = 0
        self._size = 0
        self._held: dict[str, Source] = {}
        self._late: Source | None = None

    def begin(self, zero_ns: int) -> None:
        """A sample begins, at this monotonic time."""
        self.due = zero_ns >= self._next_ns
        if self.due:
            self._next_ns = zero_ns + int(0.9e9 * self.every_s)  # a sample that is a bit early is not to wait for the next
        self._late = self.slab.answer(0.0) if self.slab is not None else None

    def read(self, file: File, scratch: Scratch, zero_ns: int) -> Source:
        if self.due:
            self._held[file.name] = file.read(scratch, 0)
        return _since(self._held[file.name], zero_ns)

    def slabinfo(self, zero_ns: int, meminfo: bytes | None) -> Source | None:
        """Read now if it is due or meminfo says that the slab has moved. Lost while an answer is waited for."""
        if self.slab is None:
            return None
        found = self._late or self._held.get("slabinfo")
        size = (glance.value(meminfo, b"Slab:") if meminfo is not None else None) or 0
        if self.due or MOVED * abs(size - self._size) > self._size:
            self._size = size
            self.slab.ask()
            found = self.slab.answer(SLAB_WAIT) or self._late
        elif self.slab.busy:
            found = None
        if found is None:
            self._held.pop("slabinfo", None)
            return Source(None, 0, 0, 0)
        self._held["slabinfo"] = found
        return _since(found, zero_ns)


class Groups:
    """Memory files of control groups, as a thread reads them: some at every sample, some now and then, some too late."""

    def __init__(self) -> None:
        self._held: dict[str, Source] = {}
        self._read: set[str] = set()
        self._given: dict[str, Source] = {}

    def take(self, names: list[str], read: dict[str, Source]) -> None:
        """All there are, and what was just read of them, by the monotonic clock."""
        held = self._held
        self._held = {name: read.get(name) or held[name] for name in names if name in read or name in held}
        self._read.update(read)

    def sources(self, zero_ns: int) -> dict[str, Source]:
        """For the sample of this moment. One that was read and says the same is the same, time included: most groups do nothing."""
        given: dict[str, Source] = {}
        for name, source in self._held.items():
            old = self._given.get(name)
            same = name in self._read and old is not None and not old.earlier and old.data == source.data and old.errno == source.errno
            given[name] = old if old is not None and same else _since(source, zero_ns)
        self._read.clear()
        self._given = given
        return given


def _since(source: Source, zero_ns: int) -> Source:
    """With its time counted from ``zero_ns`` instead of the monotonic clock's beginning."""
    return Source(source.data, source.errno, source.begin_us - zero_ns // 1000, source.took_us)
