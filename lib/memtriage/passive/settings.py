"""What the speaker is told in its file: where to, with which secret, and which services."""

from __future__ import annotations

import configparser
import os
import shlex
import socket
import stat
from collections.abc import Mapping

from memtriage import inprocess, options
from memtriage.integration.table import PACES
from memtriage.passive import Service
from memtriage.record import NamedTuple

DEFAULT = "/etc/memtriage/passive.conf"
KINDS: dict[str, tuple[str, ...]] = {
    "icinga2": ("url", "user", "password", "ca", "host"),
    "nrdp": ("url", "token", "ca", "host"),
    "nsca": ("server", "port", "password", "encryption", "host"),
    "file": ("path", "host"),
}
"""Each way to an engine, and the words its section may hold."""
NEEDED: dict[str, tuple[str, ...]] = {
    "icinga2": ("url", "user", "password"), "nrdp": ("url", "token"), "nsca": ("server",), "file": ("path",)}


class Wrong(Exception):
    """The file cannot be used; the text says why and what to do."""


class Settings(NamedTuple):
    kind: str
    words: Mapping[str, str]
    """The section of that kind, ``host`` filled in."""
    services: list[Service]
    every_s: float = 10.0
    """Between two looks while all is calm; only what changed is sent."""
    fast_s: float = 2.0
    """The same while memory is short."""
    heartbeat_s: float = 60.0
    """Each service is sent at least this often, and while memory is short every ten seconds."""
    state_dir: str = ""
    recording: str = ""
    """The recorder's own file, which its check looks at."""


def read(kind: str, path: str) -> Settings:
    """Raises :class:`Wrong`, also where others than the file's owner may read it."""
    text = _private(path)
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"), strict=True)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names of services keep their letters
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise Wrong(f"{path}: {' '.join(str(error).split())}") from None
    for section in parser.sections():
        if section not in (*KINDS, "speak", "services"):
            raise Wrong(f"{path}: no section [{section}] is known: there are {', '.join((*KINDS, 'speak', 'services'))}")
    if not parser.has_section(kind):
        raise Wrong(f"{path}: a section [{kind}] is wanted, with {', '.join(NEEDED[kind])}")
    words = dict(parser[kind])
    for name in words:
        if name not in KINDS[kind]:
            raise Wrong(f"{path}: [{kind}] knows {', '.join(KINDS[kind])}, not '{name}'")
    lacking = [name for name in NEEDED[kind] if not words.get(name)]
    if lacking:
        raise Wrong(f"{path}: [{kind}] lacks {', '.join(lacking)}")
    words.setdefault("host", socket.gethostname())
    spans = dict(parser["speak"]) if parser.has_section("speak") else {}
    defaults = (("every", "10s"), ("fast", "2s"), ("heartbeat", "60s"))
    every, fast, beat = (_span(path, spans.pop(name, default)) for name, default in defaults)
    state_dir = spans.pop("state_dir", "")
    if spans:
        raise Wrong(f"{path}: [speak] knows every, fast, heartbeat and state_dir, not '{next(iter(spans))}'")
    services = _services(path, dict(parser["services"]) if parser.has_section("services") else None)
    return Settings(kind, words, services, every, min(fast, every), beat, state_dir)


def _private(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                raise Wrong(f"{path} is no regular file")
            if info.st_mode & 0o077:
                raise Wrong(f"{path} holds a secret and others may read it: chmod 0600 {path}")
            if info.st_uid not in (0, os.geteuid()):
                raise Wrong(f"{path} belongs to uid {info.st_uid}: chown it to root or to this service")
            return os.read(handle, 65536).decode("utf-8", "replace")
        finally:
            os.close(handle)
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from None


def _services(path: str, given: dict[str, str] | None) -> list[Service]:
    if given is None:
        given = {pace.service: check for check, pace in PACES.items() if check != "check_proc_count"}
    found = []
    for name, text in given.items():
        try:
            check, *words = shlex.split(text)
            inprocess.load(check)
        except ValueError as error:
            raise Wrong(f"{path}: service '{name}': {error}") from None
        except LookupError as error:
            raise Wrong(f"{path}: service '{name}': {error}") from None
        outcome = inprocess.usage(check, words)
        if outcome:
            raise Wrong(f"{path}: service '{name}': {outcome}")
        found.append(Service(name, check, tuple(words)))
    if not found:
        raise Wrong(f"{path}: [services] names none")
    return found


def _span(path: str, text: str) -> float:
    try:
        found = options.seconds(text)
    except ValueError:
        found = 0.0
    if not 0.2 <= found <= 86400:
        raise Wrong(f"{path}: '{text}' is no time span such as 10s or 5m")
    return found
