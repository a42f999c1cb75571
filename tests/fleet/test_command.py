"""``memtriage fleet`` as a program, against a server that answers as Icinga 2 does, or badly."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from memtriage import cli
from memtriage.fleet import api, credentials
from tests.fleet import server
from tests.fleet.server import Answer, Server

TLS = "the certificate of 127.0.0.1:"


def given(to: Server, *options: object, **more: str) -> list[str]:
    words = {"api": to.url, "credentials": to.credentials, "ca": to.ca, **more}
    return ["fleet", *(word for key, value in words.items() if value for word in (f"--{key}", value)), *map(str, options)]


def program(to: Server, *options: object, **more: str) -> Answer:
    """As a process of its own."""
    # Deprecations are left to what matplotlib and pyparsing have between each other, which the oldest Python's versions do.
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-m", "memtriage", *given(to, *options, **more)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=server.environment(), capture_output=True, text=True, timeout=120,
                          check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def fleet(to: Server, *options: object, **more: str) -> Answer:
    """The same in this process: a tenth of the time."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(given(to, *options, **more))
        except SystemExit as leaving:  # argparse's usage errors
            code = int(str(leaving.code))
    return Answer(code, out.getvalue(), err.getvalue())


def rows(growing: Callable[[int], bool] = lambda number: number < 20, size: int = 60, name: str = "h%02d", text: str = "6.1.0-%d-amd64"
         ) -> Callable[[str], list[bytes]]:
    """Half of the hosts run one kernel, half another; the first hosts grow."""
    now = time.time()
    hosts = [{"name": name % number, "vars": {"role": "ab"[number % 2], "address": str(number)}, "groups": [], "zone": ""}
             for number in range(size)]
    services = []
    for number in range(size):
        eta = [f"eta={(number + 2) * 3600}s;259200:;28800:;0"] if growing(number) else []
        items = ["slab_total=9B", "slab_unreclaim=8B", *eta, f"growth_per_hour={5 << 20 if eta else 0}B;;;0", "s_kmalloc_4k=7B",
                 f"g_kmalloc_4k={5 << 20 if eta else 0}B"]
        services.append({"name": "slab", "host_name": name % number, "check_command": "x", "check_interval": 300, "last_check_result": {
            "execution_end": now - 9, "state": 0, "performance_data": items,
            "output": f"SLAB_GROWTH OK - x\nKernel memory; Linux {text % (13 if number < 30 else 12)}."}})
        services.append({"name": "mem", "host_name": name % number, "check_command": "x", "check_interval": 300, "last_check_result": {
            "execution_end": now - 9, "state": 0, "performance_data": ["available=1B"], "output": "FREE_MEM OK - x"}})
    return lambda kind: [server.whole(hosts if kind == "hosts" else services)]


EXPECTED = """\
60 hosts of URL: 60 judged
Kernel memory grows on 20 of 60 (33.3%), programs' on 0 of 40 others.
Grows: where the check has proven a trend. One look, no history: slower growth, and since when, takes --history FILE.

Is it the kernel?  Yes, by the odds: growth goes with kernel=6.1.0-13-amd64.
  kernel=6.1.0-13-amd64: 20 of 30 hosts grow (66.7%), of all others 0 of 30 (0.00%); \
odds 119 (95%: 6.61 to 2147), p 5.7e-08 after 4 comparisons
    slab cache kmalloc_4k grows fastest on 20: median +5.00 MiB/h, 20 up, 0 down; elsewhere +0 B/h, 0 up, 0 down

Is it us?  No: programs grow on no host whose slab does not.

By kernel:
                  hosts   grow   share     odds  95% interval       p
  6.1.0-13-amd64     30     20   66.7%      119  6.61 to 2147       5.7e-08
  6.1.0-12-amd64     30      0   0.00%     0.01  0.00 to 0.15       5.7e-08

First to run out (2 of 20):
  h00                      in 2.0 h     slab cache kmalloc_4k +5.00 MiB/h, Linux 6.1.0-13-amd64
  h01                      in 3.0 h     slab cache kmalloc_4k +5.00 MiB/h, Linux 6.1.0-13-amd64
"""


def test_the_answer(tmp_path: Path) -> None:
    with server.running(tmp_path, rows()) as to:
        answer = program(to, "--top", 2)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out == EXPECTED.replace("URL", to.url)
        assert [path for path, _ in to.asked] == ["/v1/objects/hosts", "/v1/objects/services"]
        assert to.asked[0][1] == {"attrs": ["name", "vars", "groups", "zone"]}
        assert to.asked[1][1]["attrs"] == ["name", "host_name", "check_command", "check_interval", "last_check_result"]


def test_json(tmp_path: Path) -> None:
    with server.running(tmp_path, rows()) as to:
        answer = fleet(to, "--json", "--by", "kernel")
    tree: dict[str, Any] = json.loads(answer.out)
    assert (answer.code, answer.err, tree["version"]) == (0, "", 1)
    assert tree["hosts"] == {"total": 60, "ok": 60, "silent": 0, "empty": 0, "unknown": 0, "none": 0}
    assert tree["verdict"]["kernel"] == "Yes, by the odds: growth goes with kernel=6.1.0-13-amd64."
    finding = tree["kernel"]["findings"][0]
    assert (finding["attributes"], finding["kind"], finding["hosts"], finding["grow"], finding["others_grow"]) == (
        [{"key": "kernel", "value": "6.1.0-13-amd64"}], "cause", 30, 20, 0)
    assert finding["caches"][0]["group"] == {"known": 20, "up": 20, "down": 0, "median": 5 << 20}
    assert tree["exhaustion"][0] == {"host": "h00", "eta": 7200.0, "kind": "kernel", "culprit": "kmalloc_4k", "rate": 5 << 20,
                                     "kernel": "6.1.0-13-amd64"}
    assert tree["kernel"]["comparisons"] == 2


def test_filters(tmp_path: Path) -> None:
    with server.running(tmp_path, rows()) as to:
        assert fleet(to, "--filter", 'host.vars.os == "Linux"', "--services", "service.name == x").code == 0
        assert [body.get("filter") for _, body in to.asked] == [
            'host.vars.os == "Linux"', '(service.name == x) && (host.vars.os == "Linux")']


def test_history(tmp_path: Path) -> None:
    path = tmp_path / "history"
    with server.running(tmp_path, rows()) as to:
        first = fleet(to, "--history", path)
        assert first.code == 0 and path.stat().st_mode & 0o777 == 0o600
        again = fleet(to, "--history", path)
        assert "on half of 20 hosts by 20" in again.out and "20 of 20 at the history's first run already" in again.out
        path.write_text("{")
        assert fleet(to, "--history", path) == (1, "", f"memtriage fleet: {path}: it is no history of memtriage fleet, or damaged; "
                                                       "move it away to begin a new one\n")


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with server.running(tmp_path, rows(name="$%02d_^", text="$\\frac{%d}")) as to:
        answer = program(to, "-o", tmp_path / "a.png")
        assert (answer.code, answer.err) == (0, "")
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
        assert fleet(to, "-o", tmp_path / "a.gif").err == f"memtriage fleet: {tmp_path}/a.gif: a picture is a .png, .svg, .pdf\n"
        asked = len(to.asked)
        assert fleet(to, "-o", tmp_path / "no" / "a.png").err == (
            f"memtriage fleet: {tmp_path}/no/a.png: the folder is not there, or not writable\n")
        assert len(to.asked) == asked


def test_a_picture_without_matplotlib(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    with server.running(tmp_path, rows()) as to:
        words = ["fleet", "--api", to.url, "--credentials", to.credentials, "-o", str(tmp_path / "a.png")]
        inherited = server.environment()
        done = subprocess.run([sys.executable, "-m", "memtriage", *words], capture_output=True, text=True, timeout=120, check=False,
                              env={**inherited, "PYTHONPATH": f"{tmp_path}:{inherited['PYTHONPATH']}"})
    assert (done.returncode, done.stderr) == (1, "memtriage fleet: a picture needs matplotlib: pip install 'memtriage[report]', or the "
                                                 "distribution's python3-matplotlib\n")


def test_hosts_that_say_nothing(tmp_path: Path) -> None:
    def reply(kind: str) -> list[bytes]:
        whole = json.loads(rows()(kind)[0])["results"]
        some = [row["attrs"] for row in whole]
        if kind == "services":
            slab = some[::2]
            for number, service in enumerate(slab[40:]):
                last = service["last_check_result"]
                if number < 5:
                    service["last_check_result"] = None
                elif number < 9:
                    last["execution_end"] -= 5000
                elif number < 12:
                    last["state"] = 3
                elif number < 14:
                    last["performance_data"] += ["x=nan", "y=inf", "eta=1e99"]
            some = [*slab[:58], *some[1::2]]
        return [server.whole(some)]

    with server.running(tmp_path, reply) as to:
        answer = fleet(to, "--top", 0)
    assert answer.code == 0
    assert answer.out.splitlines()[:3] == [
        f"60 hosts of {to.url}: 46 judged, 4 silent (result too old), 5 never checked, 3 UNKNOWN, 2 without check_slab_growth",
        "6 items of perfdata are none of ours and were passed over.",
        "Kernel memory grows on 20 of 46 (43.5%), programs' on 0 of 26 others."]


def test_hostile_names(tmp_path: Path) -> None:
    nasty = "\x1b[31m%02d|<b>\n'\"$(x)\u202e"
    with server.running(tmp_path, rows(name=nasty)) as to:
        answer = fleet(to, "--all", "--history", tmp_path / "h")
        assert (answer.code, answer.err) == (0, "")
        assert all((" " <= letter <= "~" and letter not in "|<>") or letter == "\n" for letter in answer.out)
        assert "  ?[31m00??b????" in answer.out
        json.loads(fleet(to, "--json").out)


# --- what must not be believed, and what goes wrong ---


def test_another_authority(tmp_path: Path) -> None:
    other = f"{server.certificate(tmp_path, 'other')}.crt"
    with server.running(tmp_path, rows()) as to:
        for ca in (other, ""):  # the system's authorities do not know this server either
            answer = fleet(to, ca=ca)
            assert (answer.code, answer.out) == (1, "") and answer.err.startswith(f"memtriage fleet: {TLS}"), answer.err
            assert "is not to be trusted: " in answer.err and len(answer.err.splitlines()) == 1
        assert to.asked == []


def test_another_name(tmp_path: Path) -> None:
    with server.running(tmp_path, rows()) as to:
        assert "Hostname mismatch" in fleet(to, name="m2").err and to.asked == []
        assert fleet(to, name="m1").code == 0


def test_verification_cannot_be_left_out(tmp_path: Path) -> None:
    with server.running(tmp_path, rows()) as to:
        assert fleet(to, "--insecure").code == 2
        assert fleet(to, api=to.url.replace("https", "http")).err == f"memtriage fleet: '{to.url.replace('https', 'http')}' is no https://HOST:PORT\n"
        (tmp_path / "none.crt").write_text("x")
        assert fleet(to, ca=str(tmp_path / "none.crt")).err == f"memtriage fleet: {tmp_path}/none.crt: it holds no certificate\n"
        assert fleet(to, ca=str(tmp_path / "no")).err == f"memtriage fleet: {tmp_path}/no: No such file or directory\n"
        assert to.asked == []


def test_wrong_password(tmp_path: Path) -> None:
    with server.running(tmp_path, rows()) as to:
        Path(to.credentials).write_text("reader:wrong\n")
        assert fleet(to) == (1, "", "memtriage fleet: Icinga 2 does not know this API user and password (401)\n")
        assert to.asked == []


@pytest.mark.parametrize("status", [403, 404])
def test_no_permission(tmp_path: Path, status: int) -> None:
    with server.running(tmp_path, rows(), status=status) as to:
        assert fleet(to) == (1, "", f"memtriage fleet: Icinga 2 shows no hosts ({status}): the API user needs the permission "
                                    "objects/query/Host, and a filter must be one that Icinga 2 understands\n")


def test_an_error_of_the_server(tmp_path: Path) -> None:
    with server.running(tmp_path, rows(), status=503) as to:
        assert fleet(to) == (1, "", "memtriage fleet: Icinga 2 answered 503 Service Unavailable: "
                                    '{"error":503,"status":"No objects found."}\n')


@pytest.mark.parametrize("length", [None, 10**6])
@pytest.mark.parametrize("kind", ["hosts", "services"])
def test_cut_in_the_middle(tmp_path: Path, length: int | None, kind: str) -> None:
    whole = rows()

    def reply(asked: str) -> list[bytes]:
        data = whole(asked)[0]
        return [data[: len(data) // 2] if asked == kind else data]

    if length and kind == "services":
        pytest.skip("one length is claimed for both replies")
    with server.running(tmp_path, reply, length) as to:
        answer = fleet(to, "--history", tmp_path / "h")
        assert answer == (1, "", "memtriage fleet: the reply ends in the middle: the server or the network gave up\n")
        assert not os.path.exists(tmp_path / "h")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"results":{}}', b"\xff" * 500, b'{"results":[' + b"[" * 99999])
def test_no_reply_of_icinga(tmp_path: Path, body: bytes) -> None:
    with server.running(tmp_path, lambda kind: [body]) as to:
        answer = fleet(to)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("memtriage fleet: the reply ") and len(answer.err.splitlines()) == 1


def test_an_endless_object(tmp_path: Path) -> None:
    def reply(kind: str) -> Any:
        yield b'{"results":[{"attrs":{"name":"'
        for _ in range(400):
            yield b"x" * 65536

    with server.running(tmp_path, reply) as to:
        assert fleet(to).err == "memtriage fleet: the reply holds an object that is no JSON, or is longer than 4 MiB\n"


@pytest.mark.parametrize("status", [200, 503])
def test_a_server_that_repeats_the_credentials(tmp_path: Path, status: int) -> None:
    """As debugging proxies do; cron would mail them."""
    token = "cmVhZGVyOnA6w6Q="
    said = (f"you sent Authorization: Basic {token} " + "x" * 150).encode()
    with server.running(tmp_path, lambda kind: [said], status=status, error=said) as to:
        answer = fleet(to)
    assert (answer.code, answer.out) == (1, "")
    assert "you sent Authorization: Basic ... xx" in answer.err and token not in answer.err and len(answer.err) < 250


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with server.running(tmp_path, rows(), status=302) as to:
        assert fleet(to).err == 'memtriage fleet: Icinga 2 answered 302 Found: {"error":302,"status":"No objects found."}\n'
        assert len(to.asked) == 1


def test_a_reply_that_comes_byte_by_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would never be silent, and never end."""
    monkeypatch.setattr(api, "WHOLE", 1.0)
    stop = threading.Event()

    def reply(kind: str) -> Any:
        yield b'{"results":['
        for _ in range(2000):
            if stop.wait(0.02):
                return
            yield b" "

    with server.running(tmp_path, reply) as to:
        try:
            assert fleet(to).err == f"memtriage fleet: {to.url[8:]}: the reply is not whole after 1 s\n"
        finally:
            stop.set()


def test_a_server_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even that it speaks TLS."""
    monkeypatch.setattr(api, "SILENCE", 0.5)
    with server.running(tmp_path, rows()) as to, socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert fleet(to, api=f"https://127.0.0.1:{port}").err == f"memtriage fleet: 127.0.0.1:{port}: nothing came for 0.5 s\n"


def test_a_host_twice_and_figures_that_are_none(tmp_path: Path) -> None:
    def reply(kind: str) -> list[bytes]:
        some = [row["attrs"] for row in json.loads(rows()(kind)[0])["results"]]
        text = server.whole(some + some)
        return [text.replace(b'"state": 0', b'"state": NaN', 5).replace(b'"eta=', b'"eta=-', 2)]

    with server.running(tmp_path, reply) as to:
        answer = fleet(to, "--top", 0)
    assert answer.out.splitlines()[:3] == [
        f"60 hosts of {to.url}: 60 judged",  # the second time they are whole
        "2 items of perfdata are none of ours and were passed over.",
        "Kernel memory grows on 20 of 60 (33.3%), programs' on 0 of 40 others."]


def test_nobody_listens(tmp_path: Path) -> None:
    with server.running(tmp_path, rows()) as to:
        port = server.closed_port()
        assert fleet(to, api=f"https://127.0.0.1:{port}").err == f"memtriage fleet: 127.0.0.1:{port}: Connection refused\n"
        assert fleet(to, api="https://no.such.invalid").err.startswith("memtriage fleet: no.such.invalid:5665: ")


@pytest.mark.parametrize(("text", "mode", "words"), [
    ("QQ:p\n", 0o640, "others may read or write it (mode 0640): chmod 600"), ("QQ:p\n", 0o604, "others may read or write it (mode 0604)"),
    ("", 0o600, "it must hold one line, user:password"), ("QQ\n", 0o600, "it must hold one line"), ("QQ:\n", 0o600, "it must hold"),
    (":QQ\n", 0o600, "it must hold"), ("a:QQ\nc:d\n", 0o600, "it must hold"), ("Q" * 5000 + ":p", 0o600, "it must hold"),
    ("QQ:\udcff", 0o600, "it is not UTF-8")], ids=range(9))
def test_credentials(tmp_path: Path, text: str, mode: int, words: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text, "utf-8", "surrogateescape")
    path.chmod(mode)
    answer = fleet(Server("https://127.0.0.1:1", "", str(path), []))
    assert (answer.code, answer.out) == (1, "") and answer.err.startswith(f"memtriage fleet: {path}: {words}")
    assert "QQ" not in answer.err


def test_credentials_that_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path, words in ((tmp_path / "fifo", "it is no file"), (tmp_path, "it is no file"), (tmp_path / "no", "No such file or directory")):
        assert fleet(Server("https://127.0.0.1:1", "", str(path), [])).err == f"memtriage fleet: {path}: {words}\n"


@pytest.mark.parametrize("api", ["", "https://", "ftp://x", "https://u:p@x", "https://x/y", "https://x:99999", "https://[::1", "x", "https://x?y",
                                 "https://" + "a" * 64 + ".net", "https://a..net"])
def test_no_api(tmp_path: Path, api: str) -> None:
    answer = fleet(Server("", "", "/dev/null", []), "--api", api)
    assert (answer.code, answer.err) == (1, f"memtriage fleet: '{api}' is no https://HOST:PORT\n")


@pytest.mark.parametrize("name", [".m1", "a" * 64, "m..1"])
def test_no_name(name: str) -> None:
    answer = fleet(Server("https://127.0.0.1:1", "", "/dev/null", []), "--name", name)
    assert (answer.code, answer.err) == (1, f"memtriage fleet: '{name}' is no name that a certificate could have\n")


def test_a_password_may_hold_what_ends_lines_elsewhere(tmp_path: Path) -> None:
    for end in ("", "\n", "\r\n"):
        (tmp_path / "c").write_bytes(f"u:a\x0bb\x85c\u2028{end}".encode())
        (tmp_path / "c").chmod(0o600)
        assert credentials.read(str(tmp_path / "c")) == ("u", "a\x0bb\x85c\u2028")


@pytest.mark.parametrize(("options", "words"), [
    (("--silent", "0"), "'0' is no number from 1 to 1000"), (("--top", "-1"), "'-1' is no number from 0 to 99999"),
    (("--by", ","), "no attribute is named"), (("--nonsense",), "unrecognized arguments: --nonsense")])
def test_usage(options: tuple[str, ...], words: str) -> None:
    answer = fleet(Server("https://x", "", "/dev/null", []), *options)
    assert answer.code == 2 and words in answer.err
