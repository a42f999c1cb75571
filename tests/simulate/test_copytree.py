"""Listings of find -printf, honest and hostile, and the trees made of them."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage.simulate import listing
from memtriage.simulate.listing import Entry
from tests.simulate.command import MIB, alive, children, simulate, started, until, wait_for


def parsed(data: bytes, form: str = listing.FORMAT) -> listing.Tree:
    return listing.read(io.BytesIO(data), listing.compiled(form))


def test_a_plain_listing() -> None:
    tree = parsed(b"d 4096 \nd 4096 a\nf 123 a/b c\nl 7 a/link\np 0 pipe\nf 5 last")
    assert tree == ([Entry("d", 0, b"a"), Entry("f", 123, b"a/b c"), Entry("l", 0, b"a/link")], 1)  # the last line was cut


@pytest.mark.parametrize(("form", "record", "entry"), [
    (r"%p\n", b"/usr/bin/x", Entry("f", 0, b"usr/bin/x")),
    (r"%y\t%s\t%P\0", b"f\t9\tnew\nline", Entry("f", 9, b"new\nline")),
    (r"%m %u:%g %T@ %s %y %P\n", b"644 root:root 1700000000.5 12 f x y", Entry("f", 12, b"x y")),
    (r"%%%y%s|%P\n", b"%f3|./a//b", Entry("f", 3, b"a/b")),
])
def test_formats(form: str, record: bytes, entry: Entry) -> None:
    assert listing.entry(record, listing.compiled(form)) == entry


@pytest.mark.parametrize(("form", "words"), [
    (r"%y %s %P", r"does not end in \n or \0"), (r"%y %s\n", "has no %P or %p"), (r"%P %z\n", "has '%z', which is not understood"),
    (r"%P %p\n", "names the same thing twice"), (r"%P\nx", "goes on after its line end"), ("%", "has '%', which is not understood"),
])
def test_no_formats(form: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        listing.compiled(form)


@pytest.mark.parametrize("record", [b"f 1 ../x", b"f 1 a/../../x", b"f -1 x", b"f 1 " + b"x" * 256, b"f 1 " + b"x/" * 1600, b"f 1 a\0b",
                                    b"", b"s 0 socket", b"b 0 disk", b"f 1", b"f 1 .", b"f 1 /", b"f " + b"9" * 20 + b" x"])
def test_what_is_not_made(record: bytes) -> None:
    assert listing.entry(record, listing.compiled(listing.FORMAT)) is None


@given(st.binary(max_size=400), st.sampled_from([listing.FORMAT, r"%p\0", r"%y\t%s\t%P\0"]))
def test_any_bytes(data: bytes, form: str) -> None:
    for entry in parsed(data, form).entries:
        parts = entry.path.split(b"/")
        assert b".." not in parts and b"" not in parts and b"." not in parts and b"\0" not in entry.path and entry.size >= 0


def test_an_endless_record_is_none() -> None:
    assert parsed(b"f 1 " + b"x" * 10_000_000 + b"\nf 1 y\n") == ([Entry("f", 1, b"y")], 1)


@pytest.mark.skipif(not shutil.which("find"), reason="no find(1) here")
def test_what_find_writes_comes_back(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a | b\n'$(c)'").write_bytes(b"x" * 77)
    (tmp_path / "deep" / "link").symlink_to("/etc/passwd")
    (tmp_path / os.fsdecode(b"\xff\xfe")).write_bytes(b"")
    data = subprocess.run(["find", tmp_path, "-printf", r"%y %s %P\0"], capture_output=True, timeout=20, check=True).stdout
    tree = parsed(data, r"%y %s %P\0")
    assert tree.left_out == 0
    assert set(tree.entries) == {Entry("d", 0, b"deep"), Entry("d", 0, b"deep/er"), Entry("f", 77, b"deep/er/a | b\n'$(c)'"),
                                 Entry("l", 0, b"deep/link"), Entry("f", 0, b"\xff\xfe")}


def shape(folder: Path) -> dict[str, int | str]:
    return {str(path.relative_to(folder)): "d" if path.is_dir() and not path.is_symlink() else "l" if path.is_symlink()
            else path.stat().st_size for path in folder.rglob("*")}


def test_tree_and_copy(tmp_path: Path) -> None:
    written = tmp_path / "listing"
    written.write_bytes(b"d 4096 \nd 4096 src\nf 8000000 src/big\nf 2000000 src/deep/er/small\nl 5 src/link\nf 5 src\nf 5 src/big/not\n"
                        b"f 0 empty\nf 9 ../../outside\n")
    made = tmp_path / "made"
    made.mkdir()
    with started("copytree", written, "--limit", "2MiB", "--rate", "100MiB/s", "--duration", "30", "--folder", made) as process:
        said = until(process, "made ")
        folder = next(made.iterdir())
        scale = MIB / 10_000_010
        expected = {"src": "d", "src/big": int(8_000_000 * scale), "src/deep": "d", "src/deep/er": "d",
                    "src/deep/er/small": int(2_000_000 * scale), "src/link": "l", "empty": 0}
        assert shape(folder / "tree") == shape(folder / "copy") == expected
        for name in ("src/big", "src/deep/er/small"):
            data = (folder / "tree" / name).read_bytes()
            assert data == (folder / "copy" / name).read_bytes()
            assert len(set(data)) == 256  # random, which neither compression nor merging makes smaller
        family = children(process.pid)
        process.kill()
        process.wait(10)
        assert wait_for(lambda: not list(made.iterdir()) and not alive(family))
    assert said[0] == (f"simulate copytree: 7 files and folders, 1 lines left out, 2.00 MiB with the copy, each file 9.5 times smaller, "
                       f"at 100 MiB/s in {folder}")
    assert re.fullmatch(r"made 5 and copied 5, 2\.00 MiB in [0-9.]+ s, [0-9.]+ .iB/s; the ledger: page_cache [-+][0-9.]+ .*i?B, "
                        r"slab_reclaimable [-+].*, slab_unreclaimable [-+].*", said[-1]), said[-1]


def test_the_rate_holds(tmp_path: Path) -> None:
    written = tmp_path / "listing"
    written.write_bytes(b"".join(b"f 100000 d%d/f%d\n" % (number % 7, number) for number in range(60)))
    for _ in range(3):
        answer = simulate("copytree", written, "--rate", "6000000B/s", "--folder", tmp_path)
        assert answer.code == 0 and answer.out.endswith("undone\n"), answer
        took = float(re.search(r" in ([0-9.]+) s, ", answer.out).group(1))  # type: ignore[union-attr]
        if abs(took - 2) <= 0.1:  # 12,000,000 bytes
            break
    else:
        pytest.fail(f"took {took} s")
    assert [path.name for path in tmp_path.iterdir()] == ["listing"]


def test_it_ends_when_its_time_is_over_and_when_interrupted(tmp_path: Path) -> None:
    written = tmp_path / "listing"
    written.write_bytes(b"f 9000000 x\n")
    answer = simulate("copytree", written, "--duration", "1s", "--rate", "1MiB/s", "--folder", tmp_path)
    assert answer.code == 1 and "the duration is over after 1." in answer.err, answer
    with started("copytree", written, "--rate", "1MiB/s", "--folder", tmp_path) as process:
        until(process, "explain: ")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["listing"]


def test_nothing_to_make(tmp_path: Path) -> None:
    written = tmp_path / "listing"
    written.write_bytes(b"total 12\n-rw-r--r-- 1 root root 5 Jan  1 00:00 x\n")
    answer = simulate("copytree", written, "--folder", tmp_path)
    assert (answer.code, answer.err) == (1, f"memtriage simulate: {written}: no line fits the format %y %s %P\\n, out of 2\n")


def test_too_many_files_for_the_memory_that_is_left(tmp_path: Path) -> None:
    written = tmp_path / "listing"
    written.write_bytes(b"f 900000000000000 x\n")
    answer = simulate("copytree", written, "--limit", "900TiB", "--folder", tmp_path)
    assert answer.code == 1 and "tree and copy may take 900 TiB of memory" in answer.err, answer
    assert [path.name for path in tmp_path.iterdir()] == ["listing"]
