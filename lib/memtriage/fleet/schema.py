"""A fleet's answer as JSON, for programs. What each key means stands in docs/fleet.md; ``version`` grows when a meaning changes."""

from __future__ import annotations

from math import isfinite

from memtriage.fleet import screen
from memtriage.fleet.attribution import Answer, Finding, Group
from memtriage.fleet.odds import Odds
from memtriage.fleet.summary import Detail, Summary
from memtriage.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

VERSION = 1


def tree(found: Summary) -> dict[str, Any]:
    return {
        "version": VERSION,
        "api": found.api,
        "time": round(found.now),
        "hosts": {"total": found.total, **found.states},
        "perfdata_odd": found.odd,
        "results_from_the_future": found.ahead,
        "verdict": {"kernel": screen.verdict(found), "programs": screen.us(found)},
        "kernel_attributes": found.kernel_keys,
        "history_since": None if found.history_started is None else round(found.history_started),
        "grow_by_history_only": found.steady,
        "kernel": _answer(found.kernel, found.details),
        "programs": _answer(found.programs, {}),
        "busy": {**_answer(found.busy, {}), "moves": [
            {"attributes": _names(cause.group), "up": found.moves[cause.group.mask][0], "down": found.moves[cause.group.mask][1]}
            for cause in found.busy.causes]},
        "exhaustion": [end._asdict() for end in found.ends],
    }


def _answer(answer: Answer, details: dict[int, Detail]) -> dict[str, Any]:
    return {"judged": answer.judged, "grow": answer.grow, "comparisons": answer.compared, "left_out": answer.left_out,
            "findings": [_finding(found, details.get(found.group.mask)) for found in answer.findings]}


def _finding(found: Finding, detail: Detail | None) -> dict[str, Any]:
    a, b, c, d = found.table
    tree: dict[str, Any] = {
        "attributes": _names(found.group), "kind": found.kind, "hosts": a + b, "grow": a, "other_hosts": c + d, "others_grow": c,
        "odds": _odds(found.odds), "p_after_comparisons": found.chance,
        "within_other_causes": _odds(found.within.odds) if found.within else None, "by": _names(found.by) if found.by else None}
    if detail:
        tree["caches"] = [{"label": cache.label, "culprit_on": cache.culprit, "group": cache.group._asdict(),
                           "others": cache.others._asdict()} for cache in detail.caches]
        tree["began"] = detail.began._asdict() if detail.began else None
    return tree


def _names(group: Group) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in group.names]


def _odds(found: Odds) -> dict[str, float | None]:
    """What has no end (no host of the others grows within any stratum) is ``null``: JSON knows no infinity."""
    return {key: value if isfinite(value) else None for key, value in found._asdict().items()}
