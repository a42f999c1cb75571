"""Nagios ranges with units, refused rather than guessed where they are not plain.

nagiosplugin's Range takes '', '@', ' 5 ', other scripts' digits and 1_000, and knows no units; so every bound is read here first.
"""

from __future__ import annotations

import re

import nagiosplugin

from memtriage.record import NamedTuple

SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHARE = {"%": 1}
_ATOM = re.compile(r"(-?[0-9]{1,15}(?:\.[0-9]{1,6})?)([A-Za-z%]*)")


class Units(NamedTuple):
    """What bounds of one metric may be written in. ``bare`` is the unit of a bound without one."""

    allowed: dict[str, int]
    bare: str = ""
    most: int = 100
    """The largest share that makes sense, in per cent."""

    def kind(self, unit: str) -> str:
        """``%`` for shares, else the metric's own unit: the two are compared with different values."""
        return "%" if (unit or self.bare) == "%" else ""


COUNT = Units({})
PERCENT = Units(SHARE, "%")
BYTES = Units(SIZES, "B")
SHARE_OR_BYTES = Units({**SHARE, **SIZES}, "%")
COMMITTED = Units({**SHARE, **SIZES}, "%", 10000)
"""What was promised may be any multiple of what may be promised."""
SECONDS = Units(TIMES, "s")


class Threshold(NamedTuple):
    """A range in base units. ``kind`` is ``%`` where the bounds are shares; ``spec`` is what the user wrote."""

    range: nagiosplugin.Range
    kind: str
    spec: str

    def alarms(self, value: float) -> bool:
        """True where ``value`` lies outside (with ``@``: inside) the range; both ends belong to it."""
        return not self.range.match(value)


def parse(spec: str, units: Units = COUNT) -> Threshold:
    """Reads ``[@][start:][end]``; raises ``ValueError`` with a sentence for the user."""
    body = spec[1:] if spec.startswith("@") else spec
    first, colon, last = body.partition(":")
    if not colon:
        first, last = "0", first
    hint = " (a shell has expanded it: quote '~:N')" if spec.startswith("/") else ""
    wrong = f"'{spec}' is no range such as 10, 10:, ~:10, 10:20 or @10:20{hint}"
    if not first or not (last or colon) or ":" in last:
        raise ValueError(wrong)
    kinds: set[str] = set()
    ends: list[float] = []
    for atom in (first, last):
        if atom == "~" and atom is first:
            ends.append(float("-inf"))
        elif atom == "" and atom is last:
            ends.append(float("inf"))
        else:
            match = _ATOM.fullmatch(atom)
            if not match:
                raise ValueError(wrong)
            number, unit = match.groups()
            if unit and unit not in units.allowed:
                known = ", ".join(units.allowed) if units.allowed else "none"
                raise ValueError(f"unknown unit '{unit}' in '{spec}' (units here: {known})")
            if float(number):  # 0 is 0 in every unit
                kinds.add(units.kind(unit))
            ends.append(float(number) * units.allowed.get(unit or units.bare, 1))
    if ends[0] > ends[1]:
        raise ValueError(f"the start of '{spec}' is above its end")
    if len(kinds) > 1:
        raise ValueError(f"'{spec}' mixes per cent and other units")
    kind = kinds.pop() if kinds else units.kind("")
    if kind == "%" and any(units.most < end < float("inf") for end in ends):
        raise ValueError(f"'{spec}' asks for more than {units.most}%")
    text = ("@" if spec.startswith("@") else "") + _plain(ends[0], "~") + ":" + _plain(ends[1], "")
    return Threshold(nagiosplugin.Range(text), kind, spec)


def _plain(end: float, infinite: str) -> str:
    return infinite if abs(end) == float("inf") else fixed(end)


def fixed(value: float) -> str:
    """A number in fixed notation without needless zeros, as perfdata parsers want it: ``4.98``, ``12``, never ``1e-07``. Six decimals, as
    many as a bound may have: a limit that lost some would be another one (``0.001%:`` became ``0:``, which nothing falls below).
    """
    if isinstance(value, int) or value == int(value):
        return str(int(value))
    return ("%.6f" % value).rstrip("0").rstrip(".")


def perfdata(limit: Threshold | None, kind: str = "") -> str:
    """The range for a perfdata field whose metric is of ``kind``, or nothing.

    An upper bound becomes the plain number that Icinga 2 passes on to graphs; a lower bound keeps its colon, since the plain number
    would say the opposite to whoever judges the value by it.
    """
    if limit is None or limit.kind != kind:
        return ""
    low, high = limit.range.start, limit.range.end
    if low == float("-inf") and high == float("inf") and not limit.range.invert:
        return ""
    if low <= 0 and high != float("inf") and not limit.range.invert and low in (0, float("-inf")):
        return fixed(high)
    return ("@" if limit.range.invert else "") + _plain(low, "~") + ":" + _plain(high, "")


def check_order(warning: Threshold | None, critical: Threshold | None) -> None:
    """Raises ``ValueError`` where WARNING can never be seen because CRITICAL always comes first."""
    if warning is None or critical is None or warning.kind != critical.kind:
        return
    warn, crit = warning.range, critical.range
    if warn.invert or crit.invert or warn == crit or (warn.start, warn.end) == (float("-inf"), float("inf")):
        return  # "~:" is how to ask for no WARNING at all
    if warn.start <= crit.start and crit.end <= warn.end:
        raise ValueError(f"warning '{warning.spec}' can never be seen beside critical '{critical.spec}'")
