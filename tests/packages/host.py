"""This machine once more: its file system with whatever is written kept in memory, in namespaces of its own, gone at the end.

An overlay over / in a mount namespace, with processes and a loopback of its own: packages are installed there by the real tools, as root,
and no file of the machine itself changes. Needs root and overlayfs (Linux 3.18, in a container CAP_SYS_ADMIN).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import pytest

from tests.checks.command import Answer

SETUP = """\
set -e
mount -t tmpfs -o size=512m,mode=0755 tmpfs "$1"
mkdir "$1/new" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/new,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /sys "$1/root/sys"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=0755 tmpfs "$1/root/run"
mount -t tmpfs -o mode=1777 tmpfs "$1/root/tmp"
ip link set lo up
echo ready
exec chroot "$1/root" cat
"""
"""cat ends when the test does, and takes all that runs in the namespaces with it."""
BARE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
CHANGES = ("/var/lib/dpkg", "/var/log/dpkg.log", "/var/log/apt", "/var/cache", "/var/lib/rpm", "/var/lib/systemd", "/var/lib/python",
           "/var/log/alternatives.log", "/var/lib/sudo")
"""What the package managers keep for themselves."""


class Host:
    """``with Host() as host``: then :meth:`run` runs there, and :meth:`path` is a file of it as seen from here."""

    def __enter__(self) -> Host:
        for program in ("unshare", "nsenter", "ip", "chroot", "setpriv"):
            if shutil.which(program, path=BARE["PATH"]) is None:
                pytest.skip(f"needs {program}")
        self.folder = tempfile.mkdtemp(prefix="memtriage-host-")
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", SETUP, "sh", self.folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=BARE)
        assert self.process.stdout is not None and self.process.stderr is not None
        if self.process.stdout.readline() != b"ready\n":
            why = self.process.stderr.read().decode("utf-8", "replace").strip()
            self.close()
            pytest.skip(f"needs namespaces and an overlay over /: {why}")
        self.pid = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])
        # It has entered its root once it is cat, some milliseconds after the word.
        for _ in range(200):
            if Path(f"/proc/{self.pid}/comm").read_text() == "cat\n":
                break
            time.sleep(0.01)
        shutil.rmtree(self.path("/var/lib/memtriage"), ignore_errors=True)  # of checks run on this machine by hand
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for process in (*self.daemons, self.process):
            if process is self.process:
                assert process.stdin is not None
                process.stdin.close()
            else:
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name: str) -> Path:
        return Path(f"/proc/{self.pid}/root{name}")

    def line(self, words: Iterable[object], user: str | None) -> list[str]:
        become = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"] if user else []
        return ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--root", "--wd", "--", *become, *map(str, words)]

    def run(self, *words: object, user: str | None = None, env: dict[str, str] | None = None, seconds: float = 60, input: str = "") -> Answer:
        done = subprocess.run(self.line(words, user), input=input.encode(), capture_output=True, timeout=seconds, check=False, env={**BARE, **(env or {})})
        return Answer(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def do(self, *words: object, **more: object) -> str:
        """As :meth:`run`, where it must succeed; returns what it printed."""
        answer = self.run(*words, **more)  # type: ignore[arg-type]
        assert answer.code == 0, (words, answer)
        return answer.out

    def start(self, *words: object) -> None:
        """A daemon in the foreground, ended with the host."""
        self.daemons.append(subprocess.Popen(self.line(words, None), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL, env=BARE))

    def bring(self, file: Path) -> str:
        """Copies a file there; returns its name there."""
        shutil.copy(file, self.path("/tmp"))
        return f"/tmp/{file.name}"

    def files(self) -> set[str]:
        """Every file, folder and link but the package managers' own, with its rights, owner, size and time."""
        prune = [word for path in CHANGES for word in ("-path", path, "-o")][:-1]
        found = self.do("find", "/etc", "/usr", "/var", "/lib", "-xdev", "(", *prune, ")", "-prune", "-o",
                        "(", "-type", "d", "-printf", "%p %y %m %U:%G\\n", ")", "-o", "-printf", "%p %y %m %U:%G %s %T@ %l\\n")
        return set(found.splitlines())


def is_built_here() -> None:
    """Skips where packages cannot be built."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("dpkg-buildpackage", "dh_python3", "rpmbuild", "lintian"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
