"""What kernel developers ask for before they have an opinion, in one file, with nothing private in it unless asked.

  memtriage evidence -o bundle.tar.gz                                  this host, now, and what checks have remembered
  memtriage evidence /var/log/memtriage/recording -o bundle.tar.gz     a recording
  memtriage evidence FILE --to '2026-05-12 03:10' -o bundle.tar.gz     of it what was before that moment (UTC, as all times in the bundle)

Names of hosts and users, addresses, command lines and paths are replaced, each by the same word everywhere; names of programs stay.
The list of what is inside is shown; look at it before you send it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

from memtriage import recorded, wholefile
from memtriage.cli import Failure, growth_options
from memtriage.explain import moment
from memtriage.procfs import files
from memtriage.report import bundle, case, evidence, verdict
from memtriage.report.private import CLASSES, Private


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("recording", nargs="?", metavar="FILE", help="a recording (default: the live host)")
    add("-o", "--output", metavar="BUNDLE", help="the file to write, such as bundle.tar.gz")
    add("--from", dest="start", metavar="TIME", help="of a recording, begin there, such as 2026-05-12T03:04 (UTC), or seconds since 1970")
    add("--to", dest="end", metavar="TIME", help="end there")
    add("--list", action="store_true", help="only show what would be inside")
    add("--include", metavar="KINDS", type=_kinds, default=(), help=f"leave these as they are: {','.join(CLASSES)}")
    add("--hide", metavar="WORD", action="append", default=[], help="replace this word too, such as a customer's name; may be repeated")
    add("--force", action="store_true", help="replace a file of that name")
    growth_options(parser)
    parser.set_defaults(warmup=None)  # not asked for: the checks' hour, less where the history begins soon after the boot
    add("--state-dir", metavar="DIR", help="where the checks remember (as their option)")


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(word for word in text.split(",") if word)
    for word in kinds:
        if word not in CLASSES:
            raise argparse.ArgumentTypeError(f"'{word[:20]}' is none of {', '.join(CLASSES)}")
    return kinds


def run(args: argparse.Namespace) -> int:
    if args.output is None and not args.list:
        raise Failure("give the file to write: -o bundle.tar.gz (or --list to see what would be in it)")
    if args.output is not None and not args.list and os.path.lexists(args.output) and not args.force:
        raise Failure(f"{args.output} exists: give another name, or --force")
    os.environ["TZ"] = "UTC"  # in the picture, too: a time zone tells where a host is
    time.tzset()
    if args.recording is None and (args.start is not None or args.end is not None):
        raise Failure("--from and --to ask for a part of a recording: give FILE")
    hosts, users = case.names()
    private = Private(args.include, hosts, users, args.hide)
    asked = verdict.Asked(args.window, args.warmup)
    try:
        with tempfile.TemporaryDirectory(prefix="memtriage-evidence-", dir=recorded.room()) as folder:
            span = case.Span(*(None if text is None else moment.parse(text) for text in (args.start, args.end)))
            if args.recording is not None:
                found = case.of_recording(args.recording, private, folder, asked, span)
            else:
                found = case.of_live(private, folder, args.state_dir, asked)
            made = evidence.build(found, private, args.recording, span, asked)
    except LookupError as error:
        raise Failure(str(error.args[0])) from None
    except files.ProcfsError as error:
        raise Failure(f"{error.path}: {error.reason}") from None
    except OSError as error:
        raise Failure(f"{error.filename or 'temporary folder'}: {error.strerror}") from None
    for row in made.listing():
        sys.stdout.write(row + "\n")
    if args.list:
        return 0
    data = bundle.packed((item.name, item.data) for item in made.items)
    try:
        wholefile.write(args.output, data, 0o600, args.force)
    except OSError as error:
        raise Failure(f"{args.output}: {error.strerror}") from None
    sys.stdout.write(f"{args.output}: {len(data)} bytes, readable by you alone. Read report.txt in it before you send it.\n")
    return 0
