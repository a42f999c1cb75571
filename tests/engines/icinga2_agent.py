"""An Icinga 2 master and its agent, each in a network namespace of its own, joined by a wire; the machine's own network stays as it is."""

from __future__ import annotations

import ctypes
import os
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.engines import foreground, icinga2
from tests.engines.foreground import done
from tests.engines.icinga2 import Icinga, Node

AGENT = "agent"
MASTER_ADDRESS, AGENT_ADDRESS = "192.0.2.1", "192.0.2.2"
"""Of TEST-NET-1; they exist in the two namespaces only."""
CLONE_NEWNET = 0x40000000
ACCEPT = "  accept_commands = true\n  accept_config = true\n"
GLOBAL = "global-templates"
SERVICES = "memtriage-services.conf"
PEER = """\
object Endpoint "{other}" {{
  host = "{address}"
  port = {port}
}}
object Zone "{other}" {{
  endpoints = [ "{other}" ]
{parent}}}
object Zone "global-templates" {{ global = true }}
"""


class Wire(NamedTuple):
    """The names of the two namespaces; in each the end of the wire is called ``wire``."""

    master: str
    agent: str


@contextmanager
def wire() -> Iterator[Wire]:
    foreground.programs("ip")
    names = Wire(*(f"memtriage-{os.getpid()}-{end}" for end in ("m", "a")))
    try:
        for name in names:
            done(["ip", "netns", "add", name])
        done(["ip", "-n", names.master, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", names.agent])
        for name, address in zip(names, (MASTER_ADDRESS, AGENT_ADDRESS)):
            done(["ip", "-n", name, "addr", "add", address + "/30", "dev", "wire"])
            for link in ("lo", "wire"):
                done(["ip", "-n", name, "link", "set", link, "up"])
        yield names
    finally:
        for name in names:
            if os.path.exists(f"/run/netns/{name}"):
                done(["ip", "netns", "del", name])


class Elsewhere:
    """Opens addresses from within a network namespace: by a thread that goes there, since a thread has its own."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, request: urllib.request.Request) -> Any:
        found: list[Any] = []

        def go() -> None:
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                with open(f"/run/netns/{self.namespace}", "rb") as place:
                    if libc.setns(place.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                found.append(urllib.request.urlopen(request, timeout=30, context=ssl._create_unverified_context()))
            except OSError as error:
                found.append(error)

        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
        if isinstance(found[0], OSError):
            raise found[0]
        return found[0]


class Fleet(NamedTuple):
    master: Icinga
    agent: Icinga
    wire: Wire


@contextmanager
def fleet(folder: Path, table: Any) -> Iterator[Fleet]:
    """The master has all definitions; the commands reach the agent by Icinga's own way, through a global zone."""
    with wire() as names:
        for name in ("master", "agent"):
            (folder / name).mkdir()
        nothing = folder / "nothing"  # the master has no checks: what arrives was run by the agent
        nothing.mkdir()
        master = Node(folder / "master", icinga2.MASTER, nothing, MASTER_ADDRESS)
        agent = Node(folder / "agent", AGENT, table.plugins, AGENT_ADDRESS, ACCEPT, icinga2.MASTER)
        zones = [master.folder / "zones.d" / zone for zone in (GLOBAL, icinga2.MASTER)]
        for zone in zones:
            zone.mkdir(parents=True)
        table.definitions("icinga2", zones[0])
        (zones[0] / SERVICES).rename(zones[1] / SERVICES)
        master.watch(f'  vars.agent_endpoint = "{AGENT}"\n', zones[1])
        here = PEER.format(other=AGENT, address=AGENT_ADDRESS, port=agent.port, parent=f'  parent = "{icinga2.MASTER}"\n')
        (master.folder / "objects.d" / "zones.conf").write_text(here)
        there = PEER.format(other=icinga2.MASTER, address=MASTER_ADDRESS, port=master.port, parent="")
        (agent.folder / "objects.d" / "zones.conf").write_text(there)
        master.certify(master)
        agent.certify(master)
        with icinga2.started(agent, ("ip", "netns", "exec", names.agent)) as second, \
                icinga2.started(master, ("ip", "netns", "exec", names.master), Elsewhere(names.master)) as first:
            yield Fleet(first, second, names)
