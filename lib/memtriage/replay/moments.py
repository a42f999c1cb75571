"""The moments at which a check would have run, and the sample it would have seen; times without samples as what they are."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from memtriage.record import NamedTuple
from memtriage.recording import Recording, Sample, gap, stepped
from memtriage.recording.payload import Damaged
from memtriage.recording.scan import Entry
from memtriage.wording import duration

LATE = 3
"""Intervals after which a sample tells nothing of a moment any more."""


class Moment(NamedTuple):
    """A run that was due."""

    at: float
    """The wall clock, seconds since 1970."""
    place: int
    """The last record at or before it, by its place in the timeline."""
    fresh: bool
    """Whether that record is recent enough to stand for it."""
    seconds: float
    """Until the next run is due, or the recording ends; of these"""
    blind: float
    """so many without samples."""


class Timeline:
    """Records one after the other on a clock that never goes back: time since boot within a boot, the wall clock across."""

    def __init__(self, entries: list[Entry], every: float) -> None:
        self.entries = entries
        self.every = every
        self.times: list[float] = []
        self.holes: list[tuple[float, float]] = []
        """From and to, on that clock."""
        at = 0.0
        for before, entry in zip([None, *entries], entries):
            if before is not None:
                step = gap(before.head, entry.head).seconds
                if step > _patience(before):
                    self.holes.append((at, at + step))
                at += step
            self.times.append(at)

    def moments(self) -> Iterator[Moment]:
        """From the first record on, one every so many seconds."""
        if not self.entries:
            return
        end, number = self.times[-1], 0
        while number * self.every <= end:
            due = number * self.every
            place = bisect.bisect_right(self.times, due) - 1
            until = min(end, due + self.every)
            age = due - self.times[place]
            yield Moment(self.entries[place].head.real_ns / 1e9 + age, place, age <= _patience(self.entries[place]), until - due,
                         sum(max(0.0, min(until, high) - max(due, low)) for low, high in self._near(due)))
            number += 1

    def _near(self, due: float) -> list[tuple[float, float]]:
        """The holes that may reach into the step from ``due`` on."""
        first = max(0, bisect.bisect_right(self.holes, (due, float("inf"))) - 1)
        found = []
        for hole in self.holes[first:]:
            if hole[0] >= due + self.every:
                break
            found.append(hole)
        return found


def straight(entries: list[Entry]) -> list[Entry]:
    """The same records as if nobody had set the wall clock: within a run of the recorder by how it stood last, and never backwards.

    What is said of a moment, a page or a kill is told by that clock, and compared by it.
    """
    restart = [place for place in range(1, len(entries)) if gap(entries[place - 1].head, entries[place].head).restart]
    found: list[Entry] = []
    for begin, end in zip([0, *restart], [*restart, len(entries)]):
        run = entries[begin:end]
        shifts = [0] * len(run)
        for place in range(len(run) - 2, -1, -1):
            shifts[place] = shifts[place + 1] + int(1e9 * stepped(run[place].head, run[place + 1].head))
        late = max(0, found[-1].head.real_ns + 1_000_000_000 - run[0].head.real_ns - shifts[0]) if found else 0
        found += [entry._replace(head=entry.head._replace(real_ns=entry.head.real_ns + shift + late)) if shift + late else entry
                  for entry, shift in zip(run, shifts)]
    return found


def _patience(entry: Entry) -> float:
    return max(5.0, LATE * entry.head.interval_ms / 1000)


def why_none(entries: list[Entry], place: int) -> str:
    """What lies between the record at ``place`` and the next, in words."""
    hole = gap(entries[place].head, entries[place + 1].head)
    words = f"no samples for {duration(hole.seconds)}"
    if hole.after.boot_ns > hole.before.boot_ns:
        return words + ": the host was booted anew"
    return words + (": the recorder was started anew" if hole.restart else "")


def chosen(recording: Recording, entries: list[Entry], moment: Moment, wanted: tuple[str, ...]) -> Sample | None:
    """The sample that stands for a moment: the last that can be read and in which none of the files ``wanted`` was late, which slabinfo
    is now and then; else the last that can be read. ``None`` where there is none."""
    if not moment.fresh:
        return None
    found: Sample | None = None
    last = entries[moment.place].head
    for entry in reversed(entries[max(0, moment.place - LATE) : moment.place + 1]):
        if entry.head.boot_ns > last.boot_ns or last.boot_ns - entry.head.boot_ns > _patience(entry) * 1e9:
            break
        try:
            sample = Sample(entry.head, recording.content(entry))
        except Damaged:
            continue
        found = found or sample
        sources = sample.content.sources
        if not any(name in sources and sources[name].lost for name in wanted):
            return sample
    return found
