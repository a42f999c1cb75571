"""A real Icinga 2 of hosts that are checked passively: started in the foreground on a free port, fed through its API, ended by the test.

Its certificate is made out to ``m1`` by an authority of its own; the API users are ``feeder``, who may only feed, and ``reader``, who may
only look, password ``p`` of both.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.engines import foreground, icinga2
from tests.engines.nrpe import free_port
from tests.fleet import made

NODE = "m1"
PROGRAM = "/usr/sbin/icinga2"
CONFIG = """
const NodeName = "m1"
const ZoneName = NodeName
include <itl>
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object FileLogger "main" {
  severity = "warning"
  path = LogDir + "/icinga2.log"
}
object ApiListener "api" {
  bind_host = "127.0.0.1"
  bind_port = %d
}
object ApiUser "feeder" {
  password = "p"
  permissions = [ "actions/process-check-result" ]
}
object ApiUser "reader" {
  password = "p"
  permissions = [ "objects/query/Host", "objects/query/Service", "status/query" ]
}
object HostGroup "linux" { }
template Service "checked" {
  check_command = "passive"
  check_interval = 5m
  enable_active_checks = false
}
apply Service "slab growth" {
  import "checked"
  assign where host.vars.silent != "none"
}
apply Service "free memory" {
  import "checked"
  assign where host.vars.silent != "none"
}
apply Service "ping" {
  import "checked"
  assign where true
}
include "hosts.conf"
"""


def dsl(value: Any) -> str:
    """A value in Icinga 2's language, whose strings are JSON's but for the escapes of what is not ASCII."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{dsl(key)} = {dsl(below)}" for key, below in value.items()) + " }"
    if isinstance(value, list):
        return "[ " + ", ".join(map(dsl, value)) + " ]"
    return json.dumps(value, ensure_ascii=False)


class Icinga(NamedTuple):
    folder: Path
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> str:
        return str(self.folder / "data/certs/ca.crt")

    def credentials(self, user: str = "reader", password: str = "p") -> str:
        path = self.folder / f"{user}-{password}.credentials"
        path.write_text(f"{user}:{password}\n")
        path.chmod(0o600)
        return str(path)

    def connection(self, user: str) -> Connection:
        return Connection(self.port, self.ca, user)

    def feed(self, results: Iterable[dict[str, Any]], connections: int = 2) -> int:
        """Passive results, one request each, over some kept connections. Returns how many; raises where one is not taken."""
        waiting, done, lock, trouble = iter(results), [0] * connections, threading.Lock(), []

        def work(number: int) -> None:
            try:
                with contextlib.closing(self.connection("feeder")) as kept:
                    while True:
                        with lock:
                            result = next(waiting, None)
                        if result is None:
                            return
                        kept.ask("/v1/actions/process-check-result", result)
                        done[number] += 1
            except Exception as error:
                trouble.append(error)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if trouble:
            raise trouble[0]
        return sum(done)


class Connection:
    """One kept connection to the API, TLS verified."""

    def __init__(self, port: int, ca: str, user: str) -> None:
        tls = ssl.create_default_context(cafile=ca)
        plain = socket.create_connection(("127.0.0.1", port), foreground.SLOW)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.http = http.client.HTTPSConnection("127.0.0.1", port, timeout=foreground.SLOW)
        self.http.sock = tls.wrap_socket(plain, server_hostname=NODE)
        self.headers = {"Accept": "application/json", "Authorization": "Basic " + base64.b64encode(f"{user}:p".encode()).decode()}

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        self.http.request("POST" if body else "GET", path, json.dumps(body).encode() if body else None, self.headers)
        reply = self.http.getresponse()
        data = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status} {data[:300]!r}")
        return json.loads(data)

    def close(self) -> None:
        self.http.close()


def result(service: str, host: str, said: made.Said, perfdata: list[str], ended: float, text: str = "") -> dict[str, Any]:
    """One request for :meth:`Icinga.feed`."""
    return {"type": "Service", "service": f"{host}!{service}", "exit_status": said.code, "plugin_output": text or said.text,
            "performance_data": perfdata, "execution_start": ended, "execution_end": ended}


def definitions(hosts: Iterable[made.Host]) -> str:
    head = '  check_command = "passive"\n  enable_active_checks = false\n  groups = [ "linux" ]\n'
    return "".join(f"object Host {dsl(host.name)} {{\n{head}"
                   + "".join(f"  vars[{dsl(key)}] = {dsl(value)}\n" for key, value in host.variables.items()) + "}\n" for host in hosts)


@contextlib.contextmanager
def running(objects: str, config: str = CONFIG, patience: float = 2 * foreground.SLOW) -> Iterator[Icinga]:
    """Icinga 2 with these host definitions, ready to be asked. Skips where it is not installed."""
    foreground.programs(PROGRAM)
    with foreground.folder("icinga") as folder:
        port = free_port()
        with started(folder, *prepared(folder, objects, config % port)) as server:
            icinga = Icinga(folder, port, server.process.pid)

            def answers() -> bool:
                try:
                    with contextlib.closing(icinga.connection("reader")) as kept:
                        kept.ask("/v1/status/IcingaApplication")
                except (OSError, RuntimeError, http.client.HTTPException):
                    return False
                return True

            foreground.until("Icinga 2's API", answers, patience, server.trouble, 0.2)
            yield icinga


def prepared(folder: Path, objects: str, config: str, node: str = NODE, authority: Path | None = None) -> tuple[dict[str, str], list[str]]:
    """Folders, configuration and certificate of one node, signed by an authority of its own or by that of another node's folder."""
    options = icinga2.laid_out(folder)
    (folder / "icinga2.conf").write_text(config)
    (folder / "hosts.conf").write_text(objects)
    icinga2.certify(folder, node, authority)
    return icinga2.environment(), options


def started(folder: Path, environment: dict[str, str], options: list[str]) -> contextlib.AbstractContextManager[foreground.Server]:
    return foreground.running([PROGRAM, "daemon", "-c", folder / "icinga2.conf", *options], folder / "output", environment)


def cpu(pid: int, ended: bool = False) -> float:
    """Seconds of CPU that the processes of this session have taken so far; with those of their children that have ended, or without."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == pid:
                ticks += sum(map(int, fields[11 : 15 if ended else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Bytes that the processes of this session hold, shared pages divided (PSS)."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == pid:
                rollup = (stat.parent / "smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return total
