"""A real Icinga 2 in the foreground, alone or as one node of several: all it has below one folder, its API on a free port."""

from __future__ import annotations

import base64
import glob
import grp
import json
import os
import secrets
import socket
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, NamedTuple

from tests.engines import foreground
from tests.engines.foreground import done, until
from tests.engines.nrpe import free_port

PROGRAM = "icinga2"
BINARY = next(iter(glob.glob("/usr/lib/*/icinga2/sbin/icinga2")), "/usr/sbin/icinga2")
"""What the program, a script, starts."""
MASTER = "master"
CONFIG = """\
const NodeName = "{node}"
const ZoneName = NodeName
const PluginDir = "{plugins}"

include <itl>
include <plugins>

globals.MaxConcurrentChecks = 8
object Endpoint NodeName {{ }}
object Zone ZoneName {{ endpoints = [ NodeName ]{parent} }}
object CheckerComponent "checker" {{ }}
object NotificationComponent "notification" {{ }}
object FileLogger "main" {{
  severity = "information"
  path = LogDir + "/icinga2.log"
}}
object ApiListener "api" {{
  bind_host = "{address}"
  bind_port = {port}
{listener}}}
include "objects.d/*.conf"
"""
WATCHER = """\
object ApiUser "tests" {{
  password = "{password}"
  permissions = [ "*" ]
}}
object Host "{host}" {{
  check_command = "dummy"
  check_interval = 1h
  vars.dummy_state = 0
  vars.os = "Linux"
{host_lines}}}
object User "admin" {{ }}
object NotificationCommand "write" {{
  command = [ "{folder}/write.sh" ]
  env = {{
    NAME = "$service.name$"
    STATE = "$service.state$"
    OUTPUT = "$service.output$"
  }}
}}
apply Notification "tests" to Service {{
  command = "write"
  users = [ "admin" ]
  states = [ Warning, Critical, Unknown ]
  types = [ Problem ]
  interval = 0
  assign where true
}}
"""
WRITE = """\
#!/bin/sh
# What an administrator's own script gets to know.
printf '%s\\n%s\\n' "$STATE" "$OUTPUT" > "{folder}/mail/$NAME.part" && mv "{folder}/mail/$NAME.part" "{folder}/mail/$NAME"
echo "$NAME $STATE" >> "{folder}/told"
"""
SERVICES = "/v1/objects/services?attrs=name&attrs=state&attrs=last_check_result"


class Result(NamedTuple):
    state: int
    output: str
    perfdata: list[str]
    source: str


def laid_out(folder: Path) -> list[str]:
    """Makes the folders of a node, and gives the words that keep all it writes below ``folder``."""
    for place in ("data/certs", "data/ca", "log", "cache", "spool/perfdata", "spool/tmp", "run/cmd"):
        (folder / place).mkdir(parents=True)
    places = {"ConfigDir": "", "ZonesDir": "zones.d", "DataDir": "data", "LogDir": "log", "CacheDir": "cache", "SpoolDir": "spool",
              "InitRunDir": "run", "PidPath": "run/icinga2.pid"}
    return [word for name, place in places.items() for word in ("-D", f"{name}={folder / place}")]


def environment() -> dict[str, str]:
    """The daemon drops its rights to this user, and gives checks no more than this."""
    who = foreground.account()
    return {"ICINGA2_USER": who.pw_name, "ICINGA2_GROUP": grp.getgrgid(who.pw_gid).gr_name, "PATH": foreground.PATH}


def certify(folder: Path, name: str, authority: Path | None = None) -> None:
    """Makes a node's key, and its certificate by the CA in another node's folder, or by one of its own that is made now."""
    foreground.own(folder)
    env, stem, data = environment(), folder / "data" / "certs" / name, f"DataDir={(authority or folder) / 'data'}"
    if authority is None:
        done([PROGRAM, "pki", "new-ca", "-D", data], env=env)
    done([PROGRAM, "pki", "new-cert", "--cn", name, "--key", f"{stem}.key", "--csr", f"{stem}.csr"], env=env)
    # The CSR must be readable by the authority's process, and the certificate ends in this node's folder.
    done([PROGRAM, "pki", "sign-csr", "-D", data, "--csr", f"{stem}.csr", "--cert", f"{stem}.crt"], env=env)
    (stem.parent / "ca.crt").write_bytes(((authority or folder) / "data" / "ca" / "ca.crt").read_bytes())
    foreground.own(folder)


class Node:
    """Folders and keys of one node; ``address`` is what it binds to, ``port`` its API."""

    def __init__(self, folder: Path, name: str, plugins: Path, address: str = "127.0.0.1", listener: str = "",
                 parent: str = "") -> None:
        foreground.programs(PROGRAM)
        self.folder, self.name, self.address, self.port = folder, name, address, free_port()
        self.password = secrets.token_hex(8)
        self.paths = laid_out(folder)
        for place in ("objects.d", "mail"):
            (folder / place).mkdir()
        (folder / "icinga2.conf").write_text(CONFIG.format(node=name, plugins=plugins, address=address, port=self.port, listener=listener,
                                                          parent=f'; parent = "{parent}"' if parent else ""))

    @property
    def env(self) -> dict[str, str]:
        return environment()

    def certify(self, authority: Node) -> None:
        """Makes this node's key, and its certificate by ``authority``'s own CA, which must exist unless it is this very node."""
        certify(self.folder, self.name, None if authority is self else authority.folder)

    def watch(self, lines: str = "", place: Path | None = None) -> None:
        """Makes it a node that schedules: a host, an API user, and notifications that a script of the test writes down."""
        ((place or self.folder / "objects.d") / "watcher.conf").write_text(
            WATCHER.format(host=self.name, password=self.password, folder=self.folder, host_lines=lines))
        script = self.folder / "write.sh"
        script.write_text(WRITE.format(folder=self.folder))
        script.chmod(0o755)

    def command(self) -> list[str]:
        return [PROGRAM, "daemon", "-c", str(self.folder / "icinga2.conf"), *self.paths]


class Icinga:
    """A running node that schedules. ``get`` asks its API, where needed from another network namespace."""

    def __init__(self, node: Node, server: foreground.Server, opened: Callable[..., Any]) -> None:
        self.node, self.server, self.opened = node, server, opened

    def api(self, path: str, body: object = None, method: str = "GET") -> Any:
        node = self.node
        data = None if body is None else json.dumps(body).encode()
        login = base64.b64encode(f"tests:{node.password}".encode()).decode()
        request = urllib.request.Request(f"https://{node.address}:{node.port}{path}", data, {
            "Authorization": "Basic " + login, "Accept": "application/json", "X-HTTP-Method-Override": method})
        with self.opened(request) as answer:
            return json.loads(answer.read())

    def attributes(self) -> dict[str, dict[str, Any]]:
        return {item["attrs"]["name"]: item["attrs"] for item in self.api(SERVICES)["results"]}

    def up(self) -> None:
        def answers() -> bool:
            try:
                return bool(self.attributes())
            except (OSError, urllib.error.URLError):
                return False

        until("Icinga 2's API", answers, alive=self.server.trouble)

    def results(self, names: Iterable[str] = (), since: float = 0, seconds: float = foreground.SLOW) -> dict[str, Result]:
        """The results of ``names`` (default: all) of checks that began after ``since``; those that do not come by themselves are ordered.

        An order is lost where the same check is under way.
        """
        wanted = set(names)
        ordered = 0.0

        def all_there() -> dict[str, dict[str, Any]] | None:
            nonlocal ordered
            found = {name: attrs for name, attrs in self.attributes().items() if not wanted or name in wanted}
            late = [name for name, attrs in found.items() if (attrs["last_check_result"] or {}).get("execution_start", -1) < since]
            if late and time.monotonic() - ordered > 5:
                self.api("/v1/actions/reschedule-check", {"type": "Service", "force": True, "filter": "service.name in names",
                                                          "filter_vars": {"names": late}}, "POST")
                ordered = time.monotonic()
            return None if late else found

        found = until("Icinga 2's results", all_there, seconds, self.server.trouble, 0.3)
        return {name: Result(int(attrs["state"]), attrs["last_check_result"]["output"], attrs["last_check_result"]["performance_data"],
                             attrs["last_check_result"]["check_source"]) for name, attrs in found.items()}

    def again(self, names: Iterable[str] = ()) -> dict[str, Result]:
        """Orders new checks and gives their results."""
        return self.results(names, time.time())

    def told(self) -> list[str]:
        """Each notification sent, as ``service STATE``, in their order."""
        path = self.node.folder / "told"
        return path.read_text().splitlines() if path.exists() else []

    def aged(self, seconds: float) -> None:
        """Makes it an engine that has run for so long: in its first five minutes it says nothing of an agent that is not connected."""
        for line in done(["nm", "--dynamic", "--defined-only", BINARY]).splitlines():
            if line.endswith(" _ZN6icinga11Application11m_StartTimeE"):
                address = int(line.split()[0], 16)
                break
        else:
            raise RuntimeError(f"{BINARY} has no Application::m_StartTime")
        group = self.server.process.pid
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or os.getpgid(int(entry.name)) != group or not os.path.samefile(entry / "exe", BINARY):
                    continue
                first = next(line for line in (entry / "maps").read_text().splitlines() if os.path.realpath(BINARY) in line)
            except (ProcessLookupError, FileNotFoundError):
                continue
            with open(entry / "mem", "r+b", buffering=0) as memory:
                memory.seek(int(first.split("-")[0], 16) + address)
                memory.write(struct.pack("d", time.time() - seconds))

    def mail(self, name: str) -> str:
        """The notification sent for a service."""
        path = self.node.folder / "mail" / name
        return until(f"the notification of {name}", lambda: path.read_text() if path.exists() else None, alive=self.server.trouble)


def opened_here(request: urllib.request.Request) -> Any:
    return urllib.request.urlopen(request, timeout=30, context=ssl._create_unverified_context())


@contextmanager
def started(node: Node, within: tuple[str, ...] = (), opened: Callable[..., Any] = opened_here) -> Iterator[Icinga]:
    """Runs a node that has its objects and certificates; ``within`` are words to put before the command."""
    foreground.own(node.folder)
    done([*node.command(), "-C"], env=node.env)
    with foreground.running([*within, *node.command()], node.folder / "output", node.env) as server:
        yield Icinga(node, server, opened)


class Sink:
    """Takes what a writer of Icinga 2 sends to a Graphite server."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.data = b""
        self.connected = False
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        try:
            while True:
                connection, _ = self.socket.accept()
                self.connected = True
                with connection:
                    while part := connection.recv(65536):
                        self.data += part
        except OSError:
            return  # closed

    def values(self) -> dict[str, str]:
        """The last value of each path."""
        lines = self.data.decode("utf-8", "replace").split("\n")[:-1]
        return {line.split(" ")[0]: line.split(" ")[1] for line in lines}

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


GRAPHITE = """\
object GraphiteWriter "tests" {{
  host = "127.0.0.1"
  port = {port}
  enable_send_thresholds = true
}}
"""


