"""Real web servers for one test, in the foreground on loopback, with all their files in one folder: Apache prefork, gunicorn, nginx."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.nrpe import free_port

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
APACHE = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
DocumentRoot {folder}/www
Listen 127.0.0.1:{port}
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule reqtimeout_module {modules}/mod_reqtimeout.so
RequestReadTimeout header={patience} body={patience}
StartServers 3
MinSpareServers 1
MaxSpareServers 3
ServerLimit {limit}
MaxRequestWorkers {limit}
User {user}
Group {group}
"""
APACHE_TLS = """\
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
SSLEngine on
SSLCertificateFile {folder}/cert.pem
SSLCertificateKeyFile {folder}/key.pem
"""
NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
user {user};
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; proxy_request_buffering off; }}
    }}
}}
"""
APPLICATION = """\
def application(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\\n"]
"""


def program(name: str) -> str | None:
    return shutil.which(name, path=PATH)


@contextmanager
def running(command: list[str], port: int, folder: Path, workers: int) -> Iterator[int]:
    """The server's master process number, as soon as it listens and has so many workers."""
    with open(folder / "output", "ab") as output:
        # A session of its own: Apache in the foreground ends its whole process group with itself.
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={"PATH": PATH},
                                   start_new_session=True)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                if len(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()) >= workers:
                    break
                raise OSError
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    logs = [path.read_text(errors="replace")[-2000:] for path in folder.glob("*put")] + [
                        path.read_text(errors="replace")[-2000:] for path in folder.glob("*error.log")]
                    raise RuntimeError(f"{command[0]} does not listen: {logs}") from None
                time.sleep(0.05)
        time.sleep(0.3)  # until its workers wait for connections
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def names() -> dict[str, str]:
    return {"user": "www-data", "group": "www-data"}


@contextmanager
def apache(folder: Path, limit: int, tls: bool = False, patience: int = 20) -> Iterator[int]:
    """The port of an Apache prefork with at most ``limit`` workers."""
    modules = "/usr/lib/apache2/modules"
    port = free_port()
    (folder / "www").mkdir(exist_ok=True)
    (folder / "www" / "page").write_text("ok\n")
    if tls:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                       check=True, capture_output=True, timeout=60)
    words = {"folder": folder, "port": port, "modules": modules, "limit": limit, "patience": patience, **names()}
    (folder / "apache.conf").write_text((APACHE + (APACHE_TLS if tls else "")).format(**words))
    with running([program("apache2") or "apache2", "-DFOREGROUND", "-f", str(folder / "apache.conf")], port, folder, 3):
        yield port


@contextmanager
def gunicorn(folder: Path, workers: int) -> Iterator[int]:
    port = free_port()
    (folder / "application.py").write_text(APPLICATION)
    command = [program("gunicorn") or "gunicorn", "-b", f"127.0.0.1:{port}", "-w", str(workers), "--worker-tmp-dir", str(folder),
               "--chdir", str(folder), "application:application"]
    with running(command, port, folder, workers):
        yield port


@contextmanager
def nginx(folder: Path, behind: int) -> Iterator[int]:
    port = free_port()
    for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        os.makedirs(folder / name, exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, behind=behind, **names()))
    command = [program("nginx") or "nginx", "-c", str(config), "-p", str(folder), "-e", str(folder / "nginx-error.log")]
    with running(command, port, folder, 1):
        yield port
