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


SITES = Path(__file__).parents[1] / "fixtures/sites"
SLAB = "c-unreclaimable-slab"


def test_who_allocated_the_culprit(tmp_path: Path) -> None:
    """As real kernels wrote it of other caches: under the culprit's sentence, and the screen is as without but for its last lines."""
    shutil.copytree(FIXTURES / SLAB, tmp_path / "host")
    folder = tmp_path / "host/sys/kernel/debug/slab/kmalloc-4k"
    folder.mkdir(parents=True)
    (folder / "alloc_traces").write_bytes((SITES / "alloc_traces").read_bytes())
    plain = screen(SLAB).splitlines()
    at = next(place for place, row in enumerate(plain) if row.startswith("Until when?"))
    told = ["               Allocated by nfs_alloc_inode [nfs]: 8041 of 8041 objects, 8000",
            "               through alloc_inode, iget5_locked, nfs_fhget [nfs]."]
    shown = explain("--procfs", str(tmp_path / "host/proc"))
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = ["exit 0", *shown.stdout.splitlines()]
    end = next(place for place, row in enumerate(plain) if not row)
    assert rows[: end + 2] == [*plain[:at], *told, *plain[at:end]] and len(rows) - 1 <= 40
    found = json.loads(explain("--procfs", str(tmp_path / "host/proc"), "--json").stdout)
    assert found["allocated"] == " ".join(row.strip() for row in told)


def test_lines_of_source_of_the_culprit(tmp_path: Path) -> None:
    """By the size of its objects; what counts nothing, or cannot be read, is told with --all only."""
    shutil.copytree(FIXTURES / SLAB, tmp_path / "host")
    proc = str(tmp_path / "host/proc")
    plain = screen(SLAB).partition("\n")[2]
    (tmp_path / "host/proc/allocinfo").write_text("allocinfo - version: 1.0\n  2576980378 9999 fs/x.c:1 func:other\n"
                                                  "  2147483648 524288 net/x.c:88 [x] func:x_refill\n")
    assert "               Objects of its size, 4096 bytes, are allocated by x_refill [x] at\n" \
           "               net/x.c:88: 2.00 GiB in 524288 calls.\n" in explain("--procfs", proc).stdout
    (tmp_path / "host/proc/allocinfo").unlink()
    assert explain("--procfs", proc).stdout == plain
    assert "               Who allocated its objects is not known: the kernel does not track\n" \
           "               it (memtriage evidence says what to boot with).\n" in explain("--procfs", proc, "--all").stdout
    (tmp_path / "host/proc/allocinfo").write_text("nonsense\n")
    assert "allocated" not in explain("--procfs", proc).stdout.partition("BYTES")[0]
    said = " ".join(explain("--procfs", proc, "--all").stdout.split())
    assert "Who allocated its objects is not known: allocinfo: no version line." in said


def test_many_objects_are_asked_for_on_demand(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / SLAB, tmp_path / "host")
    slabs = tmp_path / "host/proc/slabinfo"
    slabs.write_text(re.sub(r"^(kmalloc-4k +)[0-9]+ [0-9]+", r"\g<1>1000001 1000008", slabs.read_text(), flags=re.MULTILINE))
    folder = tmp_path / "host/sys/kernel/debug/slab/kmalloc-4k"
    folder.mkdir(parents=True)
    (folder / "alloc_traces").write_bytes((SITES / "alloc_traces").read_bytes())
    proc = str(tmp_path / "host/proc")
    said = " ".join(explain("--procfs", proc).stdout.split())
    assert "The kernel knows who allocated its 1000001 objects: --all asks it." in said
    assert "Allocated by nfs_alloc_inode [nfs]: 8041 of 8041 objects" in explain("--procfs", proc, "--all").stdout


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
    """Counted for a second or two, in which slab may change: by the ledgers before and after it, and again where the host was busy."""
    for left in (2, 1, 0):
        found = json.loads(explain("--deep", "--json").stdout)
        pages = found["pages"]
        ledgers = [{row["key"]: row["size"] for row in one["ledger"]} for one in (found, json.loads(explain("--json").stdout))]
        slab = [one["slab_reclaimable"] + one["slab_unreclaimable"] for one in ledgers]
        dark = [one["unaccounted"] for one in ledgers]
        near = 0.03 * found["mem_total"]
        # What has no flag and is not free is close to what no counter explains.
        good = 0.8 * min(slab) <= pages["slab"] <= 1.2 * max(slab) and min(dark) - near < pages["drivers"] < max(dark) + near
        assert good or left, (pages, ledgers)
        if good:
            break


@pytest.mark.slow
def test_a_moment_of_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    recorder = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", file, "--interval", "0.5s", "--size", "8MiB",
                                 "--samples", "8"],
                                env=environment(PYTHONPATH=str(ROOT / "lib")), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert recorder.wait(timeout=60) == 0
    finally:
        recorder.kill()
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
