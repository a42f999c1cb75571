"""What the checks remember (``memory.json`` in the state folder) as a history.

It knows uptimes, no clock: the last sample is taken to be as old as the file, and an earlier boot to have ended when the next began.
"""

from __future__ import annotations

import os

from memtriage import diagnosis, exhaustion, following, thinning
from memtriage.report import pagesize
from memtriage.report.history import Event, Frame, Gap, History, Unusable
from memtriage.state import Sample


def read(path: str, start: float | None = None, end: float | None = None) -> History:
    """Raises :class:`~memtriage.report.history.Unusable`."""
    try:
        with open(path, "rb") as handle:
            data = handle.read(thinning.LIMIT + 1)
            written = os.fstat(handle.fileno()).st_mtime
        samples = thinning.decoded(following.NAME, data)
    except LookupError:
        raise Unusable(f"{path}: a state file, but not one of memory: those are called {following.NAME}.json") from None
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError):
        raise Unusable(f"{path}: not whole: no state file of memtriage, or a damaged one") from None
    samples = [sample for sample in samples if sample.values.get("total", 0) > 0 and "available" in sample.values]
    if not samples:
        raise Unusable(f"{path}: no sample in it")
    frames = [frame for frame in _frames(samples, written) if (start is None or frame.time >= start) and (end is None or frame.time <= end)]
    if not frames:
        raise Unusable(f"{path}: no sample between these times")
    gaps, events = _gaps(frames)
    frames, limited = _whole(frames)
    notes = ["what the checks remember: a sample at each run, old ones thinned out"]
    if len({frame.boot for frame in frames}) > 1:
        notes.append("how long the host was off between two boots is not remembered")
    if limited:
        notes.append("what is available is that of a control group with a limit")
    page = pagesize.of_sums([sample.values for sample in samples])
    if any("c" not in frame.blind for frame in frames):
        notes += pagesize.note(page)
    return History("", page or pagesize.USUAL, frames, gaps, events, notes)


def _frames(samples: list[Sample], written: float) -> list[Frame]:
    found: list[Frame] = []
    zero = written - samples[-1].uptime
    for sample, after in zip(samples[::-1], [samples[-1], *samples[::-1]]):
        if sample.boot != after.boot:
            zero -= sample.uptime + 60
        known = {key[2:]: exhaustion.Cache(diagnosis.reclaimable_by_name(key[2:])) for key in sample.values if key.startswith("c.")}
        blind = ("" if known else "c") + ("" if any(key.startswith("g.") for key in sample.values) else "g")
        found.append(Frame(zero + sample.uptime, sample.boot, sample.uptime, sample.values, {}, known, blind))
    return found[::-1]


def _whole(frames: list[Frame]) -> tuple[list[Frame], bool]:
    """Where checks ran within a limited cgroup ``total`` is its limit; the parts are the host's, and what is drawn."""
    found = []
    for frame in frames:
        parts = sum(value for key, value in frame.row.items() if key.startswith("p."))
        whole = "p.unaccounted" in frame.row and parts > frame.row["total"] * 1.01
        found.append(frame._replace(row={**frame.row, "total": parts}) if whole else frame)
    return found, any(one is not other for one, other in zip(found, frames))


def _gaps(frames: list[Frame]) -> tuple[list[Gap], list[Event]]:
    """Between boots; and where the checks did not run for much longer than before and after."""
    gaps, events = [], []
    spans = [after.time - before.time for before, after in zip(frames, frames[1:])]
    for place, (before, after) in enumerate(zip(frames, frames[1:])):
        near = [spans[at] for at in (place - 2, place - 1, place + 1, place + 2) if 0 <= at < len(spans)]
        if before.boot != after.boot:
            gaps.append(Gap(before.time, after.time, True))
            events.append(Event(after.time, "boot", "reboot"))
        elif near and spans[place] > 900 and spans[place] > 4 * max(near):
            gaps.append(Gap(before.time, after.time, False))
    return gaps, events
