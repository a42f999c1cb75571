"""One Icinga 2 at its full size: so many hosts with six services each, fed passively six times a minute. Prints, writes nothing.

    PYTHONPATH=lib:. python tests/bench/bench_satellite.py [HOSTS [SECONDS]]      (default: 10000 120; 6 minutes, 3 GiB, root)

In a network namespace of its own, whose loopback has the MTU of an Ethernet and no offloading, so that its counter of bytes is that of a
wire: TCP/IP headers and acknowledgements included, both directions together, frames not. One process feeds, over four kept connections.

CPU is user + system time of the daemon's processes, memory their PSS. Needs Debian's icinga2-bin and icinga2-common, and iproute2.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.fleet import asking, icinga, made, rounds

KINDS = ["calm", "busy", "leak", "stray", "programs"]
MORE = ("swap", "pressure", "oom", "cgroups")
"""Beside the services of :data:`tests.fleet.made.SERVICES` and the ping of the harness's configuration, which is not fed here."""
PER_HOST = len(made.SERVICES) + len(MORE)
EVERY = 10.0
"""Seconds between two results of a service."""
CONNECTIONS = 4
STORM = 300
RULE = 'apply Service "%s" {\n  import "checked"\n  assign where true\n}\n'


class Mark(NamedTuple):
    clock: float
    cpu: float
    wire: int

    @classmethod
    def now(cls, to: icinga.Icinga) -> Mark:
        return cls(time.monotonic(), icinga.cpu(to.pid), wire())


def wire() -> int:
    """Bytes that the loopback has carried so far."""
    with open("/proc/self/net/dev", encoding="ascii") as file:
        return next(int(row.split()[1]) for row in file if row.split()[0] == "lo:")


def results(hosts: list[made.Host]) -> Iterator[dict[str, Any]]:
    """A result of each service, host by host; again and again. The checks' real outputs, in turn."""
    lives = dict(reversed(made.lives(1)))
    spoken = [made.play(lives[kind], made.LENGTH) for kind in KINDS]
    for number in itertools.count():
        check = number % PER_HOST
        for host in hosts:
            answer = spoken[host.life][check % 2]
            yield icinga.result((*made.SERVICES, *MORE)[check], host.name, answer, made.paced(answer, host), 0, made.output(answer, host))


def paced(endless: Iterator[dict[str, Any]], rate: float, seconds: float) -> Iterator[dict[str, Any]]:
    begun = time.monotonic()
    for number in range(int(rate * seconds)):
        ahead = number / rate - (time.monotonic() - begun)
        if ahead > 0.002:
            time.sleep(ahead)
        now = time.time()
        yield {**next(endless), "execution_start": now, "execution_end": now}


def inside(size: int, seconds: float) -> None:
    for words in (["link", "set", "lo", "mtu", "1500", "gso_max_segs", "1"], ["link", "set", "lo", "up"]):
        subprocess.run(["ip", *words], check=True, timeout=30)
    hosts, rate = made.fleet(1, size, KINDS), size * PER_HOST / 60.0
    objects = icinga.definitions(hosts) + "".join(RULE % name for name in MORE)
    config = icinga.CONFIG.replace('apply Service "ping" {\n  import "checked"\n  assign where true\n}\n', "")
    begun = time.monotonic()
    with icinga.running(objects, config, 300) as to:
        print(f"{size} hosts, {PER_HOST} services each: keys made and answering after {time.monotonic() - begun:.1f} s, "
              f"{icinga.cpu(to.pid, True):.1f} s of CPU, {memory(to)} MiB", flush=True)
        endless = results(hosts)
        said(to, "  every service once, as fast as it goes", to.feed, paced(endless, 1e9, size * PER_HOST / 1e9), CONNECTIONS)
        said(to, f"  {rate:.0f} results a second for {seconds:g} s", to.feed, paced(endless, rate, seconds), CONNECTIONS)
        with contextlib.closing(to.connection("reader")) as kept:
            status = kept.ask("/v1/status/CIB")["results"][0]["status"]
        print(f"    by its own count {status['passive_service_checks_1min'] / 60:.0f} a second in the last minute, execution to "
              f"processing {status['avg_latency']:.3f} s", flush=True)
        asked(to, endless, rate)
        storm(to)
        idle(to)
        reload(to)


def memory(to: icinga.Icinga) -> str:
    return f"{icinga.memory(to.pid) / 2**20:.0f}"


def said(to: icinga.Icinga, what: str, feed: Any, *words: Any) -> None:
    before, own = Mark.now(to), time.process_time()
    count = feed(*words)
    after = Mark.now(to)
    took, spent = after.clock - before.clock, after.cpu - before.cpu
    print(f"{what}: {count / took:.0f} a second, {100 * spent / took:.0f} % of a core ({1e6 * spent / count:.0f} us a result), "
          f"{(after.wire - before.wire) / count:.0f} bytes on the wire a result, {8e-6 * (after.wire - before.wire) / took:.1f} Mbit/s, "
          f"{memory(to)} MiB; the feeder {100 * (time.process_time() - own) / took:.0f} % of a core", flush=True)


def asked(to: icinga.Icinga, endless: Iterator[dict[str, Any]], rate: float) -> None:
    """memtriage fleet, while results go on coming: does it keep them waiting?"""
    slowest = [0.0]
    stop = threading.Event()

    def probe() -> None:
        with contextlib.closing(to.connection("feeder")) as kept:
            for result in paced(endless, min(rate, 200.0), 120):
                if stop.is_set():
                    return
                begun = time.monotonic()
                kept.ask("/v1/actions/process-check-result", result)
                slowest[0] = max(slowest[0], time.monotonic() - begun)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        before = icinga.cpu(to.pid)
        answer = asking.ask(rounds.words(to))
    finally:
        stop.set()
        thread.join()
    print(f"  asked by memtriage fleet: {answer.took:.1f} s on the clock, {answer.spent:.1f} s of its CPU and {answer.held:.0f} MiB; "
          f"Icinga 2 {icinga.cpu(to.pid) - before:.1f} s (with up to {min(rate, 200.0):.0f} results a second beside), "
          f"{memory(to)} MiB afterwards; the slowest result meanwhile {slowest[0]:.2f} s", flush=True)


def storm(to: icinga.Icinga) -> None:
    """New connections, one after the other, a question each; as many as are still there in the end tell what one holds."""
    before, held, begun = icinga.cpu(to.pid), icinga.memory(to.pid), time.monotonic()
    with contextlib.ExitStack() as stack:
        for _ in range(STORM):
            kept = stack.enter_context(contextlib.closing(to.connection("reader")))
            kept.ask("/v1/status/IcingaApplication")
        spent, took = icinga.cpu(to.pid) - before, time.monotonic() - begun
        there = kept.ask("/v1/status/ApiListener")["results"][0]["status"]["api"]["http"]["clients"]
        each = (icinga.memory(to.pid) - held) / there / 1024
    print(f"  {STORM} new connections in {took:.1f} s: {1e3 * spent / STORM:.1f} ms of CPU each; {there:.0f} of them still there, "
          f"{each:.0f} KiB each", flush=True)


def idle(to: icinga.Icinga) -> None:
    """How long does it keep a connection on which nobody asks?"""
    with contextlib.closing(to.connection("reader")) as kept:
        kept.ask("/v1/status/IcingaApplication")
        begun = time.monotonic()
        kept.http.sock.settimeout(60)
        with contextlib.suppress(OSError):
            kept.http.sock.recv(1)
        print(f"  a connection without a question is closed after {time.monotonic() - begun:.0f} s", flush=True)


def reload(to: icinga.Icinga) -> None:
    """SIGHUP: a second worker reads and checks all definitions while the first goes on; then that one writes down its state and leaves."""

    def started() -> float:
        try:
            with contextlib.closing(to.connection("reader")) as kept:
                return float(kept.ask("/v1/status/IcingaApplication")["results"][0]["status"]["icingaapplication"]["app"]["program_start"])
        except (OSError, RuntimeError):
            return 0.0

    first, before, begun, peak = started(), icinga.cpu(to.pid, True), time.monotonic(), 0
    deaf = 0.0
    os.kill(to.pid, signal.SIGHUP)
    while time.monotonic() - begun < 200:
        peak = max(peak, icinga.memory(to.pid))
        asked_at = time.monotonic()
        now = started()
        if now == 0.0 or time.monotonic() - asked_at > 1:
            deaf += time.monotonic() - asked_at + 0.2
        if now > first:
            break
        time.sleep(0.2)
    print(f"  reloaded in {time.monotonic() - begun:.1f} s, about {deaf:.1f} s of them without an answer, "
          f"{icinga.cpu(to.pid, True) - before:.1f} s of CPU, at most {peak / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    size, seconds = (*map(int, sys.argv[1:]), *(10_000, 120)[len(sys.argv) - 1 :])
    if os.environ.get("MEMTRIAGE_INSIDE") == "1":
        inside(size, seconds)
    else:
        words = ["unshare", "--net", sys.executable, __file__, str(size), str(seconds)]
        sys.exit(subprocess.run(words, check=False, timeout=1200, env={**os.environ, "MEMTRIAGE_INSIDE": "1"}).returncode)
