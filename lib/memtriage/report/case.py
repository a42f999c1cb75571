"""The facts of an evidence bundle, from a recording or from the live host, without anything private in them from here on."""

from __future__ import annotations

import glob
import os
import pwd
import socket
import time
from collections.abc import Iterator

from memtriage import exhaustion, following, recorded, state
from memtriage.explain import answer as answers
from memtriage.explain import past
from memtriage.procfs import boot_id, files, kmsg, pid, uptime
from memtriage.record import NamedTuple
from memtriage.recording import Recording, Sample, Unreadable, layout, payload
from memtriage.recording.payload import Content, Process, Source
from memtriage.recording.scan import Entry
from memtriage.replay import kills, moments
from memtriage.report import oomtext, verdict
from memtriage.report.private import Private

MOST = 300
"""Samples of a recording that are looked at, evenly spread."""
LIVE = ("buddyinfo", "pagetypeinfo")
FILES = ("meminfo", "vmstat", "zoneinfo", "pressure/memory", "pressure/io", "pressure/cpu", "swaps", "loadavg", "net/sockstat", "uptime",
         "sys/fs/dentry-state", "sys/fs/inode-nr", "sys/fs/file-nr", "slabinfo", "sys/kernel/random/boot_id", "sys/kernel/osrelease",
         "version", "cmdline", "stat", "self/cgroup", "spl/kstat/zfs/arcstats", *LIVE)


class Point(NamedTuple):
    """One moment of the history."""

    time: float
    release: str
    sample: state.Sample


class Span(NamedTuple):
    """The part of a recording that is asked for, seconds since 1970; ``None``: up to its end."""

    start: float | None = None
    end: float | None = None

    def of(self, entries: list[Entry]) -> list[Entry]:
        """Those of ``entries`` in it, by the clock as it stood then."""
        return [entry for entry in entries if (self.start is None or entry.head.real_ns >= self.start * 1e9)
                and (self.end is None or entry.head.real_ns <= self.end * 1e9)]


WHOLE = Span()


class Case(NamedTuple):
    """All that a bundle is made of."""

    live: bool
    host_is_here: bool
    """Whether what only the live host tells is of the same boot."""
    first: Content
    """The first sample of the last boot; the last one where there is no other."""
    last: Content
    first_time: float
    last_time: float
    points: list[Point]
    answer: answers.Answer
    oom: list[str]
    kills: list[kills.Kill]
    log_trouble: str
    samples: int
    """In the recording, or the part of it."""
    rules: exhaustion.Rules
    """By which the last boot is judged: those of its picture."""


def names() -> tuple[list[str], list[str]]:
    """Names of this host and of its people, to be looked for."""
    host = os.uname().nodename
    hosts = [host, host.partition(".")[0]]
    try:
        hosts.append(socket.getfqdn() if "." in host else "")
        with open("/etc/hostname", encoding="utf-8", errors="replace") as handle:
            hosts.append(handle.read(256).strip())
    except OSError:
        pass
    users = [entry.pw_name for entry in pwd.getpwall() if 1000 <= entry.pw_uid < 65534]
    users += [os.environ.get("SUDO_USER", ""), os.environ.get("LOGNAME", "")]
    return [name for name in hosts if name], [name for name in users if name]


def of_recording(path: str, private: Private, folder: str, asked: verdict.Asked = verdict.USUAL, span: Span = WHOLE) -> Case:
    """Raises ``LookupError`` where there is nothing to tell of, :class:`~memtriage.procfs.files.ProcfsError`, ``OSError``."""
    tree = recorded.Tree(os.path.join(folder, "tree"))
    points: list[Point] = []
    first: tuple[Content, float] | None = None
    last: tuple[Content, float] | None = None
    with _opened(path) as recording:
        entries = moments.straight(span.of(recording.entries))
        if recording.entries and not entries:
            raise LookupError(f"{path}: no sample between these times")
        log = kills.Log(recording, entries)
        step = max(1, -(-len(entries) // MOST))
        places = sorted({*range(0, len(entries), step), len(entries) - 1} if entries else ())
        for place in places:  # before anything is cleaned: who lives here
            try:
                for process in recording.content(entries[place]).processes.values():
                    private.learn_homes(process.cmdline)
            except payload.Damaged:
                continue
        for place in places:
            try:
                sample = Sample(entries[place].head, recording.content(entries[place]))
            except payload.Damaged:
                continue
            log.advance(place, sample)
            clean = Sample(sample.head, private.content(sample.content))
            tree.show(clean)
            last = clean.content, clean.time
            try:
                now = following.read(tree.proc, tree.sys)
                found = following.sample(tree.proc, now)
            except files.ProcfsError:
                continue
            if not points or points[-1].sample.boot != found.boot or first is None:
                first = clean.content, clean.time
            points.append(Point(clean.time, _text(clean.content, "sys/kernel/osrelease"), found))
        log.finish()
        boot = _text(sample.content, kills.BOOT) if last else ""
    if last is None:
        raise LookupError(f"{path}: the recording holds no sample that can be read")
    known = [point.sample for point in points if point.sample.boot == points[-1].sample.boot]
    rules = _rules(known, asked)
    answer = answers.find(tree.proc, tree.sys, exact=False, given=known, rules=rules)
    oom = [row for text in log.texts for row in oomtext.lines(text, private)]
    struck = [kill._replace(name=private.comm(kill.name), group=private.cgroup(kill.group)) for kill in log.kills]
    first = first or last
    return Case(False, boot == _here(), first[0], last[0], first[1], last[1], points, answer, oom, struck, log.denied, len(entries),
                rules)


def _rules(known: list[state.Sample], asked: verdict.Asked) -> exhaustion.Rules:
    """For samples of one boot, those of the picture of them."""
    return verdict.rules(known[0].uptime, known[-1].uptime, asked) if known else answers.RULES


def _opened(path: str) -> Recording:
    try:
        return Recording(path)
    except Unreadable as error:
        raise LookupError(str(error)) from None


def of_live(private: Private, folder: str, state_dir: str | None, asked: verdict.Asked = verdict.USUAL) -> Case:
    """The same of this host, now, with what checks have remembered."""
    now = time.time()
    raw = _snapshot()
    boot = files.text(raw.sources[kills.BOOT].data or b"").strip() if kills.BOOT in raw.sources else ""
    remembered = past.samples(state_dir, boot) if boot else []
    clean = private.content(raw)
    tree = recorded.Tree(os.path.join(folder, "tree"))
    tree.show(Sample(layout.Head(b"", 1, int(now * 1e9), 0, 0, 0, 0, 0, 0, layout.KEY, 0, 0), clean))
    release = _text(clean, "sys/kernel/osrelease")
    found = following.sample(tree.proc, following.read(tree.proc, tree.sys))
    old = [state.Sample(found.boot, one.uptime, {private.key(key): value for key, value in one.values.items()})
           for one in remembered if one.uptime < found.uptime]
    points = [Point(now - (found.uptime - one.uptime), release, one) for one in [*old, found]]
    rules = _rules([*old, found], asked)
    answer = answers.find(tree.proc, tree.sys, exact=False, given=[*old, found], rules=rules)
    oom, struck, trouble = _live_log(private, now)
    return Case(True, True, clean, clean, now, now, points, answer, oom, struck, trouble, 0, rules)


def _live_log(private: Private, now: float) -> tuple[list[str], list[kills.Kill], str]:
    from memtriage.procfs import oom_report  # noqa: PLC0415 - as the kernel's log itself

    try:
        data = kmsg.ring().data
    except files.ProcfsError as error:
        return [], [], error.reason
    mono = time.clock_gettime(time.CLOCK_MONOTONIC)
    struck = [kills.Kill(now - (mono - kill.record.up_s), private.comm(kill.name), private.cgroup(report.oom_memcg or ""))
              for report in oom_report.parse(data).reports for kill in report.kills if kill.record.up_s is not None]
    return oomtext.lines(data, private), struck, ""


def _snapshot() -> Content:
    """This host's files as a recording would have them."""
    sources = {name: source for name in (*FILES, *_vm()) if (source := _read("/proc", name)) is not None}
    sources["meta"] = Source(b"page_size %d\nclock_ticks %d\n" % (os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")), 0, 0, 0)
    for name in sorted(glob.glob("/sys/block/zram*/mm_stat")):
        sources[name] = _read("/", name[1:]) or Source(b"", 0, 0, 0)
    for name in _limits(files.text(sources["self/cgroup"].data or b"") if "self/cgroup" in sources else ""):
        found = _read("/", name[1:])
        if found is not None and found.data is not None:
            sources[name] = found
    links = []
    for path in sorted(glob.glob("/sys/kernel/slab/*")):
        links.append(f"{os.path.basename(path)} {os.readlink(path) if os.path.islink(path) else '.'}\n")
    if links:
        sources["/sys/kernel/slab"] = Source("".join(links).encode("utf-8", "surrogateescape"), 0, 0, 0)
    processes = {}
    for number in pid.pids("/proc"):
        texts = [_read("/proc", f"{number}/{name}") for name in Process._fields]
        if texts[0] is not None and texts[0].data:
            processes[number] = Process(*((one.data or b"" if one is not None else b"")[:4096] for one in texts))
    return Content(sources, processes, Source(b"", 0, 0, 0))


def _vm() -> list[str]:
    try:
        return sorted(f"sys/vm/{name}" for name in os.listdir("/proc/sys/vm") if os.access(f"/proc/sys/vm/{name}", os.R_OK))
    except OSError:
        return []


def _limits(membership: str) -> Iterator[str]:
    """Memory files of the control groups this command is in: their limit may be what counts."""
    for row in membership.split("\n"):
        _, _, rest = row.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        names_of = ("memory.usage_in_bytes", "memory.limit_in_bytes") if controllers else ("memory.current", "memory.max")
        for mount in ("/sys/fs/cgroup/memory",) if controllers else ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            folder = path
            while folder.strip("/"):
                yield from (f"{mount}{folder}/{name}" for name in (*names_of, "memory.stat"))
                folder = os.path.dirname(folder)


def _read(root: str, name: str) -> Source | None:
    try:
        return Source(files.read(root, name), 0, 0, 0)
    except files.Missing:
        return None
    except files.Denied:
        return Source(None, 13, 0, 0)
    except files.ProcfsError:
        return Source(None, 5, 0, 0)


def _text(content: Content, name: str) -> str:
    source = content.sources.get(name)
    return files.text(source.data).strip() if source is not None and source.data is not None else ""


def _here() -> str:
    try:
        return boot_id.read()
    except files.ProcfsError:
        return ""


def uptime_of(content: Content) -> float | None:
    """Seconds since boot, by the sample itself."""
    try:
        return uptime.parse(content.sources["uptime"].data or b"").up_s
    except (KeyError, files.ProcfsError):
        return None
