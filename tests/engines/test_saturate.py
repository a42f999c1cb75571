"""memtriage saturate on real servers: Apache prefork, gunicorn, and nginx before gunicorn; below, at and above their workers' limits."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.engines import foreground, web
from tests.simulate.command import environment

pytestmark = [pytest.mark.engine, pytest.mark.needs_root, pytest.mark.slow]
LIMIT = 6


@pytest.fixture(autouse=True)
def _needs_servers() -> None:
    missing = [name for name in ("apache2", "nginx", "gunicorn", "openssl") if web.program(name) is None]
    if missing:
        pytest.skip(f"needs {' '.join(missing)}: apt-get install apache2 nginx-light gunicorn openssl")


class Answer(NamedTuple):
    code: int
    lines: list[str]
    err: str

    def line(self, start: str) -> str:
        return next((line for line in self.lines if line.startswith(start)), "")


def command(*options: object) -> list[str]:
    return [sys.executable, "-m", "memtriage", "saturate", *map(str, options)]


def saturate(*options: object, **more: str) -> Answer:
    done = subprocess.run(command(*options), env=environment(**more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False)
    return Answer(done.returncode, done.stdout.splitlines(), done.stderr)


@pytest.fixture(scope="module")
def prefork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("apache")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    with web.apache(folder, LIMIT) as port:
        yield port


@pytest.mark.parametrize("count", [LIMIT - 3, LIMIT, LIMIT + 5])
def test_apache_prefork(prefork: int, count: int) -> None:
    answer = saturate(f"http://127.0.0.1:{prefork}/page", "-n", count, "--hold", 3)
    assert (answer.code, answer.err) == (0, "")
    assert answer.lines[0] == f"saturate http://127.0.0.1:{prefork}/page: {count} connections, 100 a second, held for 3 s"
    assert answer.lines[1] == f"{count} of {count} connections are held; completing them"
    assert re.fullmatch(rf"answers: {count} of {count} succeeded \({count} x 200\); after the end of the request: "
                        r"median [0-9.]+ s, slowest [0-9.]+ s", answer.lines[2])
    found = re.fullmatch(r"workers: 'apache2', (\d+) before, (\d+) at the peak, (\d+) of them busy", answer.line("workers: "))
    assert found, answer
    assert int(found.group(3)) == min(count, LIMIT)
    assert min(count, LIMIT) <= int(found.group(2)) <= LIMIT
    waited = f"{count - LIMIT} of {count} connections waited: {LIMIT} workers are the limit"
    assert (waited in answer.lines) == (count > LIMIT)
    pss = re.fullmatch(r"PSS: mean \S+ .iB, 95th percentile \S+ .iB, largest \S+ .iB, with page tables all (\d) take \S+ MiB "
                       r"\(\S+ .iB of it shared, each adds \S+ .iB\)", answer.line("PSS: "))
    assert pss and pss.group(1) == found.group(2)
    assert re.fullmatch(r"budget: \d+ of them fit in what is available and what they take, \S+ MiB left over", answer.line("budget: "))
    assert re.fullmatch(r"from the \d before, \S+ .iB were to be expected for \d: (right|too low: workers grow when they work|too high) "
                        r"\([-+]\d+%\); available memory of the host fell by .*", answer.line("from the "))


def test_the_servers_own_time_limit(public_path: Path) -> None:
    """mod_reqtimeout gives up on those held too long: that is no answer to be had from completing them."""
    with web.apache(public_path, 3, patience=1) as port:
        answer = saturate(f"http://127.0.0.1:{port}/page", "-n", 3, "--hold", 4)
    assert answer.code == 0
    assert answer.lines[1] == "0 of 3 connections are held; completing them"
    assert answer.line("answers: ").startswith("answers: 3 of 3 succeeded (3 x 408)")
    assert "3 were answered or closed by the server while they were held" in answer.lines


def test_tls(public_path: Path) -> None:
    with web.apache(public_path, 4, tls=True) as port:
        trusted = saturate(f"https://localhost:{port}/page", "-n", 4, "--hold", 3, SSL_CERT_FILE=str(public_path / "cert.pem"))
        unchecked = saturate(f"https://127.0.0.1:{port}/page", "-n", 2, "--hold", 1, "--insecure")
        refused = saturate(f"https://127.0.0.1:{port}/page", "-n", 2, "--hold", 1)
    assert trusted.code == 0 and trusted.line("answers: ").startswith("answers: 4 of 4 succeeded (4 x 200)"), trusted
    assert trusted.line("workers: ").endswith(", 4 at the peak, 4 of them busy")
    assert unchecked.code == 0 and unchecked.line("answers: ").startswith("answers: 2 of 2 succeeded (2 x 200)"), unchecked
    assert refused.code == 1
    assert re.search(r"failed: 2 x (self.signed certificate|.*IP address mismatch.*)", refused.line("failed: ")), refused


@pytest.mark.parametrize("count", [2, 3, 5])
def test_gunicorn(public_path: Path, count: int) -> None:
    with web.gunicorn(public_path, 3) as port:
        answer = saturate(f"http://127.0.0.1:{port}/", "-n", count, "--hold", 1)
    assert (answer.code, answer.err) == (0, ""), answer
    assert answer.line("answers: ").startswith(f"answers: {count} of {count} succeeded ({count} x 200)")
    assert answer.line("workers: ") == f"workers: 'gunicorn', 3 before, 3 at the peak, {min(3, count)} of them busy"
    assert ("2 of 5 connections waited: 3 workers are the limit" in answer.lines) == (count == 5)


@pytest.mark.parametrize(("method", "count", "busy"), [("GET", 4, 0), ("POST", 2, 2), ("POST", 3, 3), ("POST", 5, 3)])
def test_nginx_before_gunicorn(public_path: Path, method: str, count: int, busy: int) -> None:
    """nginx keeps an unfinished header to itself; an unfinished body it passes on where it is told not to buffer."""
    with web.gunicorn(public_path, 3) as behind, web.nginx(public_path, behind) as port:
        answer = saturate(f"http://127.0.0.1:{port}/", "-n", count, "--hold", 1, "--method", method, "--workers", "gunicorn")
    assert (answer.code, answer.err) == (0, ""), answer
    assert answer.line("answers: ").startswith(f"answers: {count} of {count} succeeded ({count} x 200)")
    assert answer.line("workers: ") == f"workers: 'gunicorn', 3 before, 3 at the peak, {busy} of them busy"
    hint = "only 0 workers had a request: a proxy in front keeps unfinished requests to itself (try --method POST)"
    assert (hint in answer.lines) == (busy == 0)


def connections(port: int) -> int:
    """Of the server's ends of connections those that are open, or closed by the client alone."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(words[1].endswith(f":{port:04X}") and words[3] in ("01", "08") for words in lines)


def test_an_interrupt_closes_everything(prefork: int) -> None:
    process = subprocess.Popen(command(f"http://127.0.0.1:{prefork}/page", "-n", 4, "--hold", 60), env=environment(),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    foreground.until("its connections", lambda: connections(prefork) == 4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert out.endswith("interrupted: all connections are closed\n")
    foreground.until("that Apache has seen it", lambda: connections(prefork) == 0)
    answer = saturate(f"http://127.0.0.1:{prefork}/page", "-n", LIMIT, "--hold", 3)
    assert answer.code == 0 and answer.line("workers: ").endswith(f"{LIMIT} of them busy"), answer
