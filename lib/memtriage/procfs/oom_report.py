"""What the OOM killer writes to the kernel's log (mm/oom_kill.c, mm/show_mem.c, mm/memcontrol.c), from Linux 2.4 on.

No line is relied upon: headers are rate-limited in old kernels, rings overrun, reports of two CPUs mix. Each line is understood by
itself and joins the open report of its caller; the line ``Killed process`` alone makes a report. Names are anyone's to choose and hold
quotes, brackets, commas or ``,pid=1``: so they are taken between what stands before them and the *last* place that can end them.
"""

from __future__ import annotations

import re

from memtriage.procfs import kmsg
from memtriage.procfs.oom_tables import Task, Zone, memory, tables
from memtriage.record import NamedTuple


class Kill(NamedTuple):
    """One process that was killed. Bytes; ``None`` where the kernel does not say, or the line is cut."""

    name: str
    pid: int | None
    uid: int | None
    anon_rss: int | None
    """Since Linux 2.6.33, as file_rss; shmem_rss was part of it before 4.5."""
    file_rss: int | None
    shmem_rss: int | None
    message: str
    """What stands before it: ``Out of memory``, ``Memory cgroup out of memory``, or nothing."""
    record: kmsg.Record
    """Where it stood, for its time."""

    @property
    def rss(self) -> int | None:
        known = [part for part in (self.anon_rss, self.file_rss, self.shmem_rss) if part is not None]
        return sum(known) if known else None


class Report(NamedTuple):
    """One run of the OOM killer, as far as the log has it."""

    outcome: str
    """``killed``, ``exiting`` (the victim ended by itself), ``no victim`` or ``panic``."""
    kills: list[Kill]
    """More than one with memory.oom.group (since Linux 4.19)."""
    asker: str | None
    """The process whose allocation could not be met; seldom the one to blame."""
    gfp: str | None
    """The mask, with its names since Linux 4.6."""
    order: int | None
    """The allocation was of 2**order pages in one piece; -1 is SysRq f."""
    constraint: str | None
    """``none`` (the host), ``cpuset``, ``memory_policy`` or ``memcg``; ``None`` where no line says it."""
    cpuset: str | None
    nodes: str | None
    """mems_allowed."""
    oom_memcg: str | None
    """The cgroup whose limit was reached."""
    task_memcg: str | None
    """The cgroup of the victim."""
    limit: int | None
    usage: int | None
    group: str | None
    """The cgroup killed as a whole (memory.oom.group)."""
    memory: dict[str, int]
    """Bytes by meminfo's names, made of the lines after ``Mem-Info:``; empty where they are missing or of a cgroup."""
    zones: list[Zone]
    caches: list[tuple[str, int]]
    """Unreclaimable slab caches and their bytes (since Linux 4.15, and only where slab is more than all LRU pages)."""
    tasks: list[Task]
    page: int
    """Bytes of a page: the smallest block of the free lists, else 4096."""


class Reports(NamedTuple):
    reports: list[Report]
    odd: list[str]


LONGEST = 8192
"""Characters of a line that are looked at: eight times what the kernel prints in one, and a bound for what a forged line can cost."""
_HEADER = re.compile(r"(?:(.*) invoked )?oom-killer: gfp_mask=(0x[0-9a-fA-F]+(?:\([^)]*\))?)(?:.*?order=(-?[0-9]{1,3}))?", re.DOTALL)
_KILLED = re.compile(r"(?:(.*): )?Killed process ([0-9]{1,10})(?:, UID ([0-9]{1,10}),)?(?: \((.*))?$", re.DOTALL)
_AFTER_NAME = re.compile(r".*(\)(?:,? UID [0-9]+,?|,)? (?:total-vm|vsz):|\)\.?$)", re.DOTALL)
_SAVED = re.compile(r"(.*)\), saved process [0-9]+ \(.*", re.DOTALL)
_KILL = re.compile("Killed process [0-9]")
_CHOSEN = re.compile(r"(.*): [Kk]ill process [0-9]+ \(.*\) score -?[0-9]+ (?:and children|or a child|or sacrifice child)", re.DOTALL)
_EXITING = re.compile(r"(?:(.*): )?OOM victim ([0-9]{1,10}) \((.*)\) is already exiting", re.DOTALL)
_TAIL = re.compile(r"(.*),pid=([0-9]{1,10}),uid=([0-9]{1,10})$", re.DOTALL)
_GLOBAL = re.compile(r",global_oom,task_memcg=(.*)", re.DOTALL)
_MEMCG = re.compile(r",oom_memcg=(/.*?),task_memcg=(/.*)", re.DOTALL)
_FRONT = re.compile(r"oom-kill:constraint=CONSTRAINT_([A-Z_]+),nodemask=([^,]*(?:,[0-9-]+)*),cpuset=(.*?),"
                    r"mems_allowed=([0-9-]*(?:,[0-9-]+)*)", re.DOTALL)
_CPUSET = re.compile(r".*cpuset=(.*) mems_allowed=([0-9-]*(?:,[0-9-]+)*)", re.DOTALL)
_USAGE = re.compile(r"memory: usage ([0-9]{1,18})kB, limit ([0-9]{1,18})kB, failcnt")
_NO_LIMIT_KB = 2**62 // 1024
_SCOPES = {"NONE": "none", "CPUSET": "cpuset", "MEMORY_POLICY": "memory_policy", "MEMCG": "memcg"}


class _Open:
    """A report that is being read."""

    def __init__(self) -> None:
        self.outcome = ""
        self.kills: list[Kill] = []
        self.facts: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.lines: list[str] = []
        """Of the tables, for :func:`memtriage.procfs.oom_tables.tables`."""

    def closed(self) -> Report:
        found = tables(self.lines)
        get, number = self.facts.get, self.numbers.get
        constraint = get("constraint") or _by_message(self.kills[0].message if self.kills else get("message", ""))
        if constraint is None and get("oom_memcg"):
            constraint = "memcg"
        return Report(self.outcome, self.kills, get("asker"), get("gfp"), number("order"), constraint, get("cpuset"), get("nodes"),
                      get("oom_memcg"), get("task_memcg"), number("limit"), number("usage"), get("group"), memory(found),
                      found.zones, found.caches, found.tasks, found.page)


def _by_message(message: str | None) -> str | None:
    """The scope that kernels before 5.0 only say in the words of the message."""
    if not message:
        return None
    if message.startswith("Memory cgroup"):
        return "memcg"
    if message.startswith("No available memory"):
        return "cpuset" if "cpuset" in message else "memory_policy"
    return None


def parse(data: bytes) -> Reports:
    """Returns the reports in the order of their last lines. Never raises: what is not understood is another message of the kernel.

    ``odd`` holds lines that say a process was killed, and not which.
    """
    log = kmsg.parse(data)
    return collect(log.records, log.odd)


def collect(records: list[kmsg.Record], odd: list[str] | None = None) -> Reports:
    """The same of records already read."""
    reports: list[Report] = []
    unknown = list(odd or [])
    opened: dict[str, _Open] = {}
    named: dict[int, dict[str, str]] = {}
    for record in records:
        text = record.text
        # A name may hold a newline: the two lines that name somebody are taken whole, all others line by line.
        lines = [text] if "\n" not in text or "Killed process " in text or "oom-kill:constraint=" in text else text.split("\n")
        for whole in lines:
            line = whole[:LONGEST]
            current = opened.get(record.caller)
            if current is None or _begins(line, current):
                if current is not None and current.outcome:
                    reports.append(current.closed())
                current = opened[record.caller] = _Open()
            if not _take(current, line, record, named):
                unknown.append(line)
    reports += [current.closed() for current in opened.values() if current.outcome]
    return Reports(reports, unknown)


def _begins(line: str, current: _Open) -> bool:
    """Whether ``line`` opens a new report rather than goes on with ``current``."""
    if "oom-killer: gfp_mask=" in line:
        return True
    if not current.outcome or line.startswith(" "):
        return False
    if _KILL.search(line):
        return current.outcome == "killed" and "group" not in current.facts
    return line.startswith(("Mem-Info:", "oom-kill:constraint=", "Task in ", "memory: usage ")) or bool(_CHOSEN.match(line))


def _take(current: _Open, line: str, record: kmsg.Record, named: dict[int, dict[str, str]]) -> bool:
    """Adds what ``line`` says; ``False`` where it says that somebody was killed and cannot be understood.

    ``named`` holds what the lines of constraints say of their victims: it belongs to whoever is killed, in whichever report.
    """
    facts = current.facts
    if line.startswith("oom-kill:constraint="):
        pid, said = _constraint(line)
        _put(facts, **said)
        if pid is not None:
            named[pid] = said
    elif "oom-killer: gfp_mask=" in line:
        header = _HEADER.match(line)
        if header:
            _put(facts, asker=header[1], gfp=header[2])
            if header[3]:
                current.numbers["order"] = int(header[3])
    elif line.startswith("Task in ") and " killed as a result of limit of " in line:
        task, _, limited = line[8:].partition(" killed as a result of limit of ")
        _put(facts, task_memcg=task, oom_memcg=limited.strip())
    elif line.startswith("Tasks in ") and " are going to be killed due to memory.oom.group set" in line:
        _put(facts, group=line[9:].partition(" are going to be killed")[0])
    elif line.startswith("memory: usage "):
        usage = _USAGE.match(line)
        if usage and "limit" not in current.numbers:
            current.numbers["usage"] = int(usage[1]) * 1024
            if int(usage[2]) < _NO_LIMIT_KB // 512:  # 9007199254740988 kB is none
                current.numbers["limit"] = int(usage[2]) * 1024
    elif _KILL.search(line):
        return _killed(current, line, record, named)
    elif "score" in line and _CHOSEN.match(line):
        _put(facts, message=_CHOSEN.match(line)[1])  # type: ignore[index]  # it was found a line above
    elif " is already exiting" in line and _EXITING.match(line):
        current.outcome = current.outcome or "exiting"
        _put(facts, message=_EXITING.match(line)[1])  # type: ignore[index]  # it was found a line above
    elif "no killable processes" in line and line.startswith(("Out of memory", "Memory cgroup", "Kernel panic", "<0>Kernel panic")):
        current.outcome = "panic" if "panic" in line else current.outcome or "no victim"
    elif line.startswith("Kernel panic") and ("ut of memory" in line or "deadlocked on memory" in line or "panic_on_oom" in line):
        current.outcome = "panic"
    elif " mems_allowed=" in line and "cpuset=" in line:
        found = _CPUSET.match(line)
        if found:
            _put(facts, cpuset=found[1], nodes=found[2])
    elif ":" in line or "KB" in line or "ages" in line or "=" in line or line.startswith("["):
        current.lines.append(line)
    return True


def _put(facts: dict[str, str], **more: str | None) -> None:
    """The first word counts: what comes later may belong to a report that was mixed in."""
    for key, value in more.items():
        if value:
            facts.setdefault(key, value)


def _killed(current: _Open, line: str, record: kmsg.Record, named: dict[int, dict[str, str]]) -> bool:
    found = _KILLED.match(line)
    if not found or (found[1] and "/" in found[1]):  # a path that holds the words, in a line unknown here
        return "/" in line.partition("Killed process ")[0]
    message, pid, uid, rest = found.groups()
    sizes: dict[str, int] = {}
    name = rest or ""
    if rest is not None:
        end = _AFTER_NAME.match(rest)
        saved = _SAVED.match(rest)  # Linux 2.2
        name = saved[1] if saved else rest[: end.start(1)] if end else _cut(rest)
        after = rest[end.start(1) :] if end else ""
        owner = re.search(r"UID[: ]([0-9]{1,10})", after)
        uid = uid or (owner[1] if owner else None)
        for key, value in re.findall(r"(anon-rss|file-rss|shmem-rss):([0-9]{1,18})kB", after):
            sizes.setdefault(key, int(value) * 1024)
    current.facts.update(named.pop(int(pid), {}))
    current.outcome = "killed"
    current.kills.append(Kill(name, int(pid) if rest is not None else None, int(uid) if uid else None, sizes.get("anon-rss"),
                              sizes.get("file-rss"), sizes.get("shmem-rss"), message or current.facts.get("message", ""), record))
    return True


def _cut(rest: str) -> str:
    """The name where the line ends too early: up to the last bracket behind which the known words begin."""
    for place in range(len(rest) - 1, -1, -1):
        if rest[place] == ")" and any(words.startswith(rest[place + 1 :]) for words in (" total-vm:", " vsz:", ", UID ", ".")):
            return rest[:place]
    return rest


def _constraint(line: str) -> tuple[int | None, dict[str, str]]:
    """Reads ``oom-kill:constraint=...`` from the right: pid and uid cannot be forged, the name before them has 15 bytes at most."""
    facts: dict[str, str] = {}
    front, tail = _FRONT.match(line), _TAIL.match(line)
    if front:
        _put(facts, constraint=_SCOPES.get(front[1]), cpuset=front[3], nodes=front[4])
    if not tail:
        return None, facts  # cut
    body, pid = tail[1], int(tail[2])
    place = body.find(",task=", max(0, len(body) - 15 - len(",task=")))
    if place < 0:
        return pid, facts
    rest = body[front.end() if front else 0 : place]
    alone = _GLOBAL.match(rest)
    if alone:
        _put(facts, task_memcg=alone[1])
        return pid, facts
    limited = _MEMCG.match(rest)
    while limited:
        inner, outer = limited[2], limited[1]
        if inner == outer or inner.startswith(outer.rstrip("/") + "/"):
            _put(facts, oom_memcg=outer, task_memcg=inner)
            break
        # A cgroup's name may hold ",task_memcg=": the true split is the one where the victim's lies within the limited one.
        limited = re.compile(r",oom_memcg=(/.{%d,}?),task_memcg=(/.*)" % len(outer), re.DOTALL).match(rest)
    return pid, facts


def read(dev: str = "/dev") -> Reports:
    """Reads ``dev/kmsg``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(kmsg.ring(dev).data)
