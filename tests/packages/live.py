"""A copy of this machine, as :mod:`tests.packages.host`, with systemd as its first process: units are started there for real.

In namespaces of its own with a cgroup of its own as the root of all, and its own /dev. It boots to a target that wants nothing, and no
other target wants anything either: else systemd-sysctl, systemd-modules-load and their like would change the kernel, which is the
machine's. /proc/sys is read-only until systemd has started, as it raises limits there by itself. What this host cannot have is what the
machine itself may not: see :func:`machine_has`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.checks.command import Answer
from tests.packages.host import BARE, Host

SETUP = """\
set -e
echo $$ > "$2/cgroup.procs"
exec unshare --mount --net --pid --fork --kill-child --uts --ipc --cgroup --propagation private sh -c '
set -e
mount -t tmpfs -o size=512m,mode=0755 tmpfs "$1"
mkdir "$1/new" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/new,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty kmsg; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
rm -rf lib/systemd/system/*.target.wants etc/systemd/system/*.target.wants
mkdir run/old run/systemd run/systemd/system
printf "[Unit]\\nDescription=Nothing\\nDefaultDependencies=no\\n" > run/systemd/system/nothing.target
ip link set lo up
pivot_root . run/old
umount -l run/old
echo ready
exec env -i PATH="$PATH" container=test /lib/systemd/systemd --unit=nothing.target --show-status=0 --log-target=null
' sh "$1"
"""


class LiveHost(Host):
    """``with LiveHost() as host``: :meth:`ctl` is systemctl there."""

    def __enter__(self) -> LiveHost:
        for program in ("unshare", "nsenter", "ip", "setpriv", "pivot_root", "systemctl"):
            if shutil.which(program, path=BARE["PATH"]) is None:
                pytest.skip(f"needs {program}")
        self.group = Path(tempfile.mkdtemp(prefix="memtriage-live-", dir=_unified()))
        self.folder = tempfile.mkdtemp(prefix="memtriage-host-")
        self.daemons = []
        self.process = subprocess.Popen(["sh", "-c", SETUP, "sh", self.folder, str(self.group)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=BARE)
        assert self.process.stdout is not None and self.process.stderr is not None
        if self.process.stdout.readline() != b"ready\n":
            why = self.process.stderr.read().decode("utf-8", "replace").strip()
            self.close()
            pytest.skip(f"needs namespaces, an overlay over / and a cgroup of its own: {why}")
        self.pid = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])
        end = time.monotonic() + 90
        while self.run("systemctl", "is-active", "nothing.target").out != "active\n":
            if time.monotonic() > end or self.process.poll() is not None:
                self.close()
                pytest.fail("systemd does not start as process 1 of its own namespaces")
            time.sleep(0.1)
        self.do("umount", "/proc/sys")
        for left in ("/var/lib/memtriage", "/var/log/memtriage"):  # of checks run on this machine by hand
            shutil.rmtree(self.path(left), ignore_errors=True)
        return self

    def line(self, words: object, user: str | None) -> list[str]:
        line = super().line(words, user)  # type: ignore[arg-type]
        return [*line[:3], "--cgroup", "--ipc", "--uts", *line[3:]]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # and the kernel all in its namespaces
        super().close()
        _gone(self.group)

    def ctl(self, *words: object, seconds: float = 60) -> Answer:
        return self.run("systemctl", *words, seconds=seconds)

    def shown(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit as systemd tells them."""
        out = self.do("systemctl", "show", unit, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in out.splitlines())

    def status(self, pid: int) -> dict[str, str]:
        """/proc/PID/status of a process there, its number as it is there."""
        lines = self.path(f"/proc/{pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def machine_has(capability: str) -> bool:
    """Whether this machine, perhaps a container itself, may grant a capability such as ``sys_resource`` at all."""
    number = {"ipc_lock": 14, "sys_resource": 24, "syslog": 34}[capability]
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> number & 1)


def _unified() -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return place
    pytest.skip("needs a cgroup v2 hierarchy that may be written to")


def _gone(group: Path) -> None:
    """Removes a cgroup whose processes have been killed, once they are gone."""
    end = time.monotonic() + 40
    while group.exists():
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        if group.exists():
            assert time.monotonic() < end, f"{group} does not become empty"
            time.sleep(0.05)
