"""Each way to an engine, against a server that answers, refuses, hangs, closes, or is somebody else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtriage.passive import Failed, Rejected, Result, https, outbox, parted
from memtriage.passive.commandfile import CommandFile
from memtriage.passive.icinga2 import Icinga2
from memtriage.passive.nrdp import Nrdp
from memtriage.passive.nsca import Nsca
from tests.passive.server import Server, authority

OUTPUT = "FREE_MEM CRITICAL - 1.0% of 3.8 GiB available; culprit: slab cache 'x' 2.4 GiB | available=40B;;;0;99 eta=60s\nsecond line\nthird"
RESULT = parted("memory", 2, OUTPUT, 1000.25, 1000.5)
OK = (200, b'{"results":[{"code":200.0,"status":"Successfully processed check result"}]}')


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(tls: tuple[Path, Path]) -> Iterator[Server]:
    one = Server(tls, [OK])
    yield one
    one.close()


def icinga(server: Server, ca: Path, host: str = "localhost") -> Icinga2:
    return Icinga2({"url": f"https://{host}:{server.port}", "user": "mem", "password": "ä secret", "ca": str(ca), "host": "hub"})


def test_an_output_is_parted_at_its_bar() -> None:
    assert Result("memory", 2, ["FREE_MEM CRITICAL - 1.0% of 3.8 GiB available; culprit: slab cache 'x' 2.4 GiB", "second line",
                                          "third"], ["available=40B;;;0;99", "eta=60s"], 1000.25, 1000.5) == RESULT
    assert RESULT.text(4096) == OUTPUT
    assert RESULT.text(len(OUTPUT) - 1) == OUTPUT.rpartition("\n")[0], "long output gives way first"
    assert RESULT.text(20) == OUTPUT[:20]


def test_icinga_is_told_what_an_active_check_would_have_said(server: Server, tls: tuple[Path, Path]) -> None:
    way = icinga(server, tls[0])
    way.send(RESULT)
    way.send(RESULT._replace(state=0))
    assert server.connections == 1, "one connection for all"
    method, path, headers, body = server.requests[0]
    assert (method, path) == ("POST", "/v1/actions/process-check-result")
    assert headers["Authorization"] == "Basic bWVtOsOkIHNlY3JldA=="
    assert json.loads(body) == {
        "service": "hub!memory", "exit_status": 2, "plugin_output": "\n".join(RESULT.lines), "performance_data": RESULT.perfdata,
        "check_source": "hub", "execution_start": 1000.25, "execution_end": 1000.5}
    way.close()


def test_a_stranger_is_told_nothing(server: Server, tls: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"^the certificate of localhost is not accepted: self.signed certificate$"):
        icinga(server, authority(tmp_path)[0]).send(RESULT)
    with pytest.raises(Failed, match=r"^the certificate of 127\.0\.0\.1 is not accepted: IP address mismatch"):
        icinga(server, tls[0], "127.0.0.1").send(RESULT)
    assert server.requests == []
    for name, words in (("none.crt", "No such file or directory"), ("empty.crt", "it holds no certificate")):
        (tmp_path / "empty.crt").touch()
        with pytest.raises(ValueError, match=f"^{tmp_path}/{name}: {words}$"):
            icinga(server, tmp_path / name)


@pytest.mark.parametrize(("answer", "kind", "words"), [
    ((500, b"x"), Failed, "Icinga 2 answers 500 "),
    ((401, b'{"error":401,"status":"Unauthorized. Please check your user credentials."}'), Failed,
     "Icinga 2 answers 401 Unauthorized. Please check your user credentials."),
    ((403, b'{"error":403,"status":"Missing permission"}'), Failed, "Icinga 2 answers 403 Missing permission"),
    ((404, b'{"error":404,"status":"No objects found."}'), Rejected,
     "Icinga 2 knows no service 'hub!memory' that this user may report for (404 No objects found.)"),
    ((500, b"[" * 5000), Failed, "Icinga 2 answers 500 "),
    ((409, b'{"results":[{"code":409,"status":"Newer check result already present."}]}'), Rejected,
     "Icinga 2 has a newer result of 'hub!memory' than this host's: do both have the same time?"),
    ((500, b'{"results":[{"code":409.0,"status":"Newer check result already present."}]}'), Rejected,
     "Icinga 2 has a newer result of 'hub!memory' than this host's: do both have the same time?"),
    ((500, b'{"results":[{"code":403.0,"status":"Passive checks are disabled for object \'hub!memory\'."}]}'), Rejected,
     "Icinga 2 takes no result of 'hub!memory': Passive checks are disabled for object 'hub!memory'."),
    ((200, b'{"results":[{"code":200,"status":"Ignoring passive check result for unreachable object \'hub!memory\'."}]}'), Rejected,
     "Icinga 2 takes no result of 'hub!memory': Ignoring passive check result for unreachable object 'hub!memory'."),
    ((503, b'{"error":503,"status":"Shutting down."}'), Failed, "Icinga 2 answers 503 Shutting down."),
    ((500, b'{"results":[{"code":503,"status":"Action skipped: Shutting down."}]}'), Failed,
     "Icinga 2 answers 500 Action skipped: Shutting down."),
    ((301, b""), Failed, "Icinga 2 answers 301 "),
])
def test_what_icinga_refuses(server: Server, tls: tuple[Path, Path], answer: tuple[int, bytes], kind: type[Exception], words: str) -> None:
    server.answers = [answer]
    with pytest.raises(kind) as error:
        icinga(server, tls[0]).send(RESULT)
    assert str(error.value) == words


def test_a_connection_closed_meanwhile_is_opened_anew(server: Server, tls: tuple[Path, Path]) -> None:
    server.drop = True
    way = icinga(server, tls[0])
    for _ in range(3):
        way.send(RESULT)
        time.sleep(0.05)
    assert (len(server.requests), server.connections) == (3, 3)


def test_a_server_that_hangs_costs_a_few_seconds(server: Server, tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "TIMEOUT_S", 0.3)
    server.hang = 2.0
    began = time.monotonic()
    with pytest.raises(Failed, match=r"^localhost port \d+: no answer within 0.3 s$"):
        icinga(server, tls[0]).send(RESULT)
    assert time.monotonic() - began < 1.5 and len(server.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize("what", ["answer", "handshake", "greeting", "farewell"])
def test_a_server_that_is_never_silent_and_never_done(tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Each byte begins the time-out anew, so another thread has an eye on the whole; then the next result has its turn."""
    monkeypatch.setattr(outbox, "LONGEST_S", 0.5)
    monkeypatch.setattr(outbox, "PAUSES_S", (60.0,))
    began = {"answer": b"HTTP/1.1 ", "handshake": b"\x16\x03\x03\x40\x00", "greeting": b"", "farewell": b"x" * 132}[what]
    ended = threading.Event()

    def dripping(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with contextlib.suppress(OSError), sock:
            sock.sendall(began)
            while not ended.wait(0.05):
                sock.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=dripping, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        words = {"url": f"http{'s' if what == 'handshake' else ''}://localhost:{port}", "user": "a", "password": "b", "ca": str(tls[0]),
                 "server": "127.0.0.1", "port": str(port), "host": "h"}
        said: list[str] = []
        box = outbox.Outbox(Icinga2(words) if what in ("answer", "handshake") else Nsca(words), said.append)
        thread = threading.Thread(target=box.run, daemon=True)
        thread.start()
        box.put(RESULT)
        deadline = time.monotonic() + 4  # a silent server costs five
        while not said and box.waiting() and time.monotonic() < deadline:
            box.watch()
            time.sleep(0.02)
        late = time.monotonic() >= deadline
        ended.set()
        if what == "farewell":  # all was sent, and NSCA never says more than goodbye
            assert (said, box.waiting(), late) == ([], 0, False)
        else:
            assert [text.partition(": ")[0] for text in said] == ["results wait"] and box.waiting() == 1 and not late
        box.stop()
        thread.join(10)


def test_nobody_there(tls: tuple[Path, Path]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Failed, match=rf"^localhost port {port}: Connection refused$"):
        Icinga2({"url": f"https://localhost:{port}", "user": "a", "password": "b", "ca": str(tls[0]), "host": "h"}).ping()
    with pytest.raises(ValueError, match=r"is no address such as"):
        Icinga2({"url": "ftp://x", "user": "a", "password": "b", "host": "h"})


def test_nrdp(server: Server, tls: tuple[Path, Path]) -> None:
    server.answers = [(200, b'{"result":{"status":0,"message":"OK","meta":{"output":"1 checks processed"}}}'),
                      (200, b"<?xml version=\"1.0\"?>\n<result>\n  <status>0</status>\n  <message>OK</message>\n</result>\n")]
    way = Nrdp({"url": f"https://localhost:{server.port}/nrdp/", "token": "t&k", "ca": str(tls[0]), "host": "hub"})
    way.send(RESULT)
    way.send(RESULT)
    _, path, headers, body = server.requests[0]
    form = urllib.parse.parse_qs(body.decode())
    assert (path, headers["Content-Type"]) == ("/nrdp/", "application/x-www-form-urlencoded")
    assert (form["token"], form["cmd"]) == (["t&k"], ["submitcheck"])
    assert json.loads(form["json"][0]) == {"checkresults": [{
        "checkresult": {"type": "service", "checktype": "1"}, "hostname": "hub", "servicename": "memory", "state": "2", "output": OUTPUT}]}
    way.close()


@pytest.mark.parametrize(("answer", "kind", "words"), [
    ((200, b'{"result":{"status":-1,"message":"BAD TOKEN"}}'), Failed, "NRDP refuses the token: BAD TOKEN"),
    ((200, b'<result>\n  <status>-1</status>\n  <message>NO TOKEN</message>\n</result>'), Failed, "NRDP refuses the token: NO TOKEN"),
    ((200, b'{"result":{"status":-1,"message":"BAD JSON","information":"Syntax error"}}'), Rejected, "NRDP refuses 'hub!memory': BAD JSON"),
    ((200, b'<result>\n  <status>-1</status>\n  <message>NO DATA</message>\n</result>'), Rejected, "NRDP refuses 'hub!memory': NO DATA"),
    ((200, b'{"result":{"status":-1,"message":"BAD CHECK RESULTS DIR"}}'), Failed, "NRDP does not take results: BAD CHECK RESULTS DIR"),
    ((200, b'<html><form action="/login?token=1">log in</form></html>'), Failed,
     'NRDP does not take results: <html><form action="/login?token=1">log in</form></html>'),
    ((200, b'<b>Warning</b>: "status": 0'), Failed, 'NRDP does not take results: <b>Warning</b>: "status": 0'),
    ((200, b'{"result":{"stat'), Failed, 'NRDP does not take results: {"result":{"stat'),
    ((200, b"[" * 5000), Failed, "NRDP does not take results: " + "[" * 120),
    ((502, b""), Failed, "NRDP answers 502"),
    ((301, b""), Failed, "NRDP answers 301"),
])
def test_what_nrdp_refuses(server: Server, tls: tuple[Path, Path], answer: tuple[int, bytes], kind: type[Exception], words: str) -> None:
    """Dropped is only what will never be taken: a receiver without its spool, or behind a login, is away."""
    server.answers = [answer]
    with pytest.raises(kind) as error:
        Nrdp({"url": f"https://localhost:{server.port}/nrdp", "token": "t", "ca": str(tls[0]), "host": "hub"}).send(RESULT)
    assert str(error.value) == words


def test_the_command_file(tmp_path: Path) -> None:
    fifo = tmp_path / "nagios.cmd"
    os.mkfifo(fifo)
    way = CommandFile({"path": str(fifo), "host": "hub"})
    with pytest.raises(Failed, match=r": No such device or address$"):  # nobody reads it
        way.send(RESULT)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    way.send(RESULT)
    line = "[1000] PROCESS_SERVICE_CHECK_RESULT;hub;memory;2;" + OUTPUT.replace("\n", "\\n") + "\n"
    assert os.read(reader, 65536).decode() == line
    way.send(parted("memory", 1, "X - y | " + "a=1 " * 500 + "\n" + "\n".join("long" * 20 for _ in range(100)), 1, 2))
    written = os.read(reader, 65536)
    assert len(written) <= 4096 and written.endswith(b"long\n") and b"a=1\\nlong" in written
    with pytest.raises(Rejected, match=r"there is a ';' in it"):
        way.send(RESULT._replace(service="a;b"))
    with pytest.raises(Failed, match=r"Resource temporarily unavailable|no room left"):
        for _ in range(40):
            way.send(parted("memory", 1, "X - y\n" + "\n".join("long" * 20 for _ in range(100)), 1, 2))
    os.close(reader)
    plain = tmp_path / "spool"
    plain.touch()
    CommandFile({"path": str(plain), "host": "hub"}).send(RESULT)
    assert plain.read_text() == line
    (tmp_path / "link").symlink_to(plain)
    with pytest.raises(Failed, match=r"symbolic links"):
        CommandFile({"path": str(tmp_path / "link"), "host": "hub"}).send(RESULT)
    with pytest.raises(ValueError, match=r"no absolute path"):
        CommandFile({"path": "spool", "host": "hub"})


@pytest.mark.engine
@pytest.mark.parametrize("encryption", ["0", "1"])
def test_the_real_nsca_daemon_takes_it(tmp_path: Path, encryption: str) -> None:
    daemon = shutil.which("nsca", path="/usr/sbin:/usr/bin")
    if daemon is None:
        pytest.skip("needs Debian's nsca")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dump = tmp_path / "dump"
    (tmp_path / "nsca.cfg").write_text(
        f"pid_file={tmp_path}/pid\nserver_address=127.0.0.1\nserver_port={port}\nnsca_user=root\nnsca_group=root\ndebug=0\n"
        f"command_file={tmp_path}/none\nalternate_dump_file={dump}\naggregate_writes=0\nappend_to_file=0\nmax_packet_age=30\n"
        f"password=lab\ndecryption_method={encryption}\n")
    process = subprocess.Popen([daemon, "-f", "-c", str(tmp_path / "nsca.cfg"), "--daemon"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        way = Nsca({"server": "127.0.0.1", "port": str(port), "password": "lab", "encryption": encryption, "host": "hub"})
        deadline = time.monotonic() + 20
        while True:
            try:
                way.send(RESULT)
                break
            except Failed:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        while not dump.exists() or not dump.read_text().endswith("\n"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(10)
    found = re.fullmatch(r"\[\d+\] (.*)\n", dump.read_text())
    assert found and found[1] == "PROCESS_SERVICE_CHECK_RESULT;hub;memory;2;" + OUTPUT.replace("\n", "\\n")
    with pytest.raises(ValueError, match=r"encryption '14' is not done here"):
        Nsca({"server": "x", "encryption": "14", "host": "h"})
