"""Makes a tree of files like the one in a listing, with random contents and at a bounded size, and copies it: what a build does.

Such a tree leaves page cache and reclaimable slab behind, which is harmless, and shows what is not.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Callable, NamedTuple

from memtriage.quantity import MIB
from memtriage.simulate import listing, measure, safety
from memtriage.simulate.leaker import Cleaner
from memtriage.simulate.place import Refused
from memtriage.simulate.screen import Screen
from memtriage.wording import duration, signed, size

LIMIT = 251 * MIB
INODE = 1400
"""Bytes of slab that a file takes at most on the usual file systems: inode and dentry."""
CHUNK = 1 << 17


class Wish(NamedTuple):
    """``rate`` in bytes a second, ``limit`` in bytes for tree and copy together, ``duration`` in seconds or ``None`` for no end."""

    rate: float
    limit: int
    duration: float | None
    folder: str


class Pace:
    """Keeps the bytes written at a rate, looks after the reserve each second, and ends what lasts too long."""

    def __init__(self, wish: Wish, total: int, screen: Screen) -> None:
        self.wish, self.total, self.screen = wish, total, screen
        self.done = 0
        self.begin()

    def begin(self) -> None:
        self.start = self.looked = time.monotonic()

    def add(self, count: int, what: str) -> None:
        self.done += count
        early = self.done / self.wish.rate - (time.monotonic() - self.start)
        if early > 0.005:
            time.sleep(min(early, max(0.0, self.left())))
        now = time.monotonic()
        if now - self.looked >= 1:
            self.looked = now
            found = safety.room()
            if found.available < found.reserve:
                raise Refused(f"stopped at {size(self.done)}: only {size(found.available)} is available {found.where()}")
        if self.left() <= 0:
            raise Refused(f"the duration is over after {size(self.done)} of {size(self.total)}")
        self.screen.progress(lambda: f"{what}: {size(self.done)} of {size(self.total)} after {now - self.start:.0f} s")

    def left(self) -> float:
        return float("inf") if self.wish.duration is None else self.wish.duration - (time.monotonic() - self.start)


def run(path: str, form: str, wish: Wish, screen: Screen) -> None:
    """Raises :class:`Refused`; whatever happens, nothing is left behind."""
    try:
        compiled = listing.compiled(form)
        if path == "-":
            tree = listing.read(sys.stdin.buffer, compiled)
        else:
            with open(path, "rb") as stream:
                tree = listing.read(stream, compiled)
    except ValueError as error:
        raise Refused(f"--format: {error}") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    if not tree.entries:
        raise Refused(f"{path}: no line fits the format {form}, out of {tree.left_out}")
    whole = sum(entry.size for entry in tree.entries)
    scale = min(1.0, wish.limit / 2 / whole) if whole else 1.0
    total = 2 * sum(int(entry.size * scale) for entry in tree.entries)
    try:
        folder = tempfile.mkdtemp(prefix="memtriage-simulate-", dir=wish.folder or None)
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from None
    cleaner = Cleaner(folder, "")
    try:
        _check(folder, len(tree.entries), total)
        _run(folder, tree, scale, Pace(wish, total, screen))
    finally:
        if not cleaner.finish():
            screen.say(f"could not remove all of {folder}")
    screen.say("undone")


def _check(folder: str, entries: int, total: int) -> None:
    found = safety.room()
    needed = total + 2 * entries * INODE
    if needed > found.spare:
        raise Refused(f"tree and copy may take {size(needed)} of memory; {size(found.available)} is available {found.where()} and "
                      f"{size(found.reserve)} must be left")
    disk = os.statvfs(folder)
    spare = disk.f_bavail * disk.f_frsize - max(64 * MIB, disk.f_blocks * disk.f_frsize // 20)
    if total + 2 * entries * disk.f_frsize > spare or (disk.f_files and 2 * entries > disk.f_favail * 9 // 10):
        raise Refused(f"{folder}: too little room on that file system for {size(total)} and {2 * entries} files, with 5% left")


def _run(folder: str, tree: listing.Tree, scale: float, pace: Pace) -> None:
    wish, screen = pace.wish, pace.screen
    left_out = f", {tree.left_out} lines left out" if tree.left_out else ""
    smaller = f", each file {1 / scale:.1f} times smaller" if scale < 1 else ""
    screen.say(f"simulate copytree: {len(tree.entries)} files and folders{left_out}, {size(pace.total)} with the copy{smaller}, "
               f"at {size(wish.rate)}/s in {folder}")
    screen.say("check_slab_growth: reclaimable caches of inodes and dentries grow: named as fastest, no suspect, no alarm")
    screen.say("explain: page_cache + slab_reclaimable grow: only cache, given back when needed")
    before = measure.parts()
    pace.begin()
    source, target = os.path.join(os.fsencode(folder), b"tree"), os.path.join(os.fsencode(folder), b"copy")
    made = sum(_made(lambda entry=entry: _make(source, entry, scale, pace)) for entry in tree.entries)  # type: ignore[misc]
    copied = sum(_made(lambda entry=entry: _copy(source, target, entry, pace)) for entry in tree.entries)  # type: ignore[misc]
    spent = time.monotonic() - pace.start
    now = measure.parts()  # waits for the counters where only root may ask for them
    slow = ", slower than asked" if pace.done < 0.95 * wish.rate * (spent - 0.1) else ""
    parts = ("page_cache", "slab_reclaimable", "slab_unreclaimable")
    grown = ", ".join(f"{name} {signed(now.get(name, 0) - before.get(name, 0))}" for name in parts)
    done = f"{size(pace.done)} in {spent:.1f} s, {size(pace.done / spent)}/s{slow}"
    screen.say(f"made {made} and copied {copied}, {done}; the ledger: {grown}")
    while 0 < pace.left() < float("inf"):
        screen.progress(lambda: f"holding the tree for another {duration(max(0.0, pace.left()))}")
        time.sleep(min(0.25, max(0.0, pace.left())))


def _made(work: Callable[[], None]) -> bool:
    """Entries that contradict each other, as a file with something in it, cost only themselves; a full disk costs all."""
    try:
        work()
    except (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    except OSError as error:
        raise Refused(f"{error.strerror}") from None
    return True


def _make(base: bytes, entry: listing.Entry, scale: float, pace: Pace) -> None:
    path = os.path.join(base, entry.path)
    if entry.kind == "d":
        os.makedirs(path, 0o700, exist_ok=True)
        return pace.add(0, "making")
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    if entry.kind == "l":
        os.symlink(b"nowhere", path)
        return pace.add(0, "making")
    left = int(entry.size * scale)
    with open(path, "xb", buffering=0) as file:
        pace.add(0, "making")
        while left > 0:
            step = file.write(os.urandom(min(left, CHUNK)))
            left -= step
            pace.add(step, "making")
    return None


def _copy(source: bytes, target: bytes, entry: listing.Entry, pace: Pace) -> None:
    old, new = os.path.join(source, entry.path), os.path.join(target, entry.path)
    if entry.kind == "d":
        os.makedirs(new, 0o700, exist_ok=True)
        return None
    os.makedirs(os.path.dirname(new), 0o700, exist_ok=True)
    if entry.kind == "l":
        os.symlink(os.readlink(old), new)
        return None
    with open(old, "rb", buffering=0) as reader, open(new, "xb", buffering=0) as writer:
        while True:
            block = reader.read(CHUNK)
            if not block:
                return None
            writer.write(block)
            pace.add(len(block), "copying")
