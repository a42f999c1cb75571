"""The kernel's log: /dev/kmsg (Documentation/ABI/testing/dev-kmsg, since Linux 3.5), and the same messages as text in a log file.

Text is what dmesg (with or without -T, -x, -H, --time-format iso), journalctl -k (-o short and its like, cat, verbose, export), rsyslog and
busybox make of it, or the bare message. A message may hold several lines: the device writes them ``\\x0a``, rsyslog ``#012``.
Whoever is not the kernel is left out where the form tells: /dev/kmsg by its facility, syslog by its tag.
"""

from __future__ import annotations

import errno
import os
import re

from memtriage.procfs import files
from memtriage.record import NamedTuple

RECORDS = 500_000
"""Records read of the ring at most: ten times what a ring of 4 MiB holds. A kernel that logs without end must not hold a check for ever."""


class Wall(NamedTuple):
    """A time of day as it stands in the log."""

    year: int | None
    """Traditional syslog does not write it."""
    month: int
    day: int
    second: int
    """Of the day."""
    offset_s: int | None
    """Seconds east of UTC; ``None`` for local time."""


class Record(NamedTuple):
    """One message of the kernel."""

    text: str
    """Without time, host and tag; may hold newlines."""
    up_s: float | None
    """Seconds since boot without suspend, where the form has them."""
    wall: Wall | None
    caller: str
    """``T123`` (task) or ``C1`` (CPU) with CONFIG_PRINTK_CALLER, since Linux 5.1; else empty."""
    seq: int | None
    """Number since boot; /dev/kmsg only."""


class Log(NamedTuple):
    records: list[Record]
    odd: list[str]
    """Lines that begin as a record of /dev/kmsg and are none."""


_MONTHS = {"Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6, "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12}
_DEVICE = re.compile(r"([0-9]{1,10}),([0-9]{1,20}),([0-9]{1,20}),([^;]*);(.*)")
_CUT = re.compile(r"[0-9]{1,10},[0-9]{1,20},[0-9]*(?:,[^;]*)?$")
_HEX = re.compile(r"\\x([0-9a-f]{2})")

class _Text:
    """What stands before the message in text. Compiled where it is first used: the device needs none of it, and it costs a millisecond."""

    def __init__(self) -> None:
        self.lead = re.compile(r"(?:\s*MESSAGE=)?(?:<[0-9]{1,3}>)?(?:kern\s*:[a-z]+\s*:\s)?")
        self.iso = re.compile(r"(?:\[?[A-Z][a-z]{2} )?([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,][0-9]+)?"
                              r"(Z|[+-][0-9]{2}:?[0-9]{2}| UTC)?(?: [A-Z]{2,5})? +")
        self.bsd = re.compile(r"(\[?)(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})"
                              r"(?: ([0-9]{4}))?(\]?) +")
        self.stamp = re.compile(r"(?:<[0-9]{1,3}>)?\[ *([0-9]{1,12}\.[0-9]{1,9})\](?:\[ *([TC][0-9]{1,10})\])? ?")
        self.relative = re.compile(r"\[(?: *\+[0-9]{1,9}\.[0-9]{1,9}|[A-Z][a-z]{2} ?[0-9]{1,2} [0-9]{2}:[0-9]{2})\] ?")  # dmesg -H
        self.tag = re.compile(r"(?:\S+ )?(?:[a-z0-9]+\.[a-z]+ )?([^\s:\[]+)(?:\[[0-9]+\])?: ?")
        self.host = re.compile(r"[\w.-]+ kernel: ?")  # no more than a host's name: a process may be called " kernel:"
        self.octal = re.compile(r"#0([0-3][0-7])")


def parse(data: bytes) -> Log:
    """Returns the messages in their order, of any form, forms mixed. Never raises: what has no known form is a bare message.

    A last line without its newline counts: text that was copied from a screen ends so.
    """
    records: list[Record] = []
    odd: list[str] = []
    device, forms = False, None
    for line in files.text(data).split("\n"):
        if not line:
            continue
        if line[:1].isdigit() and ";" in line:
            found = _DEVICE.match(line)
            if found:
                device = True
                priority, seq, usec, flags, text = found.groups()
                if int(priority) < 8:  # facility 0 is the kernel; others were written by programs, which cannot use it
                    records.append(Record(_unhex(text), int(usec) / 1e6, None, _caller(flags), int(seq)))
                continue
        if device and line[0] == " " and line[1:2] != " ":
            continue  # the dictionary of a record: SUBSYSTEM=, DEVICE=
        if device and _CUT.match(line[:80]):
            odd.append(line)
            continue
        forms = forms or _Text()
        record = _from_text(forms, line.rstrip("\r"))
        if record is not None:
            records.append(record)
    return Log(records, odd)


def _unhex(text: str) -> str:
    if "\\x" not in text:
        return text
    return files.text(_HEX.sub(lambda found: chr(int(found[1], 16)), text).encode("latin-1", "replace"))


def _caller(flags: str) -> str:
    _, found, name = flags.partition("caller=")
    return name.partition(",")[0] if found else ""


def _from_text(forms: _Text, line: str) -> Record | None:
    """Peels off what stands before the message; ``None`` where there is none, or where it is not the kernel's."""
    lead = forms.lead.match(line)
    place = lead.end() if lead else 0
    wall, end = _wall(forms, line, place)
    if wall is not None:
        dmesg, place = line[place] == "[", end
        tag = forms.tag.match(line, place)
        if tag and tag.start(1) > place and not dmesg:  # HOST TAG: of syslog; dmesg has the message at once
            if tag[1] != "kernel":
                return None
            place = tag.end()
            if "#0" in line:
                line = line[:place] + forms.octal.sub(lambda found: chr(int(found[1], 8)), line[place:])
    up_s, caller = None, ""
    stamp = forms.stamp.match(line, place)
    if stamp:
        up_s, caller, place = float(stamp[1]), stamp[2] or "", stamp.end()
        host = forms.host.match(line, place) if wall is None else None
        place = host.end() if host else place
    elif wall is None:
        relative = forms.relative.match(line, place)
        place = relative.end() if relative else place
    text = line[place:]
    return Record(text, up_s, wall, caller, None) if text.strip() else None


def _wall(forms: _Text, line: str, place: int) -> tuple[Wall | None, int]:
    found = forms.iso.match(line, place)
    if found:
        year, month, day, hour, minute, second = (int(word) for word in found.groups()[:6])
        return Wall(year, month, day, hour * 3600 + minute * 60 + second, _offset(found[7])), found.end()
    found = forms.bsd.match(line, place)
    if found and found[2] in _MONTHS and bool(found[1]) == bool(found[8]):
        day, hour, minute, second = (int(found[number]) for number in (3, 4, 5, 6))
        return Wall(int(found[7]) if found[7] else None, _MONTHS[found[2]], day, hour * 3600 + minute * 60 + second, None), found.end()
    return None, place


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone in ("Z", " UTC"):
        return 0
    return (1 if zone[0] == "+" else -1) * (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60)


class Ring(NamedTuple):
    """What the ring held: bytes for :func:`parse`."""

    data: bytes
    lost: int
    """Times that records were overwritten while being read (EPIPE)."""


def ring(dev: str = "/dev") -> Ring:
    """Reads ``dev/kmsg`` from its oldest record, waits for nothing and clears nothing. Raises :class:`~memtriage.procfs.files.ProcfsError`.

    Each read gives one record; the position is this reader's own. With kernel.dmesg_restrict=1 opening it needs CAP_SYSLOG.
    """
    path = os.path.join(dev, "kmsg")
    files.at(path)
    records: list[bytes] = []
    lost = 0
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            while len(records) < RECORDS and lost < 1000:
                try:
                    record = os.read(handle, 16384)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != errno.EPIPE:
                        raise
                    lost += 1
                    continue
                if not record:
                    break
                records.append(record)
        finally:
            os.close(handle)
    except OSError as error:
        raise files.failure(path, error) from None
    except ValueError:  # a NUL byte in the path
        raise files.Missing(path, "no such file") from None
    finally:
        files.at("")
    return Ring(b"".join(records), lost)


def read(dev: str = "/dev") -> Log:
    """Reads ``dev/kmsg``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(ring(dev).data)
