"""Makes a web server use as many workers at once as it may, and says whether it survives that.

Opens N connections, sends of each request all but its end, so that the server gives it a worker, holds them, and then completes them
all. Where the server runs on this host its workers and their memory are reported, too. Only loopback, unless told otherwise.

  memtriage saturate http://127.0.0.1:8080/ -n 30
"""

from __future__ import annotations

import argparse
import resource
import signal
import time
from types import FrameType

from memtriage import quantity
from memtriage.cli import Failure
from memtriage.cli.simulate import checked
from memtriage.procfs import files
from memtriage.saturate import report, server, target
from memtriage.saturate.client import DONE, HELD, Crowd
from memtriage.simulate import safety
from memtriage.simulate.screen import Screen
from memtriage.wording import line, size

MOST = 5000


def count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= number <= MOST:
        raise ValueError(f"'{text}' is no number from 1 to {MOST}")
    return number


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="http:// or https://")
    parser.add_argument("-n", "--connections", type=checked(count), required=True, metavar="N", help=f"how many at once, at most {MOST}")
    parser.add_argument("--rate", type=checked(count), default=100, metavar="N", help="connections opened a second (default: 100)")
    parser.add_argument("--hold", type=checked(lambda text: quantity.seconds(text, 300)), default=3.0, metavar="TIME",
                        help="how long all are held, at most 5m (default: 3s; Apache gives up after 20s)")
    parser.add_argument("--timeout", type=checked(lambda text: quantity.seconds(text, 600)), default=30.0, metavar="TIME",
                        help="how long to wait for the answers, at most 10m (default: 30s)")
    parser.add_argument("--method", choices=("GET", "POST"), default="GET",
                        help="POST holds back the end of the body, not of the header: for a proxy that passes bodies on unbuffered")
    parser.add_argument("--workers", metavar="NAME", help="the workers' process name (default: whoever listens on the port)")
    parser.add_argument("--insecure", action="store_true", help="do not check the server's certificate")
    parser.add_argument("--i-own-this-server", action="store_true", help="allow a host other than loopback")


class Watch:
    """Looks at the server's workers, and at what memory is left, twice a second."""

    def __init__(self, port: int, name: str | None, screen: Screen) -> None:
        self.port, self.name, self.screen = port, name, screen
        self.room = self.first = safety.room()
        self.before = self.peak = server.workers(port, name)
        self.idle = min((worker.sockets for worker in self.before.workers), default=0)
        self.busy, self.looked = 0, time.monotonic()

    def look(self, force: bool = False) -> None:
        """Raises :class:`~memtriage.cli.Failure` where memory gets short."""
        if not force and time.monotonic() - self.looked < 0.5:
            return
        self.looked = time.monotonic()
        room = safety.room()
        self.room = min(self.room, room, key=lambda found: found.available)
        now = server.workers(self.port, self.name)
        busy = now.busy(self.idle)
        if (busy, len(now.workers), sum(sample.pss for sample in now.samples)) >= (
                self.busy, len(self.peak.workers), sum(sample.pss for sample in self.peak.samples)):
            self.peak = now
        self.busy = max(self.busy, busy)
        if room.available < room.reserve:
            raise Failure(f"stopped: only {size(room.available)} is available {room.where()}, {size(room.reserve)} must be left; "
                          f"{len(now.workers)} workers, {self.busy} busy")

    def seen(self) -> report.Seen:
        return report.Seen(self.before, self.peak, self.busy, self.first.available, self.room.available, self.first.reserve)


def run(args: argparse.Namespace) -> int:
    try:
        where = target.target(args.url, args.i_own_this_server, args.insecure)
    except target.Refused as refusal:
        raise Failure(str(refusal)) from None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and args.connections + 50 > most:
        raise Failure(f"{args.connections} connections need more open files than ulimit -Hn ({most})")
    screen = Screen()
    try:
        watch = Watch(where.port, args.workers, screen) if where.loopback else None
    except files.ProcfsError as error:
        raise Failure(str(error)) from None
    crowd = Crowd(where, target.request(where, args.method == "POST"))
    try:
        _hold(crowd, args, watch, screen)
        if watch:
            watch.look(force=True)
        held = sum(one.state == HELD for one in crowd.all)
        screen.say(f"{held} of {len(crowd.all)} connections are held; completing them")
        crowd.finish()
        crowd.wait(args.timeout, lambda one: one.state == DONE, lambda: _show(crowd, screen, watch))
        crowd.close(f"no answer within {args.timeout:g} s")
    except KeyboardInterrupt:
        crowd.close("interrupted")
        screen.say("interrupted: all connections are closed")
        raise
    finally:
        crowd.close("given up")
    said = report.answers(crowd.all) + (report.workers(watch.seen(), args.connections) if watch else [])
    for words in said:
        screen.say(line(words))
    return 0 if all(one.status is not None and one.status < 500 for one in crowd.all) else 1


def _hold(crowd: Crowd, args: argparse.Namespace, watch: Watch | None, screen: Screen) -> None:
    screen.say(f"saturate {line(args.url)}: {args.connections} connections, {args.rate} a second, held for {args.hold:g} s")

    def show() -> None:
        _show(crowd, screen, watch)

    crowd.open(args.connections, args.rate, show)
    # Until each has been sent and taken, at least; then the time to hold.
    crowd.wait(args.timeout, lambda one: one.state in (HELD, DONE), show)
    crowd.wait(args.hold, lambda one: one.state == DONE, show)


def _show(crowd: Crowd, screen: Screen, watch: Watch | None) -> None:
    if watch:
        watch.look()
    held, done = (sum(one.state == state for one in crowd.all) for state in (HELD, DONE))
    busy = f", {watch.busy} of {len(watch.peak.workers)} workers busy" if watch else ""
    screen.progress(lambda: f"{len(crowd.all)} opened, {held} held, {done} ended{busy}")


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
