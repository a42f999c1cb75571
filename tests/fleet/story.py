"""The block of docs/story.md about a fleet: 60 hosts that answer as the story's host did, by a server in Icinga 2's place.

    python -m tests.fleet.story

Those of one release answer, on two of three hosts, what check_slab_growth said when it was first critical with a time; all others what it
said before. The address of the server is replaced.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fleet import server

NIGHT = Path(__file__).resolve().parents[1] / "fixtures/story/nrpe.log"
HOSTS = 60
RELEASES = ("6.1.0-56-amd64", "6.1.0-53-amd64")
ROLES = ("build", "web", "db")
ADDRESS = "https://icinga.example.net:5665"
WORDS = "--credentials fleet.credentials --ca ca.crt --top 3"


def answers(check: str) -> tuple[str, str]:
    """The first whole answer of the night, and the first that is critical and says a time."""
    found: list[list[str]] = []
    last = ""
    for line in NIGHT.read_text("ascii").splitlines():
        key, _, text = line.partition(f" {check}: ")
        if not text:
            continue
        if key != last:
            found.append([])
        last = key
        found[-1].append(text)
    alarm = next((one for one in found if " eta=" in one[0] and " CRITICAL " in one[0]), found[0])
    return "\n".join(found[0]), "\n".join(alarm)


def service(check: str, host: str, said: str, release: str) -> dict[str, Any]:
    first, _, more = said.partition("\n")
    text, _, perfdata = first.partition(" | ")
    ended = time.time() - 30
    return {"name": check, "host_name": host, "check_command": check, "check_interval": 300, "last_check_result": {
        "execution_end": ended, "state": 0, "performance_data": perfdata.split(),
        "output": re.sub(r"Linux [^ ]+-amd64", f"Linux {release}", f"{text}\n{more}")}}


def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    said = {check: answers(check) for check in ("check_slab_growth", "check_free_mem")}
    hosts, services = [], []
    for number in range(HOSTS):
        name, release, role = f"h{number:02d}.example.net", RELEASES[number % 2], ROLES[number // 2 % 3]
        leaks = release == RELEASES[0] and number % 3 != 1
        hosts.append({"name": name, "vars": {"role": role, "site": "abc"[number // 7 % 3]}, "groups": [], "zone": ""})
        services.append(service("check_slab_growth", name, said["check_slab_growth"][leaks], release))
        services.append(service("check_free_mem", name, said["check_free_mem"][0], release))
    return hosts, services


def main() -> None:
    hosts, services = rows()
    with tempfile.TemporaryDirectory() as folder, server.running(
            Path(folder), lambda kind: [server.whole(hosts if kind == "hosts" else services)]) as icinga:
        done = subprocess.run([sys.executable, "-m", "memtriage", "fleet", "--api", icinga.url, "--credentials", icinga.credentials, "--ca",
                               icinga.ca, "--top", "3"], capture_output=True, text=True, timeout=60, check=True, env=server.environment())
        print(f"$ memtriage fleet --api {ADDRESS} {WORDS}")
        print(done.stdout.replace(icinga.url, ADDRESS), end="")


if __name__ == "__main__":
    main()
