"""Runs in the guest: a host with a web server, a backup, a flight recorder and NRPE, on which one scenario is played while it is checked.

    stage.py NAME        prints what it does; results, an object a line, in /scratch/results
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

from scenarios import MIB, SCENARIOS, SCRATCH, Scenario

CHECKS = "/work/lib/bin/check_"
PLUGINS = "/usr/lib/nagios/plugins/"
PORT = 5666
TREND = ("--window 5s --warmup 1.25s --eta-warning 90: --eta-critical 10: --state-dir /scratch/state")
"""A day is half a minute: the defaults of 4 h, 1 h, 72 h and 8 h divided by 2,880."""
COMMANDS = {
    "free_mem": f"{CHECKS}free_mem {TREND}",
    "slab_growth": f"{CHECKS}slab_growth {TREND}",
    "proc_count": f"{CHECKS}proc_count -C httpd",
    "mem_pressure": f"{CHECKS}mem_pressure --state-dir /scratch/state",
    "mem_recorder": f"{CHECKS}mem_recorder --file {SCRATCH}recording",
    "oom_kill": f"{CHECKS}oom_kill --state-dir /scratch/state",
    "check_memory": f"{PLUGINS}check_memory -a -w 20%: -c 10%:",
    "check_procs": f"{PLUGINS}check_procs -w 150 -c 200",
}
OTHERS = ("check_memory", "check_procs", "check_memory", "mem_pressure", "check_memory", "check_procs", "check_memory", "mem_recorder",
          "check_memory", "check_procs", "check_memory", "oom_kill", "check_memory", "check_procs", "check_memory", "proc_count")
SLOT = 4.0
"""Seconds: either check of memory's growth runs at every other."""
CALM = 20.0
AFTER = 8.0
CONFIG = """\
pid_file=/run/nrpe.pid
server_address=127.0.0.1
server_port={port}
nrpe_user=nobody
nrpe_group=nogroup
allowed_hosts=127.0.0.1
command_timeout=60
connection_timeout=70
"""


def say(**words: object) -> None:
    with open(SCRATCH + "results", "a", encoding="utf-8") as handle:
        handle.write(json.dumps(words) + "\n")


def figures(path: str) -> dict[str, int]:
    with open(path, encoding="ascii", errors="replace") as handle:
        return {words[0].rstrip(":"): int(words[1]) for words in (line.split() for line in handle) if len(words) > 1 and words[1].isdigit()}


def loopback() -> None:
    """lo goes up: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))


class Stage:
    def __init__(self, name: str) -> None:
        self.name, self.scenario = name, SCENARIOS[name]
        self.running: list[subprocess.Popen[bytes]] = []
        self.nrpe: subprocess.Popen[bytes] | None = None
        self.turn = 0

    def start(self, *words: str, adj: int = 0, group: str = "", gid: int = 0, **more: object) -> subprocess.Popen[bytes]:
        def become() -> None:
            os.setsid()
            os.setgid(gid)
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as handle:
                handle.write(str(adj))
            if group:
                with open(f"/sys/fs/cgroup/{group}/cgroup.procs", "w", encoding="ascii") as handle:
                    handle.write("0")

        process = subprocess.Popen(words, preexec_fn=become, stdin=subprocess.DEVNULL, **more)  # type: ignore[call-overload] # noqa: PLW1509
        self.running.append(process)
        return process

    def actor(self, *words: str, group: str = "") -> subprocess.Popen[bytes]:
        return self.start(sys.executable, "/work/scenarios.py", *words, group=group)

    def prepare(self) -> None:
        subprocess.run([sys.executable, "/work/scenarios.py", "prepare", self.name], check=True, timeout=400)

    def set_up(self) -> None:
        loopback()
        self.prepare()
        with open(SCRATCH + "large", "wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, self.scenario.memory * MIB * 5 // 4)
        os.makedirs(SCRATCH + "state")
        os.chown(SCRATCH + "state", 65534, 65534)
        os.makedirs("/run/memtriage")
        with open("/proc/sys/kernel/dmesg_restrict", "w", encoding="ascii") as handle:
            handle.write("0")  # NRPE's user may read the kernel's log
        if self.scenario.limit:
            os.mkdir("/sys/fs/cgroup/app")
            with open("/sys/fs/cgroup/app/memory.max", "w", encoding="ascii") as handle:
                handle.write(f"{self.scenario.limit}M")
        self.actor("httpd", "4")
        subprocess.run(["cat", SCRATCH + "large"], stdout=subprocess.DEVNULL, check=True, timeout=120)
        self.actor("backup", SCRATCH + "large")
        self.recorder = self.start(
            sys.executable, "-m", "memtriage", "record", "--output", SCRATCH + "recording", "--size", "64MiB", "--interval", "1",
            "--publish", "/run/memtriage/slabinfo", "--group", "nogroup",
            gid=65534)  # as Group= of its service
        self.start_nrpe()

    def start_nrpe(self) -> None:
        with open("/run/nrpe.cfg", "w", encoding="ascii") as handle:
            handle.write(CONFIG.format(port=PORT) + "".join(f"command[{name}]={words}\n" for name, words in COMMANDS.items()))
        self.nrpe = self.start("/usr/sbin/nrpe", "-n", "-c", "/run/nrpe.cfg", "-f", group="app" if self.scenario.limit else "",
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end and self.nrpe.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", PORT), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"nrpe does not answer: {self.nrpe.poll()}")

    def ask(self, name: str) -> None:
        """One check through NRPE, and its whole answer; a daemon that was killed is started again, as systemd would.

        Without TLS: emulated, a handshake costs more than the check.
        """
        if self.nrpe is None or self.nrpe.poll() is not None:
            say(note="nrpe is gone", at=time.monotonic())
            self.start_nrpe()
        at, wall = time.monotonic(), time.time()
        try:
            done = subprocess.run([PLUGINS + "check_nrpe", "-n", "-H", "127.0.0.1", "-p", str(PORT), "-t", "70", "-c", name],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=80, check=False)
            code, out = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            code, out = 3, "no answer within 80 s"
        say(check=name, at=at, wall=wall, took=time.monotonic() - at, code=code, out=out)
        if name == "free_mem":
            print(f"{at:6.1f} {code} {out.splitlines()[0][:150] if out else ''}", flush=True)

    def slot(self, until: float) -> None:
        """A slot's checks, and the rest of its time."""
        self.turn += 1
        begun = time.monotonic()
        self.ask(("free_mem", "slab_growth")[self.turn % 2])
        if self.turn % 2:
            self.ask(OTHERS[self.turn // 2 % len(OTHERS)])
        while time.monotonic() < min(until, begun + SLOT):
            time.sleep(0.05)

    def kills(self) -> int:
        return figures("/proc/vmstat").get("oom_kill", 0)

    def play(self) -> None:
        scenario = self.scenario
        room = figures("/proc/meminfo")["MemAvailable"] * 1024.0
        if scenario.limit:
            room = scenario.limit * MIB * 0.9
        load = self.actor("load", self.name, str(scenario.seconds), str(room), group="app" if scenario.limit else "")
        start = time.monotonic()
        say(note="load starts", at=start, wall=time.time(), room=room)
        end = start + (2 * scenario.seconds + 60 if scenario.kill else scenario.seconds + 60)
        before = self.kills()
        while time.monotonic() < end and self.kills() == before:
            if load.poll() is not None and self.kills() == before:
                break
            self.slot(end)
        say(note="load ends", at=time.monotonic(), wall=time.time(), code=load.poll(), kills=self.kills())
        if self.kills() != before:
            time.sleep(AFTER)
        try:
            os.killpg(load.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        time.sleep(2)
        for name in ("oom_kill", "free_mem", "mem_recorder"):
            self.ask(name)

    def tear_down(self) -> None:
        self.recorder.terminate()
        self.recorder.wait(30)
        for process in reversed(self.running):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass

    def log(self) -> None:
        """The kills, by the kernel's own clock, which is ours."""
        handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        while True:
            try:
                record = os.read(handle, 8192).decode("utf-8", "replace")
            except BlockingIOError:
                break
            except OSError:
                continue  # overwritten meanwhile
            if re.search("Killed process", record):
                head, _, text = record.partition(";")
                say(kill=text.split("\n")[0], at=int(head.split(",")[2]) / 1e6)
        os.close(handle)


def main(name: str) -> None:
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as handle:
        handle.write("-900")
    stage = Stage(name)
    scenario: Scenario = stage.scenario
    begun = time.monotonic()
    stage.set_up()
    print(f"set up in {time.monotonic() - begun:.1f} s: {scenario.title}", flush=True)
    end = time.monotonic() + CALM
    say(note="watched", at=time.monotonic(), wall=time.time(), total=figures("/proc/meminfo")["MemTotal"] * 1024)
    while time.monotonic() < end:
        stage.slot(end)
    stage.play()
    stage.log()
    stage.tear_down()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
