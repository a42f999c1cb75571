"""check_mem_recorder on recordings as they may be: complete output, exit code, and what is said of gaps, losses and boots."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checks.command import ROOT, Answer, environment, run
from tests.recorder.runs import command
from tests.recording import made

UUID = b"00000000-1111-2222-3333-444444444444\n"
DISK = "disk_free=50000000000B;;;0;100000000000 disk_free_pct=50%;;;0;100"


def tree(folder: Path, up: float, boot: bytes = UUID) -> str:
    """A captured /proc of which the check takes "now"."""
    (folder / "proc/sys/kernel/random").mkdir(parents=True)
    (folder / "proc/sys/kernel/random/boot_id").write_bytes(boot)
    (folder / "proc/uptime").write_text(f"{up:.2f} 1.00\n")
    return str(folder / "proc")


def recording(folder: Path, at: list[float], interval_s: float = 10.0, holes: dict[int, int] | None = None, meta: str = made.META) -> str:
    """Samples at these seconds after boot; before the sample with that place so many are lost."""
    path = str(folder / "recording")
    author = made.Author(made.Ring.open(path, 1024 * 1024))
    for place, boot in enumerate(at):
        author.seq += (holes or {}).get(place, 0)
        author.write(int((1_700_000_000 + boot) * 1e9), int(boot * 1e9), int(1000 * interval_s), {
            "meta": (meta % int(1000 * interval_s) if "%d" in meta else meta).encode(), "sys/kernel/random/boot_id": UUID,
            "sample": b"late_us 12\nlost 0\nwaiting 0\ndisk 50000000000 100000000000\ndisk_problem -\n"})
    author.ring.close()
    return path


def test_alive_and_in_time(tmp_path):
    path = recording(tmp_path, [1000.0 + 10 * number for number in range(30)])
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 1294.0), "--file", path).sound()
    assert answer.code == 0
    assert answer.out == (
        "MEM_RECORDER OK - newest sample 4 s old (every 10 s); longest gap in 1 h 10.0 s, 0 samples lost; memory locked"
        f" | age=4s;30;100;0 {DISK} gap_max_1h=10s;;;0 samples_lost=0;;;0\n"
        "Recorder 4711 (memtriage 0.1.0), started anew 0 times in 1 h; nice -20, I/O best effort 0, SCHED_FIFO 1; oom_score_adj -1000\n"
        "Disk: 46.6 GiB of 93.1 GiB free; the recording has all it needs (1.00 MiB)\n")


@pytest.mark.parametrize(("age", "code"), [(30.0, 0), (30.2, 1), (100.0, 1), (100.2, 2), (5000.0, 2)])
def test_age_by_intervals(tmp_path, age, code):
    path = recording(tmp_path, [1000.0])
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 1000 + age), "--file", path).sound()
    assert answer.code == code
    assert answer.perfdata["age"] == f"{age:g}s;30;100;0"
    assert ("; the recorder does not run or its disk stands still;" in answer.first) == (age > 30)


def test_after_a_shortage_the_long_interval_counts(tmp_path):
    path = recording(tmp_path, [1000.0, 1001.0, 1002.0], 1.0, meta=made.META.replace("%d", "10000"))
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 1011.0), "--file", path).sound()
    assert (answer.code, answer.perfdata["age"]) == (0, "9s;30;100;0")


def test_gaps_and_losses(tmp_path):
    times = [1000.0 + number for number in range(60)]
    path = recording(tmp_path, [*times, 1083.4, 1084.4], 1.0, {60: 23})
    proc = tree(tmp_path, 1085.0)
    answer = run("check_mem_recorder", "--procfs", proc, "--file", path, "--gap-critical", "20s", "--lost-warning", "5").sound()
    assert answer.code == 2
    assert answer.first == ("MEM_RECORDER CRITICAL - newest sample 0 s old (every 1 s); longest gap in 1 h 24.4 s, 23 samples lost;"
                            " memory locked")
    assert answer.perfdata["gap_max_1h"] == "24.4s;;20;0"
    assert answer.perfdata["samples_lost"] == "23;5;;0"
    assert answer.out.splitlines()[-1] == "Gap of 24.4 s, 1 s before the newest: 23 samples lost"
    assert run("check_mem_recorder", "--procfs", proc, "--file", path).sound().code == 0


def test_what_was_an_hour_ago_is_past(tmp_path):
    path = recording(tmp_path, [100.0, 900.0, *(1000.0 + 10 * number for number in range(400))])
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 4991.0), "--file", path).sound()
    assert answer.perfdata["gap_max_1h"] == "10s;;;0"


def test_nothing_since_boot(tmp_path):
    path = recording(tmp_path, [1000.0, 1010.0])
    proc = tree(tmp_path, 7200.0, b"99999999-1111-2222-3333-444444444444\n")
    answer = run("check_mem_recorder", "--procfs", proc, "--file", path).sound()
    assert answer.code == 2
    assert answer.first == "MEM_RECORDER CRITICAL - nothing recorded since boot 2.0 h ago: the recorder does not run"


def test_not_locked_is_said(tmp_path):
    path = recording(tmp_path, [1000.0], meta="interval_ms 10000\nlocked no: Cannot allocate memory (needs CAP_IPC_LOCK|<b>)\n")
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 1001.0), "--file", path).sound()
    assert answer.code == 0
    assert answer.first.endswith("; memory not locked (Cannot allocate memory (needs CAP_IPC_LOCK??b?))")


def test_disk_limits(tmp_path):
    path = recording(tmp_path, [1000.0])
    proc = tree(tmp_path, 1001.0)
    answer = run("check_mem_recorder", "--procfs", proc, "--file", path, "--disk-warning", "60%:", "--disk-critical", "10%:").sound()
    assert (answer.code, answer.perfdata["disk_free_pct"]) == (1, "50%;60:;10:;0;100")
    assert answer.first.endswith("; disk 50.0% free")
    assert run("check_mem_recorder", "--procfs", proc, "--file", path, "--disk-critical", "60GiB:").sound().code == 2


@pytest.mark.needs_root
def test_in_a_container_whose_uptime_is_its_own(tmp_path):
    """lxcfs shows when the container was started; the recorder's clock is the host's."""
    path = str(tmp_path / "recording")
    made.current(path, [5.0], 10.0)
    (tmp_path / "uptime").write_text("3.00 1.00\n")
    words = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /proc/uptime || exit 77; exec "$@"', str(tmp_path / "uptime"),
             str(ROOT / "checks/check_mem_recorder.py"), "--file", path]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=30, check=False)
    if done.returncode in (1, 77) and not done.stdout:
        pytest.skip("this container may not mount")
    answer = Answer(done.returncode, done.stdout, done.stderr).sound()
    assert answer.code == 0
    assert re.match(r"MEM_RECORDER OK - newest sample [5-9] s old \(every 10 s\)", answer.first)


HOSTILE = [("disk \u00b2 \u00b3", ""), ("disk " + "9" * 5000 + " 1", ""), ("disk 1", ""), ("", "interval_ms \u00b2\n"),
           ("", "interval_ms " + "9" * 5000 + "\n"), ("monotonic_us \u00b2", "page_size \u00b2\n"),
           ("late_us \u00b2", "page_size " + "9" * 5000 + "\n")]


@pytest.mark.parametrize(("said", "meta"), HOSTILE)
def test_what_only_looks_like_a_number(tmp_path, said, meta):
    path = str(tmp_path / "recording")
    author = made.Author(made.Ring.open(path, 256 * 1024))
    author.write(10**18, 1000 * 10**9, 10000, {"meta": meta.encode(), "sys/kernel/random/boot_id": UUID, "sample": f"{said}\n".encode()})
    author.ring.close()
    proc = tree(tmp_path, 1005.0)
    answer = run("check_mem_recorder", "--procfs", proc, "--file", path).sound()
    assert (answer.code, answer.perfdata["age"]) == (0, "5s;30;100;0")
    answer = run("check_mem_recorder", "--procfs", proc, "--file", path, "--disk-critical", "1%:").sound()
    assert answer.code == 3
    assert answer.out.startswith(f"MEM_RECORDER UNKNOWN - {path}: its newest sample does not say how much room the disk has")
    for form in (("--print",), ("--export", "jsonl"), ("--export", "csv")):
        done = command("--output", path, *form)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_interval_that_nobody_lives_to_see(tmp_path):
    path = recording(tmp_path, [1000.0], meta=f"interval_ms {10**18 - 1}\n")
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 1005.0), "--file", path).sound()
    assert (answer.code, answer.perfdata["age"]) == (0, "5s;12884902;42949673;0")


def test_of_another_host(tmp_path):
    path = recording(tmp_path, [100000.0])
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 500.0), "--file", path).sound()
    assert answer.code == 3
    assert "its newest sample is 27.6 h ahead of this host's uptime: of another host?" in answer.first


@pytest.mark.parametrize("content", [None, b"", b"x" * 5000, b"\0" * 300000])
def test_no_recording(tmp_path, content):
    path = tmp_path / "recording"
    if content is not None:
        path.write_bytes(content)
    answer = run("check_mem_recorder", "--file", str(path)).sound()
    assert answer.code == 3
    why = "No such file or directory" if content is None else "not a recording"
    assert f"{path}: {why}; start it with memtriage record" in answer.out


def test_an_empty_recording(tmp_path):
    path = str(tmp_path / "recording")
    made.Ring.open(path, 256 * 1024).close()
    answer = run("check_mem_recorder", "--file", path).sound()
    assert answer.code == 3
    assert f"{path}: no sample in it" in answer.out


def test_a_damaged_place_does_not_make_it_look_old(tmp_path):
    path = recording(tmp_path, [1000.0 + 10 * number for number in range(300)])
    data = bytearray(Path(path).read_bytes())
    data[8192:200000] = bytes(200000 - 8192)
    Path(path).write_bytes(data)
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 3995.0), "--file", path).sound()
    assert (answer.code, answer.perfdata["age"]) == (0, "5s;30;100;0")


def test_all_of_the_end_is_damaged(tmp_path):
    path = recording(tmp_path, [1000.0 + 10 * number for number in range(5)])
    data = bytearray(Path(path).read_bytes())
    data[4096:4200] = b"\xff" * 104  # the first record, on which the others lean
    Path(path).write_bytes(data)
    answer = run("check_mem_recorder", "--procfs", tree(tmp_path, 1045.0), "--file", path).sound()
    assert answer.code == 3
    assert "damaged: none of the last 4 samples can be read" in answer.first


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_denied_is_said(public_path):
    path = public_path / "recording"
    made.current(str(path), [1.0])
    path.chmod(0o600)
    python = "/usr/bin/python3"
    done = subprocess.run([python, "-c", "import nagiosplugin"], capture_output=True, timeout=20, check=False)
    if done.returncode:
        pytest.skip("needs python3-nagiosplugin of the distribution")
    answer = run("check_mem_recorder", "--file", str(path), user=65534, group=65534, extra_groups=[],
                 env=environment(PATH="/usr/bin:/bin")).sound()
    assert answer.code == 3
    assert f"{path}: Permission denied" in answer.first


def test_on_a_live_recorder(tmp_path):
    path = str(tmp_path / "recording")
    recorder = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", path, "--size", "1MiB", "--interval", "0.5",
                                 "--fast-interval", "0.5", "--no-lock", "--no-priority"], env=environment(PYTHONPATH=str(ROOT / "lib")),
                                stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while run("check_mem_recorder", "--file", path).code == 3:
            assert recorder.poll() is None and time.monotonic() < end
        answer = run("check_mem_recorder", "--file", path, "-w", "5", "-c", "10").sound()
        assert answer.code == 0
        assert re.match(r"MEM_RECORDER OK - newest sample [0-5] s old \(every 0\.5 s\); longest gap in 1 h [0-9.]+ s, 0 samples lost; "
                        r"memory not locked \(not asked for\) \| age=", answer.out)
        recorder.terminate()
        assert recorder.wait(timeout=10) == 0
        time.sleep(1.2)
        answer = run("check_mem_recorder", "--file", path, "-w", "0.2", "-c", "1").sound()
        assert answer.code == 2
    finally:
        recorder.kill()
        recorder.communicate(timeout=5)
