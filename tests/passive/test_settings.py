"""The speaker's file: what it may say, and a sentence for whatever it must not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from memtriage.passive import Service
from memtriage.passive.settings import Wrong, read

ICINGA = "[icinga2]\nurl = https://icinga.example:5665\nuser = mem\npassword = p#;x=y%s\n"


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    found = read("icinga2", written(tmp_path / "c", ICINGA))
    assert found.words == {"url": "https://icinga.example:5665", "user": "mem", "password": "p#;x=y%s", "host": socket.gethostname()}
    assert (found.every_s, found.fast_s, found.heartbeat_s, found.state_dir) == (10, 2, 60, "")
    assert [service[:2] for service in found.services] == [
        ("memory", "check_free_mem"), ("memory slab", "check_slab_growth"), ("memory OOM kill", "check_oom_kill"),
        ("memory pressure", "check_mem_pressure"), ("memory recorder", "check_mem_recorder")]


def test_everything_said(tmp_path: Path) -> None:
    found = read("icinga2", written(tmp_path / "c", ICINGA + (
        "host = hub\n[speak]\nevery = 5s\nfast = 10s\nheartbeat = 1m\nstate_dir = /run/x\n[services]\n"
        "Web Workers = check_proc_count -C httpd -w '1:150' --args 'a b'\n")))
    assert (found.words["host"], found.every_s, found.fast_s, found.heartbeat_s, found.state_dir) == ("hub", 5, 5, 60, "/run/x")
    assert found.services == [Service("Web Workers", "check_proc_count", ("-C", "httpd", "-w", "1:150", "--args", "a b"))]


@pytest.mark.parametrize(("text", "words"), [
    ("", "FILE: a section [icinga2] is wanted, with url, user, password"),
    ("[icinga2]\nurl = x\n", "FILE: [icinga2] lacks user, password"),
    (ICINGA + "colour = red\n", "FILE: [icinga2] knows url, user, password, ca, host, not 'colour'"),
    (ICINGA + "[other]\n", "FILE: no section [other] is known: there are icinga2, nrdp, nsca, file, speak, services"),
    (ICINGA + "[speak]\nevery = soon\n", "FILE: 'soon' is no time span such as 10s or 5m"),
    (ICINGA + "[speak]\nevery = 0.1s\n", "FILE: '0.1s' is no time span such as 10s or 5m"),
    (ICINGA + "[speak]\nvolume = 11\n", "FILE: [speak] knows every, fast, heartbeat and state_dir, not 'volume'"),
    (ICINGA + "[services]\n", "FILE: [services] names none"),
    (ICINGA + "[services]\na = check_swap\n", "FILE: service 'a': no check 'check_swap': there are check_free_mem, check_slab_growth, "
     "check_proc_count, check_oom_kill, check_mem_pressure, check_mem_recorder"),
    (ICINGA + "[services]\na = check_free_mem -w x\n",
     "FILE: service 'a': --warning: 'x' is no range such as 10, 10:, ~:10, 10:20 or @10:20"),
    (ICINGA + "[services]\na = check_free_mem 'x\n", "FILE: service 'a': No closing quotation"),
    ("no section\n", "FILE: File contains no section headers. file: '<string>', line: 1 'no section\\n'"),
])
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path / "c", text)
    with pytest.raises(Wrong) as wrong:
        read("icinga2", path)
    assert str(wrong.value).replace(path, "FILE").startswith(words)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "c", ICINGA, 0o640)
    with pytest.raises(Wrong, match=rf"^{path} holds a secret and others may read it: chmod 0600 {path}$"):
        read("icinga2", path)
    with pytest.raises(Wrong, match=r"No such file or directory$"):
        read("icinga2", path + "x")
    with pytest.raises(Wrong, match=r"is no regular file$"):
        read("icinga2", str(tmp_path))


@pytest.mark.needs_root
def test_nor_one_that_is_somebody_elses(tmp_path: Path) -> None:
    path = written(tmp_path / "c", ICINGA)
    os.chown(path, 1234, -1)
    with pytest.raises(Wrong, match=rf"^{path} belongs to uid 1234: chown it to root or to this service$"):
        read("icinga2", path)
