"""Who is to blame in a history, by the engine that the checks use: at its end, or in hindsight where memory was least."""

from __future__ import annotations

from collections.abc import Sequence

from memtriage import diagnosis, exhaustion
from memtriage.record import NamedTuple
from memtriage.report.bands import words
from memtriage.report.history import Event, Frame, History
from memtriage.report.picture import Cone
from memtriage.wording import duration, signed, size

WINDOW, WARMUP, LEAST = 4 * 3600.0, 3600.0, 6
"""As the checks have them. A history of less than four hours is judged as a whole, its first twentieth as the warm-up."""
ROWS = 300
"""Samples the engine is given: as many as a check remembers."""
SHORT = 0.15
"""Less than this share of memory available counts as short, in hindsight."""
MOMENTS = 48
SOON = 72 * 3600.0
"""Seconds to exhaustion from which on checks alarm."""


class Asked(NamedTuple):
    """What the checks' options of these names say, seconds."""

    window: float = WINDOW
    warmup: float | None = None
    """``None``: an hour, or less where the history begins soon after the boot."""


USUAL = Asked()


class Verdict(NamedTuple):
    key: str | None
    """Of the culprit, as in a row."""
    title: str
    lines: list[str]
    cone: Cone | None
    alarm: float | None
    """When the engine first proves the trend and the end is near enough for an alarm."""
    growth: str = ""
    """By how much it grew in what time, as in the title."""
    grew: tuple[float, float] | None = None
    """First and last moment of that time."""
    why: str = "now"
    """When that was judged: ``now``, at the end, or in hindsight, such as ``before the OOM kill``."""
    proven: bool = False


def judge(history: History, asked: Asked = USUAL) -> Verdict:
    """The end decides if something grows there and nobody was killed lately. Else, in hindsight, the last kill by the OOM killer, or the
    moment of least memory."""
    frames = list(history.frames)
    end = len(frames) - 1
    kills = [event for event in history.events if event.kind == "oom"]
    least = min(range(len(frames)), key=lambda place: frames[place].row["available"] / max(1, frames[place].row["total"]))
    found = outlook(history, end, asked)
    lately = max(frames[_boot_start(frames, end)].time, frames[end].time - asked.window)
    if found.causes and not any(event.at >= lately for event in kills):
        return _proven(history, end, found, "now", asked)
    places = [place for event in kills[::-1][:3] if (place := _before(frames, event)) is not None]
    short = frames[least].row["available"] < SHORT * frames[least].row["total"]
    for place, why in [*((place, "before the OOM kill") for place in places), *([(least, "when least was left")] if short else [])]:
        for part in (1, 4, 16, 64):
            then = outlook(history, place, asked._replace(window=asked.window / part))
            if then.causes:
                return _proven(history, place, then, why, asked)
        grown = _grown(history, place)
        if grown is not None:
            key, change, since = grown
            growth = f"{signed(change)} in {duration(frames[place].time - since)}"
            said = f"It grew most {why}; that it grows steadily is not proven."
            return Verdict(key, f"{words(key)} {growth}", [said], None, None, growth, (since, frames[place].time), why)
    if found.causes:
        return _proven(history, end, found, "now", asked)
    return _largest(history, end, short)


def rules(first: float, last: float, asked: Asked = USUAL) -> exhaustion.Rules:
    """For what is known of one boot, from one uptime to another: the checks' own, for a history long enough; for a shorter one the whole
    of it."""
    span = last - first
    warmup = min(WARMUP, first + min(span, asked.window) / 20) if asked.warmup is None else asked.warmup
    return exhaustion.Rules(max(30.0, span) if span < asked.window else asked.window, warmup, LEAST)


def outlook(history: History, place: int, asked: Asked = USUAL) -> exhaustion.Outlook:
    """What the engine says of the frames of that boot up to ``place``."""
    frames = history.frames
    frame = frames[place]
    rows = frames_before(history, place)
    past = exhaustion.History([one.uptime for one in rows], [one.row for one in rows], history.page)
    left, total = frame.row["available"] * 1024.0, frame.row["total"] * 1024.0
    return exhaustion.outlook(past, frame.caches, left, total, rules(frames[_boot_start(frames, place)].uptime, frame.uptime, asked))


def frames_before(history: History, place: int) -> list[Frame]:
    frames = history.frames
    chosen = [frame for frame in frames[_boot_start(frames, place) : place + 1] if "c" not in frame.blind or "c" in frames[place].blind]
    step = max(1, -(-len(chosen) // ROWS))
    found: list[Frame] = []
    for frame in chosen[::-step]:
        if not found or frame.uptime < found[-1].uptime:  # date(1) tells whole seconds: of those of the same second the last
            found.append(frame)
    return found[::-1]


def _boot_start(frames: Sequence[Frame], place: int) -> int:
    first = place
    while first and frames[first - 1].boot == frames[place].boot and frames[first - 1].uptime <= frames[first].uptime:
        first -= 1
    return first


def _before(frames: list[Frame], event: Event) -> int | None:
    """The last frame before it."""
    places = [place for place, frame in enumerate(frames) if frame.time < event.at]
    return places[-1] if places else None


def _proven(history: History, place: int, found: exhaustion.Outlook, why: str, asked: Asked) -> Verdict:
    frame, cause = history.frames[place], found.causes[0]
    rows = frames_before(history, place)
    past = exhaustion.History([one.uptime for one in rows], [one.row for one in rows], history.page)
    start = next((at for at, time in enumerate(past.times) if time >= past.times[-1] - cause.span - 1), 0)
    before, now = (past.size(cause.key, row) or 0.0 for row in (past.rows[start], past.rows[-1]))
    growth = f"{signed(now - before)} in {duration(past.times[-1] - past.times[start])}"
    lines = []
    cone = None
    if why == "now":
        until = diagnosis.eta_words(found)
        if until:
            lines.append(f"Memory will be {until}.")
        if found.eta is not None and found.eta_low is not None:
            cone = Cone(frame.time, found.headroom, frame.time + found.eta_low, frame.time + found.eta,
                        frame.time + found.eta_high if found.eta_high is not None else None)
    else:
        lines.append(f"Judged {why}: {size(frame.row['available'] * 1024.0)} of {size(frame.row['total'] * 1024.0)} were available.")
    lines += diagnosis.growth_lines(found, frame.row, [])[:3]
    return Verdict(cause.key, f"{words(cause.key)} {growth}", lines, cone, _alarm(history, place, cause.key, asked), growth,
                   (rows[start].time, rows[-1].time), why, True)


def _alarm(history: History, last: int, key: str, asked: Asked) -> float | None:
    """The first moment at which the same trend is proven and the end is less than three days away."""
    first = _boot_start(history.frames, last)
    step = max(1, (last - first) // MOMENTS)
    low = first
    for place in [*range(first + step, last, step), last]:
        if _alarming(history, place, key, asked):
            high = place
            while high - low > 1:
                middle = (low + high) // 2
                if _alarming(history, middle, key, asked):
                    high = middle
                else:
                    low = middle
            return float(history.frames[high].time)
        low = place
    return None


def _alarming(history: History, place: int, key: str, asked: Asked) -> bool:
    found = outlook(history, place, asked)
    return found.eta is not None and found.eta < SOON and any(cause.key == key for cause in found.causes)


def _grown(history: History, place: int) -> tuple[str, float, float] | None:
    """What grew most since most was available, whether steadily or not, by how much and since when; nothing where all of it is small."""
    frames = history.frames
    first = _boot_start(frames, place)
    start = max(range(first, place + 1), key=lambda at: frames[at].row["available"])
    before, now = frames[start], frames[place]
    past = exhaustion.History([before.uptime, now.uptime], [before.row, now.row], history.page)
    best: tuple[str, float] | None = None
    for key in now.row:
        if key[:2] not in ("c.", "g.", "p.") or key in exhaustion.NEVER or key in ("p.anon", "p.slab_unreclaimable", "p.slab"):
            continue
        if key.startswith("g.") and now.anon:
            grown = float(now.anon.get(key[2:], 0) - before.anon.get(key[2:], 0)) * history.page
        else:
            grown = (past.size(key, now.row) or 0.0) - (past.size(key, before.row) or 0.0)
        if best is None or grown > best[1]:
            best = key, grown
    if best is None or best[1] < 0.1 * now.row["total"] * 1024:
        return None
    return best[0], best[1], before.time


def _largest(history: History, place: int, short: bool) -> Verdict:
    frame = history.frames[place]
    share = frame.row["available"] / max(1, frame.row["total"])
    left = f"{size(frame.row['available'] * 1024.0)} of {size(frame.row['total'] * 1024.0)} available"
    if short:
        return Verdict(None, f"Memory was short; {left} at the end", ["Nothing grew enough to be named."], None, None)
    grown = _grown(history, place)
    most = f"; most by {words(grown[0])}, {signed(grown[1])} in {duration(frame.time - grown[2])}" if grown is not None else ""
    return Verdict(None, f"No shortage of memory: {left}", [f"Nothing grows provenly{most}; {share:.0%} can still be had."], None, None)
