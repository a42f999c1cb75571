"""Runs the checks as an engine does: their files as programs, with a bare environment, and takes what comes out."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.recording import made

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
CHECKS = ("check_free_mem", "check_slab_growth", "check_proc_count", "check_oom_kill", "check_mem_pressure", "check_mem_recorder")
REMEMBERING = ("check_free_mem", "check_slab_growth", "check_oom_kill", "check_mem_pressure")
"""Those with --state-dir."""
STATE = tempfile.mkdtemp(prefix="memtriage-test-state-")
atexit.register(shutil.rmtree, STATE, ignore_errors=True)
RECORDING = os.path.join(STATE, "recording")
made.current(RECORDING, [1200, 600, 1])
os.chmod(STATE, 0o755)
PERFDATA = re.compile(r"([a-z0-9_]{1,40})=(-?[0-9]+(?:\.[0-9]+)?)(B|s|c|%|)((?:;[-0-9.~:@]*){0,4})")


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        return self.out.split("\n", 1)[0].split(" | ")[0]

    @property
    def perfdata(self) -> dict[str, str]:
        line = self.out.split("\n", 1)[0]
        items = line.split(" | ")[1].split(" ") if " | " in line else []
        return dict(item.split("=", 1) for item in items)

    def sound(self, limit: int = 4096) -> Answer:
        """Asserts what holds for every output of every check."""
        assert self.code in (0, 1, 2, 3), self
        assert self.err == "", self.err
        assert self.out.endswith("\n") and self.out.count("|") <= 1, self.out
        assert len(self.out) <= limit, len(self.out)
        assert all(" " <= letter <= "~" or letter == "\n" for letter in self.out), self.out
        assert "<" not in self.out and ">" not in self.out
        assert re.match(r"[A-Z_]+ (OK|WARNING|CRITICAL|UNKNOWN) - \S", self.out), self.out
        assert ("OK", "WARNING", "CRITICAL", "UNKNOWN").index(self.out.split(" ")[1]) == self.code, self.out
        assert len(self.first) <= 200, self.first
        line = self.out.split("\n", 1)[0]
        if "|" in line:
            items = line.split(" | ")[1].split(" ")
            for item in items:
                assert PERFDATA.fullmatch(item), item
            labels = [item.split("=")[0][:19] for item in items]
            assert len(set(labels)) == len(labels), labels
        return self


def environment(**more: str) -> dict[str, str]:
    """What NRPE leaves a check: no LANG, no HOME that exists. The interpreter of the tests comes first in PATH; as root nothing is left."""
    return {"PATH": os.path.dirname(sys.executable) + ":/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent",
            "MEMTRIAGE_STATE_DIR": STATE, "MEMTRIAGE_RECORDING": RECORDING, **more}


def run(check: str, *options: str, env: dict[str, str] | None = None, **more: object) -> Answer:
    done = subprocess.run([str(ROOT / "checks" / (check + ".py")), *options], env=env or environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=30, check=False, **more)  # type: ignore[call-overload]
    return Answer(done.returncode, done.stdout.decode("ascii"), done.stderr.decode("utf-8", "replace"))


def on(scenario: str, check: str, *options: str, **more: object) -> Answer:
    return run(check, "--procfs", f"{scenario}/proc", *options, cwd=FIXTURES, **more)  # type: ignore[arg-type]
