"""The reading side: samples by time, as they were read, gaps as gaps. The file may be written to meanwhile, or be what is left of one."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator

from memtriage.record import NamedTuple
from memtriage.recording import glance, layout, payload
from memtriage.recording.layout import FIRST
from memtriage.recording.scan import Entry, Window, backwards, commonest, newest, scan, sound

_DEEPEST = 64
_KEPT = 12


class Unreadable(Exception):
    """The file is not a recording, or cannot be opened; the text says why."""


class Sample(NamedTuple):
    """One sample of a recording."""

    head: layout.Head
    content: payload.Content

    @property
    def time(self) -> float:
        """The wall clock when it began, seconds since 1970."""
        return self.head.real_ns / 1e9

    @property
    def boot_time(self) -> float:
        """Seconds since boot when it began, time asleep included."""
        return self.head.boot_ns / 1e9

    def note(self, name: str, source: str = "meta") -> str | None:
        """A line ``name value`` of what the recorder says of itself (``meta``) or of this sample (``sample``)."""
        found = self.content.sources.get(source)
        for line in (found.data or b"").split(b"\n") if found else ():
            key, _, value = line.partition(b" ")
            if key == name.encode():
                return value.decode("utf-8", "backslashreplace")
        return None

    def number(self, name: str, source: str = "meta") -> int | None:
        """The same as a :func:`number`."""
        return number(self.note(name, source) or "")


def number(word: str) -> int | None:
    """A number below 10**18 without a sign; ``None`` for anything else."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 18 else None


class Gap(NamedTuple):
    """A time without samples, between two that follow each other."""

    after: layout.Head
    before: layout.Head
    seconds: float
    lost: int
    """Samples that were due and are not in the file."""
    restart: bool
    """The recorder was started anew in between."""


class Recording:
    """A recording open for reading. Raises :class:`Unreadable` where there is none, and never anything for damage within one."""

    def __init__(self, path: str, seconds: float | None = None) -> None:
        """``seconds``: only the records of so long before the newest, found without reading the whole file."""
        self.path = path
        try:
            self.handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise Unreadable(f"{path}: {error.strerror if isinstance(error, OSError) and error.strerror else 'no such file'}") from None
        try:
            self.file = file_head(self.handle, path)
            self.entries = self._recent(seconds) if seconds is not None else self._all()
        except OSError as error:
            self.close()
            raise Unreadable(f"{path}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise
        self._by_seq = {entry.head.seq: entry for entry in self.entries}
        self._cache: dict[int, payload.Content] = {}
        self.wanted: frozenset[str] | None = None
        """Where only some sources need to be right (:func:`memtriage.recording.payload.decode`): these, and always the processes."""

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def _all(self) -> list[Entry]:
        found = {entry.head.seq: entry for entry in scan(Window(self.handle), self.file.name, layout.EDGE, self.file.size)}
        return [found[seq] for seq in sorted(found)]

    def _recent(self, seconds: float) -> list[Entry]:
        last = newest(self.handle, self.file.name, self.file.size)
        if last is None:
            return self._all()
        found: list[Entry] = []
        age = 0.0
        for entry in backwards(self.handle, self.file.name, self.file.size, last, 1_000_000):
            age += apart(entry.head, found[-1].head) if found else 0.0
            found.append(entry)
            if (age > seconds and entry.head.kind == layout.KEY) or entry.head.boot_ns > last.head.boot_ns:
                break
        return found[::-1]

    def refresh(self) -> list[Entry]:
        """Looks for records written since, and returns them. What the recorder overwrote meanwhile is a gap like any other."""
        last = self.entries[-1] if self.entries else None
        seq = last.head.seq if last else 0
        offset = last.offset + last.head.length if last else layout.EDGE
        end = self.file.size - layout.EDGE
        window = Window(self.handle, 65536)
        fresh: list[Entry] = []
        wrapped = offset == layout.EDGE
        while True:
            head = sound(window, self.file.name, offset, end)
            if head is not None and head.seq > seq and head.kind != layout.FILLER:
                seq = head.seq
                fresh.append(Entry(offset, head))
                offset += head.length
            elif not wrapped:
                offset, wrapped = layout.EDGE, True
            else:
                break
        self.entries += fresh
        self._by_seq.update((entry.head.seq, entry) for entry in fresh)
        return fresh

    def content(self, entry: Entry) -> payload.Content:
        """What a record holds. Raises :class:`~memtriage.recording.payload.Damaged` where it, or one it is compressed against, is gone."""
        chain: list[Entry] = []
        base: payload.Content | None = None
        while True:
            known = self._cache.get(entry.head.seq)
            if known is not None:
                base = known
                break
            chain.append(entry)
            if entry.head.kind == layout.KEY:
                break
            before = self._by_seq.get(entry.head.seq - entry.head.base)
            if before is None or entry.head.base == 0 or len(chain) > _DEEPEST:
                raise payload.Damaged("the record it is compressed against is gone")
            entry = before
        for link in reversed(chain):
            base = payload.decode(self._inflated(link), base if link.head.kind == layout.DELTA else None, self.wanted)
            self._cache[link.head.seq] = base
            while len(self._cache) > _KEPT:
                del self._cache[next(iter(self._cache))]
        assert base is not None
        return base

    def _inflated(self, entry: Entry) -> bytes:
        head = entry.head
        try:
            data = os.pread(self.handle, layout.ALIGN + head.stored, entry.offset)
            found = layout.unpack(data)
            # But for the wall clock, which a reader may have set right.
            if found is None or found._replace(real_ns=head.real_ns) != head or zlib.crc32(data[layout.ALIGN :]) != head.check:
                raise payload.Damaged("overwritten meanwhile")
            unpacker = zlib.decompressobj(-15)
            raw = unpacker.decompress(data[layout.ALIGN + (glance.SIZE if head.flags & layout.PLAIN else 0) :], head.raw + 1)
        except (OSError, zlib.error) as error:
            raise payload.Damaged(str(error)) from None
        if len(raw) != head.raw:
            raise payload.Damaged("not as long as it says")
        return raw

    def last(self, seconds: float, until: Sample | None = None) -> list[Entry]:
        """The newest record, or that of ``until``, and those of so long before it, whatever happened to the wall clock meanwhile."""
        entries = self.entries if until is None else [entry for entry in self.entries if entry.head.seq <= until.head.seq]
        age, place = 0.0, max(0, len(entries) - 1)
        while place > 0:
            age += apart(entries[place - 1].head, entries[place].head)
            if age > seconds:
                break
            place -= 1
        return entries[place:]

    def samples(self, start: float | None = None, end: float | None = None) -> Iterator[Sample]:
        """The samples whose wall clock lies in ``start`` to ``end`` (seconds since 1970), oldest first; damaged ones are left out."""
        yield from self.samples_of([entry for entry in self.entries if (start is None or entry.head.real_ns >= start * 1e9)
                                    and (end is None or entry.head.real_ns <= end * 1e9)])

    def samples_of(self, entries: list[Entry]) -> Iterator[Sample]:
        """The samples of these records, as :meth:`samples`."""
        for entry in entries:
            try:
                yield Sample(entry.head, self.content(entry))
            except payload.Damaged:
                continue

    def at(self, moment: float) -> Sample | None:
        """The sample that began last before ``moment`` (seconds since 1970), or at it, by the wall clock as it stood then, and can be read.

        For ``math.inf`` the newest, which after a clock was set back is another one.
        """
        entries = self.entries
        if moment != math.inf:
            entries = sorted((entry for entry in entries if entry.head.real_ns <= moment * 1e9), key=lambda entry: entry.head.real_ns)
        for entry in reversed(entries):
            try:
                return Sample(entry.head, self.content(entry))
            except payload.Damaged:
                continue
        return None

    def gaps(self, factor: float = 1.5) -> list[Gap]:
        """Where two samples lie further apart than ``factor`` intervals, or some are missing, or the recorder was started anew."""
        heads = [entry.head for entry in self.entries]
        found = (gap(before, after) for before, after in zip(heads, heads[1:]))
        return [one for one in found if one.lost or one.restart
                or one.seconds * 1000 > factor * max(one.after.interval_ms, one.before.interval_ms)]


def apart(before: layout.Head, after: layout.Head) -> float:
    """Seconds between two samples that follow each other: by boot time, which no change of the wall clock moves and which goes on in sleep.

    Across a start of the recorder the host may have been booted: there it is the wall clock.
    """
    restart = bool(after.flags & FIRST) or after.boot_ns < before.boot_ns
    span = after.real_ns - before.real_ns if restart else after.boot_ns - before.boot_ns
    return max(0.0, span / 1e9)


def gap(before: layout.Head, after: layout.Head) -> Gap:
    """What lies between two samples that follow each other."""
    restart = bool(after.flags & FIRST) or after.boot_ns < before.boot_ns
    return Gap(before, after, apart(before, after), 0 if restart else after.seq - before.seq - 1, restart)


def stepped(before: layout.Head, after: layout.Head) -> float:
    """Seconds that somebody set the wall clock ahead by (negative: back) between two samples of one run, beyond what slewing does."""
    if bool(after.flags & FIRST) or after.boot_ns < before.boot_ns:
        return 0.0
    step = (after.real_ns - before.real_ns - (after.boot_ns - before.boot_ns)) / 1e9
    return step if abs(step) > 1.0 else 0.0


def file_head(handle: int, path: str) -> layout.FileHead:
    """The file's head from either end; where both are gone, what the records themselves say."""
    size = os.fstat(handle).st_size
    start = os.pread(handle, layout.EDGE, 0)
    head = layout.unpack_file(start)
    if head is None and size > layout.EDGE:
        head = layout.unpack_file(os.pread(handle, layout.EDGE, size - layout.EDGE))
    if head is not None:
        return head._replace(size=min(head.size, max(size, 0) + layout.EDGE))
    other = layout.other_version(start)
    if other is not None:
        raise Unreadable(f"{path}: a recording of version {other}; this program reads versions {' and '.join(map(str, layout.READABLE))}")
    name = commonest(handle, size)
    if name is None:
        raise Unreadable(f"{path}: not a recording")
    return layout.FileHead(size + layout.EDGE, 0, name)
