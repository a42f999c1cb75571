"""What a fleet costs: a real Icinga 2's CPU, memory and wire for each result, and `memtriage fleet` itself. Prints, writes nothing.

    PYTHONPATH=lib:. python tests/bench/bench_fleet.py command|passive|agent|memory|seeds [...]

command   memtriage fleet on 10,000 hosts (20,000 results) of a server that streams made replies over TLS on loopback
passive   results by /v1/actions/process-check-result, over kept connections, and over a new one for each
agent     checks by command_endpoint: a master that schedules, an agent that runs `cat` of a check's output, a counting proxy between them
memory    a master's memory by number of services, without and with results, and what it costs it to be asked by memtriage fleet
seeds     20 fleets of 2,000 hosts through one Icinga 2 each, in three rounds: is the release named that leaks, and nothing else? 7 minutes

CPU is user + system time of the daemon's processes, so that what else the machine does changes it little; bytes are those of TCP payload.
Needs Debian's icinga2-bin and icinga2-common.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memtriage.fleet import past
from tests.engines import foreground
from tests.engines.nrpe import free_port
from tests.fleet import asking, icinga, made, rounds, server

KINDS = ["calm", "busy", "leak", "stray", "programs"]


Spoken = list[tuple[str, list[tuple[made.Said, made.Said]]]]


def said() -> Spoken:
    lives = dict(reversed(made.lives(1)))
    return [(kind, [made.play(lives[kind], made.LENGTH)]) for kind in KINDS]


class Wire:
    """A proxy on loopback that counts what goes through it."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self.listener.getsockname()[1])
        self.up = self.down = 0
        """Bytes to the target, and from it."""
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def carry(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near, socket.create_connection(("127.0.0.1", self.target)) as far, \
                selectors.DefaultSelector() as both:
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                both.register(one, selectors.EVENT_READ)
            while True:
                for key, _ in both.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is near:
                        self.up += len(data)
                        far.sendall(data)
                    else:
                        self.down += len(data)
                        near.sendall(data)


def passive() -> None:
    spoken = said()
    hosts = made.fleet(1, 500, KINDS)
    results = list(_results(hosts, spoken))
    size = sum(len(result["plugin_output"]) + len(" ".join(result["performance_data"])) for result in results) / len(results)
    print(f"passive results: output and perfdata {size:.0f} bytes in the mean")
    with icinga.running(icinga.definitions(hosts)) as to:
        wire = Wire(to.port)
        through = to._replace(port=wire.port)
        through.feed(results)
        for round_ in range(3):
            before, up, down = icinga.cpu(to.pid), wire.up, wire.down
            for _ in range(5):
                through.feed([{**result, "execution_start": time.time(), "execution_end": time.time()} for result in results])
            count = 5 * len(results)
            print(f"  kept connection, round {round_ + 1}: {1e6 * (icinga.cpu(to.pid) - before) / count:.0f} us of CPU, "
                  f"{(wire.up - up) / count:.0f} bytes in, {(wire.down - down) / count:.0f} out, a result ({count})")
        before, up, down = icinga.cpu(to.pid), wire.up, wire.down
        for result in results:
            with contextlib.closing(through.connection("feeder")) as one:
                one.ask("/v1/actions/process-check-result", {**result, "execution_start": time.time(), "execution_end": time.time()})
        print(f"  a connection each: {1e6 * (icinga.cpu(to.pid) - before) / len(results):.0f} us of CPU, "
              f"{(wire.up - up) / len(results):.0f} bytes in, {(wire.down - down) / len(results):.0f} out, a result ({len(results)})")


def _results(hosts: list[made.Host], spoken: Spoken) -> Iterator[dict[str, Any]]:
    for host in hosts:
        for check, service in enumerate(made.SERVICES):
            answer = spoken[host.life][1][0][check]
            yield icinga.result(service, host.name, answer, made.paced(answer, host), time.time(), made.output(answer, host))


NODE = """
const NodeName = "%(node)s"
const ZoneName = NodeName
include <itl>
object Endpoint "m1" { }
object Zone "m1" { endpoints = [ "m1" ] }
object Endpoint "agent" { %(agent)s }
object Zone "agent" {
  endpoints = [ "agent" ]
  parent = "m1"
}
object CheckerComponent "checker" { }
object FileLogger "main" {
  severity = "warning"
  path = LogDir + "/icinga2.log"
}
object ApiListener "api" {
  bind_host = "127.0.0.1"
  bind_port = %(port)d
  accept_commands = true
}
object ApiUser "reader" {
  password = "p"
  permissions = [ "*" ]
}
object CheckCommand "said" { command = [ "/bin/cat", "%(text)s" ] }
include "hosts.conf"
"""
SERVICES = 600
EVERY = (0, 10, 30)
"""Seconds between checks of each; 0 is none."""


@contextlib.contextmanager
def pair(every: int, text: Path) -> Iterator[tuple[icinga.Icinga, int, Wire]]:
    """A master and its agent, connected through a proxy, with :data:`SERVICES` services that are checked every so many seconds."""
    services = "".join(f'object Service "s{number}" {{\n  host_name = "agent"\n  zone = "m1"\n  check_command = "said"\n'
                       f'  check_interval = {every}s\n  command_endpoint = "agent"\n}}\n' for number in range(SERVICES if every else 0))
    objects = 'object Host "agent" {\n  zone = "m1"\n  check_command = "passive"\n  enable_active_checks = false\n}\n' + services
    port = free_port()
    wire = Wire(port)
    words = {"node": "agent", "port": port, "text": text, "agent": ""}
    reach = f'host = "127.0.0.1"\n  port = {wire.port}\n  log_duration = 0\n'
    # The harness fills in the master's port.
    config = (NODE % {**words, "node": "m1", "port": 0, "agent": reach}).replace("bind_port = 0", "bind_port = %d")
    with icinga.running(objects, config) as master, foreground.folder("agent") as folder, \
            icinga.started(folder, *icinga.prepared(folder, "", NODE % words, "agent", master.folder)) as daemon:
        yield master, daemon.process.pid, wire


def agent(seconds: float = 40.0) -> None:
    answer = made.play(dict(made.lives(1))["leak"], made.LENGTH)[0]
    first, _, rest = answer.text.partition("\n")
    with tempfile.NamedTemporaryFile("w", prefix="memtriage-said-") as file:
        file.write(f"{first} | {' '.join(answer.perfdata)}\n{rest}\n")
        file.flush()
        os.chmod(file.name, 0o644)
        print(f"command_endpoint: one agent, {os.path.getsize(file.name)} bytes of output a check")
        for every in sorted(EVERY):
            with pair(every, Path(file.name)) as (master, pid, wire):
                _settled(master, every)
                begun, count = time.monotonic(), _checked(master)
                before, theirs, up, down = icinga.cpu(master.pid), icinga.cpu(pid), wire.up, wire.down
                time.sleep(seconds)
                took, count = time.monotonic() - begun, _checked(master) - count
                spent, agents = icinga.cpu(master.pid) - before, icinga.cpu(pid) - theirs
                print(f"  {SERVICES if every else 0} services, every {every} s: {count / took:.1f} results a second; "
                      f"master {100 * spent / took:.2f} % of a core, agent's daemon {100 * agents / took:.2f} %, "
                      f"wire {(wire.up - up) / took:.0f} bytes a second to the agent, {(wire.down - down) / took:.0f} from it")
                if count:
                    print(f"    a result: master {1e6 * spent / count:.0f} us, agent's daemon {1e6 * agents / count:.0f} us, "
                          f"{(wire.up - up) / count:.0f} + {(wire.down - down) / count:.0f} bytes")


def _checked(master: icinga.Icinga) -> int:
    """Results so far. The window of Icinga 2's counter is longer than any run of this."""
    with contextlib.closing(master.connection("reader")) as kept:
        return int(kept.ask("/v1/status/CIB")["results"][0]["status"]["active_service_checks_15min"])


def _settled(master: icinga.Icinga, every: int) -> None:
    """The agent is connected, and every service has been checked."""
    for _ in range(150):
        with contextlib.closing(master.connection("reader")) as kept:
            connected = kept.ask("/v1/objects/endpoints/agent")["results"][0]["attrs"]["connected"]
            rows = kept.ask("/v1/objects/services?attrs=last_check")["results"] if every else []
        if connected and all(row["attrs"]["last_check"] > 0 for row in rows):
            return
        time.sleep(1)
    raise SystemExit("the agent did not connect, or did not check")


def memory() -> None:
    spoken = said()
    for size in (0, 1000, 5000):
        hosts = made.fleet(1, size, KINDS)
        with icinga.running(icinga.definitions(hosts)) as to:
            time.sleep(1)
            empty = icinga.memory(to.pid)
            fed = 0
            for _ in range(2):
                fed = to.feed(_results(hosts, spoken))
            print(f"memory: {size} hosts, {3 * size} services: {empty / 2**20:.0f} MiB, with {fed} results "
                  f"{icinga.memory(to.pid) / 2**20:.0f} MiB")
            before = icinga.cpu(to.pid)
            words = ["--api", to.url, "--ca", to.ca, "--name", icinga.NODE, "--credentials", to.credentials()]
            _, took, spent, peak = asking.ask(words)
            print(f"  asked by memtriage fleet: Icinga 2 {icinga.cpu(to.pid) - before:.2f} s of CPU, "
                  f"{icinga.memory(to.pid) / 2**20:.0f} MiB afterwards; "
                  f"fleet {spent:.2f} s of CPU, {took:.2f} s on the clock, peak {peak:.0f} MiB")


def command(size: int = 10_000) -> None:
    spoken = said()
    hosts = made.fleet(1, size, KINDS)
    some, services = made.rows(hosts, spoken, 0, time.time())
    replies = {"hosts": server.whole(some), "services": server.whole(services)}
    print(f"memtriage fleet, {size} hosts: replies of {len(replies['hosts']) / 1e6:.1f} and {len(replies['services']) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder, server.running(Path(folder), lambda kind: _cut(replies[kind])) as to:
        history = f"{folder}/history"
        past.write(history, long_past(hosts))
        print(f"  a history of {past.POINTS} points a host: {os.path.getsize(history) / 1e6:.1f} MB")
        for more in ([], ["--history", history], ["--json"], ["-o", f"{folder}/fleet.png"]):
            _, took, spent, peak = asking.ask(["--api", to.url, "--ca", to.ca, "--credentials", to.credentials, *more])
            print(f"  {' '.join(more[:1]) or 'plain':<10} {spent:.2f} s of CPU, {took:.2f} s on the clock, peak {peak:.0f} MiB")


def long_past(hosts: list[made.Host]) -> past.Past:
    """Every host has as many points as are kept, and every one rises, so that none is dismissed early."""
    now = time.time()
    rise = [(now - (past.POINTS - place) * 7200, 8_000 + 900 * place) for place in range(past.POINTS)]
    series = past.Series(0, [round(time_) for time_, _ in rise], [size for _, size in rise])
    return past.Past(round(now - 64 * 3600), {host.name: series for host in hosts})


def seeds() -> None:
    """Prints a line a seed, and who was right."""
    worst, right = rounds.Costs(0, 0, 0, 0), 0
    for seed in range(20):
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                ran = rounds.run(seed, Path(folder))
            except AssertionError as error:
                print(f"  seed {seed}: wrong: {error}", flush=True)
                continue
        right, worst = right + 1, rounds.most(worst, ran.costs)
        cause, = rounds.causes(ran.tree)
        named = sum(said.startswith("Yes") for said in ran.verdicts)
        print(f"  seed {seed}: right in {named} of {len(ran.verdicts)} rounds, else nobody named; "
              f"{cause['grow']} of {cause['hosts']} hosts grow ({ran.leaking} leak in truth), "
              f"others {cause['others_grow']} of {cause['other_hosts']}, odds at least {cause['odds']['low']:.0f}; "
              f"at most {_costs(ran.costs)} ({time.monotonic() - begun:.0f} s in all)", flush=True)
    print(f"seeds: {right} of 20 right; of all questions at most {_costs(worst)}")


def _costs(most: rounds.Costs) -> str:
    return f"{most.took:.2f} s on the clock, {most.spent:.2f} s of CPU, Icinga 2's {most.engine:.2f} s, {most.held:.0f} MiB"


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 65536] for at in range(0, len(data), 65536))


if __name__ == "__main__":
    for name in sys.argv[1:] or ["command", "passive", "agent", "memory"]:
        {"command": command, "passive": passive, "agent": agent, "memory": memory, "seeds": seeds}[name]()
        sys.stdout.flush()
