"""What the definitions are made of: each check with its own option table, how often it should run, and the exact lines it is run by."""

from __future__ import annotations

import shlex
from typing import NamedTuple

import memtriage
from memtriage import inprocess
from memtriage.options import Option, Usage, parse

CHECKS = ("check_free_mem", "check_slab_growth", "check_oom_kill", "check_mem_pressure", "check_mem_recorder", "check_proc_count")
"""In the order a reader meets them."""
SUDO = ("check_free_mem", "check_slab_growth", "check_oom_kill")
"""Those that name more as root: slab caches (/proc/slabinfo is root's), and victims where kernel.dmesg_restrict is 1."""
PLUGIN_DIR = "/usr/lib/nagios/plugins"
NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Refused(Exception):
    """What was asked for cannot be defined; the text says why."""


class Check(NamedTuple):
    """A check as its own module describes it."""

    name: str
    title: str
    about: str
    """The first sentence of its help: the question it answers."""
    options: tuple[Option, ...]

    @property
    def short(self) -> str:
        return self.name[len("check_") :]

    @property
    def arguments(self) -> list[Option]:
        """What an engine may pass: all but --help, --version and what is not for engines."""
        return [option for option in self.options if option.name not in ("help", "version", "output")]

    def variable(self, option: Option) -> str:
        """The custom variable of an engine that holds the value of ``option``."""
        return f"{self.short}_{option.name}"


class Pace(NamedTuple):
    """When an engine should ask, in seconds, and how many times it should ask before it tells a person."""

    service: str
    every: int
    retry: int
    attempts: int
    why: str


PACES = {
    "check_free_mem": Pace("memory", 60, 30, 3, "three looks before anybody is woken; a trend takes six samples"),
    "check_slab_growth": Pace("memory slab", 300, 60, 2, "growth takes an hour and more to prove: more looks prove nothing sooner"),
    "check_oom_kill": Pace("memory OOM kill", 60, 20, 1, "a kill is a fact: one look; --hold keeps it alarming, so not volatile"),
    "check_mem_pressure": Pace("memory pressure", 60, 30, 3, "judged by the kernel's own average of 60 s"),
    "check_mem_recorder": Pace("memory recorder", 60, 60, 2, "silent for three intervals is WARNING"),
    "check_proc_count": Pace("processes", 60, 30, 3, "a restart takes the processes away for a moment"),
}


class Line(NamedTuple):
    """One command line: ``words`` are the options of ``check``."""

    name: str
    check: Check
    words: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is a check's own line, without any option."""
        return self.name == self.check.name and not self.words


class Wanted(NamedTuple):
    """What the user asked for."""

    checks: list[Check]
    lines: list[Line]
    plugin_dir: str | None = None
    """``None`` where the engine's own constant for it shall be used."""
    prefix: str = "/usr/local"
    user: str = "nagios"
    group: str = "nagios"
    sudo: tuple[str, ...] = SUDO
    template: str = "generic-service"
    local: str | None = None
    """Nagios: the host that is this very one, so that its checks go without NRPE."""
    notifications: bool = False
    passive: bool = False
    """Also what takes results that the recorder sends by itself."""

    def path(self, check: Check) -> str:
        return f"{self.plugin_dir or PLUGIN_DIR}/{check.name}"

    def remote(self) -> list[Line]:
        """Lines that make a service by themselves: all but the count of all processes, which says little."""
        return [line for line in self.lines if not (line.plain and line.check.name == "check_proc_count")]


FRESH_S = 180
"""Without a passive result for so long a service says so: three heartbeats of memtriage record --passive."""
STALE = "no result from memtriage record --passive on this host for %d minutes: it does not run, or the network or the host is gone"


def check(name: str) -> Check:
    """Reads one check's own module. Raises :class:`Refused` where it cannot be found."""
    try:
        module = inprocess.load(name)
    except LookupError as error:
        raise Refused(str(error)) from None
    about = (module.__doc__ or "").strip().split("\n\n")[0]
    return Check(name, module.NAME, " ".join(about.split()), module.OPTIONS)


def lines(checks: list[Check], more: list[str]) -> list[Line]:
    """A line for each check, then those of ``more``, each ``NAME=CHECK OPTIONS``; one that has a check's name takes its place."""
    found = {item.name: Line(item.name, item) for item in checks}
    for text in more:
        line = _line(checks, text)
        found[line.name] = line
    return list(found.values())


def _line(checks: list[Check], text: str) -> Line:
    name, equals, rest = text.partition("=")
    name = name.strip()
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise Refused(f"'{text}': {error}") from None
    if not equals or not words or not name or not NAME_LETTERS.issuperset(name):
        raise Refused(f"'{text}' is not NAME=CHECK OPTIONS, such as check_httpd=check_proc_count -C httpd (NAME of A-Z a-z 0-9 _ -)")
    known = {item.name: item for item in checks}
    if words[0] in CHECKS and words[0] not in known:
        raise Refused(f"--add '{name}' needs '{words[0]}', which --checks leaves out")
    if words[0] not in known:
        raise Refused(f"'{words[0]}' is none of {', '.join(known)}")
    found = known[words[0]]
    if any(letter < " " or letter == "\x7f" for letter in rest):
        raise Refused(f"'{name}': control characters have no place in a definition")
    try:
        parse(found.title, found.about, found.options, words[1:])
    except Usage as usage:
        raise Refused(f"{found.name} would refuse this: {usage}") from None
    return Line(name, found, tuple(words[1:]))


def variables(line: Line) -> dict[str, str | bool]:
    """The options of a line as an engine's custom variables: text, or true for a switch."""
    known = {flag: option for option in line.check.options for flag in option.flags}
    values: dict[str, str | bool] = {}
    words = list(line.words)
    while words:  # as memtriage.options reads them; they have passed it
        word = words.pop(0)
        flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        option = known[flag]
        if not option.metavar:
            values[line.check.variable(option)] = True
            if equals:
                words.insert(0, "-" + value)
            continue
        values[line.check.variable(option)] = value if equals else words.pop(0)
    return values


def long_words(line: Line) -> list[str]:
    """The options of a line as Icinga 2 passes them: by their long names, in the order of these, each switch once."""
    values = variables(line)
    found: list[str] = []
    for option in sorted(line.check.arguments, key=lambda option: option.flags[-1]):
        text = values.get(line.check.variable(option))
        if text is not None:
            found += [option.flags[-1], text] if isinstance(text, str) else [option.flags[-1]]
    return found


def described(option: Option) -> str:
    """The help of an option with its default and the kind of its value, as engines show it."""
    text = option.about[:1].upper() + option.about[1:]
    kind = f" [{option.metavar}]" if option.metavar and option.metavar not in option.about else ""
    return text + (f" (default: {option.default})" if option.default is not None else "") + kind


def span(seconds: int) -> str:
    """``90`` is ``90s``, ``300`` is ``5m``: what Icinga 2 reads and people too."""
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


def made_by(target: str, mark: str) -> str:
    """The first lines of every definition, as a comment."""
    return (f"{mark} Made by memtriage {memtriage.__version__}: memtriage config {target}\n"
            f"{mark} Made anew at the next run, so put changes into a file of your own, or into the options of that command.\n")
