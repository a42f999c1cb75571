"""The flight recorder's file: a ring of records that stays readable whatever happens to the host (docs/recording-format.md).

    with Recording("/var/log/memtriage/recording") as recording:
        for sample in recording.samples(start, end):
            sample.content.sources["meminfo"].data

What the bytes mean is not known here, but for the two numbers of :mod:`memtriage.recording.glance`:
:mod:`memtriage.recorded` gives them to the parsers of :mod:`memtriage.procfs`.
"""

from memtriage.recording.layout import FIRST
from memtriage.recording.payload import Content, Damaged, Process, Source
from memtriage.recording.reader import Gap, Recording, Sample, Unreadable, apart, gap, number, stepped
from memtriage.recording.ring import Busy, Refused, Ring, lock

__all__ = ["FIRST", "Busy", "Content", "Damaged", "Gap", "Process", "Recording", "Refused", "Ring", "Sample", "Source", "Unreadable",
           "apart", "gap", "lock", "number", "stepped"]
