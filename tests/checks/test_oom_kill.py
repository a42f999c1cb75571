"""check_oom_kill through its real file: complete outputs for every kernel's log, and what it says as time passes.

After a change of words: ``python -m tests.checks.test_oom_kill``, then read the difference in expected/oom.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from memtriage.procfs import oom_report
from tests.checks.forked import run
from tests.checks.oomtree import LOGS, NOW, UP, Host

EXPECTED = Path(__file__).parent / "expected" / "oom"
NAMES = sorted(path.stem for path in LOGS.glob("*.log"))
LEAK = str(LOGS / "5.10-slab-leak.log")


def kills_in(log: Path) -> int:
    return sum(len(report.kills) for report in oom_report.parse(log.read_bytes()).reports)


def output(name: str, folder: Path) -> str:
    """A host up for half an hour whose counter says what the log tells, or one kill where the log tells of none."""
    log = LOGS / f"{name}.log"
    host = Host(folder).at(UP, max(1, kills_in(log)))
    answer = host.check("--log", str(log))
    return f"exit {answer.code}\n{answer.out.replace(str(LOGS), 'LOGS')}"


@pytest.mark.parametrize("name", NAMES)
def test_complete_output_for_every_log(name, tmp_path):
    assert output(name, tmp_path) == (EXPECTED / f"{name}.txt").read_text()


def test_the_first_line_names_victim_and_culprit(tmp_path):
    """The victim is not to blame: a browser was killed beside 30 GB of network buffers."""
    answer = Host(tmp_path).at(UP, 1).check("--log", LEAK)
    assert answer.code == 2
    assert answer.first == ("OOM_KILL CRITICAL - 1 OOM kill in the last 30.0 min: 'chrome' (pid 4242, 1.18 GiB); "
                            "culprit: slab cache 'skbuff_small_head' 21.2 GiB, unreclaimable")
    assert answer.out.splitlines()[1].startswith("Kernel memory, not a process: ")


class TestHeld:
    """Pinned inodes: the kernel's report has no line for their cache, and would leave nothing but the victim to blame."""

    HEAD = "OOM_KILL CRITICAL - 1 OOM kill in the last 30.0 min: 'chrome' (pid 4242, 1.18 GiB); culprit: "

    @pytest.fixture
    def log(self, tmp_path):
        log = tmp_path / "log"
        log.write_bytes(Path(LEAK).read_bytes().replace(b"slab_reclaimable:30500 slab_unreclaimable:7480000",
                                                        b"slab_reclaimable:6080000 slab_unreclaimable:1480000"))
        return str(log)

    @staticmethod
    def slabinfo(host, slabs):
        """An auxv that says pages of 4 KiB; inodes of 27 to a slab of eight pages."""
        host.write("proc/slabinfo", "slabinfo - version: 2.1\n# name <active_objs>\n"
                   f"nfs_inode_cache {slabs * 27} {slabs * 27} 1144 27 8 : tunables 0 0 0 : slabdata {slabs} {slabs} 0\n"
                   "kmalloc-4k 8000000 8000000 4096 8 8 : tunables 0 0 0 : slabdata 1000000 1000000 0\n")
        (host.folder / "proc/self").mkdir(exist_ok=True)
        (host.folder / "proc/self/auxv").write_bytes((6).to_bytes(8, "little") + (4096).to_bytes(8, "little") + bytes(16))

    def test_what_reclaim_left_is_blamed(self, tmp_path, log):
        said = Host(tmp_path).at(UP, 1).check("--log", log)
        assert said.first == self.HEAD + "reclaimable slab 23.2 GiB, held"
        assert said.out.splitlines()[1].startswith(
            "Kernel memory, not a process: reclaimable by its flag, but held, so the kernel cannot give it back. It is not processes (")
        assert "Reclaim left those 23.2 GiB: something may hold them, as pinned inodes are, and the log names no such cache.\n" in said.out
        assert "Reclaim left" not in Host(tmp_path / "2").at(UP, 1).check("--log", LEAK).out

    def test_what_programs_share_does_not_count_for_each_of_them(self, tmp_path, log):
        """Before Linux 6.9 the log has RSS only: of many workers it adds up to more than all memory of processes, which was 1.64 GiB."""
        Path(log).write_bytes(Path(log).read_bytes().replace(b"8200000   310000", b"8200000  7000000"))
        assert Host(tmp_path).at(UP, 1).check("--log", log).first == self.HEAD + "reclaimable slab 23.2 GiB, held"

    def test_the_cache_that_has_it_now_is_named(self, tmp_path, log):
        host = Host(tmp_path).at(UP, 1)
        self.slabinfo(host, 655_360)
        assert host.check("--log", log).first == self.HEAD + "slab cache 'nfs_inode_cache' 20.0 GiB now, held"

    def test_a_cache_that_has_less_than_half_of_it_is_not(self, tmp_path, log):
        host = Host(tmp_path).at(UP, 1)
        self.slabinfo(host, 365_000)
        assert host.check("--log", log).first == self.HEAD + "reclaimable slab 23.2 GiB, held"

    def test_what_slabinfo_says_after_a_reboot_is_of_another_life(self, tmp_path, log):
        said = "\n".join(line.partition(";")[2].replace("\\x0a", "\n") for line in Path(log).read_text().splitlines())
        Path(log).write_text("".join(f"Nov 25 03:20:30 host kernel: {line}\n" for line in said.splitlines()))
        host = Host(tmp_path).at(UP, 0)
        host.check("--log", log)
        self.slabinfo(host, 655_360)
        answer = host.at(UP + 60, 1).check("--log", log)
        assert (answer.code, answer.first.partition("; ")[2]) == (2, "culprit: slab cache 'nfs_inode_cache' 20.0 GiB now, held")
        host.at(45, 0, "99999999-2222-3333-4444-555555555555").write("proc/stat", f"btime {NOW + 200}\n")
        answer = host.check("--log", log)
        assert (answer.code, answer.first.partition("; ")[2]) == (2, "culprit: reclaimable slab 23.2 GiB, held")


def test_dying_cgroups_are_told_from_other_kernel_memory(tmp_path):
    """Their caches are kmalloc's and say nothing: as many of them as hold what the largest cache does are to blame, fewer are not."""
    host = Host(tmp_path).at(UP, 1)
    options = ("--log", LEAK, "--sysfs", str(tmp_path / "sys"))
    host.write("sys/fs/cgroup/cgroup.stat", "nr_descendants 40\nnr_dying_descendants 1400000\n")
    said = host.check(*options)
    assert said.first.endswith("culprit: slab cache 'skbuff_small_head' 21.2 GiB, unreclaimable, of 1400000 dying cgroups")
    assert "control groups that were removed, and stay in memory because something holds them." in said.out
    host.write("sys/fs/cgroup/cgroup.stat", "nr_descendants 40\nnr_dying_descendants 9000\n")
    assert host.check(*options).first.endswith("culprit: slab cache 'skbuff_small_head' 21.2 GiB, unreclaimable")


def test_nothing_happened(tmp_path):
    answer = Host(tmp_path).check("--log", LEAK)
    assert (answer.code, answer.out) == (0, (
        "OOM_KILL OK - no OOM kill since boot 30.0 min ago | kills_hold=0;0;0;0 oom_kills=0c;;;0\n"
        "The counter is the kernel's own: what userspace killers (earlyoom, systemd-oomd) end is not in it.\n"))


class TestTime:
    """Runs of one host, one after the other; ``up`` is well above --hold."""

    def test_a_kill_alarms_for_hold_and_then_clears(self, tmp_path):
        host = Host(tmp_path)
        codes, held, new = [], [], []
        for minute, kills in ((0, 3), (5, 3), (10, 5), (15, 5), (40, 5), (69, 5), (71, 5), (80, 5)):
            answer = host.at(90000 + 60 * minute, kills).check("--hold", "1h")
            codes.append(answer.code)
            held.append(answer.perfdata["kills_hold"].split(";")[0])
            new.append(answer.perfdata.get("kills_new", "-").split(";")[0])
        assert codes == [0, 0, 2, 2, 2, 2, 0, 0]
        assert held == ["0", "0", "2", "2", "2", "2", "0", "0"]
        assert new == ["-", "0", "2", "0", "0", "0", "0", "0"]
        assert answer.out.splitlines()[0] == ("OOM_KILL OK - no OOM kill in the last 1.0 h; 5 since boot 26.3 h ago | "
                                              "kills_hold=0;0;0;0 kills_new=0;0;0;0 oom_kills=5c;;;0")

    def test_a_kill_between_two_runs_further_apart_than_hold_alarms_once(self, tmp_path):
        host = Host(tmp_path)
        codes = [host.at(90000 + 86400 * day, kills).check("--hold", "1h").code for day, kills in ((0, 0), (1, 1), (2, 1))]
        assert codes == [0, 2, 0]

    def test_the_window_is_said_as_it_is(self, tmp_path):
        host = Host(tmp_path)
        host.at(90000, 0).check()
        assert host.at(90000 + 86400, 2).check().first == (
            "OOM_KILL CRITICAL - 2 OOM kills in the last 24.0 h; whom it killed is not in the log")

    def test_thresholds(self, tmp_path):
        host = Host(tmp_path)
        host.at(90000, 0).check()
        assert host.at(90060, 2).check("-w", "2", "-c", "5").code == 0
        assert host.at(90120, 3).check("-w", "2", "-c", "5").code == 1
        answer = host.at(90180, 6).check("-w", "2", "-c", "5")
        assert (answer.code, answer.perfdata["kills_hold"]) == (2, "6;2;5;0")

    def test_a_reboot_is_no_negative_number(self, tmp_path):
        host = Host(tmp_path)
        host.at(90000, 7).check()
        answer = host.at(100, 0, "aaaaaaaa-2222-3333-4444-555555555555").check()
        assert answer.code == 0
        assert answer.perfdata == {"kills_hold": "0;0;0;0", "kills_new": "0;0;0;0", "oom_kills": "0c;;;0"}

    def test_kills_after_a_reboot_count_from_nothing(self, tmp_path):
        host = Host(tmp_path)
        host.at(90000, 7).check()
        answer = host.at(50000, 2, "aaaaaaaa-2222-3333-4444-555555555555").check()
        assert (answer.code, answer.perfdata["kills_new"]) == (2, "2;0;0;0")

    def test_a_reboot_does_not_end_an_alarm(self, tmp_path):
        host = Host(tmp_path)
        host.at(90000, 0).check()
        assert host.at(90300, 1).check().code == 2
        assert host.at(60, 0, "aaaaaaaa-2222-3333-4444-555555555555").check().code == 2
        assert host.at(3500, 0).check().code == 2
        assert host.at(3700, 0).check().code == 0

    def test_the_counter_of_a_restored_snapshot(self, tmp_path):
        """The same boot at an earlier time: what was remembered of its future does not count."""
        host = Host(tmp_path)
        host.at(90000, 1).check()
        host.at(95000, 4).check()
        answer = host.at(91000, 1).check()
        assert answer.code == 0
        assert "lie in its future" in answer.out

    def test_the_first_run_asks_the_log_when_it_was(self, tmp_path):
        """Up for hours: one kill before, eight minutes ago by the log's stamp or clock."""
        host = Host(tmp_path)
        up = 1300.5 + 480
        answer = host.at(up, 1).check("--log", LEAK, "--hold", "10m")
        assert (answer.code, answer.perfdata["kills_hold"]) == (2, "1;0;0;0")
        assert "Killed: 'chrome' (pid 4242, 1.18 GiB), uid 1000, 8.0 min ago" in answer.out
        assert host.at(up + 60, 1).check("--log", LEAK, "--hold", "10m").code == 2
        assert host.at(up + 180, 1).check("--log", LEAK, "--hold", "10m").code == 0

    def test_the_first_run_with_an_old_kill(self, tmp_path):
        answer = Host(tmp_path).at(90000, 1).check("--log", LEAK)
        assert answer.first == "OOM_KILL OK - no OOM kill in the last 1.0 h; 1 since boot 25.0 h ago"

    def test_the_first_run_without_a_log(self, tmp_path):
        answer = Host(tmp_path).at(90000, 3).check()
        assert answer.code == 0
        assert answer.first == ("OOM_KILL OK - no OOM kill in the last 1.0 h; 3 since boot 25.0 h ago, of which 3 before the first run, "
                                "when is not known")

    def test_nothing_remembered_and_no_log_is_unknown(self, tmp_path):
        host = Host(tmp_path).at(90000, 3)
        host.state.mkdir()
        os.chmod(host.state, 0o500)
        host.state = Path("/proc/nowhere")
        answer = host.check()
        assert answer.code == 3
        assert answer.first.startswith("OOM_KILL UNKNOWN - 3 OOM kills since boot, and whether any is new cannot be judged: "
                                       "state not saved: ")
        assert host.at(90000, 0).check().code == 0  # no kill since boot needs no memory
        assert host.at(UP, 1).check("--log", LEAK).code == 2  # and the log's stamps tell that this one is recent

    def test_a_damaged_state_file_is_said(self, tmp_path):
        host = Host(tmp_path)
        host.at(90000, 1).check()
        file, = host.state.rglob("check_oom_kill.json")
        file.write_text("{")
        answer = host.at(90060, 1).check()
        assert "State: " in answer.out and "is damaged" in answer.out


class TestLog:
    def test_kills_the_log_does_not_have(self, tmp_path):
        answer = Host(tmp_path).at(UP, 3).check("--log", LEAK)
        assert "Not found in the log: 2 of 3 (rotated away, overwritten, or of another boot)." in answer.out
        assert answer.first.startswith("OOM_KILL CRITICAL - 3 OOM kills in the last 30.0 min: 'chrome' (pid 4242, 1.18 GiB); culprit: ")

    def test_several_kills_are_grouped(self, tmp_path):
        log = tmp_path / "log"
        line = "[%12.6f] Out of memory: Killed process %d (%s) total-vm:80kB, anon-rss:4096kB, file-rss:0kB, shmem-rss:0kB\n"
        names = ["httpd"] * 5 + ["mysqld"] + ["a", "b", "c"]
        log.write_text("".join(line % (1300 + at, 100 + at, name) for at, name in enumerate(names)))
        answer = Host(tmp_path).at(UP, 9).check("--log", str(log))
        assert answer.first == ("OOM_KILL CRITICAL - 9 OOM kills in the last 30.0 min: 5 x 'httpd', 'mysqld' (pid 105, 4.00 MiB), "
                                "'a' (pid 106, 4.00 MiB) and 2 others")
        assert answer.out.count("Killed: ") == 3

    def test_a_log_of_two_boots_is_read_from_the_last_one_on(self, tmp_path):
        answer = Host(tmp_path).at(1301 + 600, 1).check("--log", str(LOGS / "two-boots.log"))
        assert "'python3' (pid 5001" in answer.first
        answer = Host(tmp_path).at(1301 + 600, 2).check("--log", str(LOGS / "two-boots.log"))
        assert "mysqld" not in answer.out
        assert "Not found in the log: 1 of 2 (" in answer.out

    @pytest.mark.parametrize(("content", "reason"), [
        (None, "no such file"), (b"LPKSHHRH" + b"\0" * 200, "a binary journal; give it as text: journalctl -k"),
        (b"\x1f\x8b\x08x", "compressed")])
    def test_a_log_that_is_none(self, tmp_path, content, reason):
        log = tmp_path / "log"
        if content is not None:
            log.write_bytes(content)
        answer = Host(tmp_path).at(UP, 1).check("--log", str(log))
        assert answer.code == 2
        assert f"Names are missing: {log}: {reason}. " in answer.out

    def test_folders_and_fifos(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        for name in ("fifo", "proc"):
            started = time.monotonic()
            answer = Host(tmp_path).at(UP, 1).check("--log", str(tmp_path / name))
            assert answer.code == 2
            assert "not a regular file" in answer.out
            assert time.monotonic() - started < 5

    def test_noise_of_all_kinds(self, tmp_path):
        log = tmp_path / "log"
        for noise in (b"", b"\0" * 100000, b"\xff\xfe" * 5000, b"Killed process 1" * 5000, b"Killed process 1 (" * 20000, b"[" * 300000,
                      b"6,1,2,-;" * 50000, b"Linux version \n" * 5000, b"x" * 3_000_000):
            log.write_bytes(noise)
            assert Host(tmp_path).at(UP, 1).check("--log", str(log)).code == 2

    def test_a_user_cannot_push_the_names_out(self, tmp_path):
        """logger(1) writes what anybody likes, and a thousand times, but not under the kernel's tag."""
        log = tmp_path / "log"
        forged = b"Nov 25 03:13:00 hub logger: Out of memory: Killed process 1 (init) total-vm:4kB, anon-rss:4kB, file-rss:0kB\n"
        log.write_bytes((LOGS / "5.10-process.log").read_bytes() + forged * 20000)
        answer = Host(tmp_path).at(UP, 1).check("--log", str(log))
        assert "'mysqld' (pid 2188, 2.44 GiB)" in answer.first
        assert "init" not in answer.out

    @pytest.mark.parametrize("wanted", ["beginning", "end", "nowhere"])
    def test_64_mib_within_half_a_second(self, tmp_path, wanted):
        log = tmp_path / "log"
        line = b"Nov 25 03:12:07 hub kernel: [ 1200.000001] usb 1-1: new high-speed USB device number 7 using xhci_hcd of some length\n"
        report = Path(LOGS / "5.10-process.log").read_bytes()
        block = line * (1024 * 1024 // len(line))
        with open(log, "wb") as handle:
            handle.write(report if wanted == "beginning" else b"")
            for _ in range(65):
                handle.write(block)
            handle.write(report if wanted == "end" else b"")
        assert log.stat().st_size > 64 * 1024**2
        host = Host(tmp_path).at(UP, 1)
        costs = []
        for _ in range(3):
            before = os.times()
            answer = host.check("--log", str(log), started=True)
            after = os.times()
            costs.append(after.children_user + after.children_system - before.children_user - before.children_system)
            assert ("'mysqld' (pid 2188" in answer.first) == (wanted != "nowhere")
        assert min(costs) < 0.5


class TestWithoutCounter:
    """Linux before 4.13."""

    def test_nothing_to_go_by_is_unknown(self, tmp_path):
        answer = Host(tmp_path).at(UP, None).check()
        assert answer.out == ("OOM_KILL UNKNOWN - not supported here: this kernel does not count OOM kills (Linux 4.13 and later do), and "
                              "this tree has no log: give --log\n")
        assert Host(tmp_path).at(UP, None).check("--ok-if-unsupported").code == 0

    def test_a_log_that_is_not_there_is_unknown(self, tmp_path):
        answer = Host(tmp_path).at(UP, None).check("--log", "/nonexistent/log")
        assert answer.code == 3
        assert "the log may not be used: /nonexistent/log: no such file" in answer.out

    def test_the_log_counts(self, tmp_path):
        host, log = Host(tmp_path), tmp_path / "log"
        line = "Nov 25 03:%02d:00 hub kernel: Killed process %d (httpd) total-vm:8kB, anon-rss:4kB, file-rss:0kB\n"
        log.write_text(line % (1, 10))
        outcomes = []
        for minute, text in ((0, ""), (1, ""), (2, line % (2, 11)), (3, line % (2, 11)), (4, ""), (70, "")):
            log.write_text(log.read_text() + text)
            answer = host.at(UP + 7200 + 60 * minute, None).check("--log", str(log), "--hold", "10m")
            outcomes.append((answer.code, answer.perfdata["kills_hold"].split(";")[0]))
        # Two lines that say the same are two kills.
        assert outcomes == [(0, "0"), (0, "0"), (2, "1"), (2, "2"), (2, "2"), (0, "0")]
        assert answer.first == "OOM_KILL OK - no OOM kill in the last 10.0 min by the log (this kernel has no counter)"
        assert "oom_kills" not in answer.perfdata

    def test_rotation_is_no_kill(self, tmp_path):
        host, log = Host(tmp_path), tmp_path / "log"
        log.write_bytes((LOGS / "2.6.20-rate-limited.log").read_bytes() * 3)
        host.at(90000, None).check("--log", str(log))
        log.write_bytes(b"")
        assert host.at(90060, None).check("--log", str(log)).code == 0
        log.write_bytes((LOGS / "2.6.18-rhel5.log").read_bytes())
        answer = host.at(90120, None).check("--log", str(log))
        assert (answer.code, answer.perfdata["kills_new"]) == (2, "1;0;0;0")
        assert "Counted by the lines of the log (this kernel has no counter)" in answer.out

    def test_a_cut_vmstat_is_not_an_old_kernel(self, tmp_path):
        host = Host(tmp_path)
        host.write("proc/vmstat", "nr_free_pages 1000\npgfault 5\noom_ki")
        answer = host.check()
        assert answer.code == 3
        assert answer.first.endswith("vmstat: cut short or not a vmstat file")


def group(host: Host, path: str, kills: int | None, version: int = 2) -> Path:
    folder = host.folder / "sys/fs/cgroup" / ("memory/" if version == 1 else "") / path
    folder.mkdir(parents=True, exist_ok=True)
    counter = "" if kills is None else f"oom_kill {kills}\n"
    if version == 1:
        (folder / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\n{counter}")
    else:
        (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom 1\n{counter}")
    return folder


class TestCgroup:
    @pytest.mark.parametrize("version", [1, 2])
    def test_only_its_own_kills(self, tmp_path, version):
        host = Host(tmp_path)
        group(host, "batch", 0, version)
        assert host.at(90000, 7).check("--cgroup", "/batch").first == "OOM_KILL OK - no OOM kill in cgroup '/batch' since it was made"
        assert host.at(90060, 9).check("--cgroup", "/batch").code == 0
        group(host, "batch", 1, version)
        log = LOGS / "interleaved-callers.log"
        answer = host.at(90120, 10).check("--cgroup", "batch/", "--log", str(log))
        assert answer.code == 2
        assert answer.first == ("OOM_KILL CRITICAL - 1 OOM kill in cgroup 'batch/' in the last 60 s; whom it killed is not in the log")

    def test_names_are_those_of_the_cgroup(self, tmp_path):
        host = Host(tmp_path)
        group(host, "batch", 0)
        host.at(1200, 0).check("--cgroup", "/batch")
        group(host, "batch", 1)
        answer = host.at(1700, 2).check("--cgroup", "/batch", "--log", str(LOGS / "interleaved-callers.log"))
        assert answer.first == ("OOM_KILL CRITICAL - 1 OOM kill in cgroup '/batch' in the last 8.3 min: 'python3' (pid 5001, 62.9 MiB); "
                                "culprit: 64.0 MiB cgroup limit of '/batch', most held by process group 'python3' (1 x 62.9 MiB)")
        assert "chrome" not in answer.out

    def test_a_cgroup_made_anew_counts_from_nothing(self, tmp_path):
        host = Host(tmp_path)
        folder = group(host, "a.service", 5)
        host.at(90000, 5).check("--cgroup", "/a.service")
        folder.rename(tmp_path / "gone")  # keeps its inode, so that the new one has another
        group(host, "a.service", 6)
        answer = host.at(90060, 11).check("--cgroup", "/a.service")
        assert (answer.code, answer.perfdata["kills_new"], answer.perfdata["oom_kills"]) == (2, "6;0;0;0", "6c;;;0")

    def test_version_1_sums_what_lies_below(self, tmp_path):
        host = Host(tmp_path)
        group(host, "a", 0, 1)
        group(host, "a/b", 2, 1)
        group(host, "a/b/c", 3, 1)
        assert host.at(90000, 5).check("--cgroup", "/a").perfdata["oom_kills"] == "5c;;;0"
        group(host, "a/b/c", 4, 1)
        group(host, "a/new", 1, 1)
        assert host.at(90060, 7).check("--cgroup", "/a").perfdata["kills_new"] == "2;0;0;0"
        (host.folder / "sys/fs/cgroup/memory/a/b/c/memory.oom_control").unlink()
        answer = host.at(99060, 7).check("--cgroup", "/a")
        assert (answer.code, answer.perfdata["kills_new"]) == (0, "0;0;0;0")

    def test_the_root_cgroup_is_the_host(self, tmp_path):
        host = Host(tmp_path)
        (host.folder / "sys/fs/cgroup/memory").mkdir(parents=True)
        (host.folder / "sys/fs/cgroup/memory/memory.oom_control").write_text("oom_kill 2\n")
        for minute in range(4):
            for options in ((), ("--cgroup", "/")):
                answer = host.at(90000 + 60 * minute, 20).check(*options)
                assert (answer.code, answer.perfdata["oom_kills"]) == (0, "20c;;;0")

    @pytest.mark.parametrize("path", ["/none", "/../../etc", "/a/../b"])
    def test_a_cgroup_that_is_not_there(self, tmp_path, path):
        host = Host(tmp_path)
        group(host, "b", 1)
        answer = host.check("--cgroup", path)
        assert answer.code == 3
        assert "no such cgroup" in answer.first

    def test_old_kernels_count_by_the_log(self, tmp_path):
        host = Host(tmp_path)
        group(host, "batch", None, 1)
        log = tmp_path / "log"
        log.write_text("")
        assert host.at(1200, None).check("--cgroup", "/batch", "--log", str(log)).code == 0
        log.write_bytes((LOGS / "2.6.29-memcg.log").read_bytes() + (LOGS / "2.6.24-child.log").read_bytes())
        answer = host.at(1500, None).check("--cgroup", "/batch", "--log", str(log))
        assert (answer.code, answer.perfdata["kills_new"]) == (2, "1;0;0;0")


def test_no_output_advises_to_clear_the_log():
    for path in EXPECTED.glob("*.txt"):
        assert "dmesg -c" not in path.read_text()
        assert "clear" not in path.read_text().lower()


def test_short_and_verbose(tmp_path):
    host = Host(tmp_path).at(UP, 8)
    log = str(LOGS / "6.8-hostile-names.log")
    host.check("--log", log, "--short", limit=1000)
    assert host.check("--log", log, "-v").out.count("Killed: ") == 5
    assert host.check("--log", log, "-vv", limit=8192).code == 2


def test_options_are_checked():
    for options in (["--hold", "0"], ["--hold", "x"], ["--log", ""], ["--cgroup", ""], ["-w", "5%"], ["-w", "9", "-c", "5"]):
        answer = run("check_oom_kill", *options).sound()
        assert answer.code == 3
        assert answer.out.startswith("OOM_KILL UNKNOWN - usage: ")


if __name__ == "__main__":
    assert NOW
    EXPECTED.mkdir(parents=True, exist_ok=True)
    for one in NAMES:
        with tempfile.TemporaryDirectory() as scratch:
            (EXPECTED / f"{one}.txt").write_text(output(one, Path(scratch)))
    sys.exit(0)
