"""The recorder's results in a real Icinga 2: the same as the checks' own, by a user who may do nothing else, also after it was away."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.engines import foreground, icinga2
from tests.engines.icinga2 import Icinga, Node, Result
from tests.integration.engines import config
from tests.passive.test_command import TREE, Run

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
HOST = """\
const MemtriagePassword = "p;w#d"
object Host "hub" {
  check_command = "dummy"
  vars.os = "Linux"
  vars.memtriage_passive = true
}
"""
SERVICES = {"memory": "check_free_mem", "memory slab": "check_slab_growth", "memory pressure": "check_mem_pressure"}


def results(running: Icinga, since: float = 0) -> dict[str, Result]:
    """What the engine holds of the host ``hub`` that was asked after ``since`` and is not its own word for silence."""
    found = {}
    for item in running.api("/v1/objects/services?filter=host.name==%22hub%22")["results"]:
        attrs = item["attrs"]
        last = attrs["last_check_result"]
        if last and "no result from" not in last["output"] and last["execution_start"] > since:
            found[attrs["name"]] = Result(int(last["state"]), last["output"], last["performance_data"], last["check_source"])
    return found


def test_a_real_icinga_holds_what_the_checks_say(tmp_path: Path) -> None:
    with foreground.folder("passive") as folder:
        node = Node(folder, "localhost", Path("/usr/lib/nagios/plugins"))
        config("icinga2", "--passive", "--sudo", "none", "-o", f"{folder}/objects.d/")
        (folder / "objects.d" / "hub.conf").write_text(HOST)
        node.watch()
        node.certify(node)
        section = (f"[icinga2]\nurl = https://localhost:{node.port}\nuser = memtriage\npassword = p;w#d\nhost = hub\n"
                   f"ca = {folder}/data/certs/ca.crt\n")
        services = "".join(f"{name} = {check}\n" for name, check in SERVICES.items())
        run = Run(tmp_path, services, "--no-lock", kind="icinga2", section=section)
        try:
            with icinga2.started(node) as running:
                running.up()
                foreground.until("the results", lambda: len(results(running)) == len(SERVICES))
            again = time.time() + 3  # the engine is away for so long
            time.sleep(3)
            with icinga2.started(node) as running:
                running.up()
                held = foreground.until("results made since", lambda: (
                    found if len(found := results(running, again)) == len(SERVICES) else None))
                time.sleep(1.5)  # a heartbeat more, by which the answer to the last one is in
        finally:
            said = run.end()
    for name, check in SERVICES.items():
        words = [ROOT / "checks" / f"{check}.py", "--procfs", TREE / "proc", "--state-dir", tmp_path / "other"]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=30, check=False)
        first, *rest = done.stdout.rstrip("\n").split("\n")
        head, _, perfdata = first.partition(" | ")
        own = Result(done.returncode, "\n".join([head, *rest]), perfdata.split(), "hub")
        assert held[name]._replace(output=held[name].output.split("\n")[0]) == own._replace(output=head)
    assert held["memory"].output.startswith("FREE_MEM CRITICAL - 4.50% of 3.84 GiB available (177 MiB); culprit: slab cache 'kmalloc-4k'")
    assert "memtriage record: results wait: localhost port " in said
    assert "memtriage record: results are delivered again\n" in said
