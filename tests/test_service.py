"""The systemd unit says what the program takes and where the checks look, and systemd understands it."""

from __future__ import annotations

import argparse
import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memtriage import published
from memtriage.cli import record
from memtriage.recording import Recording
from tests.conftest import ROOT

UNIT = ROOT / "packaging" / "memtriage-record.service"


def service() -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(UNIT)
    return dict(parser["Service"])


def test_the_command_is_one_and_paths_are_those_the_checks_know() -> None:
    words = shlex.split(service()["ExecStart"])
    parser = argparse.ArgumentParser()
    record.options(parser)
    assert os.path.basename(words[0]) == "memtriage" and words[1] == "record"
    args = parser.parse_args(words[2:])
    assert args.publish == published.SLABINFO == f"/run/{service()['RuntimeDirectory']}/slabinfo"
    assert args.output == record.DEFAULT == f"/var/log/{service()['LogsDirectory']}/recording"
    assert record.DEFAULT in (ROOT / "checks" / "check_mem_recorder.py").read_text()
    assert args.interval < published.MAX_AGE / 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze(1) here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/memtriage", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "") and UNIT.name not in done.stderr, done  # it speaks of all other units too


@pytest.mark.needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv(1) here")
def test_what_the_unit_leaves_it_is_enough(tmp_path: Path) -> None:
    """Its capabilities and no others; what systemd sets before, the priority and the locked memory, is set before here too."""
    wanted = {word[len("CAP_") :].lower() for word in service()["CapabilityBoundingSet"].split()}
    have = subprocess.run(["setpriv", "--dump"], capture_output=True, text=True, timeout=10, check=True).stdout
    bounding = next(line for line in have.splitlines() if line.startswith("Capability bounding set:")).lower()
    keep = [f"+{name}" for name in sorted(wanted) if name in bounding]
    # A container that lacks SYS_RESOURCE cannot raise the limit of locked memory as systemd does: then by the capability instead.
    limit = ["prlimit", "--memlock=unlimited"] if "sys_resource" in bounding else []
    keep += [] if limit else ["+ipc_lock"]
    path = str(tmp_path / "r")
    done = subprocess.run(["nice", "-n", "-20", "chrt", "-f", "1", *limit, "setpriv", "--bounding-set",
                           ",".join(["-all", *keep]), "--inh-caps", "-all", "--no-new-privs", sys.executable, "-m", "memtriage", "record",
                           "--output", path, "--size", "1MiB", "--interval", "0.1", "--samples", "3"], capture_output=True, text=True,
                          timeout=60, check=False, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib")})
    assert done.returncode == 0, done.stderr
    with Recording(path) as recording:
        sample = list(recording.samples())[-1]
    assert sample.note("locked") == "yes (current, future, on fault)"
    assert sample.note("priority") == "nice -20, I/O best effort 0, SCHED_FIFO 1"
    assert all(sample.content.sources[name].data is not None for name in ("slabinfo", "kmsg", "meminfo"))
    assert sample.content.processes[os.getpid()].cmdline


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze(1) here")
def test_systemd_understands_the_drop_in_for_passive_results(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    (tmp_path / (UNIT.name + ".d")).mkdir()
    for source, to in ((UNIT, copy), (UNIT.parent / "memtriage-record-passive.conf", tmp_path / (UNIT.name + ".d") / "passive.conf")):
        to.write_text(source.read_text().replace("/usr/local/bin/memtriage", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})
    assert done.returncode == 0 and UNIT.name not in done.stderr, done.stderr
