"""Names that users script against change only where tests/contract.txt does, and files of earlier versions are read."""

from __future__ import annotations

import difflib
import gzip
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from memtriage import labels, state
from memtriage.integration import table
from tests import contract
from tests.checks.command import CHECKS, on, run
from tests.conftest import ROOT

FORMATS = ROOT / "tests" / "fixtures" / "formats"


def test_nothing_has_changed() -> None:
    before, now = contract.GOLDEN.read_text().splitlines(), contract.whole().splitlines()
    changes = "\n".join(difflib.unified_diff(before, now, "tests/contract.txt", "now", lineterm="", n=0))
    assert not changes, f"{changes}\nIf that is meant: make contract, and a line in CHANGELOG.md for whoever has scripts"


@pytest.mark.parametrize("check", CHECKS)
def test_labels_are_those_the_code_makes(check: str) -> None:
    made = contract.emitted(ROOT / "checks" / (check + ".py"))
    known = {(label, "c" if about.unit == "us" else about.unit) for label, about in labels.LABELS[check[6:].upper()].items()}
    assert made == known


def test_the_reading_of_code_is_no_wishful_one(tmp_path: Path) -> None:
    source = tmp_path / "check.py"
    source.write_text('A = ("x", "y")\nfor k, u in (("p", 1), ("q", 2)):\n for w in A:\n  yield m.Metric(f"{k}_{w}", 1, "B")\n'
                      'rows = [("r", f(), "s")]\nrows += [("t", 0, "")]\nfor n, v, u in rows:\n yield m.Metric(n, v, u)\n'
                      'for c in caches:\n yield m.Metric("s_" + c, 1)\nyield m.Metric(surprise(), 1)\n')
    assert contract.emitted(source) == {
        ("p_x", "B"), ("p_y", "B"), ("q_x", "B"), ("q_y", "B"), ("r", "s"), ("t", ""), ("s_*", ""), ("*", "")}


def test_labels_of_all_recorded_outputs_are_known() -> None:
    seen = set()
    for path in contract.EXPECTED.rglob("*.txt"):
        for line in path.read_text().splitlines():
            head, bar, items = line.partition(" | ")
            if bar and head.split(" ")[0] in labels.LABELS:
                for item in items.split(" "):
                    label, _, value = item.partition("=")
                    about = labels.find(head.split(" ")[0], label)
                    assert about is not None, (path.name, item)
                    unit = value.split(";")[0].lstrip("-0123456789.")
                    assert unit == ("c" if about.unit == "us" else about.unit), (path.name, item)
                    seen.add(label)
    assert len(seen) > 40


@pytest.mark.parametrize("check", CHECKS)
def test_exit_codes_of_what_is_no_answer(check: str) -> None:
    title = check[6:].upper()
    for words in (["--help"], ["-V"], ["--nonsense"], ["--procfs", "/nonexistent"]):
        answer = run(check, *words)
        assert answer.code == 3 and answer.err == "", answer
        assert words[0] in ("--help", "-V") or answer.out.startswith(title + " UNKNOWN - "), answer


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "memtriage", *words], capture_output=True, text=True, timeout=60, check=False,
                          env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib")})


@pytest.mark.parametrize("words, code", [(["--help"], 0), (["--version"], 0), ([], 2), (["nonsense"], 2), (["config", "--help"], 0),
                                         (["config"], 2), (["config", "nrpe", "--nonsense"], 2), (["config", "nrpe"], 0),
                                         (["config", "nrpe", "--add", "x"], 1), (["record", "--print", "--output", "/nonexistent"], 1)])
def test_exit_codes_of_the_command(words: list[str], code: int) -> None:
    done = command(*words)
    assert done.returncode == code and bool(done.stderr) == bool(code), done


def test_every_check_and_label_has_words() -> None:
    assert set(labels.LABELS) == {check[6:].upper() for check in table.CHECKS}
    for known in labels.LABELS.values():
        for label, about in known.items():
            assert about.about[:1].islower() or about.about.startswith("OOM"), label
            assert about.unit in ("B", "s", "%", "c", "us", ""), label


# --- files of earlier versions ---

@pytest.mark.parametrize(("version", "age"), [(1, "44.1"), (2, "36.8")])
def test_a_recording_of_every_version_is_read(version: int, age: str, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(gzip.decompress((FORMATS / f"recording-{version}.gz").read_bytes()))
    done = command("record", "--print", "--output", str(path))
    line = "available 2.65 GiB (68.9%); slab nfs_inode_cache 2.40 GiB; httpd (41 processes) 574 MiB; java 357 MiB"
    assert [row[20:] for row in done.stdout.splitlines()] == [line] * 3 and done.returncode == 0, done
    answer = on("b-reclaimable-slab", "check_mem_recorder", "--file", str(path), "--no-perfdata")
    assert (answer.code, answer.out.splitlines()[0]) == (
        2, f"MEM_RECORDER CRITICAL - newest sample {age} h old (every 0.2 s); the recorder does not run or its disk stands still; "
           "longest gap in 1 h 0.2 s, 0 samples lost; memory not locked (not asked for)")


def test_a_recording_of_a_later_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    data = bytearray(gzip.decompress((FORMATS / "recording-2.gz").read_bytes()))
    for edge in (0, len(data) - 4096 if data[-4096:].startswith(b"memtriage") else 0):
        struct.pack_into("<H", data, edge + 20, 3)
        size = struct.calcsize("<20sHHIQq8s")
        struct.pack_into("<I", data, edge + size, zlib.crc32(data[edge : edge + size]))
    path.write_bytes(data)
    done = command("record", "--print", "--output", str(path))
    assert (done.returncode, done.stderr) == (
        1, f"memtriage record: {path}: a recording of version 3; this program reads versions 1 and 2\n")
    answer = run("check_mem_recorder", "--file", "recording", cwd=tmp_path)
    assert answer[:2] == (3, "MEM_RECORDER UNKNOWN - recording: a recording of version 3; this program reads versions 1 and 2; "
                             "start it with memtriage record, or as a service, and give its file with --file\n")


@pytest.mark.parametrize("version", [1])
def test_state_of_every_version_is_read(version: int, tmp_path: Path) -> None:
    own = tmp_path / str(os.geteuid())
    shutil.copytree(FORMATS / f"state-{version}", own)
    own.chmod(0o700)
    for name, keys in (("memory", {"available", "total", "c.nfs_inode_cache"}), ("check_oom_kill", {"k.host"})):
        found = state.remember(str(own), name, state.Sample("another boot", 60.0, {"x": 1}))
        assert found.problem is None and [sample.uptime for sample in found.samples] == [172800.42, 60.0]
        assert keys <= set(found.samples[0].values)


def test_state_of_a_later_version_is_set_aside_with_a_sentence(tmp_path: Path) -> None:
    own = tmp_path / str(os.geteuid())
    shutil.copytree(FORMATS / "state-1", own)
    own.chmod(0o700)
    text = (own / "memory.json").read_text().replace('"format":1', '"format":2', 1)
    (own / "memory.json").write_text(text)
    found = state.remember(str(own), "memory", state.Sample("boot", 60.0, {"x": 1}))
    assert found.problem == f"{own}/memory.json is of another version or check; old file kept as {own}/memory.damaged; starting again"
    assert (own / "memory.damaged").read_text() == text
