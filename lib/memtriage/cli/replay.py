"""What a check would have said at each moment of a recording: tune thresholds on your own past.

memtriage replay FILE -- check_free_mem -w 10%: -c 5%:

Prints each change of state with the check's own first line, then how long each state lasted, how many pages there would have been, and how
long before each OOM kill. It is the check itself that runs, with a memory of its own that is gone afterwards: the live one is not touched.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from types import FrameType
from typing import NoReturn

from memtriage import options as check_options
from memtriage.cli import Failure
from memtriage.recording import Recording, Unreadable

BEHIND = True
"""What stands behind ``--`` is for the check."""


def options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "memtriage replay FILE [options] -- CHECK [options of the check]"
    add = parser.add_argument
    add("recording", metavar="FILE", help="a recording, also one that is being written")
    add("--every", metavar="SPAN", type=_span, default=300.0, help="how often the check runs (default: 5m)")
    add("--compare", metavar="OPTIONS", help="the same check once more with these options, side by side: '-w 20%%: -c 10%%:'")
    add("--attempts", metavar="N", type=_attempts, default=1, help="a problem pages after so many runs in a row (default: 1)")
    add("--from", dest="start", metavar="TIME", help="begin there, such as 2026-05-12T03:04 (local), or seconds since 1970")
    add("--to", dest="end", metavar="TIME", help="end there")
    add("--json", action="store_true", help="the same as JSON, with a version (docs/replay.md)")


def _span(text: str) -> float:
    try:
        return check_options.seconds(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def _attempts(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 100 and len(text) <= 3):
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is no number of runs from 1 to 100")
    return int(text)


def run(args: argparse.Namespace) -> int:
    if not args.behind:
        raise Failure("which check? Give it behind two dashes: memtriage replay FILE -- check_free_mem -w 10%: -c 5%:")
    try:
        from memtriage.replay import run as replay  # noqa: PLC0415 - needs nagiosplugin, which other commands do not
        from memtriage.replay import words  # noqa: PLC0415 - as above
    except ImportError as error:
        raise Failure(f"a check needs {error.name}, which is not installed: pip install nagiosplugin") from None
    check, first = os.path.basename(args.behind[0]), args.behind[1:]
    try:
        variants = [first] if args.compare is None else [first, shlex.split(args.compare)]
    except ValueError as wrong:
        raise Failure(f"--compare: {wrong}") from None
    signal.signal(signal.SIGTERM, _ended)  # the folder of the check's memory is removed on the way out
    signal.signal(signal.SIGHUP, _ended)
    try:
        with Recording(args.recording) as recording:
            span = _time(args.start), _time(args.end)
            found = replay.over(recording, check, variants, args.every, span, args.attempts, _Progress().show)
    except Unreadable as why:
        raise Failure(str(why)) from None
    except LookupError as why:
        raise Failure(str(why.args[0])) from None
    except OSError as error:
        raise Failure(f"{error.filename or 'temporary folder'}: {error.strerror}: set TMPDIR to a folder with room") from None
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
    if args.json:
        json.dump(words.tree(check, found, args.every, args.attempts), sys.stdout, indent=1)
        sys.stdout.write("\n")
        return 0
    for row in words.lines(check, found, args.every, args.attempts):
        sys.stdout.write(row + "\n")
    return 0


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _time(text: str | None) -> float | None:
    from memtriage.explain import moment  # noqa: PLC0415 - few give one

    return None if text is None else moment.parse(text)


class _Progress:
    """For a person who waits: a bar on the terminal, drawn where it has grown."""

    def __init__(self) -> None:
        self.drawn = -1

    def show(self, share: float) -> None:
        if sys.stderr.isatty() and int(100 * share) != self.drawn:
            self.drawn = int(100 * share)
            sys.stderr.write(f"\r[{'#' * int(40 * share):<40}] {share:4.0%}")
