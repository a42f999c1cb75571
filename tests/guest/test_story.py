"""docs/story.md: its blocks are what the commands print, and the night that they are asked about is what the page says it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memtriage import recorded
from memtriage.procfs import meminfo
from memtriage.recording import Content, Sample, Source, layout
from memtriage.recording import Recording as Reader
from tests.guest import story

ROOT = Path(__file__).resolve().parents[2]
NIGHT = ROOT / "tests/fixtures/story"
PAGE = ROOT / "docs/story.md"
KILL = "Out of memory: Killed process"


@pytest.mark.slow
def test_every_block_is_what_its_command_prints_now() -> None:
    command = [sys.executable, ROOT / "docs/help.py", "--check", PAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_block_that_was_changed_by_hand_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- session -->\n```\n$ memtriage config sudoers | grep -c nagios\n99\n```\n<!-- end of session -->\n")
    command = [sys.executable, str(ROOT / "docs/help.py"), str(page)]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "page.md: a block is old; run make docs\n")
    subprocess.run(command, timeout=60, check=True)
    assert re.search(r"sudoers \| grep -c nagios\n[0-9]{1,2}\n```", page.read_text()) and "99" not in page.read_text()


def test_a_command_that_fails_is_no_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- session -->\n```\n$ memtriage explain --from nowhere\n```\n<!-- end of session -->\n")
    done = subprocess.run([sys.executable, str(ROOT / "docs/help.py"), str(page)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "memtriage explain --from nowhere\nleft with 1: memtriage explain: " in done.stderr


@pytest.mark.slow
def test_what_shall_ring_on_monday_rings(tmp_path: Path) -> None:
    """The last block, as written, on this host: half a minute's leak, and a limit that it breaks."""
    script = re.search(r"<!-- ring -->\n```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert script is not None
    (tmp_path / "memtriage").write_text(f'#!/bin/sh\nexec {sys.executable} -m memtriage "$@"\n')
    (tmp_path / "memtriage").chmod(0o755)
    (tmp_path / "check_slab_growth").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/checks/check_slab_growth.py "$@"\n')
    (tmp_path / "check_slab_growth").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run(["bash", "-c", script[1]], capture_output=True, text=True, timeout=150, check=False, cwd=tmp_path, env=env)
    said = [line for line in done.stdout.splitlines() if line.startswith("SLAB_GROWTH ")]
    assert done.stderr == "" and len(said) == 2, (done.stdout, done.stderr)
    if " UNKNOWN " in said[0]:
        pytest.skip("this host's slabinfo cannot be read")
    cache = re.search(r"measured: one lock costs \d+ bytes here, in (\S+)", done.stdout)
    assert said[0].startswith("SLAB_GROWTH OK - ") and cache is not None
    assert said[1].startswith(f"SLAB_GROWTH WARNING - slab cache '{cache[1]}' ") and " grows " in said[1]


def night() -> list[Sample]:
    with Reader(str(NIGHT / "recording")) as whole:
        return list(whole.samples())


def killed(sample: Sample) -> bool:
    source = sample.content.sources.get("kmsg")
    return source is not None and KILL.encode() in (source.data or b"")


def test_memory_was_available_to_the_end() -> None:
    """What the other checks ask for is a third of all and more until the last sample before the kill."""
    before = [sample for sample in night() if not killed(sample)]
    first = next(place for place, sample in enumerate(night()) if killed(sample))
    shares = []
    for sample in before[:first]:
        info = recorded.value(sample, "meminfo", meminfo.parse)
        shares.append((info.get("MemAvailable") or 0) / (info.get("MemTotal") or 1))
    assert len(shares) > 60 and min(shares) > 0.2


def test_what_the_others_said() -> None:
    """Not one alarm of theirs before the first of ours."""
    lines = (NIGHT / "nrpe.log").read_text("ascii").splitlines()
    alarm = next(place for place, line in enumerate(lines) if re.search(r"(SLAB_GROWTH|FREE_MEM) (WARNING|CRITICAL)", line))
    assert "slab cache 'nfs_inode_cache'" in lines[alarm]
    others = [line for line in lines[:alarm] if re.search(r" check_(memory|procs): ", line)]
    assert len(others) > 5 and all(" OK" in line for line in others)


def test_sizes_and_the_picture() -> None:
    picture = (ROOT / "docs/story.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 300_000
    assert sum(os.path.getsize(path) for path in NIGHT.iterdir()) < 900_000
    assert "](docs/story.png)" in (ROOT / "README.md").read_text() and "](story.png)" in PAGE.read_text()


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_thinned_recording_loses_no_line_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    monkeypatch.setattr(story, "EVERY", every)
    samples = []
    for number in range(200):
        sources = {"kmsg": Source(b"6,%d,1,-;line\n" % number if number % 3 == 0 else b"", 0, 0, 0),
                   "meta": Source(b"page_size 4096\ninterval_ms 1000\n", 0, 0, 0), "uptime": Source(b"%d.00 1.0\n" % number, 0, 0, 0)}
        head = layout.Head(b"", number + 7, number * 10**9, number * 10**9, 0, 0, 0, 1000, 0, layout.KEY, 0, 0)
        samples.append(Sample(head, Content(sources, {}, Source(b"", 0, 0, 0))))
    path = tmp_path / "recording"
    story.rewritten(story.thinned(samples, 150.0), path, layout.SMALLEST_FILE)
    with Reader(str(path)) as made:
        found, holes = list(made.samples()), made.gaps()
    assert [sample.content.sources["uptime"].data for sample in found] == [b"%d.00 1.0\n" % number for number in range(0, 151, every)]
    log = b"".join(sample.content.sources["kmsg"].data or b"" for sample in found)
    assert log == b"".join(b"6,%d,1,-;line\n" % number for number in range(0, found[-1].head.real_ns // 10**9 + 1, 3))
    assert holes == [] and found[-1].note("interval_ms") == str(1000 * every)
