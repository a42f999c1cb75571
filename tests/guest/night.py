"""Runs in the guest: two days of a build hub in four minutes, for docs/story.md. Played by tests/guest/story.py.

    night.py               the host, its checks through NRPE, its recorder; results, an object a line, in /scratch/results
    night.py morning       what somebody tries the morning after, on a healthy host: commands and what they print
    night.py workers N     a server's processes
    night.py serve N       a server that answers, a connection a process
    night.py pins S BYTES  looks up files over NFS and holds their inodes: so many bytes in S seconds
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import time

import scenarios
import stage
from scenarios import MIB, SCRATCH

DAY = 120
"""Seconds."""
SECONDS = DAY * 8 // 5
"""The leak: after so long as much has been asked for as is available at the start; it lasts some 40 % longer."""
FILES, WORKERS, EACH = 195_000, 7, 18 * MIB
STATE = f"--state-dir {SCRATCH}state"
GROWTH = f"--window {DAY // 6}s --warmup {DAY // 24}s --eta-warning {3 * DAY}s: --eta-critical {DAY // 3}s: {STATE}"
"""The defaults: 4 h, 1 h, 72 h, 8 h."""
stage.COMMANDS.update({
    "free_mem": f"{stage.CHECKS}free_mem {GROWTH}",
    "slab_growth": f"{stage.CHECKS}slab_growth {GROWTH}",
    "proc_count": f"{stage.CHECKS}proc_count -C httpd --max-workers {WORKERS + 1}",
})
MORNING = {
    "saturate": ("memtriage saturate http://127.0.0.1:8080/ -n 12 --hold 8s",),
    "copytree": ("find /usr/lib/python3.11 -printf '%y %s %P\\n' > listing",
                 "memtriage simulate copytree listing --folder nfs --limit 41MiB --rate 4MiB/s --duration 30s &",
                 "for n in 1 2 3 4; do sleep 8; check_slab_growth --no-perfdata --window 20s -w 2GiB | head -1; done",
                 "wait"),
    "slab": ("memtriage simulate slab --limit 61MiB --rate 2MiB/s --duration 40s &",
             "for n in 1 2 3 4; do sleep 8; check_slab_growth --no-perfdata --window 20s -w 2GiB | head -1; done",
             "wait"),
}
"""By the file that keeps it: lines for one shell."""
TERMINAL = ("free -m", "ps -eo user,rss,comm --sort=-rss | head -8")
scenarios.FILES = FILES


def workers(count: int) -> None:
    scenarios.title("httpd")
    for _ in range(count):
        if os.fork() == 0:
            break
    else:
        time.sleep(100_000)
    space = mmap.mmap(-1, EACH, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, EACH, 4096):
        space[offset] = 1
    time.sleep(100_000)


class Night(stage.Stage):
    def __init__(self) -> None:
        super().__init__("nfs")
        self.alarms: set[int] = set()

    def prepare(self) -> None:
        scenarios.serve_nfs()

    def actor(self, *words: str, group: str = "") -> subprocess.Popen[bytes]:
        """The server and the leak are ours, the backup is the stage's."""
        if words[0] == "httpd":
            words = ("workers", str(WORKERS))
        elif words[0] == "load":
            words = ("pins", str(SECONDS), words[3])
        else:
            return super().actor(*words, group=group)
        return self.start(sys.executable, "/work/night.py", *words, group=group)

    def ask(self, name: str) -> None:
        super().ask(name)
        if name == "slab_growth":  # the server is another host in truth: what it has of inodes is not here
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as handle:
                handle.write("2")
        with open(SCRATCH + "results", encoding="utf-8") as handle:
            code = int(json.loads(handle.readlines()[-1])["code"])
        if name in ("free_mem", "slab_growth") and code in (1, 2) and code not in self.alarms and not self.kills():
            self.alarms.add(code)  # somebody is woken, logs in and looks
            for words in TERMINAL:
                done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60, check=False,
                                      env={**os.environ, "LC_ALL": "C", "TERM": "dumb"})
                stage.say(terminal=words, wall=time.time(), out=done.stdout)


def serve(count: int) -> None:
    """Forks ``count`` processes that answer one connection at a time."""
    scenarios.title("httpd")
    listener = socket.create_server(("127.0.0.1", 8080), backlog=64)
    for _ in range(count):
        if os.fork() == 0:
            break
    else:
        time.sleep(100_000)
    space = bytearray(4 * MIB)
    while True:
        with listener.accept()[0] as connection:
            said = b""
            while b"\r\n\r\n" not in said and (part := connection.recv(4096)):
                said += part
            space[0] = 1
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")


def morning() -> None:
    scenarios.FILES = 200
    stage.loopback()
    scenarios.serve_nfs()
    server = subprocess.Popen([sys.executable, "/work/night.py", "serve", str(WORKERS)])
    time.sleep(5)
    os.mkdir(SCRATCH + "bin")
    with open(SCRATCH + "bin/memtriage", "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o755)) as handle:
        handle.write('#!/bin/sh\nexec python3 -m memtriage "$@"\n')  # the one beside the checks names the Python that packed it
    env = {**os.environ, "PATH": f"{SCRATCH}bin:/work/lib/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TERM": "dumb",
           "MEMTRIAGE_STATE_DIR": "/scratch/state"}
    for name, lines in MORNING.items():
        script = "\n".join(lines)
        done = subprocess.run(["bash", "-c", script], cwd=SCRATCH, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=400, check=False)
        stage.say(tried=name, script=script, out=done.stdout.decode("utf-8", "replace"), code=done.returncode)
        print(done.stdout.decode("utf-8", "replace"), flush=True)
    server.kill()


def pins(seconds: float, room: float) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_000_000, 1_000_000))
    os.nice(10)
    scenarios.title("pins")
    scenarios.nfs(seconds, room)


def main() -> None:
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as handle:
        handle.write("-900")
    night = Night()
    night.scenario = night.scenario._replace(seconds=float(SECONDS), memory=512)
    begun = time.monotonic()
    night.set_up()
    print(f"set up in {time.monotonic() - begun:.1f} s", flush=True)
    stage.say(note="watched", at=time.monotonic(), wall=time.time(), total=stage.figures("/proc/meminfo")["MemTotal"] * 1024)
    end = time.monotonic() + DAY / 4
    while time.monotonic() < end:
        night.slot(end)
    night.play()
    night.log()
    night.tear_down()
    print("done", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["workers"]:
        workers(int(sys.argv[2]))
    elif sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    elif sys.argv[1:2] == ["morning"]:
        morning()
    elif sys.argv[1:2] == ["pins"]:
        pins(float(sys.argv[2]), float(sys.argv[3]))
    else:
        main()
