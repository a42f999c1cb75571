"""OOM kills of a recording: counted by the kernel's counter, named by its log. Only stretches where the counter moved are read in full."""

from __future__ import annotations

import bisect
import re

from memtriage import recorded
from memtriage.procfs import files, oom_report, vmstat
from memtriage.record import NamedTuple
from memtriage.recording import Recording, Sample
from memtriage.recording.payload import Damaged
from memtriage.recording.scan import Entry

BOOT = "sys/kernel/random/boot_id"
MOST = 32 * 1024 * 1024
"""Bytes of one boot's log that are kept, the last ones: a kernel that logs without end must not fill this machine's memory."""
_SEQ = re.compile(rb"^[0-9]+,([0-9]+),", re.MULTILINE)


class Kill(NamedTuple):
    """One process killed by the OOM killer. ``name`` is empty where the log does not have it; then ``at`` is up to an interval late."""

    at: float
    name: str
    group: str = ""
    """The cgroup whose limit was reached; empty where it was the host's memory, or the log does not say."""


class _Read(NamedTuple):
    """A sample of whose log records were taken."""

    last_seq: int
    """Number of the last record of the kernel's log up to and with this sample."""
    after: float
    at: float
    mono: float
    """Seconds since boot without sleep, when it began."""


class Log:
    """The kernel's log as the recording has it up to some sample, of one boot after the other."""

    def __init__(self, recording: Recording, entries: list[Entry]) -> None:
        self.recording = recording
        self.entries = entries
        self.kills: list[Kill] = []
        self.text = bytearray()
        """Of the present boot, as /dev/kmsg gives it: of all stretches with kills, and those that were read beside."""
        self.boot = ""
        self.denied = ""
        self.texts: list[bytes] = []
        """The same of boots that are over, where somebody was killed."""
        self._reads: list[_Read] = []
        self._rises: list[tuple[int, int]] = []
        self._counter: int | None = None
        self._done = -1
        self._again = True

    def advance(self, place: int, sample: Sample) -> None:
        """Goes on to the sample at ``place``."""
        counter = _counter(sample)
        moved = counter is None or counter != self._counter or _boot(sample) != self.boot
        if moved or self._again:  # a record that came just after the counter was read is in the next stretch
            for number in range(self._done + 1, place + 1):
                self._take(number)
        else:
            self._counter = counter
        self._again = moved
        self._done = max(self._done, place)

    def _take(self, number: int) -> None:
        head = self.entries[number].head
        try:
            sample = Sample(head, self.recording.content(self.entries[number]))
        except Damaged:
            return
        boot, counter = _boot(sample), _counter(sample)
        if boot != self.boot:
            self.finish()
            self.boot = boot
            risen = 0 if self._counter is None else counter or 0  # kills before the recording began are not its own
            self._counter = counter
        else:
            risen = max(0, counter - (self._counter or 0)) if counter is not None else 0
            self._counter = counter if counter is not None else self._counter
        source = sample.content.sources.get("kmsg")
        if source is not None and source.data:
            self.text += source.data
            del self.text[: max(0, len(self.text) - MOST)]
        elif source is not None and source.data is None and source.errno:
            self.denied = files.failure("/dev/kmsg", OSError(source.errno, "")).reason
        numbers = [int(found) for found in _SEQ.findall(source.data)] if source is not None and source.data else []
        before = self.entries[number - 1].head.real_ns / 1e9 if number else sample.time
        last = max(numbers, default=self._reads[-1].last_seq if self._reads else -1)
        self._reads.append(_Read(last, before, sample.time, _monotonic(sample)))
        if risen:
            self._rises.append((len(self._reads) - 1, risen))

    def finish(self) -> None:
        """The present boot has ended, or the recording: its kills are known."""
        named: dict[int, int] = {}
        found: list[Kill] = []
        lasts = [read.last_seq for read in self._reads]
        for report in oom_report.parse(bytes(self.text)).reports:
            for kill in report.kills:
                seq = kill.record.seq
                place = min(bisect.bisect_left(lasts, seq), len(lasts) - 1) if seq is not None else len(lasts) - 1
                read = self._reads[place]
                at = read.at if kill.record.up_s is None else read.at - (read.mono - kill.record.up_s)
                found.append(Kill(max(read.after, min(at, read.at)) if seq is not None else at, kill.name, report.oom_memcg or ""))
                named[place] = named.get(place, 0) + 1
        for place, risen in self._rises:
            left = risen
            for near in (place, place + 1, place - 1):
                used = min(left, named.get(near, 0))
                left -= used
                named[near] = named.get(near, 0) - used
            found += [Kill(self._reads[place].at, "")] * left
        self.kills += sorted(found)
        if found and self.text:
            self.texts.append(bytes(self.text))
        self._reads, self._rises, self.text = [], [], bytearray()


def _counter(sample: Sample) -> int | None:
    try:
        return recorded.value(sample, "vmstat", vmstat.parse).get("oom_kill")
    except files.ProcfsError:
        return None


def _boot(sample: Sample) -> str:
    try:
        return files.text(recorded.data(sample, BOOT)).strip()
    except files.ProcfsError:
        return ""


def _monotonic(sample: Sample) -> float:
    monotonic_us = sample.number("monotonic_us", "sample")
    return sample.boot_time if monotonic_us is None else monotonic_us / 1e6
