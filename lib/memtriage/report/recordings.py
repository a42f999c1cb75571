"""The flight recorder's file as a history: also one that is being written to at this moment, one that is damaged, one of a million samples.

Every record is looked at (:mod:`memtriage.report.skim`), few are unpacked: those that are shown. Counters only rise, so a kill or a gap in
between is found by halving.
"""

from __future__ import annotations

import bisect
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import TypeVar

from memtriage import recorded
from memtriage.procfs import (
    files,
    oom_report,
)
from memtriage.recording import FIRST, Recording, Sample, Unreadable, payload
from memtriage.recording.scan import Entry
from memtriage.report import choose
from memtriage.report.history import Event, Frame, Gap, History, Progress, Unusable, unread
from memtriage.report.parallel import halves
from memtriage.report.sampled import SOURCES, Reader
from memtriage.report.skim import Skimmed, skim
from memtriage.report.verdict import Asked, rules
from memtriage.state import Sample as Remembered
from memtriage.wording import clean

T = TypeVar("T")
_ALIASES = "/sys/kernel/slab"
_BOOT = "sys/kernel/random/boot_id"
SLACK = 1.5
"""Intervals from which on the distance of two samples is a gap, as :func:`memtriage.recording.gap` has it."""
NARROW = 1000
"""A gap shorter than this share of the whole is no more than a pixel: it is counted, not drawn."""
MOST_GAPS = 400
HISTORY, BEFORE = 60, 12 * 3600.0
"""Samples before a moment that is explained, and seconds of them, as ``explain --from`` has it."""


class _Chosen(Recording):
    """A recording of which only these records, and those they lean on, are known."""

    def __init__(self, path: str, skimmed: Skimmed, places: list[int], wanted: frozenset[str] | None = None) -> None:
        """``wanted``: other sources need not be right, which saves half of the work."""
        self._skimmed, self._places = skimmed, places
        super().__init__(path)
        self.wanted = wanted

    def __enter__(self) -> _Chosen:
        return self

    def _all(self) -> list[Entry]:
        wanted: set[int] = set()
        seq = self._skimmed.seq
        for place in self._places:
            while place not in wanted:
                wanted.add(place)
                back = self._skimmed.base[place]
                lean = bisect.bisect_left(seq, seq[place] - back, 0, place) if back else place
                if seq[lean] != seq[place] - back:
                    break
                place = lean  # noqa: PLW2901 - along the chain
        found = (self._skimmed.entry(self.handle, place) for place in sorted(wanted))
        return [entry for entry in found if entry is not None]

    def chosen(self) -> Iterator[tuple[int, Sample]]:
        """Those that were asked for, with their places; what is damaged or was overwritten meanwhile is left out."""
        for place in self._places:
            entry = self._by_seq.get(self._skimmed.seq[place])
            if entry is None:
                continue
            try:
                yield place, Sample(entry.head, self.content(entry))
            except payload.Damaged:
                continue


def read(path: str, start: float | None = None, end: float | None = None, progress: Progress | None = None) -> History:
    """The history between two moments (seconds since 1970). Raises :class:`~memtriage.report.history.Unusable`."""
    say = progress or (lambda what, share: None)
    say("looking at every sample", 0.0)
    try:
        skimmed = skim(path)
        found = _within(skimmed, start, end)
        if not found:
            raise Unusable(f"{path}: no sample" + (" between these times" if len(skimmed.seq) else " in this recording yet"))
        return _read(path, skimmed, found, say)
    except Unreadable as error:
        raise Unusable(str(error)) from None


def _within(skimmed: Skimmed, start: float | None, end: float | None) -> range:
    """The places of the samples, by their own clock; a clock that was set back counts by where it was set to."""
    low, high = 0, len(skimmed.real)
    if start is not None:
        while low < high and skimmed.real[low] < start * 1e9:
            low += 1
    if end is not None:
        while high > low and skimmed.real[high - 1] > end * 1e9:
            high -= 1
    return range(low, high)


def _read(path: str, skimmed: Skimmed, span: range, say: Progress) -> History:
    times = _clock(skimmed, span)
    gaps, many = _gaps(skimmed, span, times)
    edges = [side for place, _ in gaps for side in (place - 1, place)]
    base = span.start
    part = slice(span.start, span.stop)
    extremes = choose.places(times, (skimmed.available[part], skimmed.free[part]), [edge - base for edge in edges], skimmed.base[part])
    chosen = [base + place for place in extremes]
    unknown = [place for place, free in enumerate(skimmed.free[part], base) if free < 0]
    beside = [place + step for place in unknown for step in (-1, 1) if place + step in span and skimmed.free[place + step] >= 0]
    chosen = sorted({*chosen, *unknown[:: max(1, len(unknown) // choose.COLUMNS)], *beside[: 2 * choose.COLUMNS]})
    say("unpacking what is shown", 0.3)
    frames = _frames(path, skimmed, chosen, times, base)
    if not frames:
        raise Unusable(f"{path}: no sample can be read: meminfo is missing in all of them")
    empty = unread([(times[place - base], place in frames) for place in chosen], [gap for _, gap in gaps], (times[-1] - times[0]) / NARROW)
    say("looking for kills", 0.6)
    frames, events, notes = _kills(path, skimmed, frames, times, base)
    notes += _notes(skimmed, span, many)
    shown = [(place, gap) for place, gap in frames.items()]
    events += [Event(times[place - base], "boot", "reboot") if booted else Event(times[place - base], "recorder", "recorder started")
               for place, booted in _starts(skimmed, span, frames)]
    history = History(_host(path), _page(path, skimmed, chosen), [frame for _, frame in shown],
                      empty, sorted(events), notes)
    by_time = {frame.time: place for place, frame in shown}
    listed = [frame for _, frame in shown]
    return history._replace(explain=lambda wanted, window, warmup: _explain(
        path, skimmed, by_time, listed, wanted, Asked(window, warmup)))


def _clock(skimmed: Skimmed, span: range) -> array[float]:
    """Seconds since 1970 that never go back: within a boot by the clock that nobody sets, from that run's last sample backwards."""
    real, boot = skimmed.real, skimmed.boot
    times = array("d")
    edges = [span.start, *(place for place in _runs(skimmed, span)), span.stop]
    for begin, end in zip(edges, edges[1:]):
        offset = real[end - 1] - boot[end - 1]
        if times and (boot[begin] + offset) / 1e9 < times[-1]:  # a clock set back while the recorder did not run
            offset = int(times[-1] * 1e9) + 1_000_000_000 - boot[begin]
        times.extend([(moment + offset) / 1e9 for moment in boot[begin:end]])
    return times


def _runs(skimmed: Skimmed, span: range) -> list[int]:
    """Where the recorder was started anew."""
    return [place for place in skimmed.odd if span.start < place < span.stop
            and (skimmed.flags[place] & FIRST or skimmed.boot[place] < skimmed.boot[place - 1])]


def _gaps(skimmed: Skimmed, span: range, times: array[float]) -> tuple[list[tuple[int, Gap]], tuple[int, int]]:
    """Gaps wide enough to be seen, with the place of the sample behind each; and how many samples, in how many gaps, are missing in all."""
    least = (times[-1] - times[0]) / NARROW
    found: list[tuple[int, Gap]] = []
    lost = holes = 0
    seq, interval, flags, boot = skimmed.seq, skimmed.interval, skimmed.flags, skimmed.boot
    base = span.start
    for place in skimmed.odd:
        if not base < place < span.stop:
            continue
        seconds = times[place - base] - times[place - base - 1]
        missing = 0 if flags[place] & FIRST or boot[place] < boot[place - 1] else seq[place] - seq[place - 1] - 1
        if not missing and seconds * 1000 <= SLACK * max(interval[place], interval[place - 1]):
            continue
        lost += missing
        holes += 1
        if seconds >= least:
            found.append((place, Gap(times[place - base - 1], times[place - base], boot[place] < boot[place - 1])))
    found.sort(key=lambda one: one[1].start - one[1].end)
    return sorted(found[:MOST_GAPS]), (lost, holes)


def _frames(path: str, skimmed: Skimmed, places: list[int], times: array[float], base: int) -> dict[int, Frame]:
    middle = len(places) // 2 if len(places) > 200 else 0
    parts = [part for part in (places[:middle], places[middle:]) if part]
    found: dict[int, Frame] = {}
    for part in halves(_unpacked, [(path, skimmed, part, [times[place - base] for place in part]) for part in parts]):
        found.update(part)
    return found


def _unpacked(path: str, skimmed: Skimmed, places: list[int], times: list[float]) -> dict[int, Frame]:
    found: dict[int, Frame] = {}
    when = dict(zip(places, times))
    reader = Reader()
    wanted = SOURCES if all(skimmed.available[place] >= 0 for place in places) else None
    with _Chosen(path, skimmed, places, wanted) as recording:
        for place, sample in recording.chosen():
            try:
                found[place] = reader.frame(sample, when[place])
            except files.ProcfsError:
                continue  # no meminfo, or one that cannot be: the moment is not known
    return found


def _kills(path: str, skimmed: Skimmed, frames: dict[int, Frame], times: array[float], base: int) -> tuple[dict[int, Frame], list[Event],
                                                                                                          list[str]]:
    """Adds the samples between which the kernel's counter of OOM kills rises, and what its log says there."""
    more: set[int] = set()
    known = dict(frames)
    places = sorted(known)
    pairs = [(low, high) for low, high in zip(places, places[1:]) if _risen(known[low], known[high])]
    kills = [high for _, high in pairs]
    while True:
        middles = {(low + high) // 2 for low, high in pairs if high - low > 1} - known.keys() - more
        if not middles:
            break
        more |= middles
        known.update(_frames(path, skimmed, sorted(middles), times, base))
        places = sorted(known)
        pairs = [(low, high) for low, high in zip(places, places[1:]) if _risen(known[low], known[high])][:200]
        kills = [high for _, high in pairs]
    wanted = sorted({place + step for place in kills for step in (0, 1) if base <= place + step < base + len(times)}) or places
    if any("oom_kill" in frame.row for frame in frames.values()):
        wanted = [place for place in wanted if kills]
    events, told = [], set()
    with _Chosen(path, skimmed, wanted) as recording:
        for place, sample in recording.chosen():
            source = sample.content.sources.get("kmsg")
            for report in oom_report.parse(source.data).reports if source is not None and source.data else ():
                for kill in report.kills:
                    size = f", {kill.rss / 2**20:.0f} MiB" if kill.rss else ""
                    at = times[place - base]
                    near = [high for high in kills if high in (place, place - 1)]
                    told.update(near)
                    events.append(Event(times[near[0] - base] if near else at, "oom", f"OOM kill: {clean(kill.name, 20)}{size}"))
    for low, high in pairs:
        count = known[high].row["oom_kill"] - known[low].row.get("oom_kill", 0)
        if high not in told and count > 0:
            events.append(Event(times[high - base], "oom", "OOM kill" if count == 1 else f"{count} OOM kills"))
    shown = {**frames, **{place: known[place] for pair in pairs for place in pair if place in known}}
    return dict(sorted(shown.items())), events, []


def _risen(low: Frame, high: Frame) -> bool:
    return low.boot == high.boot and high.row.get("oom_kill", 0) > low.row.get("oom_kill", high.row.get("oom_kill", 0))


def _starts(skimmed: Skimmed, span: range, frames: dict[int, Frame]) -> list[tuple[int, bool]]:
    """Where the recorder was started anew, and whether the host had been."""
    starts = _runs(skimmed, span)
    places = sorted(frames)
    found = []
    for place in starts[-200:]:
        at = bisect.bisect_left(places, place)
        before, after = frames.get(places[at - 1]) if at else None, frames.get(places[at]) if at < len(places) else None
        booted = skimmed.boot[place] < skimmed.boot[place - 1] or bool(before and after and before.boot != after.boot)
        found.append((place, booted))
    return found


def _notes(skimmed: Skimmed, span: range, many: tuple[int, int]) -> list[str]:
    lost, holes = many
    if lost:
        return [f"{lost} of {len(span) + lost} samples are missing, in {holes} gaps; those wider than a line are drawn"]
    return []


def _host(path: str) -> str:
    """A recording does not hold the host's name."""
    return ""


def _page(path: str, skimmed: Skimmed, places: list[int]) -> int:
    with _Chosen(path, skimmed, places[-3:]) as recording:
        for _, sample in recording.chosen():
            return recorded.page_size(sample)
    return 4096


def _explain(path: str, skimmed: Skimmed, places: dict[float, int], frames: list[Frame], wanted: Sequence[Frame],
             asked: Asked) -> list[object]:
    """The answers of ``memtriage explain --from`` at those samples, with the frames before each as its history."""
    from memtriage.explain import answer  # noqa: PLC0415 - a page asks for it, a picture does not

    by_place = {places[frame.time]: frame for frame in wanted if frame.time in places}
    found: dict[float, object] = {}
    with _Chosen(path, skimmed, sorted(by_place)) as recording, tempfile.TemporaryDirectory(
            prefix="memtriage-moments-", dir=recorded.room()) as folder:
        tree = recorded.Tree(folder)
        for place, sample in recording.chosen():
            frame = by_place[place]
            before = [one for one in frames if one.boot == frame.boot and frame.uptime - BEFORE <= one.uptime <= frame.uptime]
            past = [Remembered(one.boot, one.uptime, dict(one.row)) for one in before[:: -max(1, len(before) // HISTORY)][::-1]]
            tree.show(sample)
            try:
                found[frame.time] = answer.find(tree.proc, tree.sys, exact=False, given=past,
                                                rules=rules(before[0].uptime, before[-1].uptime, asked))
            except files.ProcfsError:
                continue
    return [found.get(frame.time) for frame in wanted]
