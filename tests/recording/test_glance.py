"""What a record says without being unpacked; files of the version before, in which none does."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage.procfs import meminfo
from memtriage.procfs.files import ProcfsError
from memtriage.recording import Content, Recording, Ring, Source, glance, layout
from tests.recording.made import Author

FIRST_VERSION = Path(__file__).resolve().parents[1] / "fixtures/formats/recording-1.gz"


@pytest.mark.parametrize(("text", "value"), [
    (b"MemFree:       5 kB\n", 5120), (b"a\nMemFree: 7 kB\nb\n", 7168), (b"MemFree: 7 kB", None), (b"MemFree:", None), (b"", None),
    (b"SwapMemFree: 7 kB\n", None), (b"MemFree: -7 kB\n", None), (b"MemFree: 7 MB\n", None), (b"MemFree: 7\n", None),
    (b"MemFree: 999999999999999 kB\n", 999999999999999 * 1024), (b"MemFree: 9999999999999999 kB\n", None)])
def test_a_line_of_meminfo(text: bytes, value: int | None) -> None:
    assert glance.value(text, b"MemFree:") == value


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"MemFree:", b"MemAvailable:", b" ", b"7", b"kB", b"\n", b"-"])).map(b"".join))
def test_it_never_says_what_the_parser_does_not(text: bytes) -> None:
    free, available = glance.read(glance.of(Content({"meminfo": Source(text, 0, 0, 0)}, {}, Source(None, 0, 0, 0))))
    try:
        found = meminfo.parse(text)
    except ProcfsError:
        return
    assert free in (-1, found.get("MemFree")) and available in (-1, found.get("MemAvailable"))


@pytest.mark.parametrize("source", [None, Source(None, 13, 0, 0), Source(None, 0, 0, 0)])
def test_without_meminfo_it_is_unknown(source: Source | None) -> None:
    content = Content({"meminfo": source} if source else {}, {}, Source(None, 0, 0, 0))
    assert glance.read(glance.of(content)) == (glance.UNKNOWN, glance.UNKNOWN) == glance.read(b"cut")


def test_a_recording_of_the_version_before_is_continued(tmp_path: Path) -> None:
    """Its records stay, the file is of the new version from then on, and both kinds are read."""
    path = tmp_path / "recording"
    path.write_bytes(gzip.decompress(FIRST_VERSION.read_bytes()))
    with Recording(str(path)) as recording:
        before = {sample.head.seq: sample.content for sample in recording.samples()}
        assert not any(entry.head.flags & layout.PLAIN for entry in recording.entries)
    ring = Ring.open(str(path), os.path.getsize(path))
    author = Author(ring)
    written = dict(author.write() for _ in range(20))
    ring.close()
    data = path.read_bytes()
    for edge in (0, len(data) - layout.EDGE):
        head = layout.unpack_file(data[edge : edge + layout.EDGE])
        assert head is not None and head.version == layout.VERSION == struct.unpack_from("<H", data, edge + 20)[0]
    with Recording(str(path)) as recording:
        assert {sample.head.seq: sample.content for sample in recording.samples()} == {**before, **written}


def test_a_record_too_short_for_it_is_damaged_and_hides_none(tmp_path: Path) -> None:
    """Nobody's recorder writes one: its checksums are right."""
    ring = Ring.open(str(tmp_path / "r"), layout.SMALLEST_FILE)
    author = Author(ring)
    number, content = author.write()
    ring.write(layout.describe(b"short", 5, number + 1, 1, 1, 1000), b"short")
    author.seq += 1
    later = dict([author.write()])
    with Recording(str(tmp_path / "r")) as recording:
        assert len(recording.entries) == 3
        assert {sample.head.seq: sample.content for sample in recording.samples()} == {number: content, **later}


def test_the_checksum_covers_it(tmp_path: Path) -> None:
    ring = Ring.open(str(tmp_path / "r"), layout.SMALLEST_FILE)
    author = Author(ring)
    author.write()
    offset = ring.back * layout.ALIGN + layout.ALIGN
    assert zlib.crc32(os.pread(ring.handle, 16, offset)) != zlib.crc32(b"\7" * 16)
    os.pwrite(ring.handle, b"\7" * 16, offset)
    with Recording(str(tmp_path / "r")) as recording:
        assert recording.entries == []
