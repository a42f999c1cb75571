"""Where all the memory is, and who is to blame.

Answers in one screen: is memory short, which kind, is it the processes, is it the kernel, which structure, until when. Then the
ledger: every byte of MemTotal in one part, with its share, its growth where checks have remembered, and its source.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile

from memtriage import exhaustion, recorded
from memtriage import options as check_options
from memtriage.cli import Failure, growth_options
from memtriage.explain import answer as answers
from memtriage.explain import deep, schema, screen
from memtriage.procfs import files


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the same as JSON, with a version (docs/explain.md)")
    parser.add_argument("--all", action="store_true", help="every line of the ledger, however long that gets")
    parser.add_argument("--deep", action="store_true", help="look at every page of memory (root, some seconds): tells what drivers took")
    parser.add_argument("--no-pss", action="store_true", help="do not divide shared pages among their users: much faster")
    parser.add_argument("--workers", metavar="NAME=N", help="would N workers of that name fit? auto: as running servers are configured")
    parser.add_argument("--process", metavar="PID|NAME", help="what one process, or each of that name, is and holds")
    parser.add_argument("--from", dest="recording", metavar="FILE", help="a moment of this recording instead of the live host")
    parser.add_argument("--at", metavar="TIME", help="with --from: the sample of that time, such as 2026-05-12T03:04 (default: the newest)")
    growth_options(parser)
    parser.add_argument("--procfs", metavar="DIR", default="/proc", help="a captured tree instead of /proc")
    parser.add_argument("--sysfs", metavar="DIR", help="the same for /sys (a captured tree's own is found by itself)")
    parser.add_argument("--state-dir", metavar="DIR", help="where the checks remember (as their option)")


def run(args: argparse.Namespace) -> int:
    if args.process is not None:
        from memtriage.explain import process  # noqa: PLC0415 - psutil only where one process is asked about

        try:
            sys.stdout.write(process.text(args.process))
        except LookupError as error:
            raise Failure(str(error.args[0])) from None
        return 0
    sysfs = args.sysfs or check_options.sysfs_of(args.procfs)
    if args.workers is not None:
        from memtriage.explain import fit  # noqa: PLC0415 - a question of its own

        try:
            sys.stdout.write(fit.text(args.procfs, sysfs, args.workers))
        except LookupError as error:
            raise Failure(str(error.args[0])) from None
        except files.ProcfsError as error:
            raise Failure(f"{error.path}: {error.reason}") from None
        return 0
    if args.at is not None and args.recording is None:
        raise Failure("--at asks for a moment of a recording: give --from FILE")
    rules = answers.RULES._replace(window=args.window, warmup=args.warmup)
    try:
        if args.recording is not None:
            found = _recorded(args.recording, args.at, rules)
        else:
            found = answers.find(args.procfs, sysfs, args.state_dir, not args.no_pss, rules=rules, thorough=args.all)
        pages = deep.count(args.procfs, found.now.page, found.now.memory.book, _progress) if args.deep and args.recording is None else None
    except LookupError as error:
        raise Failure(str(error.args[0])) from None
    except files.ProcfsError as error:
        raise Failure(f"{error.path}: {error.reason}") from None
    finally:
        if args.deep and sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
    if args.json:
        json.dump(schema.tree(found, pages), sys.stdout, indent=1)
        sys.stdout.write("\n")
        return 0
    for row in screen.lines(found, pages, args.all):
        sys.stdout.write(_coloured(row) + "\n")
    return 0


def _recorded(path: str, at: str | None, rules: exhaustion.Rules) -> answers.Answer:
    from memtriage.explain import moment  # noqa: PLC0415 - few ask for the past

    with tempfile.TemporaryDirectory(dir=recorded.room()) as folder:
        proc, sysfs, past = moment.tree(path, None if at is None else moment.parse(at), folder)
        return answers.find(proc, sysfs, exact=False, given=past, rules=rules)


def _progress(share: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rcounting pages [{'#' * int(40 * share):<40}] {share:4.0%}")


def _coloured(row: str) -> str:
    """The culprit's line in red, for a person at a terminal."""
    loud = ("Which, then?", "Out of memory? Yes", "Which, then?   Culprit")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ and row.startswith(loud):
        return f"\033[1m{row}\033[0m"
    return row
