"""Makes a bounded memory leak of a known kind, and undoes it: to see the alarm ring, and the right culprit in it.

Growth is paced, a safe reserve of memory is always left, and everything is undone at the end, on Ctrl-C, on any error and when
this command is killed. No kernel module is needed.

  memtriage simulate --list
  memtriage simulate slab --rate 64MiB/h --limit 512MiB --duration 8h
  memtriage simulate copytree LISTING    a tree of files like the one that find -printf listed
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType
from typing import Any, Callable

from memtriage import quantity
from memtriage.cli import Failure
from memtriage.procfs import files, osrelease, slabinfo
from memtriage.simulate import copytree, kinds, listing, runner
from memtriage.simulate.place import Refused
from memtriage.simulate.screen import Screen
from memtriage.wording import clean


def checked(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type whose own words reach the user."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", choices=("slab", "copytree", *kinds.KINDS),
                        help="a kind of --list; slab is the first of " + ", ".join(kinds.CHOICE) + " that this kernel counts; or copytree")
    parser.add_argument("listing", nargs="?", metavar="LISTING", help="with copytree: what find -printf wrote, - for standard input")
    parser.add_argument("--list", action="store_true",
                        help="the kinds: default size, part of the ledger, rights needed, caches expected on this kernel")
    parser.add_argument("--rate", type=checked(quantity.rate), help="such as 1MiB/s or 64MiB/h (default: 1MiB/s; copytree: 64MiB/s)")
    parser.add_argument("--limit", type=checked(quantity.size), metavar="SIZE",
                        help="the size to reach (default: a prime number of MiB, another one for each kind; copytree: at most 251MiB)")
    parser.add_argument("--duration", type=checked(quantity.seconds), metavar="TIME",
                        help="from the start to the undoing (default: 10m; copytree: until the copy is made)")
    parser.add_argument("--folder", default="", metavar="DIR", help="where temporary folders are made (default: $TMPDIR or /tmp)")
    parser.add_argument("--format", default=listing.FORMAT, metavar="FORMAT",
                        help="with copytree: the format that find -printf was given (default: " + listing.FORMAT.replace("%", "%%") + ")")


def run(args: argparse.Namespace) -> int:
    if args.list:
        sys.stdout.write(table())
        return 0
    if args.kind is None:
        raise Failure("which kind? --list names them")
    if (args.kind == "copytree") != (args.listing is not None):
        raise Failure("copytree needs a LISTING, and only copytree takes one")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    screen = Screen()
    try:
        if args.kind == "copytree":
            wish = copytree.Wish(args.rate or 64 * quantity.MIB, args.limit or copytree.LIMIT, args.duration, args.folder)
            copytree.run(args.listing, args.format, wish, screen)
        else:
            runner.run(args.kind, runner.Wish(args.rate or float(quantity.MIB), args.limit, args.duration or 600.0, args.folder), screen)
    except Refused as refusal:
        screen.say("undone")
        raise Failure(str(refusal)) from None
    except files.ProcfsError as error:
        raise Failure(str(error)) from None
    except KeyboardInterrupt:
        screen.say("interrupted: undone")
        raise
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def table() -> str:
    """The table of kinds for this kernel."""
    try:
        shown = frozenset(cache.name for cache in slabinfo.read().caches)
    except files.ProcfsError:
        shown = frozenset()
    try:
        release = clean(osrelease.read().text)
    except files.ProcfsError:
        release = os.uname().release
    lines = [f"Kinds, with the slab caches expected on this kernel ({release}):", ""]
    for kind in kinds.KINDS.values():
        lines += [f"{kind.name:<13} {kind.about} (default size {kind.mib} MiB)",
                  f"{'':<13} grows: {' + '.join(kind.parts)}" + (f"; with it some {', '.join(kind.also)}" if kind.also else ""),
                  f"{'':<13} rights: {kind.rights}",
                  f"{'':<13} caches: {kinds.expected_caches(kind, '/sys', shown)}"]
    lines += [f"{'slab':<13} the first of {', '.join(kinds.CHOICE)} that this kernel counts as unreclaimable slab",
              f"{'copytree':<13} a tree of files from what find -printf wrote, made and copied: page cache and reclaimable slab",
              f"{'':<13} rights: none"]
    return "\n".join(lines) + "\n"
