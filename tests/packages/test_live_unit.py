"""The recorder's unit under a systemd that runs: started, reloaded, frozen, killed and stopped, with what it grants and what it withholds.

The interval, the size and the watchdog's time are shortened by a drop-in; all else is the unit as the package installs it. A machine that
is a container itself may lack CAP_SYS_RESOURCE: then nobody can lower oom_score_adj or raise the limit of locked memory there, and so
systemd cannot. In its place the drop-in leaves CAP_IPC_LOCK, and what is refused is asserted to be said.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memtriage.recording import Recording, Sample
from tests.packages.live import LiveHost, machine_has

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
UNIT = "memtriage-record.service"
RECORDING = "/var/log/memtriage/recording"
COPY = "/run/memtriage/slabinfo"
PLUGINS = "/usr/lib/nagios/plugins"
SAID, LEFT = "/run/said", "/run/left"
"""What the recorder says, and how each one left."""
WATCHDOG = 4
COMMAND = f"/usr/bin/memtriage record --publish {COPY} --size 2MiB --interval 0.5"
DROP_IN = f"""[Service]
ExecStart=
ExecStart={COMMAND}
WatchdogSec={WATCHDOG}
RestartSec=0.5
StandardError=append:{SAID}
StandardOutput=append:{LEFT}
ExecStopPost=/bin/echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS
"""
BITS = {"sys_resource": 24, "syslog": 34, "ipc_lock": 14}
RESOURCE = machine_has("sys_resource")


class Service:
    """The unit on its host, as a test sees it."""

    def __init__(self, host: LiveHost) -> None:
        self.host = host

    def pid(self) -> int:
        return int(self.host.shown(UNIT, "MainPID")["MainPID"])

    def samples(self, file: str = RECORDING) -> list[Sample]:
        with Recording(str(self.host.path(file))) as recording:
            return list(recording.samples())

    def running(self) -> None:
        """Starts it unless it runs, and waits until samples come."""
        assert self.host.ctl("start", UNIT).code == 0
        begin = time.time()
        wait(lambda: self.samples()[-1].time > begin)

    def left(self) -> str:
        """How the last one left: the result as systemd sees it, then exit code or signal."""
        return self.host.path(LEFT).read_text().splitlines()[-1]

    def restarted(self, before: int) -> int:
        """Waits until another process records; returns how many restarts systemd counts."""
        begin = time.time()
        wait(lambda: self.pid() not in (0, before) and self.host.shown(UNIT, "ActiveState")["ActiveState"] == "active", 60)
        wait(lambda: self.samples()[-1].time > begin and self.samples()[-1].note("pid") == str(self.pid()))
        return int(self.host.shown(UNIT, "NRestarts")["NRestarts"])


def wait(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def service(deb: Path) -> Iterator[Service]:
    with LiveHost() as host:
        host.do("dpkg", "--install", host.bring(deb))
        assert host.shown(UNIT, "ActiveState", "UnitFileState") == {"ActiveState": "inactive", "UnitFileState": "disabled"}
        folder = host.path(f"/run/systemd/system/{UNIT}.d")
        folder.mkdir()
        own = host.shown(UNIT, "CapabilityBoundingSet")["CapabilityBoundingSet"]
        assert own == "cap_sys_resource cap_syslog" or not RESOURCE  # systemd names those only that it has itself
        more = "" if RESOURCE else "CapabilityBoundingSet=CAP_IPC_LOCK\n"
        (folder / "test.conf").write_text(DROP_IN + more)
        host.do("systemctl", "daemon-reload")
        yield Service(host)


@pytest.fixture
def running(service: Service) -> Service:
    service.running()
    return service


def test_it_is_active_once_it_records_and_not_before(service: Service) -> None:
    host = service.host
    folder = host.path(f"/run/systemd/system/{UNIT}.d")
    # As long as another holds the file it would be started again and again; once will do.
    (folder / "zz.conf").write_text("[Service]\nRestart=no\n")
    host.do("systemctl", "daemon-reload")
    host.do("install", "-d", "-g", "nagios", "-m", "0750", "/var/log/memtriage")
    host.start("flock", "--no-fork", f"{RECORDING}.lock", "sleep", "1000")
    wait(lambda: host.run("flock", "--nonblock", f"{RECORDING}.lock", "true").code == 1)
    refused = host.ctl("start", UNIT)
    assert refused.code == 1 and host.shown(UNIT, "ActiveState", "ExecMainStatus") == {"ActiveState": "failed", "ExecMainStatus": "1"}
    assert f"process (unknown) records to {RECORDING} already\n" in host.path(SAID).read_text() and not host.path(RECORDING).exists()
    host.do("sh", "-c", f"pkill -x sleep && flock {RECORDING}.lock true")
    (folder / "zz.conf").unlink()
    host.do("systemctl", "daemon-reload")
    begin = time.time()
    host.do("systemctl", "start", UNIT)
    assert host.shown(UNIT, "ActiveState", "SubState", "Type", "StatusText") == {
        "ActiveState": "active", "SubState": "running", "Type": "notify", "StatusText": "recording"}
    assert os.path.getsize(host.path(RECORDING)) == 2 * 1024**2 and host.path(COPY).stat().st_size > 1000
    wait(lambda: service.samples(), 2)  # noqa: PLW0108 - a damaged one would be an empty list as well
    assert begin < service.samples()[0].time < time.time()


def test_what_survives_a_lack_of_memory_is_granted(running: Service) -> None:
    host, pid = running.host, running.pid()
    said = host.path(SAID).read_text()
    status = host.status(pid)
    main = host.do("ps", "-o", "cls=,rtprio=", "-p", pid).split()
    assert main == ["FF", "1"] and host.do("ionice", "-p", pid).strip() == "best-effort: prio 0"
    words = host.path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert words[16] == "-20"  # nice, which counts again should the scheduling class be taken away
    notes = running.samples()[-1].note
    assert notes("locked") == "yes (current, future, on fault)" and int(status["VmLck"].split()[0]) > 10_000, status["VmLck"]
    assert notes("priority") == "nice -20, I/O best effort 0, SCHED_FIFO 1"
    score = host.path(f"/proc/{pid}/oom_score_adj").read_text().strip()
    limits = host.path(f"/proc/{pid}/limits").read_text()
    if RESOURCE:
        assert score == notes("oom_score_adj") == "-1000" and "refused" not in said
        assert re.search(r"^Max locked memory +unlimited +unlimited", limits, re.MULTILINE)
        assert re.search(r"^Max open files +65536 +65536", limits, re.MULTILINE)
    else:
        assert notes("oom_score_adj") == f"{score}: lower refused, Permission denied"
        assert f"memtriage record: oom_score_adj {score}: lower refused, Permission denied\n" in said
    assert int(host.shown(UNIT, "MemoryMin")["MemoryMin"]) == 32 * 1024**2


def test_what_it_does_not_need_is_withheld(running: Service) -> None:
    host, pid = running.host, running.pid()
    status = host.status(pid)
    wanted = {name for name in ("sys_resource", "syslog") if machine_has(name)} | ({"ipc_lock"} if not RESOURCE else set())
    for line in ("CapBnd", "CapPrm", "CapEff"):
        assert int(status[line], 16) == sum(1 << BITS[name] for name in wanted), line
    assert int(status["CapAmb"], 16) == int(status["CapInh"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"], status["Umask"]) == ("1", "2", "0027")
    inside = ["nsenter", "--target", pid, "--mount", "--"]
    for path in ("/etc", "/usr", "/var", "/var/log", "/run", "/run/lock", "/sys/kernel", "/sys/fs/cgroup", "/home", "/root"):
        answer = host.run(*inside, "touch", f"{path}/x")
        assert answer.code == 1 and "Read-only file system" in answer.err, (path, answer)
    for path in ("/proc/sys/vm/swappiness", "/proc/sys/kernel/panic"):
        same = f"value=$(cat {path}) && echo $value > {path}"
        assert "Read-only file system" in host.run(*inside, "sh", "-c", same).err, path
        host.do("sh", "-c", same)
    for path in ("/var/log/memtriage", "/run/memtriage"):
        host.do(*inside, "sh", "-c", f"touch {path}/x && rm {path}/x")
    host.path("/tmp/mine").touch()
    assert host.run(*inside, "ls", "/tmp/mine").code == 2 and host.run(*inside, "ls", "/home/x").code == 2


def test_it_reads_all_that_it_is_for(running: Service) -> None:
    """In spite of what is withheld: the kernel's alarm, log and caches, and other users' processes."""
    host = running.host
    uid = host.do("id", "-u", "nagios").strip()
    host.start("setpriv", "--reuid", uid, "--clear-groups", "sleep", "54321")
    wait(lambda: any(one.cmdline == b"sleep\0" b"54321\0" for one in running.samples()[-1].content.processes.values()))
    sample = running.samples()[-1]
    failed = {name: source.errno for name, source in sample.content.sources.items() if source.data is None}
    assert not failed
    assert b"# name" in (sample.content.sources["slabinfo"].data or b"") and "/sys/kernel/slab" in sample.content.sources
    if os.path.exists("/proc/pressure/memory"):
        assert sample.note("psi_trigger") == ("some 150000 1000000" if RESOURCE else "some 300000 2000000")
    words = f"memtriage-record tested {time.time_ns()}"
    host.path("/dev/kmsg").write_text(words + "\n")
    wait(lambda: any(f";{words}\n".encode() in (one.content.sources["kmsg"].data or b"") for one in running.samples()))


def test_the_engines_user_reads_it_and_nobody_else(running: Service) -> None:
    host = running.host
    assert host.do("stat", "-c", "%A %U:%G %n", "/var/log/memtriage", RECORDING, "/run/memtriage", COPY).splitlines() == [
        "drwxr-x--- root:nagios /var/log/memtriage", f"-rw-r----- root:nagios {RECORDING}",
        "drwxr-x--- root:nagios /run/memtriage", f"-rw-r----- root:nagios {COPY}"]
    for path in (RECORDING, COPY):
        assert host.run("head", "-c", "1", path, user="nagios").code == 0
        assert host.run("head", "-c", "1", path, user="nobody").code == 1
        assert host.run("sh", "-c", f": >> {path}", user="nagios").code == 2
    recorder = host.run(f"{PLUGINS}/check_mem_recorder", user="nagios").sound()
    assert re.match(r"MEM_RECORDER OK - newest sample [0-9.]+ (ms|s) old \(every 0\.5 s\); longest gap in 1 h [0-9.]+ s, 0 samples lost; "
                    r"memory locked \| age=", recorder.out), recorder
    slab = host.run(f"{PLUGINS}/check_slab_growth", user="nagios").sound()
    assert slab.code != 3 and "slab cache '" in slab.out, slab
    assert host.run(f"{PLUGINS}/check_mem_recorder", user="nobody").code == 3


def test_reload_opens_the_file_anew(running: Service) -> None:
    host, pid = running.host, running.pid()
    restarts = host.shown(UNIT, "NRestarts")
    host.do("mv", RECORDING, f"{RECORDING}.kept")
    host.do("systemctl", "reload", UNIT)
    wait(lambda: host.path(RECORDING).exists() and running.samples())
    first, last = running.samples()[0], running.samples(f"{RECORDING}.kept")[-1]
    assert running.pid() == pid and host.shown(UNIT, "NRestarts") == restarts
    assert first.head.seq == last.head.seq + 1, "none is lost between the two"
    assert host.do("stat", "-c", "%A %U:%G", RECORDING).strip() == "-rw-r----- root:nagios"
    host.do("rm", f"{RECORDING}.kept")


def test_a_second_one_is_refused_and_harms_nothing(running: Service) -> None:
    host, pid = running.host, running.pid()
    answer = host.run(*COMMAND.split(), "--samples", "1")
    assert answer.code == 1 and (answer.out, answer.err) == (
        "", f"memtriage record: process {pid} records to {RECORDING} already\n"), answer
    begin = time.time()
    wait(lambda: running.samples()[-1].time > begin)
    assert running.pid() == pid


def test_a_frozen_one_is_killed_by_the_watchdog_and_started_again(running: Service) -> None:
    host, pid = running.host, running.pid()
    restarts = int(host.shown(UNIT, "NRestarts")["NRestarts"])
    host.do("kill", "-STOP", pid)
    begin = time.monotonic()
    wait(lambda: running.pid() != pid, 30)
    assert WATCHDOG / 2 - 0.5 < time.monotonic() - begin < WATCHDOG + 5
    assert running.restarted(pid) == restarts + 1 and re.fullmatch("watchdog (killed|dumped) ABRT", running.left())
    assert any(one.head.flags & 1 for one in running.samples()[1:]), "the recording goes on in the same file"


def test_a_killed_one_is_started_again(running: Service) -> None:
    host, pid = running.host, running.pid()
    restarts = int(host.shown(UNIT, "NRestarts")["NRestarts"])
    before = running.samples()[-1].head.seq
    host.do("kill", "-KILL", pid)
    assert running.restarted(pid) == restarts + 1 and running.left() == "signal killed KILL"
    numbers = [one.head.seq for one in running.samples()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)) and before in numbers, "nothing that was written is gone"
    assert host.status(running.pid())["NoNewPrivs"] == "1"


def test_stop_writes_all_and_leaves_in_time(running: Service) -> None:
    host = running.host
    begin, started = time.time(), time.monotonic()
    host.do("systemctl", "stop", UNIT)
    took = time.monotonic() - started
    assert took < 5
    assert host.shown(UNIT, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert running.left() == "success exited 0"
    last = running.samples()[-1]
    assert last.time >= begin - 0.1 and last.note("waiting", "sample") == "0", "a last sample was taken, and is in the file"
    assert not host.path("/run/memtriage").exists()
    check = [f"{PLUGINS}/check_mem_recorder", "-w", "1", "-c", "2"]
    wait(lambda: host.run(*check, user="nagios").code == 2, 10)
    assert "the recorder does not run or its disk stands still" in host.run(*check, user="nagios").first


def test_sigterm_from_anybody_is_a_stop_that_systemd_undoes(running: Service) -> None:
    pid = running.pid()
    running.host.do("kill", "-TERM", pid)
    running.restarted(pid)
    assert running.left() == "success exited 0"


def test_what_systemd_says_of_its_exposure(running: Service) -> None:
    said = running.host.do("systemd-analyze", "security", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for memtriage-record.service: ([0-9.]+) OK", said)
    assert found and float(found[1]) <= 2.6, said
