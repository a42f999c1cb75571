"""The ``memtriage`` command, one module per subcommand.

Such a module has ``options(parser)``, which adds its options to an :mod:`argparse` parser, and ``run(args)``, which returns the exit code.
One with ``BEHIND`` takes what stands behind ``--`` unread, as ``args.behind``.
Unlike the checks it speaks to a person: errors go to stderr, a usage error leaves with 2, ``--help`` with 0.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

import memtriage
from memtriage.cli.streams import Parser, complain, forget, ready, reason
from memtriage.wording import line

COMMANDS: dict[str, str] = {
    "explain": "where all the memory is, and who is to blame",
    "plot": "a picture of a recording, a state file or a plain log, with the culprit named",
    "record": "the flight recorder: goes on when nothing else can run",
    "replay": "what a check would have said at each moment of a recording",
    "evidence": "a bundle of what a kernel maintainer asks for, private by default",
    "simulate": "makes a bounded memory leak of a known kind, and undoes it",
    "saturate": "makes a web server use all its workers at once: does it survive its own limit?",
    "config": "definitions for NRPE, Nagios, Icinga 2, its Director, sudo, systemd and dashboards",
    "fleet": "is it the kernel or is it us? The same question over all hosts of an Icinga 2",
}
"""Each subcommand and what it does. The module is loaded only when it is asked for."""


class Failure(Exception):
    """What was asked for cannot be done; the text says why and what to do. Leaves with 1."""


def growth_options(parser: argparse.ArgumentParser) -> None:
    """--window and --warmup, with the checks' defaults."""
    for name, default in (("window", 4 * 3600.0), ("warmup", 3600.0)):
        parser.add_argument(f"--{name}", metavar="SECONDS", type=_span, default=default, help="as the checks' option of that name")


def _span(text: str) -> float:
    from memtriage import options  # noqa: PLC0415 - most commands need none

    try:
        return options.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def subcommand(name: str) -> tuple[Any, argparse.ArgumentParser]:
    """The module of one subcommand, and its options."""
    module = importlib.import_module(f"memtriage.cli.{name}")
    parser = Parser(prog=f"memtriage {name}", description=module.__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    module.options(parser)
    return module, parser


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand. Returns the exit code, except after ``--help`` and usage errors, where argparse leaves itself."""
    ready()
    said = "memtriage"
    words = sys.argv[1:] if argv is None else argv
    first = Parser(
        prog="memtriage", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        description="What is eating this host's memory, and when will it be gone?\n\n"
        + "\n".join(f"  {name:<12} {what}" for name, what in COMMANDS.items()),
        epilog="memtriage COMMAND --help tells more.")
    first.add_argument("-V", "--version", action="version", version=f"memtriage {memtriage.__version__}")
    first.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    try:
        try:
            name = first.parse_args(words[:1]).command
            said = f"memtriage {name}"
            return _run(name, words)
        finally:
            sys.stdout.flush()  # a full disk behind it is met here, after --help too, and not in Python's own exit
    except Failure as failure:
        complain(f"{said}: {line(str(failure))}\n")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # head(1) has seen enough
        forget(1)
    except OSError as error:  # such as a full disk behind stdout
        complain(f"{said}: {line(reason(error))}\n")
        forget(1)
    return 1


def _run(name: str, words: list[str]) -> int:
    module, parser = subcommand(name)
    end = words.index("--") if "--" in words and hasattr(module, "BEHIND") else len(words)
    args = parser.parse_args(words[1:end])
    args.behind = words[end + 1 :]
    code: int = module.run(args)
    return code
