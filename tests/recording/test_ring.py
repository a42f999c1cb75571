"""The ring in a file: going round, found again by halving, read while written, refused where it must be."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memtriage.recording import Busy, Recording, Refused, Ring, Unreadable, layout, lock
from memtriage.recording.scan import Window, backwards, newest, scan
from tests.recording import images, made, torture

SIZE = 256 * 1024


def test_goes_round_and_every_sample_left_is_what_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    ring = Ring.open(path, SIZE)
    author = made.Author(ring)
    truth = {}
    for _ in range(600):
        seq, content = author.write()
        truth[seq] = content
        if seq % 37 == 0:
            found = newest(ring.handle, ring.file.name, ring.file.size)
            assert found is not None and found.head.seq == seq
    with Recording(path) as recording:
        samples = list(recording.samples())
        assert 150 < len(samples) < 400
        assert [sample.head.seq for sample in samples] == list(range(samples[0].head.seq, 601))
        assert all(sample.content == truth[sample.head.seq] for sample in samples)
        # What can no longer be read stood before all of these, against a record that has been overwritten.
        assert len(recording.entries) - len(samples) < author.key_every
        order = [entry.head.seq for entry in backwards(ring.handle, ring.file.name, ring.file.size, recording.entries[-1], 1000)]
        assert order == list(range(600, 600 - len(order), -1)) and len(order) >= len(samples)
    assert os.stat(path).st_size == SIZE


def test_goes_on_where_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    for run in range(5):
        ring = Ring.open(path, SIZE)
        assert ring.seq == 100 * run + 1
        author = made.Author(ring, seed=run)
        for _ in range(100):
            author.write()
        ring.close()
    with Recording(path) as recording:
        gaps = recording.gaps()
        assert [(gap.after.seq, gap.restart, gap.lost) for gap in gaps] == [(300, True, 0), (400, True, 0)]


@pytest.mark.parametrize("written", [0, 1, 2, 30, 300])
def test_only_the_recent_part(tmp_path: Path, written: int) -> None:
    path = str(tmp_path / "r")
    ring = Ring.open(path, SIZE)
    author = made.Author(ring)
    for _ in range(written):
        author.write()
    with Recording(path, 20.0) as recording:
        seqs = [sample.head.seq for sample in recording.samples()]
    assert seqs == list(range(written - len(seqs) + 1, written + 1))
    assert min(written, 21) <= len(seqs) <= 21 + author.key_every


def test_followed_while_it_grows(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    ring = Ring.open(path, SIZE)
    author = made.Author(ring)
    author.write()
    with Recording(path) as recording:
        seen = [entry.head.seq for entry in recording.entries]
        for _ in range(200):
            for _ in range(3):
                author.write()
            fresh = recording.refresh()
            assert len(list(recording.samples_of(fresh))) == 3
            seen += [entry.head.seq for entry in fresh]
    assert seen == list(range(1, 602))


def test_read_while_it_is_written(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    author = made.Author(Ring.open(path, SIZE))
    truth = dict(author.write() for _ in range(50))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            seq, content = author.write()
            truth[seq] = content

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(12):
            with Recording(path) as recording:
                found = list(recording.samples())
                assert all(sample.content == truth[sample.head.seq] for sample in found if sample.head.seq in truth)
    finally:
        stop.set()
        thread.join()


def test_gaps_by_the_clock_that_does_not_step(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    author = made.Author(Ring.open(path, SIZE))
    second = 10**9
    for boot, real in ((1, 1000), (2, 1001), (3, 5000), (4, 1003), (9, 1008), (10, 1009)):  # the wall clock steps; at 4 s it stands still
        author.write(real * second, boot * second)
    author.seq += 3
    author.write(1013 * second, 14 * second)
    with Recording(path) as recording:
        assert [(gap.after.seq, gap.seconds, gap.lost, gap.restart) for gap in recording.gaps()] == [(4, 5.0, 0, False), (6, 4.0, 3, False)]


def test_a_boot_is_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    author = made.Author(Ring.open(path, SIZE))
    author.write(100 * 10**9, 5000 * 10**9)
    author.write(160 * 10**9, 20 * 10**9)
    with Recording(path) as recording:
        gap, = recording.gaps()
        assert (gap.restart, gap.seconds) == (True, 60.0)


def test_at_a_moment(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    author = made.Author(Ring.open(path, SIZE))
    for _ in range(20):
        author.write()
    with Recording(path) as recording:
        sample = recording.at(1_700_000_007.5)
        assert sample is not None and sample.head.seq == 7
        assert recording.at(1_600_000_000) is None
        assert [one.head.seq for one in recording.samples(1_700_000_003, 1_700_000_005)] == [3, 4, 5]


def test_another_size_is_kept_beside(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    ring = Ring.open(path, SIZE)
    made.Author(ring).write()
    ring.close()
    said: list[str] = []
    Ring.open(path, 2 * SIZE, said.append).close()
    assert said == [f"{path} had {SIZE} bytes and not {2 * SIZE}: kept as {path}.old"]
    assert os.stat(path).st_size == 2 * SIZE
    with Recording(path + ".old") as recording:
        assert len(recording.entries) == 1


def test_a_cut_recording_is_kept_beside_too(tmp_path: Path) -> None:
    path = tmp_path / "r"
    Ring.open(str(path), SIZE).close()
    path.write_bytes(path.read_bytes()[: SIZE // 2])
    Ring.open(str(path), SIZE).close()
    assert (tmp_path / "r.old").stat().st_size == SIZE // 2


@pytest.mark.parametrize("content", [b"x", b"\0" * SIZE, b"memtriage recording\n" + b"\x09\0" + b"\0" * 9000])
def test_what_is_no_recording_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(Refused, match="is not a recording of this version; move it away"):
        Ring.open(str(path), SIZE)
    assert path.read_bytes() == content
    with pytest.raises(Unreadable, match=r"not a recording|version 9; this program reads versions 1 and 2"):
        Recording(str(path))


def test_links_fifos_and_folders(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(Refused, match="symbolic link"):
        Ring.open(str(tmp_path / "link"), SIZE)
    assert target.read_bytes() == b"precious"
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", ".", "nothing/there"):
        with pytest.raises((OSError, Refused)):
            Ring.open(str(tmp_path / name), SIZE)
    for name in ("fifo", ".", "nothing", "a\0b"):
        with pytest.raises(Unreadable):
            Recording(str(tmp_path / name))


def test_a_new_recordings_name_is_on_disk_before_its_first_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut leaves r.new, which the next start removes."""
    synced: list[tuple[str, list[str]]] = []
    sync = os.fsync

    def seen(handle: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{handle}"), sorted(os.listdir(tmp_path))))
        sync(handle)

    monkeypatch.setattr(os, "fsync", seen)
    Ring.open(str(tmp_path / "r"), SIZE).close()
    assert synced == [(f"{tmp_path}/r.new", ["r.new"]), (str(tmp_path), ["r"])]


def test_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="at least 262144 bytes"):
        Ring.open(str(tmp_path / "r"), 1000)


def test_a_second_recorder_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    held = lock(path)
    with pytest.raises(Busy, match=f"process {os.getpid()} records to {path} already"):
        lock(path)
    os.close(held)
    os.close(lock(path))


def test_files_of_others_in_its_place_are_not_touched(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    os.link(precious, tmp_path / "r.lock")
    with pytest.raises(Refused, match=r"r\.lock is not this user's own file; remove it"):
        lock(str(tmp_path / "r"))
    os.link(precious, tmp_path / "r.new")
    Ring.open(str(tmp_path / "r"), SIZE).close()
    assert precious.read_bytes() == b"precious"


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A small one, mounted there."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, timeout=20, check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], timeout=20, check=True)


@pytest.mark.needs_root
def test_a_full_disk_is_said_before_anything_is_there(tmp_path: Path) -> None:
    with disk(tmp_path, "128k"):
        with pytest.raises(OSError, match="262144 bytes wanted, 131072 left") as caught:
            Ring.open(str(tmp_path / "r"), SIZE)
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(tmp_path) == []


@pytest.mark.needs_root
def test_on_a_full_disk_what_is_there_stays_and_goes_on(tmp_path: Path) -> None:
    with disk(tmp_path, "1m"):
        path = str(tmp_path / "r")
        Ring.open(path, SIZE).close()
        said: list[str] = []
        with pytest.raises(OSError, match="No space left"):
            Ring.open(path, 4 * SIZE, said.append)
        assert (os.listdir(tmp_path), said) == (["r"], [])
        with open(tmp_path / "fill", "wb", buffering=0) as handle, pytest.raises(OSError, match="No space left"):
            while True:
                handle.write(bytes(65536))
        held = lock(path)  # though there is no room to say who holds it
        with pytest.raises(Busy, match=r"process \(unknown\) records to"):
            lock(path)
        os.close(held)
        ring = Ring.open(path, SIZE)
        made.Author(ring).write()
        ring.sync()
        ring.close()
        with Recording(path) as recording:
            assert len(recording.entries) == 1


def test_a_record_in_recorded_text_is_not_taken_for_one(tmp_path: Path) -> None:
    """Anybody may put a record's bytes into a command line; they do not know the file's name, and a whole record hides what is in it."""
    path = tmp_path / "r"
    ring = Ring.open(str(path), SIZE)
    author = made.Author(ring)
    author.write()
    forged = bytearray(layout.ALIGN)
    layout.pack_into(forged, 0, layout.Head(b"\0" * 8, 10**9, 1, 1, 0, 0, 0, 1000, 0, layout.KEY, 0, 0))
    os.pwrite(ring.handle, forged, ring.offset)
    own = bytearray(layout.ALIGN)
    layout.pack_into(own, 0, layout.Head(ring.file.name, 10**9, 1, 1, 0, 0, 0, 1000, 0, layout.KEY, 0, 0))
    os.pwrite(ring.handle, own, layout.EDGE + 64)  # inside the first record: it is damaged now, and this one seen
    with Recording(str(path)) as recording:
        assert [entry.head.seq for entry in recording.entries] == [10**9]
        assert [sample.content.sources for sample in recording.samples()] == [{}]


def test_images_cut_and_zeroed(tmp_path: Path) -> None:
    path, entries, truth = images.original(tmp_path, 700)
    data = path.read_bytes()
    chance = random.Random(3)
    for _ in range(12):
        body, start, end = images.damaged(chance, data)
        (tmp_path / "image").write_bytes(body)
        assert images.wrong(tmp_path / "image", entries, truth, start, end) is None


def test_both_heads_gone(tmp_path: Path) -> None:
    path, entries, truth = images.original(tmp_path, 700)
    data = bytearray(path.read_bytes())
    data[: layout.EDGE] = bytes(layout.EDGE)
    data[-layout.EDGE :] = bytes(layout.EDGE)
    path.write_bytes(data)
    assert images.wrong(path, entries, truth, 0, layout.EDGE) is None


def test_killed_at_random_moments() -> None:
    done = subprocess.run([sys.executable, torture.__file__, "4"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.endswith(" samples, 0 failures\n"), done
    assert done.returncode == 0


def test_scan_and_halving_agree_on_what_is_newest(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    ring = Ring.open(path, 2 * 1024 * 1024)
    author = made.Author(ring)
    for count in (1, 5, 60, 300, 700, 900):
        for _ in range(count):
            author.write()
        everything = list(scan(Window(ring.handle), ring.file.name, layout.EDGE, ring.end))
        found = newest(ring.handle, ring.file.name, ring.file.size)
        assert found == max(everything, key=lambda entry: entry.head.seq)
