"""Who still speaks when memory is gone: check_nrpe from outside, and the recorder's passive results, to a real Icinga 2, in one run.

    python tests/guest/passive.py [--runs N] [--seconds N] [--disk hdd]

Prints a table as docs/passive.md has it. Leaves with 1 where a result came late or without the culprit. Needs Icinga 2 and check_nrpe here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.engines import icinga2
from tests.engines.nrpe import free_port
from tests.guest import guest

LATE_S = 5.0
NRPE_S = 10
"""What check_nrpe is told to wait; where its handshake took long, it waits longer."""
SERVICES = """\
object ApiUser "memtriage" {{
  password = "guest"
  permissions = [ "actions/process-check-result" ]
}}
object Host "hub" {{
  check_command = "dummy"
  check_interval = 1h
}}
apply Service for (name in [ "memory", "memory slab", "memory OOM kill", "memory pressure" ]) {{
  display_name = name
  check_command = "passive"
  enable_active_checks = false
  max_check_attempts = 1
  assign where host.name == "hub"
}}
"""


class Seen(NamedTuple):
    """A result as the engine had it: when it arrived, by this host's clock, and what it said."""

    at: float
    service: str
    state: int
    first: str
    ended: float
    """By the guest's clock."""


class Asked(NamedTuple):
    at: float
    took: float
    code: int
    first: str


class Watch:
    """Asks the engine what it has, five times a second, and the guest by check_nrpe, every two seconds."""

    def __init__(self, node: icinga2.Icinga, port: int) -> None:
        self.node, self.port = node, port
        self.seen: list[Seen] = []
        self.asked: list[Asked] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._look, daemon=True), threading.Thread(target=self._ask, daemon=True)]
        for thread in self.threads:
            thread.start()

    def _look(self) -> None:
        newest: dict[str, float] = {}
        while not self.stop.wait(0.2):
            try:
                found = self.node.api("/v1/objects/services?filter=host.name==%22hub%22")["results"]
            except OSError:
                continue
            now = time.time()
            for attrs in (item["attrs"] for item in found):
                result = attrs["last_check_result"]
                if result and result["execution_end"] > newest.get(attrs["name"], 0):
                    newest[attrs["name"]] = result["execution_end"]
                    self.seen.append(Seen(now, attrs["display_name"], int(result["state"]), result["output"].split("\n")[0],
                                          result["execution_end"]))

    def _ask(self) -> None:
        while not self.stop.wait(2.0):
            at = time.time()
            done = subprocess.run(["/usr/lib/nagios/plugins/check_nrpe", "-H", "127.0.0.1", "-p", str(self.port), "-t", str(NRPE_S), "-c",
                                   "check_free_mem"], capture_output=True, text=True, timeout=60, check=False)
            self.asked.append(Asked(at, time.time() - at, done.returncode, (done.stdout or done.stderr).split("\n")[0].split(" | ")[0]))

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(70)


def one(seconds: int, disk: str, folder: Path) -> tuple[list[dict[str, Any]], Watch]:
    """One boot: what the guest said, and what was seen from outside."""
    node = icinga2.Node(folder / "icinga", icinga2.MASTER, Path("/usr/lib/nagios/plugins"))
    node.watch()
    (node.folder / "objects.d" / "hub.conf").write_text(SERVICES.format())
    node.certify(node)
    authority = folder / "ca.crt"
    authority.write_bytes((node.folder / "data" / "certs" / "ca.crt").read_bytes())
    port = free_port()
    network = ("-netdev", f"user,id=n,restrict=off,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:5666", "-device", "virtio-net-pci,netdev=n")
    with icinga2.started(node) as running:
        running.up()
        watch = Watch(running, port)
        try:
            result = guest.run("speaks.py", str(seconds), str(node.port), disk=disk, swap=300, limit=seconds + 600,
                               network=network, files=(authority,))
        finally:
            watch.end()
    rows = [json.loads(line) for line in result.said.splitlines() if line.startswith("{")]
    if result.code:
        raise SystemExit(f"the guest failed: {result.said[-3000:]}\n{result.console[-2000:]}")
    guest.fetch(result, "/recording", folder / "recording")
    guest.clean(result)
    return rows, watch


def levels(path: Path) -> list[tuple[float, float]]:
    """Time and share of memory available, sample by sample, by the guest's clock."""
    from memtriage import recorded  # noqa: PLC0415 - once the guest has run
    from memtriage.procfs import files, meminfo  # noqa: PLC0415 - as above
    from memtriage.recording import Recording  # noqa: PLC0415 - as above

    found = []
    with Recording(str(path)) as recording:
        for sample in recording.samples():
            try:
                info = recorded.value(sample, "meminfo", meminfo.parse)
            except files.ProcfsError:
                continue
            found.append((sample.time, (info.get("MemAvailable") or 0) / (info.get("MemTotal") or 1)))
    return found


class Row(NamedTuple):
    what: str
    after: float | None
    """Seconds from the sample in which less than 5 % were available to the CRITICAL in the engine; ``None`` where none came."""
    first: str
    worst: float
    """Longest time between two results of the service in the engine."""
    asked: int
    failed: int
    """No answer within ten seconds."""
    slowest: float


def row(what: str, start: float, stop: float, watch: Watch, shares: list[tuple[float, float]], shift: float) -> Row:
    """What happened between two moments of the guest's clock; ``shift`` is what this host's clock is ahead."""
    low = next((at for at, share in shares if start <= at <= stop and share < 0.05), None)
    mine = [one for one in watch.seen if one.service == "memory"]
    alarm = next((one for one in mine if low is not None and low - 3 <= one.ended and one.at - shift <= stop + 10
                  and one.state == 2), None)
    times = [one.at - shift for one in mine if start <= one.at - shift <= stop + 10]
    asked = [one for one in watch.asked if start <= one.at - shift <= stop]
    return Row(what, None if alarm is None or low is None else max(0.0, alarm.at - shift - low), alarm.first if alarm else "",
               max((b - a for a, b in zip(times, times[1:])), default=stop - start), len(asked),
               sum("FREE_MEM" not in one.first or one.took > NRPE_S for one in asked), max((one.took for one in asked), default=0.0))


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--runs", type=int, default=3)
    reader.add_argument("--seconds", type=int, default=90)
    reader.add_argument("--disk", choices=sorted(guest.DISKS), default="hdd")
    reader.add_argument("--out", default="guest-passive.jsonl")
    args = reader.parse_args()
    if guest.missing():
        print(f"needs {', '.join(guest.missing())}")
        return 1
    guest.build()
    wrong = 0
    for run in range(1, args.runs + 1):
        with tempfile.TemporaryDirectory(prefix="memtriage-passive-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            rows, watch = one(args.seconds, args.disk, folder)
            shares = levels(folder / "recording")
        with open(args.out, "a", encoding="utf-8") as out:
            out.write(json.dumps({"run": run, "rows": rows, "seen": watch.seen, "asked": watch.asked, "shares": shares}) + "\n")
        moments = {row["what"]: row["at"] for row in rows if "at" in row}
        shift = min(one.at - one.ended for one in watch.seen)
        for what, start, stop in (("swap thrash", moments["thrash"], moments["calm"]),
                                  ("to the OOM kill", moments["hog"], moments["killed"])):
            found = row(what, start, stop, watch, shares, shift)
            wrong += found.after is None or found.after > LATE_S or "culprit" not in found.first
            print(f"run {run}, {what}: CRITICAL after {'-' if found.after is None else f'{found.after:.1f} s'}, longest silence "
                  f"{found.worst:.1f} s; check_nrpe failed {found.failed} of {found.asked}, slowest {found.slowest:.1f} s\n"
                  f"    {found.first}",
                  flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
