"""What the engines are given to check: every check in every state, on trees that give the same answer each time.

Each service has a state folder of its own and has run before, so that what the engine gets is what the command gives when run directly.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from memtriage.integration import table as integration
from tests.checks import oomtree
from tests.checks.command import CHECKS, FIXTURES, REMEMBERING
from tests.conftest import ROOT
from tests.engines import foreground
from tests.recording import made

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
PATH = "/usr/bin:/bin"
"""The distribution's Python, with the distribution's nagiosplugin."""
PATIENCE = "60"
"""Seconds: dozens of checks are ordered at once here, on a machine that may be slow and busy."""
EVIL = "process group 'x ? a=1????[31m'"
NUMBER = re.compile(r"[-+]?[0-9][0-9.,]*( [KMGT]iB| B)?")


class Service(NamedTuple):
    """``check`` with ``words`` must end in ``state``, and its first line holds ``culprit``."""

    name: str
    check: str
    words: tuple[str, ...]
    state: int | None
    culprit: str


class Answer(NamedTuple):
    """What a command printed, taken apart as the plugin guideline says."""

    state: int
    text: str
    """The first line before the bar."""
    perfdata: str
    long: str

    @property
    def first_line(self) -> str:
        return self.text + (" | " + self.perfdata if self.perfdata else "")

    @property
    def shape(self) -> tuple[int, str]:
        """State, words and labels of a live answer without the numbers, which change from one run to the next."""
        text = self.text + "\n" + self.long.partition("\n")[0][:60]
        return self.state, NUMBER.sub("#", text) + re.sub(r"=[^ ]*", "=", self.perfdata)


def taken_apart(state: int, out: str) -> Answer:
    first, _, rest = out.partition("\n")
    text, _, perfdata = first.partition(" | ")
    return Answer(state, text, perfdata, rest.rstrip("\n"))


class Table:
    """The services, their trees and their state, below one folder.

    ``plugins`` is the folder with the commands, ``answers`` what they print by themselves.
    """

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        for check in CHECKS:
            (self.plugins / check).symlink_to(checkout / "checks" / (check + ".py"))
        self.trees = folder / "trees"
        (folder / "state").mkdir()
        self._make_trees()
        made.current(str(self.trees / "this_host.recording"), [1200.0, 600.0, 1.0])
        self.services = {service.name: service for service in self._services()}
        foreground.own(folder / "state")
        with ThreadPoolExecutor(os.cpu_count()) as several:
            # The first run has no history: it says other words than all that follow.
            list(several.map(self.direct, [name for name, service in self.services.items() if service.check in REMEMBERING]))
            self.answers = dict(zip(self.services, several.map(self.direct, self.services)))

    def _make_trees(self) -> None:
        self.trees.mkdir()
        for tree in sorted({row[2] for row in ROWS if row[2]}):
            if (FIXTURES / tree).exists():
                shutil.copytree(FIXTURES / tree, self.trees / tree, symlinks=True)
        shutil.copytree(oomtree.LOGS, self.trees / "oom")
        for name, kills in (("killed", 1), ("quiet", 0), ("uncounted", None)):
            oomtree.Host(self.trees / name).at(oomtree.UP, kills)
            (self.trees / name / "proc" / "meminfo").write_bytes((FIXTURES / "healthy" / "proc" / "meminfo").read_bytes())
        for name, ages, meta in (("alive", [1200.0, 600.0, 30.0], made.META), ("late", [9000.0, 2400.0], made.META),
                                 ("dead", [9000.0, 7200.0], made.META), ("unlocked", [600.0, 30.0], EVIL_META)):
            recording(self.trees / (name + ".recording"), ages, meta)
        subprocess.run(["chmod", "-R", "a+rX", self.trees], timeout=60, check=True)

    def _services(self) -> list[Service]:
        found = []
        for name, check, tree, options, state, culprit in ROWS:
            words = ["-t", PATIENCE, *(["--procfs", f"{self.trees}/{tree}/proc"] if tree else [])]
            words += shlex.split(options.format(trees=self.trees))
            if check in REMEMBERING:
                place = self.folder / "state" / name
                place.mkdir()
                words += ["--state-dir", str(place)]
            found.append(Service(name, check, tuple(words), STATES.index(state) if state else None, culprit))
        return found

    def command(self, service: Service) -> list[str]:
        return [str(self.plugins / service.check), *service.words]

    def direct(self, name: str) -> Answer:
        return direct(self.command(self.services[name]))

    def definitions(self, target: str, folder: Path, *options: str) -> None:
        """What ``memtriage config`` makes of all services, into ``folder``."""
        lines = [f"--add={service.name}={shlex.join((service.check, *service.words))}" for service in self.services.values()]
        command = [sys.executable, "-m", "memtriage", "config", target, "-o", f"{folder}/", "--plugin-dir", str(self.plugins)]
        foreground.done([*command, "--sudo", "none", *lines, *options], env={"PYTHONPATH": str(ROOT / "lib")})


def direct(command: list[str]) -> Answer:
    """What a command prints by itself as the engines' user."""
    who = foreground.account()
    switch = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(command, env={"PATH": PATH}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,  # type: ignore[call-overload]
                          stderr=subprocess.STDOUT, timeout=60, check=False, **switch)
    return taken_apart(done.returncode, done.stdout.decode("utf-8"))


EVIL_META = made.META.replace("locked yes (current, future, on fault)", "locked no: <b>evil</b> | a=1 $HOSTNAME$ `id`")


def recording(path: Path, ages: list[float], meta: str) -> None:
    """A recording of the host ``healthy`` whose samples were that old at the moment the tree was taken."""
    boot = (FIXTURES / "healthy" / "proc" / "sys" / "kernel" / "random" / "boot_id").read_bytes()
    up = float((FIXTURES / "healthy" / "proc" / "uptime").read_text().split()[0])
    made.of_host(str(path), ages, up, boot, meta)


FREE, SLAB, PROC, OOM, PRESSURE, RECORDER = CHECKS
LOG = "--log {trees}/oom/%s.log"
ROWS = (
    (FREE, FREE, "", "", "OK", "available"),
    (SLAB, SLAB, "", "", "OK", "slab "),
    (OOM, OOM, "", "", "", "OOM kill"),
    (PRESSURE, PRESSURE, "", "", "", "of the last 60 s"),
    (RECORDER, RECORDER, "", "--file {trees}/this_host.recording -w 1d -c 2d", "OK", "newest sample "),
    (PROC, PROC, "", "-C no-such-command", "OK", "0 processes"),
    ("free_mem_ok", FREE, "healthy", "", "OK", "largest: page cache 1.62 GiB"),
    ("free_mem_warning", FREE, "d-process-group", "-c 3:", "WARNING", "culprit: process group 'httpd' (41 x 62.0 MiB)"),
    ("free_mem_critical", FREE, "c-unreclaimable-slab", "", "CRITICAL", "culprit: slab cache 'kmalloc-4k' 2.40 GiB, unreclaimable"),
    ("free_mem_unknown", FREE, "m-cut-file", "", "UNKNOWN", "cut short"),
    ("free_mem_swap", FREE, "k-swap-full", "", "CRITICAL", "culprit: process group 'httpd'"),
    ("free_mem_tmpfs", FREE, "g-tmpfs", "-vv", "CRITICAL", "culprit: shared memory/tmpfs 2."),
    ("free_mem_evil", FREE, "hostile-names", "", "CRITICAL", "culprit: " + EVIL),
    ("free_mem_evil_vv", FREE, "hostile-names", "-vv", "CRITICAL", "culprit: " + EVIL),
    ("free_mem_evil_short", FREE, "hostile-names", "--short", "CRITICAL", "culprit: " + EVIL),
    ("slab_ok", SLAB, "healthy", "", "OK", "largest: slab cache 'ext4_inode_cache' 17.5 MiB"),
    ("slab_warning", SLAB, "c-unreclaimable-slab", "--size-critical 90%", "WARNING", "slab cache 'kmalloc-4k' 2.40 GiB"),
    ("slab_critical", SLAB, "c-unreclaimable-slab", "", "CRITICAL", "slab cache 'kmalloc-4k' 2.40 GiB"),
    ("slab_critical_short", SLAB, "c-unreclaimable-slab", "--short", "CRITICAL", "slab cache 'kmalloc-4k' 2.40 GiB"),
    ("slab_unknown", SLAB, "n-empty-file", "", "UNKNOWN", "it is empty"),
    ("slab_evil_vv", SLAB, "hostile-names", "-vv --size-warning 5% --size-critical 10%", "CRITICAL", "slab cache 'x?a=1????b??(id)'"),
    ("proc_ok", PROC, "healthy", "-C httpd -w 20 -c 40", "OK", "8 processes with command 'httpd'"),
    ("proc_warning", PROC, "d-process-group", "-C httpd -w 40 -c 60", "WARNING", "41 processes with command 'httpd'"),
    ("proc_critical", PROC, "d-process-group", "-C httpd --max-workers 80", "CRITICAL", "httpd"),
    ("proc_unknown", PROC, "none", "", "UNKNOWN", "proc"),
    ("proc_evil", PROC, "hostile-names", "-a '[|;$]' -c 0", "CRITICAL", "1 process with args '[?"),
    ("proc_evil_short", PROC, "hostile-names", "-c 5 --short", "CRITICAL", "processes"),
    ("oom_ok", OOM, "quiet", "", "OK", "no OOM kill since boot"),
    ("oom_warning", OOM, "killed", LOG % "5.10-slab-leak" + " -c 5", "WARNING", "culprit: slab cache 'skbuff_small_head' 21.2 GiB"),
    ("oom_critical", OOM, "killed", LOG % "5.10-slab-leak", "CRITICAL", "culprit: slab cache 'skbuff_small_head' 21.2 GiB"),
    ("oom_unknown", OOM, "uncounted", "", "UNKNOWN", "not supported here: "),
    ("oom_evil_vv", OOM, "killed", LOG % "6.8-hostile-names" + " -vv", "CRITICAL", "1 OOM kill"),
    ("oom_short", OOM, "killed", LOG % "5.10-slab-leak" + " --short", "CRITICAL", "culprit: slab cache 'skbuff_small_head'"),
    ("pressure_ok", PRESSURE, "healthy", "", "OK", "full 0.00%, some 0.00% of the last 60 s"),
    ("pressure_warning", PRESSURE, "d-process-group", "-w 1", "WARNING", "culprit: process group 'httpd' (41 x 62.0 MiB)"),
    ("pressure_critical", PRESSURE, "c-unreclaimable-slab", "-w 0.5 -c 1", "CRITICAL", "culprit: slab cache 'kmalloc-4k' 2.40 GiB"),
    ("pressure_unknown", PRESSURE, "quiet", "", "UNKNOWN", "not supported here"),
    ("pressure_evil_short", PRESSURE, "hostile-names", "--some-critical 2 --short", "CRITICAL", "culprit: "),
    ("recorder_ok", RECORDER, "healthy", "--file {trees}/alive.recording", "OK", "newest sample 30 s old"),
    ("recorder_warning", RECORDER, "healthy", "--file {trees}/late.recording", "WARNING", "the recorder does not run"),
    ("recorder_critical", RECORDER, "healthy", "--file {trees}/dead.recording", "CRITICAL", "the recorder does not run"),
    ("recorder_unknown", RECORDER, "healthy", "--file {trees}/none.recording", "UNKNOWN", "none.recording: "),
    ("recorder_evil_vv", RECORDER, "healthy", "--file {trees}/unlocked.recording -vv --gap-critical 5m", "CRITICAL", "memory not locked ("),
)
"""name, check, tree, options, state, words of the first line.

Those that have a check's own name look at this very host, whose state may be any where none is given; all others always give the same
bytes.
"""
LIVE = [row[0] for row in ROWS if not row[2]]
STEADY = [row[0] for row in ROWS if row[2]]
BAD = [row[0] for row in ROWS if row[2] and row[4] != "OK"]


def shown_name(name: str) -> str:
    """What the definitions call the service of a line."""
    return integration.PACES[name].service if name in CHECKS else name
