"""What does growth go with? Which kernel, role, package version or hardware, and which of them only because it has the same hosts.

Each value of each attribute makes a group of hosts, compared with all others. A group is a cause where its odds are at least
:data:`RATIO` times those of the others, and would be so by chance in less than one of :data:`1 / ALPHA` runs, the number of comparisons
counted in. Causes are taken one by one, strongest first, each within the strata the earlier ones make (Mantel-Haenszel): what is no
longer a cause there was only in the same hosts. Where the earlier one is no cause within the later either, the two cannot be told apart.

Sets of hosts are integers, a bit a host: ten thousand of them in 1,250 bytes, and an intersection is one instruction a word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from memtriage.fleet import odds
from memtriage.record import NamedTuple

ALPHA = 0.001
RATIO = 2.0
LEAST = 5
"""Hosts in a group, and outside of it, below which it is not compared."""
GROWERS = 3
"""Hosts that must grow in a cause."""
VALUES = 40
"""Different values of an attribute, above which it is not looked at unless asked for, and then by its most frequent ones."""
CAUSES = 5
"""At most; the strata double with each."""

CAUSE, EXPLAINED, INSEPARABLE, PLAIN = "cause", "explained", "inseparable", "plain"


class Group(NamedTuple):
    """Hosts with a value in common. ``names``: more than one where attributes have the very same hosts."""

    names: list[tuple[str, str]]
    mask: int


class Finding(NamedTuple):
    """One group's comparison with all others. ``chance`` is p after all comparisons; ``kind`` one of the four above."""

    group: Group
    table: odds.Table
    odds: odds.Odds
    chance: float
    kind: str = PLAIN
    within: odds.Stratified | None = None
    """The same within the other causes' strata."""
    by: Group | None = None
    """What explains it, or cannot be told from it."""


class Answer(NamedTuple):
    """Of one question (does the kernel's memory grow, do programs). Findings: causes first, then by the strength of the odds."""

    judged: int
    grow: int
    findings: list[Finding]
    compared: int
    left_out: dict[str, str]
    """Attributes that were not compared, and why."""

    @property
    def causes(self) -> list[Finding]:
        return [found for found in self.findings if found.kind == CAUSE]


def count(mask: int) -> int:
    """Hosts in a set; ``int.bit_count`` is there since Python 3.10."""
    return bin(mask).count("1")


def mask(places: Iterable[int], size: int) -> int:
    """The set of these hosts out of ``size``."""
    data = bytearray(size // 8 + 1)
    for place in places:
        data[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(data, "little")


def groups(attributes: list[dict[str, str]], asked: Collection[str] = (), many: Collection[str] = ()
           ) -> tuple[list[Group], dict[str, str]]:
    """Groups of all attributes, or of those ``asked`` for, that are large enough to compare; and what is left out, with the reason.

    Those of ``many`` may have as many values as those that are asked for, and all of them are compared.
    """
    size = len(attributes)
    places: dict[str, dict[str, list[int]]] = {}
    left_out: dict[str, str] = {}
    for place, pairs in enumerate(attributes):
        for key, value in pairs.items():
            if key in left_out or (asked and not _asked(key, asked)):
                continue
            values = places.setdefault(key, {})
            values.setdefault(value, []).append(place)
            if len(values) > max(VALUES, 20 * VALUES if asked or key in many else 0):
                del places[key]
                left_out[key] = "too many different values"
    by_mask: dict[int, Group] = {}
    for key in sorted(places):
        values = places[key]
        often = sorted(values, key=lambda value: (-len(values[value]), value))[: None if key in many else VALUES]
        fit = [value for value in often if LEAST <= len(values[value]) <= size - LEAST]
        if not fit:
            alike = len(values) == 1 and len(values[often[0]]) > size - LEAST
            left_out[key] = "the same on all hosts" if alike else f"no value on {LEAST} hosts and not on {LEAST} others"
        for value in fit:
            found = mask(values[value], size)
            by_mask.setdefault(found, Group([], found)).names.append((key, value))
    return list(by_mask.values()), left_out


def _asked(key: str, asked: Collection[str]) -> bool:
    """``roles`` asks for ``roles``, ``roles[web]`` and ``roles.front`` alike."""
    return any(key == name or (key.startswith(name) and key[len(name)] in "[.") for name in asked)


def _table(group: int, grow: int, among: int) -> odds.Table:
    inside = group & among
    a, size = count(inside & grow), count(inside)
    c, others = count(grow & among) - a, count(among) - size
    return odds.Table(a, size - a, c, others - c)


def _within(group: int, grow: int, strata: list[int]) -> odds.Stratified | None:
    return odds.stratified(_table(group, grow, stratum) for stratum in strata)


def _strata(causes: Iterable[Group], everyone: int) -> list[int]:
    strata = [everyone]
    for cause in causes:
        strata = [part for stratum in strata for part in (stratum & cause.mask, stratum & ~cause.mask) if part]
    return strata


def find(attributes: list[dict[str, str]], grows: list[bool], asked: Collection[str] = (), many: Collection[str] = ()) -> Answer:
    """``attributes`` and ``grows`` are those of the same hosts, in the same order."""
    size = len(grows)
    everyone, grow = (1 << size) - 1, mask((place for place, up in enumerate(grows) if up), size)
    candidates, left_out = groups(attributes, asked, many)
    tables = [_table(group.mask, grow, everyone) for group in candidates]
    ratios = [odds.of(table) for table in tables]
    chances = odds.holm([found.p for found in ratios])
    findings = [Finding(*row) for row in zip(candidates, tables, ratios, chances)]
    striking = [found for found in findings if found.chance < ALPHA and found.odds.ratio >= RATIO and found.table.a >= GROWERS]
    causes = _choose(striking, grow, everyone, len(candidates))
    known = {cause.mask: cause for cause in causes}
    findings = [_placed(found, causes, known, striking, grow, everyone) for found in findings]
    order = (CAUSE, INSEPARABLE, EXPLAINED, PLAIN)
    findings.sort(key=lambda found: (order.index(found.kind), -found.odds.low))
    return Answer(size, count(grow), findings, len(candidates), left_out)


def _proven(found: odds.Stratified | None, comparisons: int) -> bool:
    return found is not None and found.odds.ratio >= RATIO and found.odds.p * comparisons < ALPHA


def _choose(striking: list[Finding], grow: int, everyone: int, comparisons: int) -> list[Group]:
    causes: list[Group] = []
    while len(causes) < CAUSES:
        strata = _strata(causes, everyone)
        best, strength = None, 0.0
        for found in striking:
            if found.group in causes:
                continue
            inside = _within(found.group.mask, grow, strata)
            if inside is not None and _proven(inside, comparisons) and _score(found.group.mask, grow, strata) > strength:
                best, strength = found.group, _score(found.group.mask, grow, strata)
        if best is None:
            break
        causes.append(best)
    # What was taken first may have been but a shadow of two that came later.
    for cause in list(causes):
        others = [other for other in causes if other is not cause]
        if others and not _proven(_within(cause.mask, grow, _strata(others, everyone)), comparisons):
            causes = others
    return causes


def _score(group: int, grow: int, strata: list[int]) -> float:
    """How many standard deviations the growing hosts are more than chance would have; p is 0 for too many to choose by it."""
    excess = weight = 0.0
    for stratum in strata:
        a, b, c, d = _table(group, grow, stratum)
        total = a + b + c + d
        if total > 1:
            excess += a - (a + b) * (a + c) / total
            weight += (a + b) * (c + d) * (a + c) * (b + d) / (total * total * (total - 1.0))
    return excess / weight**0.5 if weight else 0.0


def _placed(found: Finding, causes: list[Group], known: dict[int, Group], striking: list[Finding], grow: int, everyone: int) -> Finding:
    """The finding with its kind, and its odds within the other causes."""
    others = [cause for cause in causes if cause.mask != found.group.mask]
    within = _within(found.group.mask, grow, _strata(others, everyone)) if others else None
    if found.group.mask in known:
        return found._replace(kind=CAUSE, within=within)
    if not causes or not any(found.group is other.group for other in striking):
        return found
    nearest = max(causes, key=lambda cause: abs(_likeness(cause.mask, found.group.mask, everyone)))
    rest = [cause for cause in causes if cause is not nearest]
    back = _within(nearest.mask, grow, _strata([*rest, found.group], everyone))
    kind = EXPLAINED if back is not None and back.odds.ratio >= RATIO and back.odds.p < ALPHA else INSEPARABLE
    return found._replace(kind=kind, within=within, by=nearest)


def _likeness(one: int, other: int, everyone: int) -> float:
    """How far two groups have the same hosts: the phi coefficient, 1 where they are the same."""
    a, b, c, d = _table(one, other, everyone)
    square = float(a + b) * (c + d) * (a + c) * (b + d)
    return float(a * d - b * c) / square**0.5 if square else 0.0
