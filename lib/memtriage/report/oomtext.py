"""The kernel's own lines of OOM kills, out of a log that holds much else that is nobody's business."""

from __future__ import annotations

import re

from memtriage.procfs import kmsg, oom_report
from memtriage.report.private import Private

MOST = 4000
"""Lines kept."""
_LINE = re.compile(
    r"CPU: |Hardware name: |Call Trace|Call trace|\s*<?/?(?:TASK|IRQ)>|\s?\??\s?\[?<?[0-9a-f]*>?\]?\s*\??\s*"
    r"[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+|"
    r"Mem-Info|\s?(?:active|inactive|unevictable|isolated|slab|free|dirty|writeback|mapped|unstable|kernel_misc|sec_pagetables)_?\w*:|"
    r"\s(?:shmem|pagetables|bounce)\w*:|Node [0-9]+ |DMA\d*: |Normal: |lowmem_reserve|[0-9]+ (?:total pagecache|pages|reserved)|"
    r"Swap cache stats|"
    r"Free swap|Total swap|Purge|Tasks state|\[ *(?:pid|[0-9]+) *\]|Unreclaimable slab info|Name +Used|[\w:.-]+ +[0-9]+KB +[0-9]+KB$|"
    r"memory: usage|memory\+swap: usage|swap: usage|kmem: usage|Memory cgroup stats|[a-z_]+ [0-9]+$|Task in |Tasks in |"
    r"oom-kill:constraint=|"
    r"Out of memory|Memory cgroup out of memory|oom_reaper: |OOM victim|Kernel panic - not syncing: (?:Out of memory|System is deadlocked)")
_TASK = re.compile(r"(\[ *[0-9]+\](?: +[0-9-]+){5,9}) (.*)", re.DOTALL)
_INVOKED = re.compile(r"(.*)( invoked oom-killer: .*)", re.DOTALL)
_KILLED = re.compile(r"(.*Killed process [0-9]+ \()(.*)(\).*)", re.DOTALL)
_COMM = re.compile(r"(CPU: [0-9]+ (?:UID: [0-9]+ )?PID: [0-9]+ Comm: )(.*?)( (?:Not tainted|Tainted: ).*)", re.DOTALL)
_TAKEN = re.compile(r"(oom-kill:constraint=.*,task=)(.{0,60}?)(,pid=[0-9]+,uid=[0-9]+)", re.DOTALL)
_REAPED = re.compile(r"(oom_reaper: reaped process [0-9]+ \()(.*)(\), now .*)", re.DOTALL)


def lines(log: bytes, private: Private) -> list[str]:
    """The lines of the reports in ``log``, cleaned, each behind its time since boot; how many others stood between them is said."""
    found, other, inside = [], 0, False
    paths = _paths(log)
    for record in kmsg.parse(log).records:
        for text in record.text.split("\n") if "Killed process" not in record.text else [record.text]:
            if "invoked oom-killer" in text:
                inside, other = True, 0
            known = "invoked oom-killer" in text or "Killed process" in text or bool(_LINE.match(text))
            if not inside and not text.startswith(("Out of memory", "Memory cgroup out of memory", "oom-kill:", "oom_reaper:")):
                continue
            if not known:
                other += 1
                continue
            if other:
                found.append(f"({other} lines of something else left out)")
                other = 0
            stamp = f"[{record.up_s:12.6f}] " if record.up_s is not None else ""
            found.append(stamp + "".join(letter if letter.isprintable() else "?" for letter in _cleaned(text, private, paths)))
            if "Killed process" in text or "Kernel panic" in text:
                inside = False
    if len(found) > MOST:
        found = [f"(the last {MOST} of {len(found)} lines)", *found[-MOST:]]
    return found


def _paths(log: bytes) -> list[str]:
    """The control groups named in it, longest first."""
    named: set[str] = set()
    for report in oom_report.parse(log).reports:
        named.update(path for path in (report.oom_memcg, report.task_memcg, report.group, report.cpuset) if path and path != "/")
    return sorted(named, key=lambda path: (-len(path), path))


def _cleaned(text: str, private: Private, paths: list[str]) -> str:
    for form in (_INVOKED, _KILLED, _COMM, _REAPED, _TAKEN, _TASK):
        found = form.fullmatch(text)
        if found:
            parts = list(found.groups())
            place = 0 if form is _INVOKED else 1
            parts[place] = private.comm(parts[place])
            if form is _TASK:
                return f"{parts[0]} {parts[1]}"
            return "".join(part if number == place else _groups(part, private, paths) for number, part in enumerate(parts))
    return _groups(text, private, paths)


def _groups(text: str, private: Private, paths: list[str]) -> str:
    """Control groups by their own rule, the rest as free text."""
    for path in paths:
        place = text.find(path)
        if place >= 0:
            return _groups(text[:place], private, paths) + private.cgroup(path) + _groups(text[place + len(path) :], private, paths)
    return private.text(text, kernels=True)
