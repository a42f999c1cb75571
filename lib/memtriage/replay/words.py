"""A replay's result as lines for a person, and as a tree for programs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Any

from memtriage.replay.engine import Lead, Page, lead
from memtriage.replay.kills import Kill
from memtriage.replay.run import NONE, STATES, Outcome, Result
from memtriage.wording import clean, clean_end, duration, line

FORMAT = 1
KILLS = 20
"""Kills listed singly."""
_MARKS = "AB"


def lines(check: str, found: Outcome, every: float, attempts: int) -> Iterator[str]:
    """The changes in their order, then the summary."""
    several = len(found.results) > 1
    for mark, result in zip(_MARKS, found.results):
        yield (f"{mark}: " if several else "") + line(" ".join([check, *map(shlex.quote, result.options)]))
    boots = f", {found.boots} boots" if found.boots > 1 else ""
    yield f"{clock(found.start)} to {clock(found.end)} ({duration(found.end - found.start)}{boots}), " \
          f"{found.moments} run{'s' * (found.moments != 1)}, one every {duration(every)}"
    yield ""
    rows: list[tuple[float, int, str]] = []
    for number, result in enumerate(found.results):
        mark = f"{_MARKS[number]} " if several else ""
        for change in result.changes:
            rows.append((change.at, number, f"-- {change.words}" if change.state == NONE else mark + change.words))
    for kill, count in _together(found.kills):
        rows.append((kill.at, -1, f"-- the OOM killer took {_victim(kill)}" + (f" and {count - 1} more" if count > 1 else "")))
    # Once: a time without samples is the same for all.
    yield from dict.fromkeys(f"{clock(at)}  {line(words)}" for at, _, words in sorted(rows, key=lambda row: row[:2]))
    yield ""
    yield from _summary(found, attempts)
    for note in found.notes:
        yield f"Note: {line(note)}"


def _together(struck: list[Kill]) -> Iterator[tuple[Kill, int]]:
    """Kills of one second after the other as one: a storm takes dozens."""
    first: Kill | None = None
    count, last = 0, 0.0
    for kill in struck:
        if first is not None and kill.at - last < 2 and kill[1:] == first[1:]:
            count += 1
        else:
            if first is not None:
                yield first, count
            first, count = kill, 1
        last = kill.at
    if first is not None:
        yield first, count


def _victim(kill: Kill) -> str:
    limit = f" (limit of cgroup '{clean_end(kill.group, 60)}')" if kill.group else ""
    return f"'{clean(kill.name, 16)}'{limit}" if kill.name else "a process (not named in the log)"


def _summary(found: Outcome, attempts: int) -> Iterator[str]:
    heads = [f"{mark:>16}" for mark, _ in zip(_MARKS, found.results)] if len(found.results) > 1 else []
    if heads:
        yield f"{'':<22}" + "".join(heads)
    whole = found.end - found.start or 1.0
    for state, word in enumerate(STATES):
        if any(result.spent[state] > 0 or state in (change.state for change in result.changes) for result in found.results):
            cells = [f"{duration(result.spent[state])} {100 * result.spent[state] / whole:4.0f}%" for result in found.results]
            yield f"{'time ' + word:<22}" + "".join(f"{cell:>16}" for cell in cells)
    counted = [[page for page in result.engine.pages if page.state] for result in found.results]
    for word, kinds in (("pages", (1, 2, 3)), ("  WARNING", (1,)), ("  CRITICAL", (2,)), ("  UNKNOWN", (3,))):
        numbers = [sum(page.state in kinds for page in pages) for pages in counted]
        if len(kinds) > 1 or any(numbers):
            yield f"{word:<22}" + "".join(f"{number:>16}" for number in numbers)
    yield f"{'recoveries':<22}" + "".join(f"{len(result.engine.pages) - len(pages):>16}" for result, pages in zip(found.results, counted))
    if attempts > 1:
        yield f"A problem pages after {attempts} runs in a row."
    if not found.kills:
        yield f"{'OOM kills':<22}" + f"{'none':>16}" * len(found.results)
        return
    yield ""
    yield f"OOM kills: {len(found.kills)}; how long before each there was a page:"
    listed = list(_together(found.kills))
    for kill, count in listed[:KILLS]:
        more = f" (and {count - 1} more)" if count > 1 else ""
        yield f"{clock(kill.at)}  {line(_victim(kill))}{more}"
        for number, result in enumerate(found.results):
            yield f"  {_MARKS[number] + ' ' if len(found.results) > 1 else ''}{_lead_words(lead(result.engine.pages, kill.at), kill.at)}"
    if len(listed) > KILLS:
        yield f"... and {len(listed) - KILLS} more moments with kills"


def _lead_words(found: Lead, at: float) -> str:
    if found.warned is None:
        return "no page before it" + (f"; the first {duration(found.after.at - at)} after" if found.after else ", none after")
    words = f"{STATES[found.warned.state]} {duration(at - found.warned.at)} before"
    if found.critical is not None and found.critical is not found.warned:
        words += f", CRITICAL {duration(at - found.critical.at)} before"
    return words


def clock(at: float) -> str:
    """Local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def tree(check: str, found: Outcome, every: float, attempts: int) -> dict[str, Any]:
    """Times are seconds since 1970, spans seconds; the states' words are the keys."""
    return {"version": FORMAT, "check": check, "start": found.start, "end": found.end, "every": every, "runs": found.moments,
            "boots": found.boots, "attempts": attempts,
            "oom_kills": [{"time": kill.at, "name": kill.name or None, "cgroup": kill.group or None} for kill in found.kills],
            "results": [_result(result, found.kills) for result in found.results], "notes": found.notes}


def _result(result: Result, struck: list[Kill]) -> dict[str, Any]:
    leads = [lead(result.engine.pages, kill.at) for kill in struck]
    return {"options": result.options, "changes": [{"time": change.at, "state": STATES[change.state], "output": change.words}
                                                   for change in result.changes],
            "seconds": {word: round(result.spent[state], 3) for state, word in enumerate(STATES)},
            "pages": [{"time": page.at, "state": STATES[page.state]} for page in result.engine.pages],
            "leads": [{"page": _seconds(kill.at, one.warned), "critical": _seconds(kill.at, one.critical)}
                      for kill, one in zip(struck, leads)]}


def _seconds(at: float, page: Page | None) -> float | None:
    return None if page is None else round(at - page.at, 3)
