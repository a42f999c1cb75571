"""memtriage saturate against servers that misbehave, and what it refuses. Real servers are in tests/engines."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import pytest

from memtriage.budget import Sample
from memtriage.saturate import report, target
from memtriage.saturate.client import Connection
from memtriage.saturate.server import Snapshot, Worker
from memtriage.saturate.target import Refused
from tests.simulate.command import Answer, environment

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def saturate(*options: object) -> Answer:
    done = subprocess.run([sys.executable, "-m", "memtriage", "saturate", *map(str, options)], env=environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats every connection as ``talk`` does, each in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    open_ones: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            open_ones.append(client)
            threading.Thread(target=treat, args=(client,), daemon=True).start()

    def treat(client: socket.socket) -> None:
        try:
            talk(client)
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for client in open_ones:
            client.close()


def whole(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = client.recv(4096)
        if not piece:
            return data
        data += piece
    return data


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    def talk(client: socket.socket) -> None:
        if whole(client).endswith(b"\r\n\r\n"):
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
    return talk


def test_all_succeed_and_the_request_is_well_formed() -> None:
    seen: list[tuple[bytes, float]] = []
    start = time.monotonic()

    def talk(client: socket.socket) -> None:
        seen.append((whole(client), time.monotonic() - start))
        client.sendall(OK)
        client.close()

    with server(talk) as url:
        answer = saturate(url + "a?b=c", "-n", 7, "--hold", "1s")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[:2] == [f"saturate {url}a?b=c: 7 connections, 100 a second, held for 1 s", "7 of 7 connections are held; completing them"]
    assert lines[2].startswith("answers: 7 of 7 succeeded (7 x 200); after the end of the request: median 0.")
    host = url[7:-1].encode()
    assert {request for request, _ in seen} == {b"GET /a?b=c HTTP/1.1\r\nHost: " + host + b"\r\nUser-Agent: memtriage-saturate\r\n"
                                                b"Connection: close\r\n\r\n"}
    assert min(when for _, when in seen) >= 1  # none was complete before the time to hold was over


@pytest.mark.parametrize(("answer", "words"), [
    (b"", "failed: 4 x closed without an answer"),
    (b"SSH-2.0-OpenSSH_9\r\n", "failed: 4 x not HTTP/1.1"),
    (b"\0\xff\n" * 50, "failed: 4 x not HTTP/1.1"),
    (b"HTTP/1.1 abc x\r\n\r\n", "failed: 4 x not HTTP/1.1"),
    (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers: 0 of 4 succeeded (4 x 503)"),
])
def test_answers_that_are_none(answer: bytes, words: str) -> None:
    with server(answering(answer)) as url:
        found = saturate(url, "-n", 4, "--hold", "0.2s")
    assert (found.code, found.err) == (1, "")
    assert words in found.out.splitlines()


def test_an_endless_answer_is_cut_off() -> None:
    def talk(client: socket.socket) -> None:
        whole(client)
        client.sendall(OK[:17])
        while True:
            client.sendall(b"x" * 65536)

    with server(talk) as url:
        found = saturate(url, "-n", 2, "--hold", "0.2s", "--timeout", "20s")
    assert found.code == 0 and "answers: 2 of 2 succeeded (2 x 200)" in found.out


def test_closed_and_reset_while_held() -> None:
    with server(lambda client: client.close()) as url:
        found = saturate(url, "-n", 3, "--hold", "1s")
    assert found.code == 1
    lines = found.out.splitlines()
    assert lines[1:3] == ["0 of 3 connections are held; completing them", "answers: 0 of 3 succeeded"]
    assert any(line.startswith("failed: ") for line in lines)


def test_no_answer_at_all() -> None:
    with server(lambda client: time.sleep(20)) as url:
        found = saturate(url, "-n", 3, "--hold", "0.2s", "--timeout", "1s")
    assert found.code == 1
    assert "failed: 3 x no answer within 1 s" in found.out.splitlines()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = saturate(f"http://127.0.0.1:{port}/", "-n", 3, "--hold", "0.2s")
    assert found.code == 1 and "failed: 3 x Connection refused" in found.out.splitlines()


@pytest.mark.parametrize(("options", "code", "words"), [
    (("http://127.0.0.1/",), 2, "the following arguments are required: -n/--connections"),
    (("http://127.0.0.1/", "-n", "0"), 2, "'0' is no number from 1 to 5000"),
    (("http://127.0.0.1/", "-n", "5001"), 2, "'5001' is no number from 1 to 5000"),
    (("http://127.0.0.1/", "-n", "1", "--hold", "6m"), 2, "'6m' is no time span such as 90, 10m or 4h"),
    (("http://192.0.2.7/", "-n", "1"), 1,
     "memtriage saturate: 192.0.2.7 (192.0.2.7) is not this host's loopback: --i-own-this-server says that you may\n"),
    (("ftp://127.0.0.1/", "-n", "1"), 1, "memtriage saturate: 'ftp://127.0.0.1/' is no URL such as http://127.0.0.1:8080/path\n"),
])
def test_usage(options: tuple[str, ...], code: int, words: str) -> None:
    answer = saturate(*options)
    assert answer.code == code
    assert words in answer.err


@pytest.mark.parametrize("url", ["", "http://", "http://:80/", "http://127.0.0.1:99999/", "http://u:p@127.0.0.1/", "http://127.0.0.1/\u00e9",
                                 "http://127.0.0.1/a b", "http://[::1", "//127.0.0.1/", "http://127.0.0.1/\x7f", "http://no.such.invalid/"])
def test_no_target(url: str) -> None:
    with pytest.raises(Refused):
        target.target(url, False, False)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://127.3.2.1:8080/", "http://[::1]:8080/x", "https://localhost/"])
def test_loopback(url: str) -> None:
    try:
        where = target.target(url, False, False)
    except Refused as refusal:
        pytest.skip(str(refusal))  # no IPv6 here
    assert where.loopback
    assert (where.tls is not None) == url.startswith("https")


def test_others_hosts_only_when_said() -> None:
    assert not target.target("http://192.0.2.7:81/", True, False).loopback


def test_line_ends_cannot_be_put_into_the_request() -> None:
    for url in ("http://127.0.0.1/a\r\nX: y", "http://127.0.0.1/a%0d%0aX:y"):
        try:
            head, end = target.request(target.target(url, False, False), False)
        except Refused:
            continue
        assert (head + end).count(b"\r\n") == 5  # urlsplit drops them, or they stay encoded


def test_the_end_that_is_held_back() -> None:
    where = target.target("http://127.0.0.1:8080/x", False, False)
    head, end = target.request(where, False)
    assert head.endswith(b"Connection: close\r\n\r") and end == b"\n"
    head, end = target.request(where, True)
    assert head.startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n") and head.endswith(b"Content-Length: 2\r\n\r\na") and end == b"="


def seen(before: list[Sample], peak: list[Sample], busy: int) -> report.Seen:
    def shot(samples: list[Sample]) -> Snapshot:
        return Snapshot([Worker(number, "web|server\n", 3, sample) for number, sample in enumerate(samples)], 0)

    return report.Seen(shot(before), shot(peak), busy, 900 * MIB, 700 * MIB, 100 * MIB)


def test_a_budget_that_was_right() -> None:
    first = [Sample(12 * MIB, 10 * MIB)] * 5  # 10 shared
    peak = [Sample(int(10.5 * MIB), 10 * MIB)] * 20  # 10 shared
    assert report.workers(seen(first, peak, 20), 20) == [
        "workers: 'web?server?', 5 before, 20 at the peak, 20 of them busy",
        "PSS: mean 10.5 MiB, 95th percentile 10.5 MiB, largest 10.5 MiB, with page tables all 20 take 210 MiB (10.0 MiB of it shared, "
        "each adds 10.0 MiB)",
        "budget: 80 of them fit in what is available and what they take, 100 MiB left over",
        "from the 5 before, 210 MiB were to be expected for 20: right (+0%); available memory of the host fell by 200 MiB"]


def test_a_budget_that_was_wrong_and_connections_that_waited() -> None:
    said = report.workers(seen([Sample(MIB, MIB)] * 5, [Sample(10 * MIB, 10 * MIB)] * 20, 20), 33)
    assert said[1] == "13 of 33 connections waited: 20 workers are the limit"
    assert said[-1].startswith("from the 5 before, 20.0 MiB were to be expected for 20: too low: workers grow when they work (-90%); ")


def test_workers_that_cannot_be_seen() -> None:
    nobody = Snapshot([], 3)
    assert report.workers(report.Seen(nobody, nobody, 0, 1, 1, 1), 5) == [
        "workers: none found on this host, and others' processes cannot be seen without root"]


def test_no_answers() -> None:
    none: list[Connection] = []
    assert report.answers(none) == ["answers: 0 of 0 succeeded"]
