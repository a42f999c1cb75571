"""Debian's apache2 with the prefork MPM in the foreground, on loopback, whose workers each hold memory of a known size."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# In each child after a fork: that much memory of its own, touched. The parent keeps as much that is shared until written to.
HOLD = """
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
static size_t of(const char *name) { const char *text = getenv(name); return text ? (size_t)atol(text) << 20 : 0; }
static void child(void) { size_t size = of("HOLD_EACH"); if (size) memset(malloc(size), 7, size); }
__attribute__((constructor)) static void start(void) {
    size_t size = of("HOLD_SHARED");
    if (size) memset(malloc(size), 7, size);
    pthread_atfork(NULL, NULL, child);
}
"""
CONF = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/pid
ErrorLog {folder}/error.log
Listen 127.0.0.1:{port}
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User nobody
Group nogroup
StartServers {workers}
MinSpareServers {workers}
MaxSpareServers {workers}
MaxRequestWorkers {most}
"""


@contextlib.contextmanager
def prefork(folder: Path, workers: int, most: int, each_mib: int, shared_mib: int, **options: object) -> Iterator[int]:
    """Yields the server's process number once all ``workers`` hold what they should. ``options`` go to Popen."""
    if not os.access("/usr/sbin/apache2", os.X_OK) or not os.path.exists("/usr/lib/apache2/modules/mod_mpm_prefork.so"):
        pytest.skip("needs apache2")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = folder / "hold.c", folder / "hold.so"
    source.write_text(HOLD)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", library, source, "-lpthread"], check=True, timeout=60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    conf = folder / "apache.conf"
    conf.write_text(CONF.format(folder=folder, port=port, workers=workers, most=most))
    server = subprocess.Popen(["/usr/sbin/apache2", "-f", conf, "-DFOREGROUND"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True,  # it ends its whole process group when it ends
                              env={"PATH": "/usr/bin:/bin", "LD_PRELOAD": str(library), "HOLD_EACH": str(each_mib),
                                   "HOLD_SHARED": str(shared_mib)}, **options)  # type: ignore[call-overload]
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            sizes = [int(Path(f"/proc/{child}/statm").read_text().split()[1]) * 4096 for child in children]
            if len(sizes) == workers and min(sizes) > (each_mib + shared_mib) << 20:
                break
            assert server.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.1)
        else:
            pytest.fail("the workers did not start")
        yield server.pid
    finally:
        server.terminate()
        server.wait(timeout=20)
