"""check_mem_pressure through its real file: complete outputs for the captured trees, and what it says as time passes.

After a change of words: ``PYTHONPATH=lib python -m tests.checks.test_mem_pressure``, then read the difference in expected/pressure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.checks.command import FIXTURES, Answer, environment
from tests.checks.forked import on, run
from tests.checks.oomkiller import cage

EXPECTED = Path(__file__).parent / "expected" / "pressure"
SCENARIOS = sorted(path.parent.name for path in FIXTURES.glob("*/SOURCE"))


def output(scenario: str, state: Path) -> str:
    answer = on(scenario, "check_mem_pressure", "--state-dir", str(state)).sound()
    return f"exit {answer.code}\n{answer.out.replace(str(state), 'STATE')}"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_complete_output_for_every_scenario(scenario, tmp_path):
    assert output(scenario, tmp_path) == (EXPECTED / f"{scenario}.txt").read_text()


def holder(answer: Answer) -> str:
    """What stands behind the last semicolon of the first line, as far as both checks have room for it."""
    for word in ("; culprit: ", "; largest: "):
        before, found, after = answer.first.rpartition(word)
        if before:
            return (found + after)[:60]
    return answer.first


@pytest.mark.parametrize("alarm", [True, False])
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name[:2] not in ("h-", "i-", "j-", "l-", "m-", "n-", "o-")])
def test_the_culprit_is_that_of_check_free_mem(scenario, alarm, tmp_path):
    state = ["--state-dir", str(tmp_path)]
    other = on(scenario, "check_free_mem", *state, *(["-c", "~:0"] if alarm else ["-w", "0:", "-c", "0:"])).sound()
    here = on(scenario, "check_mem_pressure", *state, *(["-c", "@0:100"] if alarm else ["-w", "100", "-c", "100"])).sound()
    assert other.code == here.code == (2 if alarm else 0)
    assert holder(here) == holder(other)
    assert ("culprit: " if alarm else "largest: ") in here.first
    if alarm:
        assert here.out.splitlines()[1] == other.out.splitlines()[1]


class Host:
    """A few files; ``at(...)`` lets time pass and counters rise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boot = "11111111-2222-3333-4444-555555555555"
        source = FIXTURES / "c-unreclaimable-slab" / "proc"
        for name in ("meminfo", "slabinfo"):
            self.write(f"proc/{name}", (source / name).read_text())

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def psi(self, name: str, some: str, full: str, totals: tuple[int, int]) -> None:
        lines = [f"{word} avg10={ten} avg60={sixty} avg300={more} total={total}\n" for word, (ten, sixty, more), total in (
            ("some", some.split(), totals[0]), ("full", full.split(), totals[1]))]
        self.write(name, "".join(lines))

    def at(self, up: float, some: str = "0.00 0.00 0.00", full: str = "0.00 0.00 0.00", totals: tuple[int, int] = (0, 0),
           **events: int) -> Host:
        self.write("proc/uptime", f"{up:.2f} 1.00\n")
        self.write("proc/sys/kernel/random/boot_id", self.boot + "\n")
        self.psi("proc/pressure/memory", some, full, totals)
        counters = {"nr_free_pages": 29184, "workingset_refault_anon": 0, "workingset_refault_file": 0, "pswpin": 0, "pswpout": 0,
                    "pgmajfault": 0, "pgscan_direct": 0, **events}
        self.write("proc/vmstat", "".join(f"{name} {value}\n" for name, value in counters.items()))
        return self

    def check(self, *options: str) -> Answer:
        return run("check_mem_pressure", "--procfs", str(self.folder / "proc"), "--state-dir", str(self.folder / "state"), *options,
                   env=environment()).sound()


@pytest.mark.parametrize(("option", "metric"), [
    ("", "full_avg60"), ("avg10-", "full_avg10"), ("avg300-", "full_avg300"), ("some-", "some_avg60"), ("some-avg10-", "some_avg10"),
    ("some-avg300-", "some_avg300")])
def test_every_window_has_its_thresholds(option, metric, tmp_path):
    host = Host(tmp_path).at(1000, "11.00 12.00 13.00", "1.00 2.00 3.00")
    value = {"full_avg10": 1, "full_avg60": 2, "full_avg300": 3, "some_avg10": 11, "some_avg60": 12, "some_avg300": 13}[metric]
    for warning, critical, code in ((value, value + 1, 0), (value - 1, value + 1, 1), (value - 1, value - 0.5, 2)):
        answer = host.check(f"--{option}warning", str(warning), f"--{option}critical", f"{critical}%")
        assert (answer.code, answer.perfdata[metric]) == (code, f"{value}%;{warning};{critical:g};0;100")
    assert host.check(f"--{option}warning", f"@{value}:{value}", f"--{option}critical", "100").code == 1


def test_defaults(tmp_path):
    host = Host(tmp_path)
    for full, code in ((5.0, 0), (5.01, 1), (10.0, 1), (10.01, 2)):
        assert host.at(1000, "50.00 50.00 50.00", f"99.00 {full:.2f} 99.00").check().code == code


def test_what_the_averages_miss_is_in_the_total(tmp_path):
    """Half of the five minutes between two runs was lost, and the last minute was quiet."""
    host = Host(tmp_path)
    host.at(1000, totals=(5_000_000, 1_000_000)).check()
    answer = host.at(1300, totals=(215_000_000, 151_000_000)).check("--stall-warning", "20", "--stall-critical", "60")
    assert answer.code == 1
    assert (answer.perfdata["full_stalled"], answer.perfdata["some_stalled"]) == ("50%;20;60;0;100", "70%;;;0;100")
    assert (answer.perfdata["full_total"], answer.perfdata["some_total"]) == ("151000000c;;;0", "215000000c;;;0")
    assert answer.first.startswith("MEM_PRESSURE WARNING - full 0.00%, some 0.00% of the last 60 s, full 50.0% of 5.0 min; ")


@pytest.mark.parametrize(("events", "words", "meaning"), [
    ({"pswpin": 76800, "pswpout": 768}, "swapping 1.00 MiB/s in, 10.2 KiB/s out", "more is in use than fits"),
    ({"workingset_refault_file": 76800}, "thrashing 1.00 MiB/s", "the working set does not fit"),
    ({"workingset_refault_anon": 76800, "pswpin": 76800}, "swapping 1.00 MiB/s in, 0 B/s out", "more is in use than fits"),
    ({"pgscan_direct": 76800}, "direct reclaim 1.00 MiB/s", "kswapd cannot keep up"),
    ({}, "no paging traffic", None),
])
def test_the_kind_of_pressure(tmp_path, events, words, meaning):
    host = Host(tmp_path)
    host.at(1000).check()
    answer = host.at(1300, "50.00 50.00 50.00", "20.00 20.00 20.00", (9, 9), **events).check()
    assert answer.code == 2
    assert f"; {words}; culprit: " in answer.first
    assert meaning is None or meaning in answer.out


def test_rates(tmp_path):
    host = Host(tmp_path)
    host.at(1000, pgmajfault=100).check()
    host.at(1010, pswpin=10, pswpout=20, workingset_refault_file=30, workingset_refault_anon=10, pgscan_direct=50, pgmajfault=125)
    answer = host.check()
    assert {name: answer.perfdata[name] for name in answer.perfdata if name.endswith("_per_s")} == {
        "swap_in_per_s": "4096B;;;0", "swap_out_per_s": "8192B;;;0", "refault_per_s": "16384B;;;0", "reclaim_per_s": "20480B;;;0",
        "major_faults_per_s": "2.5;;;0"}
    assert ("In the last 10 s: swap-in 4.00 KiB/s, swap-out 8.00 KiB/s, direct reclaim 20.0 KiB/s, refaults 16.0 KiB/s, major faults 2.5/s."
            in answer.out)


def test_a_reboot_and_counters_that_go_back(tmp_path):
    host = Host(tmp_path)
    host.at(1000, totals=(900, 900), pgmajfault=100).check()
    host.boot = "aaaaaaaa-2222-3333-4444-555555555555"
    answer = host.at(2000, totals=(5, 5), pgmajfault=7).check()
    assert (answer.code, "full_stalled" in answer.perfdata) == (0, False)
    answer = host.at(2060, totals=(3, 9), pgmajfault=1).check()  # a container that was moved
    assert "some_stalled" not in answer.perfdata
    assert "major_faults_per_s" not in answer.perfdata
    assert answer.perfdata["full_stalled"] == "0%;;;0;100"


def test_a_second_run_by_hand_is_compared_with_the_one_before(tmp_path):
    host = Host(tmp_path)
    host.at(1000, totals=(0, 0)).check()
    host.at(1060, totals=(0, 30_000_000)).check()
    assert host.at(1061, totals=(0, 30_000_000)).check().perfdata["full_stalled"] == "49.18%;;;0;100"


@pytest.mark.parametrize("text", ["", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
                                  "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
                                  "some avg10=101.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
                                  "some avg10=nan avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"])
def test_a_pressure_file_that_cannot_be_judged_is_unknown(tmp_path, text):
    host = Host(tmp_path).at(1000)
    host.write("proc/pressure/memory", text)
    assert host.check().code == 3
    assert host.check("--ok-if-unsupported").code == 3


def test_kernels_without_psi(tmp_path):
    host = Host(tmp_path).at(1000)
    (tmp_path / "proc/pressure/memory").unlink()
    answer = host.check()
    assert answer.code == 3
    assert answer.first.startswith(f"MEM_PRESSURE UNKNOWN - not supported here: {tmp_path}/proc/pressure/memory does not exist: ")
    assert host.check("--ok-if-unsupported").out.startswith("MEM_PRESSURE OK - not supported here, as allowed: ")


PSI_OFF = """
import sys, runpy
from memtriage.procfs import files
read = files.read
def off(root, name, limit=files.LIMIT):
    if name == "pressure/memory":
        raise files.Unreadable(root + "/" + name, "Operation not supported")
    return read(root, name, limit)
files.read = off
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_psi_built_in_and_off(tmp_path):
    from tests.checks.command import ROOT  # noqa: PLC0415 - this test alone runs the file in its own way

    done = subprocess.run([sys.executable, "-c", PSI_OFF, str(ROOT / "checks" / "check_mem_pressure.py"), "--state-dir", str(tmp_path)],
                          capture_output=True, text=True, timeout=30, check=False, env=environment(PYTHONPATH=str(ROOT / "lib")))
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == ("MEM_PRESSURE UNKNOWN - not supported here: /proc/pressure/memory: Operation not supported: Linux 4.20 and "
                           "later have it with CONFIG_PSI; where it is off, boot with psi=1\n")


class TestCgroup:
    def group(self, host: Host, path: str, totals: tuple[int, int], unified: str = "", **events: int) -> None:
        folder = f"sys/fs/cgroup/{unified}{path}"
        host.write(f"{folder}/cgroup.procs", "")
        host.write(f"{folder}/memory.max", "67108864\n")
        host.write(f"{folder}/memory.current", "67000000\n")
        host.write(f"{folder}/memory.stat", "".join(f"{name} {value}\n" for name, value in events.items()))
        host.psi(f"{folder}/memory.pressure", "30.00 20.00 10.00", "12.00 11.00 1.00", totals)

    @pytest.mark.parametrize("unified", ["", "unified/"])
    def test_its_own_pressure(self, tmp_path, unified):
        host = Host(tmp_path).at(1000)
        host.write("sys/fs/cgroup/cgroup.controllers" if not unified else "sys/fs/cgroup/unified/cgroup.controllers", "memory\n")
        self.group(host, "a.slice/b.service", (0, 0), unified, workingset_refault_file=0, pgmajfault=5)
        host.check("--cgroup", "/a.slice/b.service")
        host.at(1100)
        self.group(host, "a.slice/b.service", (50_000_000, 25_000_000), unified, workingset_refault_file=25600, pgmajfault=105)
        answer = host.check("--cgroup", "/a.slice/b.service")
        assert (answer.code, answer.perfdata["full_stalled"]) == (2, "25%;;;0;100")
        assert answer.perfdata["major_faults_per_s"] == "1;;;0"
        assert answer.first == ("MEM_PRESSURE CRITICAL - full 11.0%, some 20.0% of the last 60 s in cgroup '/a.slice/b.service', "
                                "full 25.0% of 100 s; culprit: cgroup limit of '/a.slice/b.service', no process group in it above 10%")
        assert "In the last 100 s: refaults 1.00 MiB/s, major faults 1.0/s." in answer.out
        assert "the working set does not fit" in answer.out

    def test_a_cgroup_made_anew(self, tmp_path):
        host = Host(tmp_path).at(1000)
        host.write("sys/fs/cgroup/cgroup.controllers", "memory\n")
        self.group(host, "b", (50_000_000, 50_000_000))
        host.check("--cgroup", "b")
        (tmp_path / "sys/fs/cgroup/b").rename(tmp_path / "gone")
        host.at(1100)
        self.group(host, "b", (60_000_000, 60_000_000))
        assert "full_stalled" not in host.check("--cgroup", "b").perfdata

    def test_no_such_cgroup_and_no_pressure_file(self, tmp_path):
        host = Host(tmp_path).at(1000)
        host.write("sys/fs/cgroup/memory/old/cgroup.procs", "")
        assert host.check("--cgroup", "/none").first.endswith("sys/fs/cgroup/none: no such cgroup")
        assert host.check("--cgroup", "/../..").code == 3
        answer = host.check("--cgroup", "/old")
        assert answer.first.startswith("MEM_PRESSURE UNKNOWN - not supported here: cgroup '/old' has no memory.pressure: ")
        assert host.check("--cgroup", "/old", "--ok-if-unsupported").code == 0


THRASH = """
import mmap, os, sys, time
with open(sys.argv[2] + "/cgroup.procs", "w") as handle:
    handle.write(str(os.getpid()))
file = os.open(sys.argv[1], os.O_RDONLY)
pages = mmap.mmap(file, 0, prot=mmap.PROT_READ)
end = time.monotonic() + 2
while time.monotonic() < end:
    for place in range(0, len(pages), 4096):
        pages[place]
"""


@pytest.mark.needs_root
@pytest.mark.skipif(not os.path.exists("/proc/pressure/memory"), reason="this kernel has no PSI, or it is off")
def test_a_process_that_thrashes_for_real(tmp_path, public_path):
    """It reads 96 MiB of a disk again and again in a cgroup that may have 32: the host's stall total and its refaults must rise."""
    state = ["--state-dir", str(tmp_path / "state"), "-v"]
    try:
        file = public_path / "file"
        file.write_bytes(os.urandom(1024 * 1024) * 96)
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with cage(tmp_path) as here:
            before = run("check_mem_pressure", *state).sound()
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", THRASH, str(file), str(here.folder)], timeout=30, check=True)
            after = run("check_mem_pressure", *state, "--stall-warning", "0").sound()
        assert int(after.perfdata["some_total"].split("c")[0]) > int(before.perfdata["some_total"].split("c")[0])
        assert float(after.perfdata["some_stalled"].split("%")[0]) > 0
        assert int(after.perfdata["refault_per_s"].split("B")[0]) > 1024**2, time.monotonic() - started
        assert "File pages, programs' own code among them, are dropped and read again at once" in after.out
    finally:
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    EXPECTED.mkdir(parents=True, exist_ok=True)
    for one in SCENARIOS:
        with tempfile.TemporaryDirectory() as scratch:
            (EXPECTED / f"{one}.txt").write_text(output(one, Path(scratch)))
    sys.exit(0)
