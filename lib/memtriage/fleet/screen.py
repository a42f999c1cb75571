"""A fleet's answer for a person: the question, the answer, the odds behind it, and who runs out first."""

from __future__ import annotations

import time
from collections.abc import Iterator

from memtriage.fleet import attribution
from memtriage.fleet.attribution import Answer, Finding, Group
from memtriage.fleet.summary import Cache, Detail, Summary
from memtriage.wording import clean, duration, share, signed

SHADOWS = 6
"""Explained groups told of one answer."""
ROWS = 12
"""Values shown of an attribute."""
UPWARDS = 3
"""So many times more hosts go up than down, and a look later is worth it."""
WHEN = "%Y-%m-%d %H:%M"


def lines(found: Summary, top: int = 10, everything: bool = False) -> Iterator[str]:
    yield from _counts(found)
    yield ""
    yield f"Is it the kernel?  {verdict(found)}"
    for cause in found.kernel.causes:
        yield from _cause(cause, found.kernel, found.details.get(cause.group.mask))
    yield from _others(found.kernel)
    yield ""
    yield f"Is it us?  {us(found)}"
    for cause in found.programs.causes:
        yield from _cause(cause, found.programs, None)
    yield from _others(found.programs)
    for cause in found.busy.causes:
        yield _moving(cause, found)
    for key in _keys(found, everything):
        yield ""
        yield from _table(key, found.kernel)
    if found.ends and top:
        yield ""
        yield f"First to run out ({min(top, len(found.ends))} of {len(found.ends)}):"
        for end in found.ends[:top]:
            what = {"kernel": f"slab cache {clean(end.culprit)}" if end.culprit else "slab", "programs": "programs",
                    "unseen": "memory, no check_slab_growth to tell which"}[end.kind]
            rate = f" {signed(end.rate)}/h" if end.rate is not None else ""
            yield f"  {clean(end.host):<24} in {duration(end.eta):<9} {what}{rate}" + (f", Linux {clean(end.kernel)}" if end.kernel else "")
    if everything:
        for key, reason in sorted(found.kernel.left_out.items()):
            yield f"not compared: {clean(key)}: {reason}"


def _counts(found: Summary) -> Iterator[str]:
    words = {"ok": "judged", "silent": "silent (result too old)", "empty": "never checked", "unknown": "UNKNOWN",
             "none": "without check_slab_growth"}
    yield f"{found.total} hosts of {clean(found.api, 80)}: " + ", ".join(
        f"{count} {words[state]}" for state, count in found.states.items() if count or state == "ok")
    if found.odd:
        yield f"{found.odd} items of perfdata are none of ours and were passed over."
    if found.ahead:
        yield f"{found.ahead} results are from the future: clocks differ."
    judged = found.kernel.judged
    if judged:
        yield (f"Kernel memory grows on {found.kernel.grow} of {judged} ({share(found.kernel.grow, judged)}), "
               f"programs' on {found.programs.grow} of {found.programs.judged} others.")
    if found.steady:
        yield f"Of {found.steady} of them only the history (since {_when(found.history_started)}) proves it."
    if judged and found.history_started is None:
        yield "Grows: where the check has proven a trend. One look, no history: slower growth, and since when, takes --history FILE."


def verdict(found: Summary) -> str:
    """The answer in a sentence."""
    answer = found.kernel
    if not answer.judged:
        return "Nobody can tell: no host has a result of check_slab_growth that can be judged."
    if not answer.grow:
        return "No: kernel memory grows on no host."
    lacking = _no_kernel(found)
    if not answer.causes:
        if lacking:
            return f"Cannot be told: growth on {answer.grow} of {answer.judged} hosts, and no kernel could be compared: {lacking}."
        return f"Not one release: growth on {answer.grow} hosts goes with none of {answer.compared} groups compared."
    ours = [cause for cause in answer.causes if _has(cause.group, found)]
    if not ours:
        with_ = "; ".join(names(cause.group) for cause in answer.causes)
        return f"Cannot be told: growth goes with {with_}; no kernel could be compared: {lacking}." if lacking else (
            f"No release stands out; growth goes with {with_}.")
    rivals = _rivals(ours[0], answer, found)
    if rivals:
        return (f"Cannot be told: {_only(ours[0].group, found)} and {' and '.join(rivals)} are on the same hosts. "
                "Boot some of them with another kernel.")
    beside = [names(cause.group) for cause in answer.causes if cause not in ours]
    more = f"; and, apart from it, with {'; '.join(beside)}" if beside else ""
    return f"Yes, by the odds: growth goes with {'; '.join(_only(cause.group, found) for cause in ours)}{more}."


def _no_kernel(found: Summary) -> str:
    """Why no release was compared with others; empty where one was. Then nothing can be said of the kernel, and above all no "no"."""
    if any(_has(finding.group, found) for finding in found.kernel.findings):
        return ""
    reasons = [found.kernel.left_out[key] for key in found.kernel_keys if key in found.kernel.left_out]
    return reasons[0] if reasons else "--by leaves it out" if found.kernel_keys else "no host says which it runs"


def us(found: Summary) -> str:
    answer = found.programs
    if not answer.judged:
        return "Nobody can tell: no host has results of both checks."
    if not answer.grow:
        return "No: programs grow on no host whose slab does not."
    if not answer.compared:
        return f"Cannot be told: growth on {answer.grow} of {answer.judged} hosts, and no groups to compare."
    if not answer.causes:
        return f"Nothing stands out: growth on {answer.grow} hosts goes with none of {answer.compared} groups compared."
    return f"Programs' growth goes with {'; '.join(names(cause.group) for cause in answer.causes)}."


def _rivals(cause: Finding, answer: Answer, found: Summary) -> list[str]:
    """What has so nearly the same hosts as the kernel that it may as well be the cause."""
    same = [_pair(key, value) for key, value in cause.group.names if key not in found.kernel_keys]
    return same + [names(other.group) for other in answer.findings
                   if other.kind == attribution.INSEPARABLE and other.by is cause.group and not _has(other.group, found)]


def _has(group: Group, found: Summary) -> bool:
    return any(key in found.kernel_keys for key, _ in group.names)


def _only(group: Group, found: Summary) -> str:
    return " = ".join(_pair(key, value) for key, value in group.names if key in found.kernel_keys)


def names(group: Group) -> str:
    """``role=web``; where attributes have the very same hosts, all of them."""
    shown = " = ".join(_pair(key, value) for key, value in group.names[:4])
    return shown + (f" and {len(group.names) - 4} more" if len(group.names) > 4 else "")


def _pair(key: str, value: str) -> str:
    return clean(key, 60) if value == "yes" and key.endswith("]") else f"{clean(key)}={clean(value)}"


def _cause(cause: Finding, answer: Answer, detail: Detail | None) -> Iterator[str]:
    a, b, c, d = cause.table
    yield (f"  {names(cause.group)}: {a} of {a + b} hosts grow ({share(a, a + b)}), of all others {c} of {c + d} ({share(c, c + d)}); "
           f"odds {times(cause.odds.ratio)} (95%: {times(cause.odds.low)} to {times(cause.odds.high)}), "
           f"{_p(cause.chance)} after {answer.compared} comparisons")
    if cause.within:
        yield f"    within the other causes' groups: odds {times(cause.within.odds.ratio)}"
    if detail:
        yield from (f"    {_cache(cache)}" for cache in detail.caches)
    if detail and detail.began:
        began = detail.began
        known = f"; {began.at_start} of {began.hosts} at the history's first run already" if began.at_start else ""
        yield f"    growth first seen {_when(began.first)}, on half of {began.hosts} hosts by {_when(began.half)}{known}"


def _cache(cache: Cache) -> str:
    mine, other = cache.group, cache.others
    said = f"slab cache {clean(cache.label)} grows fastest on {cache.culprit}: median {signed(mine.median)}/h, {mine.up} up, "
    said += f"{mine.down} down"
    elsewhere = f"{signed(other.median)}/h, {other.up} up, {other.down} down" if other.known else "not among the largest"
    return f"{said}; elsewhere {elsewhere}"


def _moving(cause: Finding, found: Summary) -> str:
    """A role at work, or a leak that is too young: one look tells them apart only where some go up and others down."""
    a, b, c, d = cause.table
    up, down = found.moves[cause.group.mask]
    said = (f"Moves, no trend proven: {names(cause.group)}: a cache changes by 16 MiB/h or more on {a} of {a + b} hosts "
            f"(others: {c} of {c + d}): {up} up, {down} down")
    upwards = "; mostly up: the hour of the day, or growth too young to be proven. Ask again in some hours"
    return said + (upwards if up > UPWARDS * down else "; up and down, or down: busy") + "."


def _others(answer: Answer) -> Iterator[str]:
    """Groups that only look like causes."""
    for kind, words in ((attribution.INSEPARABLE, "cannot be told from"), (attribution.EXPLAINED, "is explained by")):
        found = [finding for finding in answer.findings if finding.kind == kind and finding.by]
        for finding in found[:SHADOWS]:
            inside = f", {times(finding.within.odds.ratio)} within it" if finding.within else ", and no hosts to tell them apart by"
            by = names(finding.by) if finding.by else ""
            yield f"  {names(finding.group)} {words} {by}: odds {times(finding.odds.ratio)} alone{inside}"
        if len(found) > SHADOWS:
            yield f"  and {len(found) - SHADOWS} more like that"


def _keys(found: Summary, everything: bool) -> list[str]:
    """Attributes to show a table of: the kernel's, and those of causes; or all that were compared. None where nothing grows."""
    if not found.kernel.grow:
        return []
    wanted = dict.fromkeys(found.kernel_keys[:1] + [cause.group.names[0][0] for cause in found.kernel.causes])
    if everything:
        wanted.update(dict.fromkeys(sorted({key for finding in found.kernel.findings for key, _ in finding.group.names})))
    return [key for key in wanted if any(pair[0] == key for finding in found.kernel.findings for pair in finding.group.names)]


def _table(key: str, answer: Answer) -> Iterator[str]:
    rows = [(value, finding) for finding in answer.findings for name, value in finding.group.names if name == key]
    rows.sort(key=lambda row: (-row[1].odds.ratio, row[0]))
    wide = max(8, *(len(clean(value, 32)) for value, _ in rows[:ROWS])) if rows else 8
    yield f"By {clean(key)}:"
    yield f"  {'':<{wide}} {'hosts':>6} {'grow':>6} {'share':>7} {'odds':>8}  95% interval       p"
    for value, finding in rows[:ROWS]:
        a, b = finding.table[:2]
        interval = f"{times(finding.odds.low)} to {times(finding.odds.high)}"
        yield (f"  {clean(value, 32):<{wide}} {a + b:>6} {a:>6} {share(a, a + b):>7} {times(finding.odds.ratio):>8}  {interval:<17}"
               f"  {_p(finding.chance)[2:]}")
    if len(rows) > ROWS:
        yield f"  and {len(rows) - ROWS} more"


def times(ratio: float) -> str:
    """An odds ratio: two digits below 10, none above, and an end to it."""
    return "many" if ratio > 99999 else "%.*f" % (2 if ratio < 10 else 0, ratio)


def _p(chance: float) -> str:
    return "p 1" if chance > 0.995 else f"p {chance:.2g}" if chance > 1e-12 else "p below 1e-12"


def _when(moment: float | None) -> str:
    return time.strftime(WHEN, time.localtime(moment)) if moment is not None else "?"

