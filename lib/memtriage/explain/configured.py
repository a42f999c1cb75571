"""How many workers a running server may start, by its configuration, where that is plain to find."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator

from memtriage.procfs import files, pid
from memtriage.procfs.pid import cmdline, stat
from memtriage.record import NamedTuple


class Configured(NamedTuple):
    """``command`` is the workers' program, ``source`` the file or command line that says it."""

    command: str
    workers: int
    source: str


_APACHE = ("/etc/apache2/mods-enabled/mpm_*.conf", "/etc/apache2/apache2.conf", "/etc/apache2/conf-enabled/*.conf",
           "/etc/httpd/conf/httpd.conf", "/etc/httpd/conf.modules.d/*.conf", "/etc/httpd/conf.d/*.conf")
_PLACES = {
    "apache2": (_APACHE, r"^\s*(?:MaxRequestWorkers|MaxClients)\s+(\d+)"),
    "httpd": (_APACHE, r"^\s*(?:MaxRequestWorkers|MaxClients)\s+(\d+)"),
    "nginx": (("/etc/nginx/nginx.conf",), r"^\s*worker_processes\s+(\d+)\s*;"),
    "php-fpm": (("/etc/php/*/fpm/pool.d/*.conf", "/etc/php-fpm.d/*.conf"), r"^\s*pm\.max_children\s*=\s*(\d+)"),
    "postgres": (("/etc/postgresql/*/*/postgresql.conf", "/var/lib/pgsql/data/postgresql.conf"), r"^\s*max_connections\s*=\s*(\d+)"),
}
_OPTIONS = {"apache2": ("-f",), "httpd": ("-f",), "nginx": ("-c",), "php-fpm": ("-y", "--fpm-config"), "postgres": ("-D",)}


def find(proc: str, root: str = "/") -> Iterator[Configured]:
    """One entry a program that runs and whose number is found. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    seen: set[str] = set()
    for data in pid.stats(proc):
        try:
            process = stat.parse(data)
            kind = "php-fpm" if process.comm.startswith("php-fpm") else process.comm
            if process.comm in seen or (kind not in _PLACES and "gunicorn" not in kind):
                continue
            words = cmdline.read(proc, process.pid)
        except files.ProcfsError:
            continue
        found = _gunicorn(process.comm, words) if "gunicorn" in kind else _from_files(process.comm, kind, words, root)
        if found is not None:
            seen.add(process.comm)
            yield found


def _gunicorn(comm: str, words: list[str]) -> Configured | None:
    for place, word in enumerate(words):
        for flag in ("-w", "--workers"):
            value = word[len(flag) + 1:] if word.startswith(flag + "=") else ""
            if word == flag and place + 1 < len(words):
                value = words[place + 1]
            if value.isascii() and value.isdigit():
                return Configured(comm, int(value), "its command line")
    return None


def _from_files(comm: str, kind: str, words: list[str], root: str) -> Configured | None:
    """The last file that names the directive counts, as for the servers themselves; one given on the command line counts alone."""
    places, pattern = _PLACES[kind]
    given = [words[place + 1] for place, word in enumerate(words[:-1]) if word in _OPTIONS[kind] and words[place + 1].startswith("/")]
    if given:
        folder = os.path.isdir(os.path.join(root, given[0].lstrip("/")))  # PostgreSQL's -D
        places = (os.path.join(given[0], "postgresql.conf") if folder else given[0],)
    best: Configured | None = None
    for place in places:
        for path in sorted(glob.glob(os.path.join(root, place.lstrip("/")))):
            try:
                with open(path, encoding="utf-8", errors="replace") as handle:
                    numbers = re.findall(pattern, handle.read(1 << 20), re.MULTILINE)
            except OSError:
                continue
            if numbers and len(numbers[-1]) < 8 and int(numbers[-1]):
                best = Configured(comm, int(numbers[-1]), os.path.join("/", os.path.relpath(path, root)))
    return best
