"""A history of samples within bounds: which are worth their room (recent history dense, old sparse, however often a check runs),
and their compact form as bytes, whose size is one of the bounds."""

from __future__ import annotations

import json
from collections.abc import Collection

from memtriage.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

LIMIT = 176 * 1024
"""Bytes of a history at most. Reading and writing it anew is what a check pays for its memory, by the byte: tests/bench/bench_state.py."""
SHARE = LIMIT // 4
"""Bytes that one sample with its keys may take, so that there is room for a history of them."""
FORMAT = 1
TEXT = 255
"""Characters of a key or a boot id at most."""

MOST = 300
"""Samples kept at most. One over, and :data:`BATCH` go at once, so that most runs thin nothing."""
BATCH = 20
OLDEST_S = 8 * 86400.0
"""Samples of the present boot older than this go, except the one of the run before. A day more than the week that is promised."""
BOOTS = 8
"""Earlier boots kept at most: a host that reboots all the time must not fill its history with boots."""
EVEN_S = 60.0
"""Ages well below this count alike. Denser history than a few samples a minute costs the old history more than it tells."""
LATE_S = 60.0
"""A run may store its sample this much later than it took it. A stored sample further ahead of a new one is from another time line."""

_DIGITS_AS_0 = bytes.maketrans(b"123456789", b"000000000")

_known: tuple[str, bytes, list[Sample]] | None = None
"""What was last made into bytes, for a process that reads its own file again: a replay would spend a third of its time on it."""


class Sample(NamedTuple):
    """Raw counters at one moment."""

    boot: str
    """The boot id: counters and uptimes of two boots do not compare."""
    uptime: float
    """Seconds since boot on a clock that runs during suspend and that nobody sets."""
    values: dict[str, int]
    """The counters. A key that was not there is absent here too, never 0."""


def unsound(sample: Sample) -> str:
    """Says what is wrong with ``sample``; the empty string if nothing is. The comparisons are false for NaN."""
    boot, uptime, values = sample
    if type(boot) is not str or not 0 < len(boot) <= TEXT:
        return "the boot id of the sample is no short text"
    if type(uptime) not in (int, float) or not 0 <= uptime < 1e12:
        return "the uptime of the sample is no number of seconds"
    if not _short(values):
        return "a key of the sample is no short text"
    if not _whole(values.values()):
        return "a value of the sample is no whole number of 64 bits"
    return ""


def _short(keys: Collection[object]) -> bool:
    return all(type(key) is str and len(key) <= TEXT for key in keys)


def _whole(values: Collection[Any]) -> bool:
    return not values or (set(map(type, values)) == {int} and min(values) > -(2**64) and max(values) < 2**64)


def placed(old: list[Sample], new: Sample) -> tuple[list[Sample], int]:
    """Returns ``old`` with ``new`` in its place, oldest first and the boot of ``new`` last, and how many samples were left out.

    Runs that overlap may store in another order than they measured in, so a sample a little older than the last is put before it;
    one of the same uptime replaces. When stored samples of the same boot lie further ahead than :data:`LATE_S`, this is another
    time line (a machine snapshot restored, a captured tree): all those ahead are left out, since counters only make sense along one line.
    """
    boots: dict[str, dict[float, Sample]] = {}
    for sample in old:
        boots.setdefault(sample.boot, {})[sample.uptime] = sample
    present = boots.pop(new.boot, {})
    ahead = [uptime for uptime in present if uptime > new.uptime]
    if ahead and max(ahead) > new.uptime + LATE_S:
        for uptime in ahead:
            del present[uptime]
    else:
        ahead = []
    present[new.uptime] = new
    boots[new.boot] = present
    return [line[uptime] for line in boots.values() for uptime in sorted(line)], len(ahead)


def thinned(samples: list[Sample], most: int = MOST, fewer: int = MOST - BATCH, also: Sample | None = None) -> list[Sample]:
    """Returns ``samples``, ordered as :func:`placed` leaves them, without those too old and, if more than ``most``, only ``fewer`` of them.

    The first and the last of each boot and the one before the very last stay, and so does ``also``. Where even these are too many,
    the oldest go.
    """
    ages = _ages(samples)
    boot = samples[-1].boot
    boots = list(dict.fromkeys(sample.boot for sample in samples))[-1 - BOOTS :]
    last = len(samples) - 1
    keep = [
        place
        for place, sample in enumerate(samples)
        if sample.boot in boots and (sample.boot != boot or ages[place] <= OLDEST_S or place >= last - 1 or sample is also)
    ]
    if len(keep) <= most:
        return [samples[place] for place in keep]
    fixed = {last, last - 1}
    for before, after in zip(keep, keep[1:]):
        if samples[before].boot != samples[after].boot:
            fixed.update((before, after))
    fixed.update(place for place in keep if samples[place] is also)
    fixed.add(keep[0])
    return [samples[place] for place in _spread(ages, keep, fixed, fewer)]


def _ages(samples: list[Sample]) -> list[float]:
    """Returns how long ago each sample was taken; for an earlier boot, how long at least, as the time switched off is not known."""
    ages: list[float] = []
    since, end, boot = 0.0, samples[-1].uptime, samples[-1].boot
    for sample in reversed(samples):
        if sample.boot != boot:
            since, end, boot = since + end, sample.uptime, sample.boot
        ages.append(since + end - sample.uptime)
    ages.reverse()
    return ages


def _spread(ages: list[float], keep: list[int], fixed: set[int], fewer: int) -> list[int]:
    """Removes from ``keep`` the places whose removal leaves the smallest gap relative to its age, until ``fewer`` are left."""
    while len(keep) > fewer:
        costs = sorted(
            ((ages[keep[at - 1]] - ages[keep[at + 1]]) / (ages[keep[at]] + EVEN_S), at)
            for at in range(1, len(keep) - 1)
            if keep[at] not in fixed
        )
        if not costs:
            return keep[len(keep) - fewer :]
        going: set[int] = set()
        for _, at in costs:
            if len(keep) - len(going) <= fewer:
                break
            # With a neighbour gone in this round the gap would be wider than reckoned: leave it to the next round.
            if at - 1 not in going and at + 1 not in going:
                going.add(at)
        keep = [place for at, place in enumerate(keep) if at not in going]
    return keep


def _encoded(name: str, samples: list[Sample]) -> bytes:
    union: dict[str, int] = {}
    for sample in samples:
        union.update(sample.values)
    keys = list(union)
    boots = {boot: place for place, boot in enumerate(dict.fromkeys(sample.boot for sample in samples))}
    rows = [[boots[sample.boot], sample.uptime, *map(sample.values.get, keys)] for sample in samples]
    return json.dumps({"format": FORMAT, "name": name, "keys": keys, "boots": list(boots), "rows": rows}, separators=(",", ":")).encode()


def decoded(name: str, data: bytes) -> list[Sample]:
    """Raises ``LookupError`` for a sound file that is not ours, ``ValueError`` and its like for anything else."""
    if _known and _known[0] == name and _known[1] == data:
        return list(_known[2])
    # Python before 3.11 takes seconds over a number of 100,000 digits; no text of ours is as long as this either.
    if b"0" * 1000 in data.translate(_DIGITS_AS_0):
        raise ValueError
    tree: Any = json.loads(data.decode("ascii"))
    if not isinstance(tree, dict):
        raise ValueError
    if type(tree.get("format")) is not int or tree["format"] != FORMAT or tree.get("name") != name:
        raise LookupError
    keys, boots, rows = tree.get("keys"), tree.get("boots"), tree.get("rows")
    if not (isinstance(keys, list) and isinstance(boots, list) and isinstance(rows, list)):
        raise ValueError
    if not _short(keys) or len(set(keys)) != len(keys):
        raise ValueError
    samples: list[Sample] = []
    for row in rows:
        if type(row) is not list or len(row) != len(keys) + 2 or type(row[0]) is not int or not 0 <= row[0] < len(boots):
            raise ValueError
        values = dict(zip(keys, row[2:]))
        if None in row:
            values = {key: value for key, value in values.items() if value is not None}
        if unsound(Sample(boots[row[0]], row[1], {})) or not _whole(values.values()):
            raise ValueError
        samples.append(Sample(boots[row[0]], row[1], values))
    return samples


def fitted(name: str, samples: list[Sample], new: Sample) -> tuple[bytes, int]:
    """Returns a file of at most :data:`LIMIT` bytes, and to how many values ``new`` was cut for it (0: it was not)."""
    short = new
    while (size := len(_encoded(name, [short]))) > SHARE:
        count = len(short.values) * SHARE * 9 // (size * 10)
        largest = sorted(short.values, key=short.values.__getitem__, reverse=True)[:count]
        short = short._replace(values={key: short.values[key] for key in largest})
    samples = [short if sample is new else sample for sample in samples]
    while (size := len(data := _encoded(name, samples))) > LIMIT:
        count = max(1, len(samples) * LIMIT * 9 // (size * 10))
        samples = thinned(samples, count, count, short)
    global _known  # noqa: PLW0603 - see there
    _known = name, data, samples
    return data, 0 if short is new else len(short.values)
