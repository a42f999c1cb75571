"""``memtriage fleet`` and a real Icinga 2: 2,000 hosts fed by passive results over time, one release that leaks, one role that is busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet import icinga, made
from tests.fleet.icinga import Icinga
from tests.simulate.command import environment

pytestmark = [pytest.mark.engine, pytest.mark.slow]
SIZE = 2000
MOST_S, MOST_MIB = 10.0, 300
PEAK = ("import re, sys; from memtriage.cli import main; code = main(); "
        "sys.stderr.write(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1)); sys.exit(code)")


def fleet(to: Icinga, *options: str) -> tuple[str, float, float]:
    """What it says, the seconds it took on the clock, and the MiB it held at most (not by getrusage: a new program inherits the peak of
    what started it)."""
    words = ["--api", to.url, "--credentials", to.credentials(), "--ca", to.ca, "--name", icinga.NODE, *options]
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", PEAK, "fleet", *words], env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr.isdigit(), done.stderr
    return done.stdout, time.monotonic() - begun, int(done.stderr) / 1024


def results(hosts: list[made.Host], said: Any, at: int, ended: float) -> Iterator[dict[str, Any]]:
    for host in hosts:
        for check, service in enumerate(made.SERVICES):
            answer = said[host.life][1][at][check]
            yield icinga.result(service, host.name, answer, made.paced(answer, host), ended, made.output(answer, host))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_release_and_nothing_else(seed: int, tmp_path: Any) -> None:
    said = made.played(seed)
    hosts = made.fleet(seed, SIZE, [kind for kind, _ in said])
    history = str(tmp_path / "history")
    with icinga.running(icinga.definitions(hosts)) as to:
        out, took, held = fleet(to)
        assert f"{SIZE} hosts of {to.url}: 0 judged, {SIZE} never checked" in out
        verdicts = []
        for at in range(len(made.ROUNDS)):
            assert to.feed(results(hosts, said, at, time.time())) == 2 * SIZE
            out, took, held = fleet(to, "--json", "--history", history)
            tree = json.loads(out)
            verdicts.append(tree["verdict"]["kernel"])
            assert took < MOST_S and held < MOST_MIB, (took, held)
            assert tree["hosts"]["ok"] == SIZE and tree["perfdata_odd"] == 0
            assert tree["verdict"]["programs"][:9] in ("No: progr", "Nothing s")
        assert verdicts == ["No: kernel memory grows on no host.", *[f"Yes, by the odds: growth goes with kernel={made.BAD}."] * 2]
        causes = [finding for finding in tree["kernel"]["findings"] if finding["kind"] == "cause"]
        assert [cause["attributes"] for cause in causes] == [[{"key": "kernel", "value": made.BAD}]]
        leaking = sum(host.leaks for host in hosts)
        assert leaking <= causes[0]["grow"] <= leaking + 15 and causes[0]["others_grow"] < 25
        assert causes[0]["odds"]["low"] > 50
        began = causes[0]["began"]
        assert began["hosts"] == causes[0]["grow"] and began["at_start"] == 0  # at the first look nothing was proven
        assert tree["history_since"] < began["first"] <= began["half"] < time.time()
        words, took, held = fleet(to)
        assert took < MOST_S and held < MOST_MIB
        assert f"Is it the kernel?  Yes, by the odds: growth goes with kernel={made.BAD}." in words.splitlines()


def test_what_a_real_one_holds_of_odd_hosts(tmp_path: Any) -> None:
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
        out, _, _ = fleet(to, "--all", "--top", "50")
        lines = out.splitlines()
        assert lines[0] == (f"41 hosts of {to.url}: 22 judged, 5 silent (result too old), 10 never checked, 3 UNKNOWN, "
                            "1 without check_slab_growth")
        assert lines[1] == "6 items of perfdata are none of ours and were passed over."
        assert lines[2].startswith("Kernel memory grows on 22 of 22 (100.0%)")
        assert all(" " <= letter <= "~" and letter not in "|<>" for line in lines for letter in line)
        assert any("x? ?(y)??b??? 3" in line for line in lines)
        tree = json.loads(fleet(to, "--json", "--filter", 'host.vars.role == "build" || host.name == "bare"')[0])
        assert tree["hosts"]["total"] == 1 + sum(host.variables.get("role") == "build" for host in hosts)
        words = ["--api", to.url, "--ca", to.ca, "--name", icinga.NODE, "--credentials"]
        for user, password, said_so in (("reader", "wrong", "Icinga 2 does not know this API user and password (401)"),
                                        ("feeder", "p", "Icinga 2 shows no hosts (404): the API user needs the permission "
                                         "objects/query/Host, and a filter must be one that Icinga 2 understands")):
            done = subprocess.run([sys.executable, "-m", "memtriage", "fleet", *words, to.credentials(user, password)], env=environment(),
                                  capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", f"memtriage fleet: {said_so}\n")
        assert os.path.exists(to.ca)
