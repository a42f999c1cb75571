"""This machine once more: its file system with whatever is written kept in memory, in namespaces of its own, gone at the end.

An overlay over / in a mount namespace, with processes and a loopback of its own: packages are installed there by the real tools, as root,
and no file of the machine itself changes. Needs root and overlayfs (Linux 3.18, in a container CAP_SYS_ADMIN).
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import pytest

from tests.checks.command import Answer
from tests.conftest import ROOT

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
OWN = ("/var/lib/dpkg/", "/var/log/dpkg.log", "/var/log/alternatives.log", "/var/cache/", "/var/lib/rpm")
"""What the package managers keep for themselves."""


class Host:
    """``with Host() as host``: then :meth:`run` runs there, and :meth:`path` is a file of it as seen from here."""

    def __enter__(self) -> Host:
        for program in ("unshare", "nsenter", "ip", "chroot", "setpriv"):
            if shutil.which(program, path=BARE["PATH"]) is None:
                pytest.skip(f"needs {program}")
        self.folder = tempfile.mkdtemp(prefix="memtriage-host-")
        self.daemons: list[subprocess.Popen[bytes]] = []
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        self.process = subprocess.Popen([*apart, "sh", "-c", SETUP, "sh", self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=BARE)
        assert self.process.stdout is not None and self.process.stderr is not None
        if self.process.stdout.readline() != b"ready\n":
            why = self.process.stderr.read().decode("utf-8", "replace").strip()
            self.close()
            pytest.skip(f"needs namespaces and an overlay over /: {why}")
        self.pid = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])
        # It has entered its root once it is cat, some milliseconds after the word.
        for _ in range(2000):
            if Path(f"/proc/{self.pid}/comm").read_text() == "cat\n":
                break
            time.sleep(0.01)
        for left in ("/var/lib/memtriage", "/var/log/memtriage"):  # of checks run on this machine by hand
            shutil.rmtree(self.path(left), ignore_errors=True)
        # The index of manual pages is not looked at here, and takes seconds to renew.
        self.path("/var/lib/man-db/auto-update").unlink(missing_ok=True)
        # Small images leave manual pages and docs out of whatever is installed.
        for file in self.path("/etc/dpkg/dpkg.cfg.d").glob("*"):
            if "path-exclude" in file.read_text(errors="replace"):
                file.unlink()
        self.before = self.changes()
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
        group = "nogroup" if user == "nobody" else user
        become = ["setpriv", "--reuid", user, "--regid", group, "--init-groups", "--"] if user and group else []
        return ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--root", "--wd", "--", *become, *map(str, words)]

    def run(self, *words: object, user: str | None = None, env: dict[str, str] | None = None, seconds: float = 60) -> Answer:
        done = subprocess.run(self.line(words, user), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False,
                              env={**BARE, **(env or {})})
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

    def changes(self) -> set[str]:
        """Every path that is not as the machine has it: made, changed, or (with a minus before it) taken away; but OWN."""
        upper = f"/proc/{self.process.pid}/root{self.folder}/new"
        found = set()
        for folder, folders, files in os.walk(upper):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                here = path[len(upper) :]
                now, before = os.lstat(path), os.lstat(here) if os.path.lexists(here) else None
                if here.startswith(OWN):
                    continue
                if stat.S_ISCHR(now.st_mode) and now.st_rdev == 0:  # how an overlay says that it is gone
                    found.add("-" + here)
                elif before is None or _signature(now) != _signature(before):
                    found.add(here)
        return found


def _signature(info: os.stat_result) -> tuple[object, ...]:
    more = () if stat.S_ISDIR(info.st_mode) else (info.st_size, info.st_mtime_ns)
    return info.st_mode, info.st_uid, info.st_gid, *more


def built(script: str, folder: Path, environment: dict[str, str] | None = None) -> Path:
    """The package that packaging/SCRIPT makes of this checkout, by the distribution's own tools and Python alone. Skips without them."""
    for program in ("dpkg-buildpackage", "dh_python3", "fakeroot", "lintian", "rpmbuild", "shtab"):
        if shutil.which(program, path=BARE["PATH"]) is None:
            pytest.skip(f"needs {program}: see the list of packages in .ci/run")
    done = subprocess.run([ROOT / "packaging" / script, folder], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          check=False, env={"PATH": BARE["PATH"], **(environment or {})})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    package, = (path for path in folder.iterdir() if path.suffix in (".deb", ".rpm"))
    return package


OFFERS = """
. /usr/share/bash-completion/bash_completion
COMP_LINE=$* COMP_POINT=${#COMP_LINE} COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_completion_loader "$1"
read -ra rule <<< "$(complete -p "${1##*/}")"
for word in "${!rule[@]}"; do
    if [ "${rule[word]}" = -F ]; then "${rule[word + 1]}"; fi
done
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash_offers(host: Host, *words: str) -> list[str]:
    """What bash-completion offers for the last of ``words``, which may be empty or half a word, when the Tab key asks for it."""
    return [word.rstrip() for word in host.do("bash", "-c", OFFERS, "bash", *words).splitlines()]
