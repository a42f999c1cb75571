"""Servers for a test session: in the foreground, each in a session of its own, output into a file, ended whatever happens."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, TypeVar

import pytest

Found = TypeVar("Found")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
USER = "nagios"
"""Whom Debian's engines run as."""
SLOW = 90.0
"""Seconds that a busy machine may take for what takes two on an idle one."""


def programs(*names: str) -> None:
    """Skips the test where a program is missing."""
    for name in names:
        if shutil.which(name, path=PATH) is None and not os.access(name, os.X_OK):
            pytest.skip(f"needs {name}")


def account() -> pwd.struct_passwd:
    """Whom the engines run as: oneself, where the test is not root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        pytest.skip(f"needs the user {USER}, which Debian's engines bring")


def until(what: str, probe: Callable[[], Found | None], seconds: float = SLOW, alive: Callable[[], str] = lambda: "",
          every: float = 0.1) -> Found:
    """What ``probe`` gives as soon as it is neither None nor False. Fails after ``seconds``, or when ``alive`` tells of trouble."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        trouble = alive()
        if trouble or time.monotonic() > end:
            raise RuntimeError(f"waiting for {what}: " + (trouble or f"nothing in {seconds:g} s"))
        time.sleep(every)


@contextmanager
def folder(name: str, mode: int = 0o755) -> Iterator[Path]:
    """A temporary folder that the engines' user can enter."""
    made = Path(tempfile.mkdtemp(prefix=f"memtriage-{name}-"))
    made.chmod(mode)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def own(*paths: Path) -> None:
    """Gives folders, with all they hold, to the engines' user."""
    if os.geteuid() == 0:
        who = account()
        for path in paths:
            for place, _, names in os.walk(path):
                for name in ("", *names):
                    os.lchown(os.path.join(place, name), who.pw_uid, who.pw_gid)


class Server:
    """One program in the foreground."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None, user: str = "",
                 cwd: str | Path = "/") -> None:
        self.log = log
        switch = {}
        if user and os.geteuid() == 0:
            who = pwd.getpwnam(user)
            switch = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        self.command = [str(word) for word in command]
        with open(log, "ab") as output:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,  # type: ignore[call-overload]
                                            env={"PATH": PATH, **(env or {})}, cwd=cwd, start_new_session=True, **switch)

    def trouble(self) -> str:
        """Why it does not run any more; empty while it does."""
        code = self.process.poll()
        return "" if code is None else f"{self.command[0]} ended with {code}: {self.log.read_text(errors='replace')[-3000:]}"

    def stop(self, seconds: float = 5) -> None:
        """Ends it and whatever else is left of its session's process group."""
        group = self.process.pid
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(seconds)


@contextmanager
def running(command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None, user: str = "",
            cwd: str | Path = "/") -> Iterator[Server]:
    server = Server(command, log, env, user, cwd)
    try:
        yield server
    finally:
        server.stop()


def done(command: Sequence[str | Path], seconds: float = SLOW, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> str:
    """Runs a command to its end and gives what it printed; fails with it where it fails."""
    ended = subprocess.run([str(word) for word in command], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
                           env={"PATH": PATH, **(env or {})}, timeout=seconds, check=False)
    text = ended.stdout.decode("utf-8", "replace")
    if ended.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {ended.returncode}: {text[-3000:]}")
    return text
