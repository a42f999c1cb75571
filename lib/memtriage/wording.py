"""Words and numbers for people: sizes, durations, shares, and names from the host made harmless.

What the host calls its processes, cgroups and caches is anyone's to choose, and ends in a monitoring system's status line, its web
page, its notification mail and the shell behind it.
"""

from __future__ import annotations

_UNITS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_FORBIDDEN = frozenset("|<>'\"`$&\\;~")
"""Beside all that is not printable ASCII: the bar, markup, quotes, and what Nagios strips from macros or rewrites."""


def size(count: float) -> str:
    """``2684354560`` -> ``2.50 GiB``: three significant digits, binary units, sign kept."""
    for factor, unit in _UNITS:
        if abs(count) >= factor:
            value = count / factor
            return "%.*f %s" % (2 if abs(value) < 10 else 1 if abs(value) < 100 else 0, value, unit)
    return "%d B" % count


def signed(count: float) -> str:
    """A size with its sign always written: a growth."""
    return ("+" if count >= 0 else "") + size(count)


def share(part: float, whole: float) -> str:
    """``part`` of ``whole`` in per cent: ``4.98%``, ``68.9%``; two decimals below 10, where limits lie."""
    value = 100.0 * part / whole if whole else 0.0
    return percent(value)


def percent(value: float) -> str:
    """A number of per cent with its sign, two decimals below 10."""
    return "%.*f%%" % (2 if abs(value) < 10 else 1, value)


def duration(seconds: float) -> str:
    """``5400`` -> ``1.5 h``."""
    return _in_unit(seconds, *_unit(seconds))


def durations(low: float, high: float) -> str:
    """A range, both ends in the unit of ``high``: ``8.2 h to 10.4 h``. Where both ends read the same, they are said once."""
    unit = _unit(high)
    first, last = _in_unit(low, *unit), _in_unit(high, *unit)
    return first if first == last else f"{first} to {last}"


def _unit(seconds: float) -> tuple[int, str]:
    for factor, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * factor or (unit == "h" and seconds >= factor):
            return factor, unit
    return 1, "s"


def _in_unit(seconds: float, factor: int, unit: str) -> str:
    return "%d s" % seconds if factor == 1 else "%.1f %s" % (seconds / factor, unit)


def clean(name: str, width: int = 48) -> str:
    """Makes a name from the host fit for a line: printable ASCII, no bar, quote or markup, at most ``width`` characters.

    Each character that may not stand is a question mark, so that the length still tells something; a longer name ends in two dots.
    """
    harmless = "".join(letter if " " <= letter <= "~" and letter not in _FORBIDDEN else "?" for letter in name[: width + 1])
    return harmless if len(harmless) <= width else harmless[: width - 2] + ".."


def clean_end(path: str, width: int = 48) -> str:
    """The same for a path, of which the end tells more: a longer one begins with two dots."""
    return clean(path, width) if len(path) <= width else ".." + clean(path[2 - width :], width)


def line(text: str) -> str:
    """The last gate before output: one line of printable ASCII without bar or markup, whatever was put into ``text``."""
    return "".join(letter if " " <= letter <= "~" and letter not in "|<>" else "?" for letter in text)


def label(name: str) -> str:
    """A perfdata label of ``name``: ``[a-z0-9_]`` only. Not unique by itself."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.lower())
