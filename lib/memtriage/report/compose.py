"""From a history to what a picture shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from memtriage.explain import screen
from memtriage.explain.answer import Answer
from memtriage.report import bands, verdict
from memtriage.report.history import Event, Frame, Gap, History
from memtriage.report.parallel import halves
from memtriage.report.picture import Mark, Moment, Picture, Row
from memtriage.wording import clean, size

MOMENTS = 60
"""Moments of which a page tells the whole ledger."""
MARKS = 40
"""Marks at most: kills first, then alarms, reboots, starts of the recorder."""


def picture(history: History, host: str = "", title: str | None = None, moments: bool = False,
            asked: verdict.Asked = verdict.USUAL) -> Picture:
    """``moments``: with what ``explain`` says at some of them, which only a page shows and which takes a second or two."""
    found = verdict.judge(history, asked)
    line = _line(history.frames, history.gaps)
    times = [entry.time if isinstance(entry, Frame) else (entry.start + entry.end) / 2 for entry in line]
    frames = [entry if isinstance(entry, Frame) else None for entry in line]
    layers = bands.stack(frames, history.page, found.key)
    some, full = _psi(frames)
    marks = _marks(history.events, found.alarm)
    shown = _moments(history, frames, times, marks, found, asked) if moments else []
    return Picture(
        clean(host or history.host, 64), title or found.title, found.lines, times, layers, _kib(frames, "total"), _kib(frames, "available"),
        [None if frame is None or "swap_total" not in frame.row or "swap_free" not in frame.row
         else max(0.0, (frame.row["swap_total"] - frame.row["swap_free"]) * 1024.0) for frame in frames],
        some, full, marks, found.cone, shown, _notes(history, frames), found.growth, found.grew)


def _line(frames: Sequence[Frame], gaps: Sequence[Gap]) -> list[Frame | Gap]:
    """Frames and gaps in order: a gap lies right before the first frame that is not before its end."""
    found: list[Frame | Gap] = []
    waiting = list(gaps)
    for frame in frames:
        while waiting and waiting[0].end <= frame.time:
            found.append(waiting.pop(0))
        found.append(frame)
    return found


def _kib(frames: Sequence[Frame | None], key: str) -> list[float | None]:
    return [frame.row[key] * 1024.0 if frame is not None and key in frame.row else None for frame in frames]


def _psi(frames: Sequence[Frame | None]) -> tuple[list[float | None], list[float | None]]:
    """Percent of the time between two frames, by the counters that miss nothing in between."""
    found: tuple[list[float | None], list[float | None]] = [], []
    before: Frame | None = None
    for frame in frames:
        for values, key in zip(found, ("psi_some", "psi_full")):
            value = None
            if frame is not None and before is not None and before.boot == frame.boot and key in frame.row and key in before.row:
                span, waited = frame.uptime - before.uptime, frame.row[key] - before.row[key]
                if span > 0 and waited >= 0:
                    value = min(100.0, waited / span / 1e4)
            values.append(value)
        before = frame
    return found


def _marks(events: Sequence[Event], alarm: float | None) -> list[Mark]:
    marks = [Mark(event.at, event.kind, event.words) for event in events]
    if alarm is not None:
        marks.append(Mark(alarm, "alarm", "alarm: growth proven"))
    order = ("oom", "alarm", "boot", "recorder")
    marks.sort(key=lambda mark: order.index(mark.kind))
    return sorted(marks[:MARKS])


def _notes(history: History, frames: Sequence[Frame | None]) -> list[str]:
    known = [frame for frame in frames if frame is not None]
    notes = list(history.notes)
    for letter, what in (("c", "slab caches could not be seen (slabinfo: root only)"), ("g", "processes could not be seen")):
        blind = sum(letter in frame.blind for frame in known)
        if blind:
            notes.append(f"{what} at any moment" if blind == len(known) else f"{what} at {blind} of {len(known)} moments shown")
    return notes


def _moments(history: History, frames: Sequence[Frame | None], times: list[float], marks: list[Mark],
             found: verdict.Verdict, asked: verdict.Asked) -> list[Moment]:
    """Evenly over the time, and at the marks."""
    wanted = {max(0, min(len(frames) - 1, round(at * (len(frames) - 1) / (MOMENTS - 1)))) for at in range(MOMENTS)}
    for mark in marks:
        place = next((at for at, time in enumerate(times) if time >= mark.at), len(times) - 1)
        wanted.update((max(0, place - 1), place))
    places = [place for place in sorted(wanted) if frames[place] is not None]

    def some(chosen: list[int]) -> list[Moment]:
        shown = [(place, frame) for place in chosen if (frame := frames[place]) is not None]
        answers = history.explain([frame for _, frame in shown], asked.window, asked.warmup) if history.explain is not None else []
        return [_moment(history, frame, place, found, answer) for (place, frame), answer in zip_longest(shown, answers)]

    parts = [part for part in (places[::2], places[1::2]) if part]
    return sorted((moment for part in halves(some, [(part,) for part in parts]) for moment in part), key=lambda moment: moment[0])


def _moment(history: History, frame: Frame, place: int, found: verdict.Verdict, answer: object) -> Moment:
    if isinstance(answer, Answer):
        return Moment(place, screen.sentences(answer), [
            Row(("  " if row.level else "") + row.words, float(row.size), _is_culprit(row.level, row.key, row.words, found.key))
            for row in answer.ledger if row.size * 500 >= answer.now.memory.book.total])
    parts = sorted(bands.split(frame, history.page, found.key).items(), key=lambda item: (item[0] == "p.free", -item[1]))
    left, total = frame.row["available"] * 1024.0, frame.row["total"] * 1024.0
    return Moment(place, [f"{size(left)} of {size(total)} could still be had, {left / total:.1%}."] if total else [],
                  [Row(bands.words(key), value, key == found.key) for key, value in parts if value * 500 >= total])


def _is_culprit(level: int, key: str, words: str, culprit: str | None) -> bool:
    if culprit is None or key != culprit[2:] or (level == 0) != culprit.startswith("p."):
        return False
    return not culprit.startswith("c.") or words.startswith("slab cache")
