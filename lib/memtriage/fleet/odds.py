"""Counts to odds: how much more often does something happen to these than to the others, and could that be chance?

Tables are 2 x 2: ``a`` of the group grow, ``b`` of it do not, ``c`` and ``d`` the same of all others. Sources: Fisher 1922 (exact test),
Woolf 1955 with Haldane's and Anscombe's half (interval), Mantel and Haenszel 1959, Robins, Breslow and Greenland 1986 (strata),
Birch 1964 (exact test over strata), Holm 1979 (many comparisons).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import erfc, exp, lgamma, log, sqrt

from memtriage.record import NamedTuple

Z = 1.959964
"""Of a 95 % interval."""
FEW = 100.0
"""Variance of a count over strata up to which its chance is counted out; the normal distribution's tail is far too thin for a few hosts."""


class Table(NamedTuple):
    a: int
    b: int
    c: int
    d: int


class Odds(NamedTuple):
    """The ratio of the odds with its 95 % interval, and how likely so much or more is by chance (two-sided)."""

    ratio: float
    low: float
    high: float
    p: float


def of(table: Table) -> Odds:
    """Woolf's interval with half a host added to each cell, so that it exists where a cell is empty; Fisher's exact test."""
    a, b, c, d = (cell + 0.5 for cell in table)
    middle, wide = log(a * d / (b * c)), Z * sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return Odds(exp(middle), exp(middle - wide), exp(middle + wide), min(1.0, 2 * tail(table)))


def tail(table: Table) -> float:
    """The chance of the table or one further from even on its side (Fisher's exact test, one-sided), margins kept."""
    a, b, c, d = table
    if a * d < b * c:
        a, b, c, d = b, a, d, c
    # log of the hypergeometric probability of the table itself; then each further one by its ratio to the one before.
    total = a + b + c + d
    first = _choose(a + b, a) + _choose(c + d, c) - _choose(total, a + c)
    share = summed = 1.0
    while b and c and share > 1e-17 * summed:
        share *= b * c / ((a + 1) * (d + 1))
        a, b, c, d = a + 1, b - 1, c - 1, d + 1
        summed += share
    return min(1.0, exp(min(0.0, first + log(summed))))


def _choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


class Stratified(NamedTuple):
    """The odds within strata. ``weight`` is the variance of the count over all strata: how much there is to tell the two apart by."""

    odds: Odds
    weight: float


def stratified(tables: Iterable[Table]) -> Stratified | None:
    """Mantel and Haenszel's common odds ratio and its interval; the chance is the exact one over all strata, two-sided, and above
    :data:`FEW` that of their test (with continuity correction). ``None`` where no stratum has both kinds of hosts and both outcomes, so
    that nothing can be told."""
    telling = []
    excess = weight = up = down = pr = ps_qr = qs = 0.0
    for a, b, c, d in tables:
        total = a + b + c + d
        if total < 2 or 0 in (a + b, c + d, a + c, b + d):
            continue
        telling.append(Table(a, b, c, d))
        excess += a - (a + b) * (a + c) / total
        weight += (a + b) * (c + d) * (a + c) * (b + d) / (total * total * (total - 1.0))
        r, s, p, q = a * d / total, b * c / total, (a + d) / total, (b + c) / total
        up, down = up + r, down + s
        pr, ps_qr, qs = pr + p * r, ps_qr + p * s + q * r, qs + q * s
    if not weight:
        return None
    chance = erfc(max(0.0, abs(excess) - 0.5) / sqrt(2 * weight)) if weight > FEW else _exact(telling)
    if not up or not down:
        return Stratified(Odds(0.0 if not up else float("inf"), 0.0, float("inf"), chance), weight)
    wide = Z * sqrt(pr / (2 * up * up) + ps_qr / (2 * up * down) + qs / (2 * down * down))
    middle = log(up / down)
    return Stratified(Odds(exp(middle), exp(middle - wide), exp(middle + wide), chance), weight)


def _exact(tables: list[Table]) -> float:
    """The chance of as many growing hosts in the groups of all strata together, or of more (or of fewer: the smaller one, doubled)."""
    first, shares = 0, [1.0]
    for table in tables:
        low, ways = _shares(table)
        first += low
        summed = [0.0] * (len(shares) + len(ways) - 1)
        for place, share in enumerate(shares):
            for more, way in enumerate(ways):
                summed[place + more] += share * way
        shares = summed
    place = max(0, sum(table.a for table in tables) - first)
    return min(1.0, 2 * min(sum(shares[: place + 1]), sum(shares[place:])))


def _shares(table: Table) -> tuple[int, list[float]]:
    """The hypergeometric distribution of ``a`` from its lowest value on, without the ends that never come."""
    inside, outside, grow = table.a + table.b, table.c + table.d, table.a + table.c
    middle = (inside + 1) * (grow + 1) // (inside + outside + 2)
    found = {middle: 1.0}
    share, k = 1.0, middle
    while k < min(inside, grow) and share > 1e-25:
        share *= (inside - k) * (grow - k) / ((k + 1.0) * (outside - grow + k + 1))
        k += 1
        found[k] = share
    share, k = 1.0, middle
    while k > max(0, grow - outside) and share > 1e-25:
        share *= k * (outside - grow + k) / ((inside - k + 1.0) * (grow - k + 1))
        k -= 1
        found[k] = share
    whole = sum(found.values())
    return min(found), [found[k] / whole for k in sorted(found)]


def holm(chances: Sequence[float]) -> list[float]:
    """Each chance after as many comparisons as there are, in the same order."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    found, least = [0.0] * len(chances), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, chances[place] * (len(chances) - rank)))
        found[place] = least
    return found
