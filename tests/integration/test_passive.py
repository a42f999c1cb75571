"""The engines' side of passive results: who may send what, and what is said when nothing comes."""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memtriage.integration.table import FRESH_S, STALE
from tests.engines.nrpe import free_port
from tests.integration.engines import Icinga, config, nagios, own, running

pytestmark = [pytest.mark.engine, pytest.mark.slow]
SILENT = "UNKNOWN - " + STALE % (FRESH_S // 60)


class Api:
    """An Icinga 2 that takes results for the host ``remote``, which has no agent."""

    def __init__(self, port: int, authority: Path) -> None:
        self.url = f"https://localhost:{port}/v1/"
        self.context = ssl.create_default_context(cafile=str(authority))
        self.context.check_hostname = False

    def ask(self, path: str, data: dict[str, Any] | None = None, user: str = "memtriage") -> tuple[int, Any]:
        words = {"Accept": "application/json", "Authorization": "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()}
        body = None if data is None else json.dumps(data).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, body, words), timeout=20, context=self.context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("objects/services/" + name.replace(" ", "%20"), user="all")[1]["results"][0]["attrs"]
        return found


@contextmanager
def icinga(folder: Path, fresh: str) -> Iterator[Api]:
    definitions, port = folder / "definitions", free_port()
    config("icinga2", "--passive", "--sudo", "none", "-o", f"{definitions}/")
    passive = definitions / "memtriage-passive.conf"
    passive.write_text(passive.read_text().replace("_interval = 3m", f"_interval = {fresh}"))
    server = Icinga(folder / "icinga", definitions, more=f"""
        const MemtriagePassword = "secret"
        object CheckerComponent "checker" {{ }}
        object ApiListener "api" {{ bind_host = "127.0.0.1", bind_port = {port} }}
        object ApiUser "all" {{ password = "secret", permissions = [ "*" ] }}
        object Host "remote" {{ check_command = "dummy", vars.memtriage_passive = true, vars.os = "Linux" }}
        object Service "other" {{ host_name = "remote", check_command = "dummy" }}
        """)
    server.keys()
    own(folder / "icinga")
    with running(*server.line, env=server.env, log=folder / "log"):
        api = Api(port, folder / "icinga" / "data" / "certs" / "ca.crt")
        for _ in range(450):
            try:
                if api.ask("status", user="all")[0] == 200:
                    break
            except OSError:
                time.sleep(0.2)
        yield api


def result(service: str, **more: Any) -> dict[str, Any]:
    return {"type": "Service", "service": service, "exit_status": 2, "plugin_output": "FREE_MEM CRITICAL - all gone", **more}


def test_icinga_takes_results_for_these_services_and_nothing_else(public_path: Path) -> None:
    with icinga(public_path, "3m") as api:
        code, said = api.ask("actions/process-check-result", result("remote!memory", performance_data=["available=1B"]))
        assert code == 200, said
        taken = api.service("remote!memory")
        assert (taken["last_check_result"]["output"], taken["state"]) == ("FREE_MEM CRITICAL - all gone", 2)
        assert taken["last_check_result"]["performance_data"] == ["available=1B"] and taken["state_type"] == 1, "hard at once"
        assert api.ask("actions/process-check-result", result("remote!other"))[0] in (403, 404)
        other = api.service("remote!other")["last_check_result"]
        assert other is None or "gone" not in other["output"]
        host = {"type": "Host", "host": "remote", "exit_status": 1, "plugin_output": "down"}
        assert api.ask("actions/process-check-result", host)[0] in (403, 404, 500)
        answered = api.ask("objects/hosts/remote", user="all")[1]["results"][0]["attrs"]["last_check_result"]
        assert answered is None or answered["output"] != "down"
        for path, data in (("actions/reschedule-check", result("remote!memory")), ("objects/services", None), ("status", None),
                           ("actions/shutdown-process", {}), ("objects/services/remote!memory", None)):
            assert api.ask(path, data)[0] in (403, 404), path


def test_icinga_says_when_a_host_falls_silent(public_path: Path) -> None:
    with icinga(public_path, "1s") as api:
        assert api.ask("actions/process-check-result", result("remote!memory"))[0] == 200
        for _ in range(450):
            found = api.service("remote!memory")
            if found["state"] == 3:
                break
            time.sleep(0.2)
        assert (found["state"], found["last_check_result"]["output"]) == (3, SILENT)


def test_nagios_says_when_a_host_falls_silent(public_path: Path) -> None:
    text = config("nagios", "--passive", "--local", "hub", "--sudo", "none").replace(f" {FRESH_S}\n", " 2\n")
    line = nagios(public_path / "nagios", text, "/bin", hostgroup=False)
    base = public_path / "nagios" / "objects" / "base.cfg"
    base.write_text(base.read_text() + "define host {\n  host_name remote\n  address 127.0.0.1\n  check_command true\n"
                    "  check_period always\n  max_check_attempts 1\n  contacts admin\n  notification_period always\n"
                    "  hostgroups memtriage-passive\n}\n")
    main = public_path / "nagios" / "nagios.cfg"
    main.write_text(main.read_text() + "service_freshness_check_interval=1\nadditional_freshness_latency=1\n")
    own(public_path / "nagios")
    status = public_path / "nagios" / "status.dat"
    with running(*line, log=public_path / "log"):
        found: list[str] = []
        for _ in range(450):
            blocks = re.findall(r"servicestatus \{.*?\}", status.read_text() if status.exists() else "", re.DOTALL)
            found = [block for block in blocks if "host_name=remote\n" in block and SILENT in block]
            if len(found) == 5:
                break
            time.sleep(0.2)
        assert len(found) == 5, (public_path / "log").read_text()
        assert all("\tcurrent_state=3\n" in block for block in found)
