"""A real NRPE daemon for one test: loopback only, a free port, everything it writes in one folder; and its client."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
"""NRPE replaces PATH by this one for its commands."""
CLIENTS = ("/usr/lib/nagios/plugins", "/usr/lib64/nagios/plugins", "/usr/local/nagios/libexec")
CONFIG = """\
pid_file={folder}/nrpe.pid
log_file={folder}/nrpe.log
server_address=127.0.0.1
server_port={port}
nrpe_user={user}
nrpe_group={group}
allowed_hosts=127.0.0.1
dont_blame_nrpe=0
command_timeout=60
connection_timeout=70
"""
OLD_ROOM = 1023
"""Bytes of text in a packet of version 2."""
TLS = """\
ssl_version=TLSv1.2+
ssl_use_adh=0
ssl_client_certs=2
ssl_cacert_file={folder}/ca.pem
ssl_cert_file={folder}/server.pem
ssl_privatekey_file={folder}/server.key
"""


GIVEN: set[int] = set()
"""Ports that tests of this process were given: two servers may be told theirs before either listens."""


class Answer(NamedTuple):
    code: int
    out: str


def programs() -> tuple[str, str] | None:
    """The daemon and its client, where both are installed."""
    daemon = shutil.which("nrpe", path=SYSTEM_PATH)
    client = shutil.which("check_nrpe", path=":".join(CLIENTS))
    return (daemon, client) if daemon and client else None


def user() -> pwd.struct_passwd:
    """Whom the daemon runs as: nobody, where it is started by root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def environment() -> dict[str, str]:
    """What NRPE 4.1 gives a command, as far as a check could notice."""
    who = user()
    return {"PATH": SYSTEM_PATH, "HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name, "SHELL": who.pw_shell}


def direct(command: str, **more: str) -> Answer:
    """What ``command`` prints and returns as the same user, with the same environment, in the same folder, without NRPE."""
    who = user()
    switch = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": ()} if os.geteuid() == 0 else {}
    done = subprocess.run(["/bin/sh", "-c", command], env={**environment(), **more}, cwd="/", stdin=subprocess.DEVNULL,  # type: ignore[call-overload]
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False, **switch)
    return Answer(done.returncode, done.stdout.decode("utf-8", "replace"))


def certificates(folder: Path) -> None:
    """An authority, and a key with its certificate for the daemon and for its client."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", name + ".key", "-out", name + ".csr")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-out", name + ".pem")


def free_port() -> int:
    """Below those that the kernel gives to outgoing connections (32768 on, unless set otherwise), so that none takes it meanwhile."""
    for _ in range(1000):
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in GIVEN:
                GIVEN.add(port)
                return port
    raise RuntimeError("no free port")


class Nrpe:
    """``with Nrpe(folder, {"load": "/usr/lib/.../check_load"}) as nrpe: nrpe.ask("load")``"""

    def __init__(self, folder: Path, commands: dict[str, str], who: pwd.struct_passwd | None = None, tls: bool = False,
                 lines: str = "") -> None:
        """``who`` the daemon runs as (default: nobody), ``tls`` only for those who have a certificate, ``lines`` of configuration."""
        found = programs()
        assert found is not None
        self.daemon, self.client = found
        self.folder = folder
        self.commands = commands
        self.who = who or user()
        self.lines = lines
        self.options: list[str] = []
        if tls:
            certificates(folder)
            self.lines += TLS.format(folder=folder)
            self.options = ["-A", f"{folder}/ca.pem", "-C", f"{folder}/client.pem", "-K", f"{folder}/client.key"]

    def __enter__(self) -> Nrpe:
        who = self.who
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, who.pw_uid, who.pw_gid)
        for _ in range(5):  # another program may take the port before the daemon does
            self.port = free_port()
            config = self.folder / "nrpe.cfg"
            lines = CONFIG.format(folder=self.folder, port=self.port, user=who.pw_name, group=who.pw_gid) + self.lines
            config.write_text(lines + "".join(f"command[{name}]={line}\n" for name, line in self.commands.items()))
            config.chmod(0o644)
            self.process = subprocess.Popen([self.daemon, "-c", str(config), "-f"], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._listens(10):
                return self
            self.stop()
        log = self.folder / "nrpe.log"
        raise RuntimeError("nrpe did not start: " + (log.read_text() if log.exists() else "no log"))

    def _listens(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return self.process.poll() is None
            except OSError:
                time.sleep(0.05)
        return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def ask(self, command: str, *options: str) -> Answer:
        """The answer of check_nrpe; ``-2`` among ``options`` makes it speak the old protocol, of which 1,023 bytes arrive."""
        done = subprocess.run(self.question(command, *options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=75, check=False)
        return Answer(done.returncode, done.stdout.decode("utf-8", "replace"))

    def question(self, command: str, *options: str) -> list[str]:
        """The client's command line."""
        return [self.client, "-H", "127.0.0.1", "-p", str(self.port), "-t", "65", *self.options, *options, "-c", command]
