"""``memtriage replay`` through its real entry point: complete output, and the same words as the checks' own commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memtriage import inprocess, recorded
from memtriage.recording import Recording
from memtriage.recording.payload import Process, Source
from tests.checks.command import ROOT, run
from tests.replay.made import START, Host, source

EXPECTED = Path(__file__).parent / "expected"


def replay(path: Path | str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "memtriage", "replay", str(path), *words], capture_output=True, text=True, timeout=60,
                          check=False, stdin=subprocess.DEVNULL, cwd="/",
                          env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib"), "TZ": "UTC", **env})


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hours of shrinking memory, a kill, a reboot, calm, half an hour without samples, calm."""
    path = tmp_path_factory.mktemp("story") / "recording"
    host = Host(path)
    for minute in range(120):
        host.sample(available=2_000_000 - minute * 16_000)
    host.sample(host.killed("httpd", 20), available=60_000)
    host.sample(available=1_500_000)
    host.reboot()
    for _ in range(15):
        host.sample(available=2_000_000)
    host.wait(1800)
    for _ in range(11):
        host.sample(available=1_900_000)
    host.close()
    return path


LEVELS = ("--", "check_free_mem", "--warmup", "366d")
OUTPUTS = {
    "levels": LEVELS, "compare": ("--compare", "--warmup 366d -w 30%: -c 20%:", *LEVELS),
    "kills": ("--every", "30m", "--", "check_oom_kill"),
    "attempts": ("--attempts", "3", "--from", "2023-11-14T23:40", "--to", "2023-11-15T00:15", *LEVELS), "json": ("--json", *LEVELS),
    "processes": ("--", "check_proc_count", "-C", "httpd", "-m", "rss", "-c", "3GiB"),
    "pressure": ("--every", "1h", "--", "check_mem_pressure")}


@pytest.mark.parametrize("name", OUTPUTS)
def test_complete_output(story: Path, name: str) -> None:
    assert said(replay(story, *OUTPUTS[name])) == (EXPECTED / f"{name}.txt").read_text()


def test_trends_before_from_are_known(tmp_path: Path) -> None:
    host = Host(tmp_path / "recording")
    for minute in range(180):
        host.sample(caches={"kmalloc-4k": 8000 + minute * 2000, "dentry": 4000}, available=2_000_000 - minute * 8000)
    host.close()
    shown = said(replay(tmp_path / "recording", "--from", str(START + 7200), "--", "check_slab_growth")).splitlines()
    assert shown[1] == "2023-11-15 00:13:20 to 2023-11-15 01:12:20 (59.0 min), 12 runs, one every 5.0 min"
    assert shown[3] == ("2023-11-15 00:13:20  SLAB_GROWTH CRITICAL - memory gone in 2.2 h; culprit: "
                        "slab cache 'kmalloc-4k' 969 MiB, +469 MiB/h, unreclaimable")


@pytest.mark.parametrize("check", ["check_slab_growth", *(pytest.param(name, marks=pytest.mark.slow) for name in (
    "check_free_mem", "check_proc_count", "check_oom_kill", "check_mem_pressure"))])
def test_every_word_is_the_commands_own(story: Path, tmp_path: Path, check: str) -> None:
    """Each fifteenth sample as a tree of its own, asked by the real command, with a memory that goes along."""
    shown = json.loads(said(replay(story, "--json", "--every", "15m", "--", check)))
    log = tmp_path / "log"
    log.write_bytes(b"")
    expected, last = [], None
    with Recording(str(story)) as recording:
        for number, sample in enumerate(list(recording.samples(end=START + 7300))):
            log.write_bytes(log.read_bytes() + (sample.content.sources["kmsg"].data or b""))
            if number % 15:
                continue
            proc, sys_folder = recorded.snapshot_to_tree(sample, str(tmp_path / str(number)))
            more = [] if check == "check_proc_count" else ["--state-dir", str(tmp_path / "state")]
            more += ["--log", str(log)] if check == "check_oom_kill" else []
            answer = run(check, "--procfs", proc, "--sysfs", sys_folder, *more)
            if answer.code != last:
                expected.append((sample.time, ("OK", "WARNING", "CRITICAL", "UNKNOWN")[answer.code], answer.first))
            last = answer.code
    got = [(change["time"], change["state"], change["output"]) for change in shown["results"][0]["changes"]
           if change["time"] < START + 7300]
    assert got == expected and len(got) >= 1


def test_in_process_is_the_command(tmp_path: Path) -> None:
    for check in inprocess.CHECKS:
        for words in (["--help"], ["--procfs", str(tmp_path)] if check != "check_mem_recorder" else ["--bogus"]):
            answer, outcome = run(check, *words), inprocess.run(check, words)
            assert (outcome.state, outcome.output) == (answer.code, answer.out.rstrip("\n"))


@pytest.mark.parametrize(("words", "why"), [
    ((), "which check? Give it behind two dashes: memtriage replay FILE -- check_free_mem -w 10%: -c 5%:"),
    (("--",), "which check? Give it behind two dashes: memtriage replay FILE -- check_free_mem -w 10%: -c 5%:"),
    (("--", "check_disk"), "no check 'check_disk': there are check_free_mem, check_slab_growth, check_proc_count, check_oom_kill, "
                           "check_mem_pressure, check_mem_recorder"),
    (("--", "/usr/lib/nagios/plugins/check_mem_recorder"),
     "check_mem_recorder judges the recording's file as it is now, not what is in it: it cannot be replayed"),
    (("--", "check_free_mem", "-w", "nonsense"), "check_free_mem: --warning: 'nonsense' is no range such as 10, 10:, ~:10, 10:20 or "
                                                 "@10:20; see check_free_mem --help"),
    (("--compare=--bogus", "--", "check_free_mem"), "check_free_mem: unknown option --bogus; see check_free_mem --help"),
    (("--compare", "'", "--", "check_free_mem"), "--compare: No closing quotation"),
    (("--", "check_free_mem", "--state-dir=/var/lib/memtriage"), "--state-dir is what replay gives the check itself: leave it out"),
    (("--", "check_proc_count", "-u", "root"),
     "-u: a recording has no users of processes (it holds stat, statm, cmdline and cgroup of each)"),
    (("--", "check_proc_count", "-m", "pss"), "-m pss: a recording has no smaps of processes; use -m rss"),
    (("--", "check_oom_kill", "--cgroup", "/a"),
     "--cgroup: a recording need not have each control group's counter of kills: only the host's can be replayed"),
    (("--", "check_mem_pressure", "--cgroup", "/a"), "check_mem_pressure has nothing to judge: the recording has no memory.pressure "
                                                     "of this "
                                                     "cgroup (it has the largest groups of version 2)"),
    (("--from", "2030-01-01", "--", "check_free_mem"), "the recording has no samples of that time"),
    (("--from", "yesterday", "--", "check_free_mem"), "'yesterday' is no time such as 2026-05-12T03:04"),
])
def test_what_cannot_be_answered_is_refused(story: Path, words: tuple[str, ...], why: str) -> None:
    done = replay(story, *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"memtriage replay: {why}\n")


@pytest.mark.parametrize("command", ["replay FILE -- check_free_mem", "replay FILE --json -- check_free_mem", "evidence FILE --list"])
def test_a_full_disk_behind_stdout_is_said_in_a_line(story: Path, command: str) -> None:
    words = command.replace("FILE", str(story)).split()
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "memtriage", *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                              check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "lib")})
    assert (done.returncode, done.stderr) == (1, f"memtriage {words[0]}: No space left on device\n")


def test_no_recording(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("nothing of the kind\n")
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path / "text", "not a recording"),
                     ("/dev/null", "not a recording")):
        done = replay(path, "--", "check_free_mem")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"memtriage replay: {path}: {why}\n")
    assert replay(tmp_path / "none", "--every", "0", "--", "check_free_mem").returncode == 2


def test_what_was_denied_is_said(tmp_path: Path) -> None:
    host = Host(tmp_path / "recording")
    host.more = {"slabinfo": Source(None, 13, 0, 0), "kmsg": Source(None, 1, 0, 0)}
    for minute in range(11):
        host.oom_kills = minute // 8
        host.sample()
    host.close()
    shown = said(replay(tmp_path / "recording", "--", "check_free_mem"))
    assert shown == """\
check_free_mem
2023-11-14 22:13:20 to 2023-11-14 22:23:20 (10.0 min), 3 runs, one every 5.0 min

2023-11-14 22:13:20  FREE_MEM OK - 50.0% of 3.81 GiB available (1.91 GiB); largest: processes 1.82 GiB
2023-11-14 22:21:20  -- the OOM killer took a process (not named in the log)

time OK                 10.0 min  100%
pages                                0
recoveries                           0

OOM kills: 1; how long before each there was a page:
2023-11-14 22:21:20  a process (not named in the log)
  no page before it, none after
Note: slabinfo was not recorded at 3 of 3 moments (Permission denied): caches have no names there; live they may have.
Note: the recorder could not read the kernel's log (permission denied): kills are counted, not named.
"""


def test_a_file_that_was_late_is_taken_from_the_sample_before_and_an_unread_one_is_no_verdict(tmp_path: Path) -> None:
    host = Host(tmp_path / "recording", interval=10)
    host.sample().sample()
    host.more = {"slabinfo": Source(None, 0, 0, 0)}
    host.sample()
    host.more = {"meminfo": Source(None, 5, 0, 0)}
    host.sample().sample().sample().sample()
    host.close()
    shown = said(replay(tmp_path / "recording", "--every", "20s", "--", "check_slab_growth")).splitlines()
    assert shown[3:6] == [
        "2023-11-14 22:13:20  SLAB_GROWTH OK - slab 46.9 MiB (1.20% of RAM), unreclaimable 37.1 MiB; growth is said after a "
        "minute of history; "
        "largest: slab cache 'nfs_inode_cache' 31.2 MiB",
        "2023-11-14 22:14:00  -- meminfo could not be read by the recorder: Input/output error",
        ""]
    assert shown[-1] == "Note: not judged at 2 of 4 moments: meminfo could not be read by the recorder: Input/output error."


def test_hostile_names_forge_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path / "recording")
    evil = "a\x1b[2J|<b>\\x0aFREE_MEM OK"
    host.caches = {"nfs_inode_cache": 8000}
    host.more = {"../../../../evil": source("x"), "/sys/../../evil": source("x"), "sys/fs/dentry-state": source(b"\xff\0\n")}
    for _ in range(7):
        host.processes[99] = Process(f"99 ({evil}) S 1 1".encode(), b"x", b"\xff\n\0", b"0::/\n")
        host.sample()
    host.sample(host.killed(evil, 99))
    host.sample()
    host.close()
    for check in ("check_free_mem", "check_proc_count", "check_oom_kill", "check_slab_growth"):
        shown = said(replay(tmp_path / "recording", "--", check))
        assert all(" " <= letter <= "~" or letter == "\n" for letter in shown)
        assert sum("FREE_MEM OK" in row for row in shown.splitlines()) <= (3 if check == "check_free_mem" else 2)
        assert not list(tmp_path.parent.rglob("evil")) and not os.path.exists("/dev/evil") and not os.path.exists("/dev/shm/evil")


@pytest.mark.parametrize("steps", [{60: -5 * 3600.0}, {60: -5 * 3600.0, 90: 9 * 3600.0}, {30: 1e9}])
def test_a_clock_that_is_set_changes_no_order_and_no_page(tmp_path: Path, steps: dict[int, float]) -> None:
    """Two hours of a leak, with a kill: told by the clock as it stood last, as if it had stood so all along."""
    said = []
    for number, jumps in enumerate(({}, steps)):
        host = Host(tmp_path / str(number))
        host.now += sum(steps.values()) if not jumps else 0.0
        for minute in range(120):
            log = host.killed("httpd", 20) if minute == 100 else ""
            host.sample(log, available=900_000 - 7_000 * minute)
            host.now += jumps.get(minute, 0.0)
        host.close()
        done = replay(str(tmp_path / str(number)), "--json", "--", "check_free_mem", "-w", "10%:", "-c", "5%:")
        assert (done.returncode, done.stderr) == (0, "")
        said.append(json.loads(done.stdout))
    assert [page["state"] for page in said[0]["results"][0]["pages"]] == ["WARNING", "CRITICAL"] and len(said[0]["oom_kills"]) == 1
    assert said[1] == said[0]


def test_a_clock_behind_the_last_boots_goes_on_after_it(tmp_path: Path) -> None:
    host = Host(tmp_path / "r")
    host.sample(available=100_000).sample()
    host.reboot(-86_400.0)
    for _ in range(10):
        host.sample(available=2_000_000)
    host.close()
    done = replay(str(tmp_path / "r"), "--every", "1m", "--", "check_free_mem", "-w", "10%:", "-c", "5%:")
    rows = [row for row in done.stdout.splitlines() if " FREE_MEM " in row]
    assert [row.split()[3] for row in rows] == ["CRITICAL", "OK"] and rows == sorted(rows)


def test_damage_costs_what_it_hit(story: Path, tmp_path: Path) -> None:
    data = bytearray(story.read_bytes())
    with Recording(str(story)) as recording:
        for entry in recording.entries[30:60]:
            data[entry.offset + 70 : entry.offset + 90] = bytes(20)
    (tmp_path / "recording").write_bytes(data)
    shown = said(replay(tmp_path / "recording", *LEVELS)).splitlines()
    rows = [row for row in shown if " -- no samples for" in row]
    assert [row.split(": ")[0] for row in rows[:1]] == ["2023-11-14 22:48:20  -- no samples for 31.0 min"]
    assert "2023-11-14 23:18:20  FREE_MEM OK" in "\n".join(shown)


def test_nothing_is_left_behind_and_the_live_memory_is_not_touched(story: Path, tmp_path: Path) -> None:
    live, work = tmp_path / "live", tmp_path / "work"
    work.mkdir()
    said(replay(story, *LEVELS, TMPDIR=str(work), MEMTRIAGE_STATE_DIR=str(live)))
    assert not live.exists() and list(work.iterdir()) == []
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib"), "TMPDIR": str(work)}
    words = [sys.executable, "-m", "memtriage", "replay", str(story), "--every", "1s", *LEVELS]
    with subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        for _ in range(2000):  # a busy host takes its time to start it
            if list(work.glob("*/tree/proc/1/stat")):
                break
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 130
    assert list(work.iterdir()) == []
