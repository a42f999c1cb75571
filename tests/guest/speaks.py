"""Runs in the guest: NRPE, a recorder that delivers passive results, then swap thrash, then a real OOM kill. Prints JSON, an object a line.

    speaks.py SECONDS PORT     of thrash; of Icinga's API at 10.0.2.2
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from exhaustion import churn, end, hog, meminfo, say, spawn

CHECK = "/work/lib/bin/check_free_mem"
PASSIVE = """\
[icinga2]
url = https://master:{port}
user = memtriage
password = guest
ca = /work/ca.crt
host = hub
[speak]
state_dir = /run/memtriage/passive
[services]
memory = check_free_mem
memory slab = check_slab_growth
memory OOM kill = check_oom_kill
memory pressure = check_mem_pressure
"""
NRPE = """\
pid_file=/run/nrpe.pid
server_address=10.0.2.15
server_port=5666
nrpe_user=nobody
nrpe_group=nogroup
allowed_hosts=10.0.2.2,127.0.0.1
command_timeout=60
connection_timeout=70
command[check_free_mem]={check} --state-dir /tmp/state
"""


def network() -> None:
    subprocess.run(["modprobe", "virtio_net"], check=True, timeout=30)
    for words in (["link", "set", "lo", "up"], ["link", "set", "eth0", "up"], ["addr", "add", "10.0.2.15/24", "dev", "eth0"],
                  ["route", "add", "default", "via", "10.0.2.2"]):
        subprocess.run(["busybox", "ip", *words], check=True, timeout=30)
    with open("/run/hosts", "w", encoding="ascii") as handle:
        handle.write("127.0.0.1 localhost guest\n10.0.2.2 master\n")
    subprocess.run(["mount", "--bind", "/run/hosts", "/etc/hosts"], check=True, timeout=30)


def main(seconds: int, port: int) -> None:
    network()
    subprocess.run(["mkswap", "/dev/vdd"], check=True, capture_output=True, timeout=60)
    subprocess.run(["swapon", "/dev/vdd"], check=True, timeout=60)
    os.makedirs("/run/memtriage")
    with open("/run/passive.conf", "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as handle:
        handle.write(PASSIVE.format(port=port))
    with open("/run/nrpe.cfg", "w", encoding="ascii") as handle:
        handle.write(NRPE.format(check=CHECK))
    nrpe = subprocess.Popen(["/usr/sbin/nrpe", "-c", "/run/nrpe.cfg", "-f"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    with open(f"/proc/{nrpe.pid}/oom_score_adj", "w", encoding="ascii") as handle:
        handle.write("-500")
    with open("/scratch/recorder.log", "wb") as log:
        recorder = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", "/scratch/recording", "--size", "16MiB",
                                     "--interval", "1", "--fast-interval", "1", "--passive", "icinga2", "--passive-config",
                                     "/run/passive.conf"], stderr=log)
    time.sleep(40)
    say(what="thrash", at=time.time(), available=meminfo("MemAvailable"))
    workers = [spawn(churn, meminfo("MemTotal") * 5 // 8) for _ in range(2)]
    time.sleep(seconds)
    say(what="calm", at=time.time(), available=meminfo("MemAvailable"))
    end(workers)
    time.sleep(30)
    say(what="hog", at=time.time(), available=meminfo("MemAvailable"))
    victim = spawn(hog, 0)
    pid, status = 0, 0
    until = time.monotonic() + 240
    while not pid and time.monotonic() < until:
        pid, status = os.waitpid(victim, os.WNOHANG)
        time.sleep(0.1)
    say(what="killed" if pid else "not killed", at=time.time(), status=status, recorder=recorder.poll(), nrpe=nrpe.poll())
    if not pid:
        end([victim])
    time.sleep(15)
    with open("/scratch/recorder.log", encoding="utf-8", errors="replace") as handle:
        for line in handle:
            say(what="recorder", said=line.rstrip("\n"))
    recorder.send_signal(signal.SIGTERM)
    recorder.wait(30)
    nrpe.kill()
    say(what="end", at=time.time(), recorder=recorder.returncode)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
