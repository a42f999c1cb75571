"""``memtriage explain`` through its real entry point: the screen of every scenario, agreement with the check, partial rights, and JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checks.command import FIXTURES, ROOT, environment, on
from tests.recording import made
from tests.replay.made import Host

EXPECTED = Path(__file__).parent / "expected"
SCENARIOS = sorted(path.parent.name for path in FIXTURES.glob("*/SOURCE"))


def explain(*options: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "memtriage", "explain", *options], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, cwd=FIXTURES, env=environment(PYTHONPATH=str(ROOT / "lib")), **more)  # type: ignore[call-overload,no-any-return]


def screen(scenario: str) -> str:
    done = explain("--procfs", f"{scenario}/proc")
    assert done.stderr == "" or done.returncode == 1
    return f"exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_screen(scenario: str) -> None:
    shown = screen(scenario)
    assert shown == (EXPECTED / f"{scenario}.txt").read_text()
    rows = shown.splitlines()[1:]
    assert len(rows) <= 40 and (max(map(len, rows)) <= 80 or len(rows) == 1)
    assert all(" " <= letter <= "~" or letter == "\n" for letter in shown)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_command_and_check_never_disagree(scenario: str, tmp_path: Path) -> None:
    check = on(scenario, "check_free_mem", "--state-dir", str(tmp_path))
    done = explain("--procfs", f"{scenario}/proc", "--json")
    if check.code == 3:
        assert done.returncode == 1 and done.stdout == ""
        return
    found = json.loads(done.stdout)
    words = check.first.split("; ")[-1]
    assert words == ("culprit: " if check.code else "largest: ") + found["culprit"]["words"]
    assert bool(check.code) == bool(found["short"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_byte_is_in_one_part(scenario: str) -> None:
    done = explain("--procfs", f"{scenario}/proc", "--json")
    if done.returncode:
        pytest.skip("this scenario's counters cannot be judged")
    found = json.loads(done.stdout)
    assert sum(row["size"] for row in found["ledger"]) == found["mem_total"]
    assert found["version"] == 1
    assert {row["source"] for row in found["ledger"]} and all(row["source"] for row in found["ledger"])


def test_lines_of_source_of_what_no_counter_explains(tmp_path: Path) -> None:
    """Pages, not objects, which are in slab, and not what mm/ took for others; a module by name."""
    shutil.copytree(FIXTURES / "e-unaccounted/proc", tmp_path / "proc")
    lines = ("allocinfo - version: 2.0",
             "#     <size>  <calls> <tag info>",
             "  1288490188       99 mm/readahead.c:200 func:ractl_alloc_folio accurate:no",
             "  1073741824   262144 fs/pipe.c:184 func:anon_pipe_get_page",
             "   805306368  4194304 fs/locks.c:285 func:locks_alloc_lock",
             "   536870912    65536 drivers/net/x.c:88 [x_driver] func:x_refill",
             "   268435456    65536 arch/x86/mm/pgtable.c:18 func:pte_alloc_one",
             "           0        0 drivers/net/x.c:99 [x_driver] func:x_more")
    (tmp_path / "proc/allocinfo").write_text("".join(f"{line} \n" for line in lines))
    rows = explain("--procfs", str(tmp_path / "proc")).stdout.splitlines()
    start = next(place for place, row in enumerate(rows) if "memory no counter explains" in row and row.endswith("what is left"))
    assert rows[start + 1:start + 4] == [
        "  1.00 GiB  26.0%               anon_pipe_get_page at fs/.. allocinfo",
        "   512 MiB  13.0%               x_refill [x_driver] at dr.. allocinfo",
        "   907 MiB  23.0%             processes                     meminfo AnonPages"]
    found = json.loads(explain("--procfs", str(tmp_path / "proc"), "--json").stdout)
    held = [row["words"] for part in found["ledger"] for row in part.get("within", []) if row["source"] == "allocinfo"]
    assert held == ["allocated by anon_pipe_get_page at fs/pipe.c:184", "allocated by x_refill [x_driver] at drivers/net/x.c:88"]


def test_the_window_is_that_of_the_option(tmp_path: Path) -> None:
    """Half a minute is too short for the default of 4 h, and long for a window of 15 s."""
    file, host = str(tmp_path / "recording"), Host(tmp_path / "recording", interval=10.0)
    for moment in range(4):
        host.sample(caches={"kmalloc-4k": 8000 + 500 * moment})
    host.close()
    for options, grown in (((), False), (("--window", "15s", "--warmup", "1s"), True)):
        rows = [row for row in explain("--from", file, *options).stdout.splitlines() if "'kmalloc-4k'" in row and row.endswith("slabinfo")]
        assert len(rows) == 1 and ("+703 MiB" in rows[0]) == grown, rows


def test_live_as_root_and_as_nobody() -> None:
    done = explain()
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("Out of memory? ") and "meminfo MemFree" in done.stdout


@pytest.mark.needs_root
def test_nobody_is_told_what_it_cannot_see(checkout: Path) -> None:
    done = subprocess.run(["/usr/bin/python3", "-m", "memtriage", "explain"], capture_output=True, text=True, timeout=60, check=False,
                          user=65534, group=65534, extra_groups=[], cwd="/",
                          env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(checkout / "lib")})
    assert done.returncode == 0, done.stderr
    assert "Not seen:      slabinfo: permission denied; at most " in done.stdout
    assert "Not exact:     " in done.stdout


def test_one_process() -> None:
    done = explain("--process", str(os.getpid()))
    assert done.returncode == 0
    assert f"pid {os.getpid()}, of " in done.stdout and "  PSS      " in done.stdout and "  mapping  " in done.stdout
    for missing in ("no-such-program-here", "99999999", "9" * 30):
        done = explain("--process", missing)
        assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("memtriage explain: there is no process ")


@pytest.mark.needs_root
def test_page_by_page() -> None:
    found = json.loads(explain("--deep", "--json").stdout)
    pages = found["pages"]
    sizes = {row["key"]: row["size"] for row in found["ledger"]}
    assert pages["slab"] == pytest.approx(sizes["slab_reclaimable"] + sizes["slab_unreclaimable"], rel=0.2)
    # What has no flag and is not free is close to what no counter explains.
    assert abs(pages["drivers"] - sizes["unaccounted"]) < 0.03 * found["mem_total"]


@pytest.mark.slow
def test_a_moment_of_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    recorder = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", file, "--interval", "0.5s", "--size", "8MiB"],
                                env=environment(PYTHONPATH=str(ROOT / "lib")), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(4)
    finally:
        recorder.terminate()
        recorder.wait(timeout=20)
    done = explain("--from", str(file))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.startswith("Out of memory? ") and "Until when?    Nothing grows provenly (" in done.stdout
    found = json.loads(explain("--from", str(file), "--at", str(time.time()), "--json").stdout)
    assert found["mem_total"] == json.loads(explain("--json").stdout)["mem_total"]
    assert sum(row["size"] for row in found["ledger"]) == found["mem_total"]
    assert 3 <= found["history"]["samples"] <= 12
    same = json.loads(explain("--from", str(file), "--window", "4s", "--warmup", "1s", "--json").stdout)
    assert same["mem_total"] == found["mem_total"]
    for options, words in ((("--from", str(file), "--at", "2001-01-01"), "holds no sample of that time or before"),
                           (("--from", str(file), "--at", "noon"), "'noon' is no time such as"),
                           (("--from", __file__), "not a recording"), (("--from", str(tmp_path / "none")), ""),
                           (("--at", "2001-01-01"), "give --from FILE")):
        done = explain(*options)
        assert (done.returncode, done.stdout) == (1, "") and words in done.stderr, options


@pytest.mark.parametrize(("dying", "words"), [(True, "unreclaimable, of 118000 dying cgroups."), (False, "unreclaimable.")])
def test_a_moment_of_a_recording_names_dying_cgroups(tmp_path: Path, dying: bool, words: str) -> None:
    """As check_free_mem did then: their number is in the recording, too."""
    tree = FIXTURES / "healthy/proc"
    plain = {name: (tree / name).read_bytes() for name in ("meminfo", "slabinfo", "vmstat", "zoneinfo")}
    author = made.Author(made.Ring.open(str(tmp_path / "r"), 4 << 20))
    for step in range(120):
        grown = 3300 * step  # objects of 4 KiB, in place of page cache
        info = re.sub(rb"\b(Cached|MemAvailable|Slab|SUnreclaim): +(\d+)", lambda line, grown=grown: b"%s: %d" % (
            line[1], int(line[2]) + 4 * grown * (-1 if line[1] in (b"Cached", b"MemAvailable") else 1)), plain["meminfo"])
        objects = b"kmalloc-4k %d %d 4096 8 8 : tunables 0 0 0 : slabdata %d %d 0\n" % (*[960 + grown] * 2, *[(960 + grown) // 8] * 2)
        author.write((1_700_000_000 + 120 * step) * 10**9, (100 + 120 * step) * 10**9, 120000, {
            **plain, "meminfo": info, "slabinfo": re.sub(rb"kmalloc-4k .*\n", objects, plain["slabinfo"]), "meta": b"page_size 4096\n",
            "uptime": b"%d.00 0.00\n" % (100 + 120 * step), "sys/kernel/random/boot_id": b"12345678-1234-1234-1234-123456789abc\n",
            **({"/sys/fs/cgroup/cgroup.stat": b"nr_descendants 9\nnr_dying_descendants %d\n" % (118000 * step // 119)} if dying else {})})
    done = explain("--from", str(tmp_path / "r"))
    said = " ".join(done.stdout.partition("Which, then?")[2].partition("Until when?")[0].split())
    assert said.startswith("Culprit: slab cache 'kmalloc-4k' ") and words in said, done.stdout


@pytest.mark.parametrize("options", [("--bogus",), ("--proc", "1"), ("--process",), ("stray",), ("--window", "0"), ("--warmup", "-1h")])
def test_usage_errors(options: tuple[str, ...]) -> None:
    done = explain(*options)
    assert done.returncode == 2 and done.stdout == "" and "usage: memtriage explain" in done.stderr


def test_head_may_close_the_pipe() -> None:
    line = f"{sys.executable} -m memtriage explain --all | head -1"
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False,
                          env=environment(PYTHONPATH=str(ROOT / "lib")))
    assert done.stderr == "" and done.stdout.startswith("Out of memory?")


if __name__ == "__main__":  # after a change of words; then read the difference
    EXPECTED.mkdir(exist_ok=True)
    for name in SCENARIOS:
        (EXPECTED / f"{name}.txt").write_text(screen(name))
