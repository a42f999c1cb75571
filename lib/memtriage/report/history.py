"""A history of one host, whatever file it was read from: typed values by moment, gaps, and what happened.

Made by :mod:`memtriage.report.recordings`, :mod:`~memtriage.report.textlog` and :mod:`~memtriage.report.remembered`; what a picture shows
of it is chosen in :mod:`memtriage.report.compose`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Callable

from memtriage import exhaustion
from memtriage.record import NamedTuple

Progress = Callable[[str, float], None]
"""Is told what is being done and the share that is done."""


class Unusable(Exception):
    """The file cannot be read as a history; the text says why."""


class Frame(NamedTuple):
    """One moment."""

    time: float
    """Seconds since 1970."""
    boot: str
    """The boot id, empty where the source does not say."""
    uptime: float
    row: Mapping[str, int]
    """Keys as in :mod:`memtriage.exhaustion`; also ``swap_total`` and ``swap_free`` (kB), ``psi_some`` and ``psi_full`` (us waited since
    boot), ``oom_kill``."""
    anon: Mapping[str, int]
    """Pages of its own that a process group holds, where that is known apart from ``g.``."""
    caches: Mapping[str, exhaustion.Cache]
    blind: str = ""
    """First letters of the keys that could not be seen at this moment (``c``, ``g``): absent is not 0 then."""


class Gap(NamedTuple):
    """A time of which nothing is known, between two frames: the host was off, the recorder stopped, samples were lost."""

    start: float
    end: float
    booted: bool


class Event(NamedTuple):
    at: float
    kind: str
    """As :class:`memtriage.report.picture.Mark`."""
    words: str


class History(NamedTuple):
    host: str
    page: int
    frames: Sequence[Frame]
    """In order of time; chosen so that every peak and trough of what is free and available is among them."""
    gaps: Sequence[Gap]
    events: Sequence[Event]
    notes: Sequence[str]
    explain: Callable[[Sequence[Frame], float, float | None], list[object]] | None = None
    """Gives the :class:`memtriage.explain.answer.Answer` at each of some frames, ``None`` where the source has not enough for one; for a
    window and a warm-up as :class:`memtriage.report.verdict.Asked` has them."""


def unread(looked: Sequence[tuple[float, bool]], gaps: Sequence[Gap], least: float) -> list[Gap]:
    """``gaps``, and those of ``least`` seconds or more between samples that could be read, where others between them could not.

    ``looked``: the moments of samples that were looked at, ascending, and whether each could be read.
    """
    found: list[Gap] = []
    before, missing = None, False
    for at, known in looked:
        if not known:
            missing = True
            continue
        if missing and before is not None and at - before >= least:
            found.append(Gap(before, at, any(gap.booted for gap in gaps if before <= gap.start and gap.end <= at)))
        before, missing = at, False
    return sorted([*found, *(gap for gap in gaps if not any(one.start <= gap.start and gap.end <= one.end for one in found))])


def _covered(part: History) -> list[tuple[float, float]]:
    """From and to where something is known."""
    gaps = sorted(part.gaps)
    return list(zip([part.frames[0].time, *(gap.end for gap in gaps)], [*(gap.start for gap in gaps), part.frames[-1].time]))


def _without(gap: Gap, stretches: Sequence[tuple[float, float]]) -> list[Gap]:
    """What is left of a gap where other files know of parts of it."""
    left = [gap]
    for start, end in stretches:
        left = [piece for one in left for piece in (
            [one] if end < one.start or start > one.end else [one._replace(end=start), one._replace(start=end)]) if piece.start < piece.end]
    return left


def joined(parts: Sequence[History]) -> History:
    """Several histories of one host as one. Moments that are in two of them count once."""
    if len(parts) == 1:
        return parts[0]
    parts = sorted(parts, key=lambda part: part.frames[0].time)
    frames = sorted((frame for part in parts for frame in part.frames), key=lambda frame: frame.time)
    unique: list[Frame] = []
    for frame in frames:
        last = unique[-1] if unique else None
        if last is None or (frame.boot, round(frame.uptime, 2)) != (last.boot, round(last.uptime, 2)) or frame.time - last.time > 1:
            unique.append(frame)
    spans = [(part.frames[0].time, part.frames[-1].time) for part in parts]
    gaps = list(dict.fromkeys(
        left for place, part in enumerate(parts) for gap in part.gaps for left in _without(gap, [
            stretch for other in (*parts[:place], *parts[place + 1 :]) for stretch in _covered(other)])))
    end = spans[0][1]
    for place, (start, stop) in enumerate(spans[1:], 1):
        if start > end:
            before = max((part.frames[-1] for part in parts[:place]), key=lambda frame: frame.time)
            gaps.append(Gap(end, start, before.boot != parts[place].frames[0].boot))
        end = max(end, stop)
    by_part = {id(frame): part.explain for part in parts for frame in part.frames}

    def explain(frames: Sequence[Frame], window: float, warmup: float | None) -> list[object]:
        found: dict[int, object] = {}
        for tell in {id(part): part.explain for part in parts}.values():
            own = [frame for frame in frames if by_part.get(id(frame)) is tell]
            if tell is not None and own:
                found.update(zip(map(id, own), tell(own, window, warmup)))
        return [found.get(id(frame)) for frame in frames]

    events = sorted({event for part in parts for event in part.events})
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    return History(parts[-1].host, parts[-1].page, unique, sorted(gaps), events, notes, explain)
