"""The commands as argparse parsers, for what makes manual pages and completions of such; at build time only, no command uses these.

The checks have option tables of their own (:mod:`memtriage.options`), and the command loads a subcommand only when it is asked for.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from memtriage import cli
from memtriage.options import Option


class Parser(argparse.ArgumentParser):
    """A parser that also knows its line for NAME."""

    man_short_description: str


def check(name: str) -> Parser:
    """The parser of a check, from its table."""
    module = importlib.import_module(f"memtriage.checks.{name}")
    paragraphs = [" ".join(part.split()) for part in (module.__doc__ or name).split("\n\n")]
    parser = Parser(prog=name, description="\n\n".join(paragraphs), add_help=False, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.man_short_description = paragraphs[0].rstrip("?.")
    for option in module.OPTIONS:
        _add(parser, option)
    return parser


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    words = option.about + (f" (default: {option.default})" if option.default is not None else "")
    more: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"action": "store_true"}
    _completed(parser.add_argument(*option.flags, help=words.replace("%", "%%"), **more))


# shtab's own functions, each within the script it makes.
_PATHS = {"FILE": {"bash": "_shtab_compgen_files", "zsh": "_files"}, "DIR": {"bash": "_shtab_compgen_dirs", "zsh": "_files -/"}}


def _completed(action: argparse.Action) -> None:
    if isinstance(action.choices, dict) and not isinstance(action, argparse._SubParsersAction):
        action.choices = list(action.choices)  # shtab takes a positional's dict for subcommands
    if action.nargs != 0 and action.metavar in _PATHS:
        action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]


def subcommand(name: str, prog: str | None = None) -> Parser:
    """The parser of ``memtriage NAME``, with the name in one word that man(1) expects."""
    module = importlib.import_module(f"memtriage.cli.{name}")
    parser = Parser(prog=prog or f"memtriage-{name}", description=module.__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.man_short_description = cli.COMMANDS[name]
    module.options(parser)
    return parser


def command() -> Parser:
    """The parser of ``memtriage`` with all its subcommands in it."""
    first = Parser(prog="memtriage", description="What is eating this host's memory, and when will it be gone?", allow_abbrev=False)
    first.man_short_description = "what is eating this host's memory, and when will it be gone"
    first.add_argument("-V", "--version", action="store_true", help="the version")
    below = first.add_subparsers(dest="command", metavar="COMMAND")
    for name, what in cli.COMMANDS.items():
        inner = below.add_parser(name, help=what, description=what, allow_abbrev=False)
        importlib.import_module(f"memtriage.cli.{name}").options(inner)
    for parser in (first, *below.choices.values()):
        for action in parser._actions:
            _completed(action)
    return first


def front() -> Parser:
    """The parser of ``memtriage`` without what belongs to the subcommands, which have pages of their own."""
    rows = "\n".join(f"  {name:<12} {what}" for name, what in cli.COMMANDS.items())
    parser = Parser(prog="memtriage", usage="memtriage [-h] [-V] COMMAND [OPTION]...", allow_abbrev=False,
                    description=f"What is eating this host's memory, and when will it be gone?\n\n{rows}",
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.man_short_description = "what is eating this host's memory, and when will it be gone"
    parser.add_argument("-V", "--version", action="store_true", help="the version")
    return parser
