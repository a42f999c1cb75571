"""The number of workers in a running server's configuration: each kind of server, from its own files and command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtriage.explain import configured
from memtriage.explain.configured import Configured

STAT = "%d (%s) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 100 1000000 500 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"


def found(tmp_path: Path, comm: str, words: list[str], files: dict[str, str]) -> list[Configured]:
    process = tmp_path / "proc" / "700"
    process.mkdir(parents=True)
    (process / "stat").write_text(STAT % (700, comm))
    (process / "cmdline").write_bytes("\0".join(words).encode() + b"\0")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(configured.find(str(tmp_path / "proc"), str(tmp_path / "root")))


@pytest.mark.parametrize(("comm", "words", "files", "workers", "source"), [
    ("apache2", ["/usr/sbin/apache2", "-k", "start"],
     {"etc/apache2/mods-enabled/mpm_prefork.conf": "<IfModule x>\n\tMaxRequestWorkers\t  150\n#MaxRequestWorkers 9\n</IfModule>\n"}, 150,
     "/etc/apache2/mods-enabled/mpm_prefork.conf"),
    ("httpd", ["/usr/sbin/httpd"], {"etc/httpd/conf/httpd.conf": "MaxClients 256\nMaxClients 300\n"}, 300, "/etc/httpd/conf/httpd.conf"),
    ("nginx", ["nginx: master process nginx"], {"etc/nginx/nginx.conf": "user x;\nworker_processes 8;\n"}, 8, "/etc/nginx/nginx.conf"),
    ("php-fpm8.2", ["php-fpm: master process"], {"etc/php/8.2/fpm/pool.d/www.conf": "pm.max_children = 50\n;pm.max_children = 9\n"}, 50,
     "/etc/php/8.2/fpm/pool.d/www.conf"),
    ("postgres", ["/usr/bin/postgres"], {"var/lib/pgsql/data/postgresql.conf": "max_connections = 100\t# (restart)\n"}, 100,
     "/var/lib/pgsql/data/postgresql.conf"),
    ("gunicorn", ["/usr/bin/python3", "/usr/bin/gunicorn", "-w", "4", "app:app"], {}, 4, "its command line"),
    ("gunicorn", ["/usr/bin/python3", "/usr/bin/gunicorn", "--workers=12", "app:app"], {}, 12, "its command line"),
])
def test_what_each_server_says(tmp_path: Path, comm: str, words: list[str], files: dict[str, str], workers: int, source: str) -> None:
    assert found(tmp_path, comm, words, files) == [Configured(comm, workers, source)]


@pytest.mark.parametrize(("comm", "words", "files"), [
    ("nginx", ["nginx"], {"etc/nginx/nginx.conf": "worker_processes auto;\n"}),
    ("apache2", ["apache2"], {}),
    ("gunicorn", ["gunicorn", "-w"], {}),
    ("php-fpm", ["php-fpm"], {"etc/php-fpm.d/www.conf": "pm.max_children = 0\n"}),
    ("sshd", ["sshd"], {"etc/nginx/nginx.conf": "worker_processes 8;\n"}),
])
def test_what_is_not_plain_is_not_said(tmp_path: Path, comm: str, words: list[str], files: dict[str, str]) -> None:
    assert found(tmp_path, comm, words, files) == []


def test_a_file_of_the_command_line_counts_alone(tmp_path: Path) -> None:
    own = tmp_path / "root" / "srv" / "own.conf"
    answer = found(tmp_path, "nginx", ["nginx", "-c", "/srv/own.conf"], {"etc/nginx/nginx.conf": "worker_processes 8;\n",
                                                                      "srv/own.conf": "worker_processes 3;\n"})
    assert own.exists() and answer == [Configured("nginx", 3, "/srv/own.conf")]
