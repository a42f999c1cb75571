"""``memtriage fleet`` and a real Icinga 2: 2,000 hosts fed by passive results over time, one release that leaks, one role that is busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import icinga, made, rounds
from tests.simulate.command import environment

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_release_and_nothing_else(seed: int, tmp_path: Path) -> None:
    """All twenty: bench_fleet.py seeds."""
    begun = time.time()
    ran = rounds.run(seed, tmp_path)
    assert ran.verdicts == [rounds.NOBODY[0], *[f"Yes, by the odds: growth goes with kernel={made.BAD}."] * 2]
    cause, = rounds.causes(ran.tree)
    assert ran.leaking <= cause["grow"] <= ran.leaking + 15 and cause["others_grow"] < 25
    assert cause["odds"]["low"] > 50
    began = cause["began"]
    assert began["hosts"] == cause["grow"] and began["at_start"] == 0  # at the first look nothing was proven
    assert begun - 1 < ran.tree["history_since"] < began["first"] <= began["half"] < time.time()


def test_what_a_real_one_holds_of_odd_hosts(tmp_path: Path) -> None:
    """Silent, never checked, UNKNOWN, without the service; names and values that are no nice words; figures that are none."""
    base = made.fleet(3, 40, ["calm", "leak", "busy", "stray", "programs"])
    nasty = "x\\ \u00e4(y)|<b>'\""
    hosts = [host._replace(name=f"{nasty} {number}", variables={**host.variables, "role": nasty}) if number < 10 else host
             for number, host in enumerate(base)]
    hosts += [base[0]._replace(name="bare", variables={"silent": "none"})]
    said = made.play(dict(made.lives(1))["leak"], made.LENGTH)[0]
    now = time.time()
    with icinga.running(icinga.definitions(hosts)) as to:
        def feed(host: made.Host, **change: Any) -> dict[str, Any]:
            return {**icinga.result("slab growth", host.name, said, said.perfdata, now), **change}

        old = {"execution_start": now - 5000, "execution_end": now - 5000}
        timed_out = {"exit_status": 3, "plugin_output": "<Timeout exceeded.>", "performance_data": []}
        odd = [*said.perfdata, "eta=nan", "s_x=inf", "bad"]
        assert to.feed([*(feed(host) for host in hosts[:20]), *(feed(host, **old) for host in hosts[20:25]),
                        *(feed(host, **timed_out) for host in hosts[25:28]),
                        *(feed(host, performance_data=odd) for host in hosts[28:30])]) == 30
        out, _ = rounds.ask(to, "--all", "--top", "50")
        lines = out.splitlines()
        assert lines[0] == (f"41 hosts of {to.url}: 22 judged, 5 silent (result too old), 10 never checked, 3 UNKNOWN, "
                            "1 without check_slab_growth")
        assert lines[1] == "6 items of perfdata are none of ours and were passed over."
        assert lines[2].startswith("Kernel memory grows on 22 of 22 (100.0%)")
        assert all(" " <= letter <= "~" and letter not in "|<>" for line in lines for letter in line)
        assert any("x? ?(y)??b??? 3" in line for line in lines)
        tree = json.loads(rounds.ask(to, "--json", "--filter", 'host.vars.role == "build" || host.name == "bare"')[0])
        assert tree["hosts"]["total"] == 1 + sum(host.variables.get("role") == "build" for host in hosts)
        words = ["--api", to.url, "--ca", to.ca, "--name", icinga.NODE, "--credentials"]
        for user, password, said_so in (("reader", "wrong", "Icinga 2 does not know this API user and password (401)"),
                                        ("feeder", "p", "Icinga 2 shows no hosts (404): the API user needs the permission "
                                         "objects/query/Host, and a filter must be one that Icinga 2 understands")):
            done = subprocess.run([sys.executable, "-m", "memtriage", "fleet", *words, to.credentials(user, password)], env=environment(),
                                  capture_output=True, text=True, timeout=120, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", f"memtriage fleet: {said_so}\n")
        assert os.path.exists(to.ca)
