"""Runs one leak: sets it up, grows it at its pace, holds it, undoes it, and says all that."""

from __future__ import annotations

import os
import secrets
import tempfile
import time

from memtriage.procfs import files
from memtriage.quantity import MIB, prime_mib
from memtriage.record import NamedTuple
from memtriage.simulate import groups, kinds, measure, safety
from memtriage.simulate.kinds import Kind
from memtriage.simulate.leaker import Cleaner, Leaker
from memtriage.simulate.place import Place, Refused
from memtriage.simulate.screen import Screen
from memtriage.wording import clean, duration, size

STEP = 16 * MIB
"""Bytes at most between two looks at what is left."""
TICKS = (0.02, 0.5)
"""Seconds between two steps, shortest and longest; in between a two-hundredth of the time the whole takes."""


class Wish(NamedTuple):
    """``rate`` in bytes a second; ``limit`` in bytes, ``None`` for the kind's default; ``duration`` in seconds from start to undoing."""

    rate: float
    limit: int | None
    duration: float
    folder: str


def choose(name: str, place: Place, screen: Screen) -> tuple[Kind, measure.Cost]:
    """The kind and what a unit of it costs here. ``slab`` is the first of its kind that this kernel counts. Raises :class:`Refused`."""
    reasons = []
    for kind in (kinds.KINDS[word] for word in (kinds.CHOICE if name == "slab" else (name,))):
        if kind.exact:
            return kind, measure.Cost(kind.guess, [])
        screen.progress(lambda kind=kind: f"measuring what one {kind.unit} costs here ...")  # type: ignore[misc]
        try:
            return kind, _cost(kind, place)
        except Refused as refusal:
            reasons.append(f"{kind.name}: {refusal}")
    raise Refused("; ".join(reasons))


def _in_tmpfs(folder: str) -> bool:
    """Whether mountinfo (proc_pid_mountinfo(5)) calls the file system with the folder's device number a tmpfs."""
    device = os.stat(folder).st_dev
    number = b"%d:%d" % (os.major(device), os.minor(device))
    lines = [line.partition(b" - ") for line in files.read("/proc", "self/mountinfo").splitlines()]
    return any(mount.split()[2:3] == [number] and kind.split()[:1] == [b"tmpfs"] for mount, _, kind in lines)


def _cost(kind: Kind, place: Place) -> measure.Cost:
    folder = ""
    if kind.name == "negative" and _in_tmpfs(place.folder):
        raise Refused("tmpfs keeps no negative dentries; give a folder on a disk with --folder")
    if kind.folder:  # of its own, since the kernel keeps what it knows of a folder as long as the folder is there
        folder = os.path.join(place.folder, "probe")
        os.mkdir(folder)
    before = measure.held(kind.parts)
    try:
        return measure.cost(kind.make, place._replace(folder=folder), kind.parts, kind.guess)
    finally:
        if folder:
            os.rmdir(folder)
        measure.await_return(kind.parts, before)


def run(name: str, wish: Wish, screen: Screen) -> None:
    """Raises :class:`Refused` where it cannot be done or had to stop; whatever happens, nothing is left behind."""
    first = kinds.KINDS[kinds.CHOICE[0] if name == "slab" else name]
    found = safety.room()
    limit = wish.limit if wish.limit is not None else safety.default_limit(first, found)
    safety.check_limit(first, limit, found)
    folder = group = ""
    try:
        if first.folder:
            folder = tempfile.mkdtemp(prefix="memtriage-simulate-", dir=wish.folder or None)
        if first.groups:
            group = groups.new_folder("/sys", f"memtriage-simulate-{secrets.token_hex(4)}")
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror} (rights needed: {first.rights})") from None
    cleaner = Cleaner(folder, group)
    try:
        place = Place(1, folder, group)
        kind, cost = choose(name, place, screen)
        _Run(kind, cost, wish, _possible(kind, cost, wish, limit), screen).whole(place)
    finally:
        if not cleaner.finish():
            screen.say(f"could not remove all of {clean(folder + ' ' + group, 120)}")


def _possible(kind: Kind, cost: measure.Cost, wish: Wish, limit: int) -> int:
    """``limit``, or for a default what a limit outside memory leaves of it."""
    most = kinds.capacity(kind, cost.part)
    if most is None or limit <= most:
        return limit
    fits = prime_mib(most)
    if wish.limit is not None or fits is None:
        advice = f"; --limit {fits // MIB}MiB would fit" if fits else ""
        raise Refused(f"{kind.name} cannot hold more than {size(most)} here{advice}")
    return fits


class _Run:
    def __init__(self, kind: Kind, cost: measure.Cost, wish: Wish, limit: int, screen: Screen) -> None:
        self.kind, self.cost, self.wish, self.screen = kind, cost, wish, screen
        self.each = cost.part
        self.limit = limit
        self.units = max(1, round(limit / self.each))
        self.made = 0
        self.before: dict[str, int] = {}
        self.free: dict[str, measure.Slots] = {}

    @property
    def held(self) -> float:
        return self.made * self.each

    def whole(self, place: Place) -> None:
        leaker = Leaker(self.kind.make, place._replace(units=self.units), self.kind.process)
        try:
            self._introduce()
            self.before, self.free = measure.parts(), measure.slots(self.kind.parts)
            self._grow(leaker)
        finally:
            leaker.end()
        self.screen.say("undone")

    def _introduce(self) -> None:
        kind, say = self.kind, self.screen.say
        slab = kind.parts[0].startswith("slab")
        say(f"simulate {kind.name}: {self.limit / MIB:g} MiB ({self.units} x {kind.unit}) of {' + '.join(kind.parts)} "
            f"at {size(self.wish.rate)}/s, undone after {duration(self.wish.duration)} or with Ctrl-C")
        if not kind.exact:
            where = f", in {', '.join(clean(cache, 32) for cache in self.cost.caches)}" if self.cost.caches else ""
            say(f"measured: one {kind.unit} costs {self.each:.0f} bytes here{where}")
        say(f"check_slab_growth: {kind.alarm()}")
        say(f"explain: {kind.story()}" + (f", mostly slab cache '{clean(self.cost.caches[0], 32)}'" if self.cost.caches and slab else ""))

    def _grow(self, leaker: Leaker) -> None:
        step = max(1, int(STEP / self.each))
        tick = min(max(self.limit / self.wish.rate / 200, TICKS[0]), TICKS[1])
        start = looked = time.monotonic()
        filled, took = False, 0.0
        while True:
            now = time.monotonic() - start
            if now >= self.wish.duration:
                break
            # As much as will be due when the next step is done: steps take their time, too.
            due = min(self.units, int(self.wish.rate * (now + tick + took) / self.each), self.made + step)
            more = max(0, due - self.made)  # a quick step after a slow one: more is there than is due
            leaker.grow(more)  # 0, too: is it still there?
            took = time.monotonic() - start - now
            self.made += more
            if more == step or time.monotonic() - looked >= 1:
                looked = time.monotonic()
                self._watch()
            if self.made == self.units and not filled:
                filled = True
                self.screen.say(self._reached(time.monotonic() - start))
            self.screen.progress(lambda now=now: self._bar(now))  # type: ignore[misc]
            if more < step:
                time.sleep(max(0.001, min(tick, self.wish.duration - now)))
        if not filled:
            self.screen.say(self._reached(self.wish.duration))

    def _reached(self, spent: float) -> str:
        now = measure.parts()
        grown = sum(now.get(name, 0) - self.before.get(name, 0) for name in self.kind.parts)
        now_free = measure.slots(self.kind.parts)
        filled = sum(self.free[name].free - now_free[name].free for name in self.cost.caches if name in self.free and name in now_free)
        old = f" and {size(filled)} in slots of slabs that were free" if filled > self.held / 50 else ""
        change = f"{size(abs(grown))} {'less' if grown < 0 else 'more'} {' + '.join(self.kind.parts)}"
        slow = self.held + 2 * self.each < 0.95 * self.wish.rate * (spent - 2 * TICKS[0])
        return (f"holding {size(self.held)} ({self.made} x {self.kind.unit}) after {spent:.2f} s, {size(self.held / spent)}/s"
                f"{', slower than asked' if slow else ''}; the ledger says {change}{old}")

    def _watch(self) -> None:
        """Raises :class:`Refused` where others have taken what was to be left."""
        found = safety.room()
        if found.available < found.reserve:
            raise Refused(f"stopped at {size(self.held)}: only {size(found.available)} is available {found.where()}, "
                          f"{size(found.reserve)} must be left")

    def _bar(self, spent: float) -> str:
        width = 24
        full = int(width * self.made / self.units)
        left = duration(max(0.0, self.wish.duration - spent))
        return (f"[{'#' * full}{'.' * (width - full)}] {size(self.held)} of {size(self.limit)} after {duration(spent)}, "
                f"{left} left; {size(safety.room().available)} available")
