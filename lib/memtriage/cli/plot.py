"""One picture that settles the argument: memory over time by who holds it, the culprit named on it, and when memory will be gone.

  memtriage plot /var/log/memtriage/recording -o out.png
  memtriage plot recording.old recording -o out.svg --from '2026-05-12 02:00' --to '2026-05-12 04:00'
  memtriage plot memory.log -o out.html

FILE is a recording of `memtriage record` (one being written, too), a check's state file (memory.json), or the plain log of
`while true; do date; free; ps aux; cat /proc/slabinfo; echo ----; sleep 1; done`. Several are of one host and joined in time.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Callable

from memtriage import wholefile
from memtriage.cli import Failure, growth_options
from memtriage.explain import moment
from memtriage.report import compose, inputs, verdict
from memtriage.report.history import Unusable
from memtriage.report.picture import Picture

INSTALL = "drawing needs matplotlib: pip install 'memtriage[report]' (Debian: apt install python3-matplotlib); -o out.html does without"


def _width(text: str) -> int:
    if not text.isdigit() or not 300 <= int(text) <= 6000:
        raise argparse.ArgumentTypeError(f"'{text}' is no width in pixels from 300 to 6000")
    return int(text)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording, a state file or a plain log")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="out.png, out.svg or out.html; an older one is replaced")
    parser.add_argument("--from", dest="start", metavar="TIME", help="such as 2026-05-12T03:04 (local) or seconds since 1970")
    parser.add_argument("--to", dest="end", metavar="TIME", help="the same for the end")
    growth_options(parser)
    parser.set_defaults(warmup=None)  # not asked for: less than the checks' hour where the history begins soon after the boot
    parser.add_argument("--width", type=_width, default=1200, metavar="PIXELS", help="of png and svg (default: 1200)")
    parser.add_argument("--title", metavar="TEXT", help="instead of the verdict")
    parser.add_argument("--host", default="", metavar="NAME", help="the host's name, to be shown; no file holds it")


def run(args: argparse.Namespace) -> int:
    kind = args.output.rpartition(".")[2].lower()
    if kind not in ("png", "svg", "html"):
        raise Failure(f"{args.output}: the name must end in .png, .svg or .html")
    render = _drawing(kind, args.width)
    try:
        start, end = (None if text is None else moment.parse(text) for text in (args.start, args.end))
        history = inputs.read(args.files, start, end, _progress)
        _progress("judging", 0.8)
        picture = compose.picture(history, args.host, args.title, kind == "html", verdict.Asked(args.window, args.warmup))
    except LookupError as error:
        raise Failure(str(error.args[0])) from None
    except Unusable as error:
        raise Failure(str(error)) from None
    except MemoryError:
        raise Failure("too little memory for a picture of this: give a shorter time with --from and --to") from None
    else:
        _progress("drawing", 0.9)
        data = render(picture)
    finally:
        _progress("", 1.0)
    try:
        wholefile.write(args.output, data)
    except OSError as error:
        raise Failure(f"{args.output}: {error.strerror}") from None
    return 0


def _drawing(kind: str, width: int) -> Callable[[Picture], bytes]:
    """What draws it, looked for before anything is read."""
    if kind == "html":
        page = importlib.import_module("memtriage.report.page")  # needs no matplotlib

        def write(picture: Picture) -> bytes:
            text: str = page.render(picture)
            return text.encode()

        return write
    try:
        from memtriage.report import figure  # noqa: PLC0415 - half a second, and an extra
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("matplotlib", "numpy"):
            raise
        raise Failure(INSTALL) from None

    def draw(picture: Picture) -> bytes:
        return figure.render(picture, kind, width)

    return draw


def _progress(what: str, share: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K[{'#' * int(30 * share):<30}] {what}" if what else "\r\033[K")
        sys.stderr.flush()
