"""memtriage plot as a command: what it writes, what it says when it cannot."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memtriage import cli
from tests.replay.made import Host
from tests.report.logs import START, sample

pytest.importorskip("matplotlib")


def log(folder: Path) -> str:
    path = folder / "memory.log"
    path.write_text("".join(sample(START + 60 * at, 9000 * at) for at in range(90)), encoding="utf-8")
    return str(path)


def plot(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(["plot", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_png_and_svg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, begin in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        out = tmp_path / f"out.{kind}"
        assert plot(capsys, log(tmp_path), "-o", str(out)) == (0, "", "")
        assert out.read_bytes().startswith(begin)
        mask = os.umask(0)
        os.umask(mask)
        assert out.stat().st_mode & 0o777 == 0o666 & ~mask
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory.log", "out.png", "out.svg"]


def test_width_and_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    words = (log(tmp_path), "-o", str(out), "--width", "400", "--from", str(START + 600), "--to", str(START + 1200), "--title", "mine")
    assert plot(capsys, *words) == (0, "", "")
    assert int.from_bytes(out.read_bytes()[16:20], "big") == 400


def heading(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> str:
    out = path.with_suffix(".html")
    assert plot(capsys, str(path), "-o", str(out), *words) == (0, "", "")
    found = re.search("<h1>(.*?)</h1>", out.read_text("ascii"))
    assert found is not None
    return html.unescape(found[1])


def test_window_and_warmup_decide_what_is_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty minutes of growth at the end of six hours: too short for a window of four hours, not for one of twenty minutes."""
    host = Host(tmp_path / "recording")
    host.up = 90_000.0
    for minute in range(360):
        grown = max(0, minute - 340) * 17_500
        host.sample(caches={"nfs_inode_cache": 8000, "kmalloc-4k": 8000 + grown}, available=2_000_000 - 4 * grown)
    host.close()
    path, nothing = tmp_path / "recording", "No shortage of memory: 654 MiB of 3.81 GiB available"
    assert heading(capsys, path) == nothing
    assert heading(capsys, path, "--window", "20m") == "slab cache 'kmalloc-4k' +1.27 GiB in 22.0 min"
    assert heading(capsys, path, "--window", "20m", "--warmup", "40h") == nothing
    with pytest.raises(SystemExit):
        plot(capsys, str(path), "-o", str(tmp_path / "x.html"), "--window", "soon")
    assert capsys.readouterr().err.endswith("argument --window: 'soon' is no time span such as 10, 30m or 4h\n")


def test_what_cannot_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = log(tmp_path), str(tmp_path / "out.png")
    (tmp_path / "empty").write_bytes(b"")
    for words, message in (
        ((path, "-o", "out.gif"), "out.gif: the name must end in .png, .svg or .html"),
        ((str(tmp_path / "none"), "-o", out), f"{tmp_path}/none: No such file or directory"),
        ((str(tmp_path / "empty"), "-o", out), f"{tmp_path}/empty: empty"),
        ((path, "-o", str(tmp_path / "no/out.png")), f"{tmp_path}/no/out.png: No such file or directory"),
        ((path, "-o", out, "--from", "yesterday"), "'yesterday' is no time such as 2026-05-12T03:04"),
        ((path, "-o", out, "--from", "2000000000"), f"{path}: no sample between these times"),
        ((__file__, "-o", out), f"{__file__}: neither a recording, a state file nor a log with the output of date and free in it"),
    ):
        assert plot(capsys, *words) == (1, "", f"memtriage plot: {message}\n")
    assert not os.path.exists(out)


@pytest.mark.parametrize("home", ["/proc/none", "/dev/null"])
def test_a_home_that_cannot_be_written_is_nobodys_business(tmp_path: Path, home: str) -> None:
    """Matplotlib, which keeps its fonts there, makes do, removes what it made, and says nothing."""
    (tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    done = subprocess.run([sys.executable, "-m", "memtriage", "plot", log(tmp_path), "-o", str(tmp_path / "out.png")], capture_output=True,
                          text=True, timeout=60, check=False,
                          env={**kept, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "HOME": home, "TMPDIR": str(tmp_path / "tmp")})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list((tmp_path / "tmp").iterdir()) and (tmp_path / "out.png").stat().st_size > 1000


def test_without_matplotlib(tmp_path: Path) -> None:
    program = ("import sys; sys.modules['matplotlib'] = None; from memtriage.cli import main; "
               f"sys.exit(main(['plot', {log(tmp_path)!r}, '-o', {str(tmp_path / 'out.png')!r}]))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("memtriage plot: drawing needs matplotlib: pip install 'memtriage[report]' "
                           "(Debian: apt install python3-matplotlib); -o out.html does without\n")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert plot(capsys, log(tmp_path), "-o", str(out)) == (1, "", f"memtriage plot: {out}: No space left on device\n")
    assert out.read_bytes() == b"old" and sorted(path.name for path in tmp_path.iterdir()) == ["memory.log", "out.png"]
