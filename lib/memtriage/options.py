"""The option table of a check: one description that serves the parser, ``--help``, the pages in docs/ and the engines' definitions."""

from __future__ import annotations

import os

from memtriage import __version__, threshold
from memtriage.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Callable

    Namespace = dict[str, Any]
else:
    Namespace = dict


class Usage(Exception):
    """The command line cannot be used, or asks for help; then ``help`` holds the text."""

    help = ""


class Option(NamedTuple):
    """One option. ``flags`` as typed, ``metavar`` empty for a switch, ``default`` as the user would write it."""

    flags: tuple[str, ...]
    about: str
    metavar: str = ""
    default: str | None = None
    convert: Callable[[str], Any] = str
    """Turns the text into the value; raises ``ValueError`` with a sentence for the user."""

    @property
    def name(self) -> str:
        return self.flags[-1].lstrip("-").replace("-", "_")


def pair(prefix: str, about: str, units: threshold.Units, warning: str | None = None, critical: str | None = None) -> tuple[Option, Option]:
    """The two options ``--PREFIX-warning`` and ``--PREFIX-critical``; for the main metric ``prefix`` is empty and ``-w``, ``-c`` exist."""
    dash = prefix + "-" if prefix else ""
    both = []
    for word, default in (("warning", warning), ("critical", critical)):
        flags = (f"--{dash}{word}",) if prefix else (f"-{word[0]}", f"--{word}")
        both.append(Option(flags, f"{word.upper()} where {about} is outside RANGE", "RANGE", default,
                           lambda text: threshold.parse(text, units)))
    return both[0], both[1]


def seconds(text: str) -> float:
    """A time span such as ``10``, ``1.5h`` or ``30m``, above 0 and at most 366 days."""
    try:
        value = threshold.parse(text, threshold.SECONDS).range.end
    except ValueError:
        value = 0
    if ":" in text or not 0 < value <= 366 * 86400:
        raise ValueError(f"'{text}' is no time span such as 10, 30m or 4h")
    return float(value)


def folder(text: str) -> str:
    """An existing folder, or one to be made."""
    if not text or "\0" in text:
        raise ValueError("an empty folder name")
    return text


def path(text: str) -> str:
    """The name of a file or a cgroup, which need not exist."""
    if not text or "\0" in text:
        raise ValueError("an empty name")
    return text


def form(text: str) -> str:
    """``nagios``, ``prometheus`` or ``prometheus:NAME``."""
    kind, colon, name = text.partition(":")
    named = not colon or (name.isascii() and name.replace("_", "a").isalnum())
    if text == "nagios" or (kind == "prometheus" and named):
        return text
    raise ValueError(f"'{text}' is none of nagios, prometheus, prometheus:NAME (NAME of A-Z a-z 0-9 _)")


_FIRST = (
    Option(("-t", "--timeout"), "give up after so long: UNKNOWN", "SECONDS", "10", seconds),
    Option(("-v", "--verbose"), "more long output; may be repeated"),
    Option(("--procfs",), "read this captured tree instead of /proc", "DIR", "/proc", folder),
    Option(("--sysfs",), "the same for /sys (a captured tree's own sys folder is found by itself)", "DIR", None, folder),
)
_LAST = (
    Option(("--no-perfdata",), "leave perfdata out"),
    Option(("--short",), "at most 1,000 bytes of output, for NRPE version 2"),
    Option(("--output",), "nagios, or prometheus: metrics for the node exporter's textfile folder, exit 0 in every state; "
           "prometheus:NAME where a host runs this check more than once", "FORMAT", "nagios", form),
    Option(("--ok-if-unsupported",), "OK instead of UNKNOWN where this kernel lacks the source"),
    Option(("-h", "--help"), "this text"),
    Option(("-V", "--version"), "the version"),
)
STATE_DIR = Option(("--state-dir",), "where to remember earlier runs (default: $MEMTRIAGE_STATE_DIR, /var/lib/memtriage where writable, "
                   "else ~/.local/state/memtriage)", "DIR", None, folder)


def count(text: str) -> int:
    """A whole number from 3 to 1000: fewer samples than three are no trend."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 3 <= int(text) <= 1000):
        raise ValueError(f"'{text}' is no number of samples from 3 to 1000")
    return int(text)


TREND = (
    *pair("eta", "the time to exhaustion, said only of a proven trend,", threshold.SECONDS, "72h:", "8h:"),
    Option(("--window",), "how far back a growth per hour reaches; a trend takes a quarter of it at least", "SECONDS", "4h", seconds),
    Option(("--warmup",), "no trend from samples of so long after boot", "SECONDS", "1h", seconds),
    Option(("--min-samples",), "no trend from fewer", "N", "6", count),
    STATE_DIR,
)
"""What checks that tell the time to exhaustion have in common."""


def complete(own: tuple[Option, ...]) -> tuple[Option, ...]:
    """A check's own options between those that every check has."""
    return own + _FIRST + _LAST


def parse(name: str, about: str, table: tuple[Option, ...], argv: list[str]) -> Namespace:
    """Reads ``argv`` strictly: no abbreviation, no unknown option, no stray word. Raises :class:`Usage`.

    Not argparse, which takes ``-w -5:5`` for an option without a value, and whose first parser costs 2.5 ms, translations included.
    """
    found = _words(table, argv)
    for wanted, text in (("help", help_text(name, about, table)), ("version", f"check_{name.lower()} {__version__}\n")):
        if found[wanted]:
            usage = Usage(wanted)
            usage.help = text
            raise usage
    values: Namespace = {}
    for option in table:
        value = found[option.name]
        if option.metavar and value is not None:
            try:
                value = option.convert(value)
            except ValueError as error:
                raise Usage(f"{option.flags[-1]}: {error}") from None
        values[option.name] = value
    for option in table:
        if option.name.endswith("warning"):
            _ordered(option, values)
    values["sysfs"] = values["sysfs"] or sysfs_of(values["procfs"])
    return values


def _words(table: tuple[Option, ...], argv: list[str]) -> Namespace:
    """Each option's text as given last (or its default), and for switches how often they were given."""
    known = {flag: option for option in table for flag in option.flags}
    found: Namespace = {option.name: option.default if option.metavar else 0 for option in table}
    words = list(argv)
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        option = known.get(flag)
        if option is None:
            raise Usage(f"unknown option {word}" if word.startswith("-") else f"stray word {word}")
        if not option.metavar:
            if equals and word.startswith("--"):
                raise Usage(f"{flag} takes no value")
            found[option.name] += 1
            if equals:  # -vv
                words.insert(0, "-" + value)
            continue
        if not equals:
            if not words:
                raise Usage(f"{flag} needs a value: {option.metavar}")
            value = words.pop(0)
        found[option.name] = value
    return found


def _ordered(option: Option, values: Namespace) -> None:
    pair = values[option.name], values[option.name.replace("warning", "critical")]
    if any(isinstance(limit, str) for limit in pair):
        return  # the check reads them itself, once it knows the metric and so the units
    try:
        threshold.check_order(*pair)
    except ValueError as error:
        raise Usage(f"{option.flags[-1]}: {error}") from None


def sysfs_of(procfs: str) -> str:
    """The /sys that goes with a /proc. A captured /proc is never completed from the live /sys of another machine."""
    return "/sys" if os.path.abspath(procfs) == "/proc" else os.path.join(procfs, os.pardir, "sys")


def help_text(name: str, about: str, table: tuple[Option, ...]) -> str:
    """The same text on every Python: argparse's own differs from version to version, and docs/ holds this one."""
    lines = [f"Usage: check_{name.lower()} [options]", "", *about.strip().splitlines(), ""]
    for option in table:
        left = "  " + ", ".join(option.flags) + (" " + option.metavar if option.metavar else "")
        words = option.about + (f" (default: {option.default})" if option.default is not None else "")
        rows = _wrap(words, 52)
        if len(left) > 24:
            lines.append(left)
            left = ""
        lines.append(f"{left:<26}{rows[0]}")
        lines += [" " * 26 + row for row in rows[1:]]
    lines += ["", "RANGE is a Nagios range: 10, 10:, ~:10, 10:20, @10:20; ends belong to it.",
              "Exit: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."]
    return "\n".join(lines) + "\n"


def _wrap(text: str, width: int) -> list[str]:
    rows = [""]
    for word in text.split():
        if rows[-1] and len(rows[-1]) + 1 + len(word) > width:
            rows.append("")
        rows[-1] += (" " if rows[-1] else "") + word
    return rows
