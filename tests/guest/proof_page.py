"""docs/proof.md, out of what was played."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.guest.proof import Row

HEAD = """\
# The proof: hosts that really run out of memory

<!-- made by: python tests/guest/proof.py --write -->

Each row is one boot of a virtual machine (Debian 12's kernel and packages, QEMU without hardware help, one CPU, 256 or 384 MiB, no swap).
In it run four `httpd`, a backup that keeps free memory full of page cache, `memtriage record` with a sample a second, and Debian's NRPE,
which runs the checks from our wheel as `nobody`. After 20 s of peace something eats memory until the kernel's OOM killer comes; or it only
looks like that. `make test-guest` plays all of it anew, some five minutes a row, and leaves with 1 where a row is not as it should be.

**A day is half a minute here**: `--window 5s --warmup 1.25s --eta-warning 90: --eta-critical 10:` are the defaults divided by 2,880. The
checks of growth ran in turn, one every 4 s at best (that would be every three hours), later where the emulated CPU was busy; its clock
follows the instructions it executes, so that the host's other work does not count. Shares of the way and names say something about a real
host, seconds do not. One run of each: a row is an example, no rate.

*Way*: from the first byte (0 %) to the first kill (100 %). *ETA said / true*: what the check said, and how long it really took, from
when the check was asked. Beside it, in the same boot: `check_memory -a -w 20%: -c 10%:` (monitoring-plugins-contrib) and
`check_procs -w 150 -c 200` through the same NRPE; and computed from the recording, every second: less than 10 % available (*90 % used*),
and least squares over 4 h of MemAvailable that end within a day (*predict_linear*).
"""


OTHERS = ("check_memory", "check_procs", "90 % level", "predict_linear")


def percent(row: Row, at: float | None) -> str:
    if at is None:
        return "never"
    return f"{row.share(at):.0%}" if at >= row.start else "before it began"


def pair(row: Row, said: float | None, at: float) -> str:
    return f"{said:.0f} / {row.end - at:.0f} s" if said is not None else "none"


def table(head: str, rows: Sequence[Sequence[str]]) -> list[str]:
    columns = [name.strip() for name in head.split("|")]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *("| " + " | ".join(row) + " |" for row in rows), ""]


def leak(row: Row) -> list[str]:
    alarm, half = row.alarm, row.half
    right = "wrong" if any("culprit" in fault or "named" in fault for fault in row.faults) else "right"
    later = "right" if row.after and row.right(row.after.text) else "another"
    if alarm is None:
        return [row.scenario.title, "never", "-", "-", "-", "-", later, f"{row.gap:.2f} s, {row.lost}"]
    return [row.scenario.title, percent(row, alarm.at), right, f"{row.end - alarm.at:.0f} s", pair(row, alarm.eta, alarm.at),
            pair(row, half.eta, half.at) if half else "none", later, f"{row.gap:.2f} s, {row.lost}"]


def others(row: Row) -> list[str]:
    alarm = row.alarm.at if row.alarm else None
    if not row.scenario.culprit:
        return [row.scenario.title, "silent" if alarm is None else "**alarm**",
                *("silent" if name not in row.others else "alarm" for name in OTHERS)]
    return [row.scenario.title, percent(row, alarm), *(percent(row, row.others.get(name)) for name in OTHERS)]


def wrapped(text: str) -> list[str]:
    return [part for one in text.split("\n") for part in (textwrap.wrap(one, 138, break_long_words=False) or [""])]


def section(row: Row) -> list[str]:
    said = [f"## {row.scenario.title}", ""]
    if row.alarm:
        said += [f"First alarm, `check_{row.alarm.check}`, {row.end - row.alarm.at:.0f} s before the end (perfdata left out):", "", "```",
                 *wrapped(row.alarm.text), "```", ""]
        said += [f"`memtriage explain --from` the recording, half of the way: *{row.explained_half}*", ""]
        said += [f"Just before the kill: *{row.explained}*", ""]
    else:
        last = [one for one in row.answers if one.check == "free_mem"][-1:]
        said += [f"{sum(one.check in ('free_mem', 'slab_growth') for one in row.answers)} answers of check_free_mem and check_slab_growth, "
                 f"none of them an alarm; least available {row.available:.0%}. The last one:", "",
                 "```", *(wrapped(last[0].head) if last else []), "```", ""]
    if row.killed:
        victims = ", ".join(f"`{victim.split('(')[1].split(')')[0]}`" for _, victim in row.killed if "(" in victim)
        said += [f"Killed, in order: {victims}. `check_oom_kill` afterwards:", "", "```",
                 *(wrapped(row.after.text) if row.after else ["no answer"]), "```", ""]
    said += [f"- **Not as it should be**: {fault}" for fault in row.faults] + ([""] if row.faults else [])
    return said


def page(rows: Sequence[Row], not_played: Sequence[str] = ()) -> str:
    leaks = [row for row in rows if row.scenario.culprit]
    innocent = [row for row in rows if not row.scenario.culprit]
    wrong = [row for row in rows if row.faults]
    words = ("All rows are as they should be: culprit right, first alarm at half of the way or before, no sample lost, nobody innocent "
             "blamed.")
    if wrong:
        words = (f"{len(rows) - len(wrong)} of {len(rows)} rows are as they should be; what is wrong with the others stands in their "
                 f"sections: {', '.join(row.scenario.title for row in wrong)}.")
    if not_played:
        words += f" Not in this run, so nothing is known of them: {'; '.join(not_played)}."
    if any(row.killed and not (row.after and row.right(row.after.text)) for row in leaks):
        words += (" Where check_oom_kill names another culprit, the kernel's log does not hold the right one, or shows it as smaller than "
                  "what the victims held.")
    lines = [HEAD, *wrapped(words), "", "## What ends with the OOM killer", ""]
    lines += table("what|first alarm|culprit|before the kill|ETA said / true at the alarm|and at half of the way|check_oom_kill's culprit|"
                   "recorder: gap, lost", [leak(row) for row in leaks])
    lines += ["## When did the others alarm?", ""]
    lines += table("what|memtriage|check_memory|check_procs|90 % used|predict_linear", [others(row) for row in leaks])
    lines += ["## What only looks like it", ""]
    lines += table("what|memtriage|check_memory|check_procs|90 % used|predict_linear", [others(row) for row in innocent])
    for row in rows:
        lines += section(row)
    return "\n".join(lines).rstrip() + "\n"
