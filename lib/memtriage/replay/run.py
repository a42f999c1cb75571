"""Runs checks over a recording, each with a memory of its own that is gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Callable

from memtriage import inprocess, options, recorded
from memtriage.record import NamedTuple
from memtriage.recording import Recording, Sample
from memtriage.replay import kills, moments
from memtriage.replay.engine import Engine

NONE = 4
"""The state of a moment that has no sample: neither OK nor UNKNOWN, nothing ran."""
STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN", "no samples")
WARM = 12 * 3600.0
"""Seconds before ``--from`` that are run without being shown, so that trends are known there."""
_BOOT = (kills.BOOT, "uptime")
NEEDS: dict[str, tuple[str, ...]] = {
    "check_free_mem": ("meminfo", *_BOOT), "check_slab_growth": ("meminfo", *_BOOT), "check_proc_count": ("uptime",),
    "check_oom_kill": ("vmstat", *_BOOT), "check_mem_pressure": ("pressure/memory", "vmstat", *_BOOT)}
"""Files without which a check's answer would tell of the recording, not of the host."""
_OURS = ("--procfs", "--sysfs", "--state-dir", "--log")


class Change(NamedTuple):
    """A moment at which a check said something else than before, in state."""

    at: float
    state: int
    words: str


class Result(NamedTuple):
    """One check with one set of options over the whole recording."""

    options: list[str]
    changes: list[Change]
    spent: list[float]
    """Seconds in each of :data:`STATES`."""
    engine: Engine


class Outcome(NamedTuple):
    """What a replay found."""

    start: float
    end: float
    moments: int
    boots: int
    results: list[Result]
    kills: list[kills.Kill]
    notes: list[str]


def checked(check: str, argv: list[str]) -> options.Namespace:
    """The check's options, once it is sure that this recording can answer them. Raises ``LookupError`` with a sentence."""
    if check == "check_mem_recorder":
        raise LookupError("check_mem_recorder judges the recording's file as it is now, not what is in it: it cannot be replayed")
    module = inprocess.load(check)
    for word in argv:
        if word.partition("=")[0] in _OURS:
            raise LookupError(f"{word.partition('=')[0]} is what replay gives the check itself: leave it out")
    try:
        args = options.parse(module.NAME, module.__doc__ or "", module.OPTIONS, argv)
    except options.Usage as usage:
        raise LookupError(f"{check}: see {check} --help" if usage.help else f"{check}: {usage}; see {check} --help") from None
    if check == "check_proc_count" and args["user"] is not None:
        raise LookupError("-u: a recording has no users of processes (it holds stat, statm, cmdline and cgroup of each)")
    if check == "check_proc_count" and args["metric"] == "pss":
        raise LookupError("-m pss: a recording has no smaps of processes; use -m rss")
    if check == "check_oom_kill" and args["cgroup"] is not None:
        raise LookupError("--cgroup: a recording need not have each control group's counter of kills: only the host's can be replayed")
    return args


def lacking(check: str, args: options.Namespace, sample: Sample) -> str:
    """Why this sample cannot be judged by the check; empty where it can."""
    sources = sample.content.sources
    for name in NEEDS[check]:
        source = sources.get(name)
        if source is None and name != "pressure/memory":  # a kernel without PSI: the check says so itself
            return f"{name} is not in the recording"
        if source is not None and source.data is None:
            return f"{name} {'did not answer' if source.lost else 'could not be read by the recorder: ' + os.strerror(source.errno)}"
    if check == "check_proc_count" and sample.content.listing.data is None:
        return "the list of processes could not be read by the recorder"
    if check == "check_mem_pressure" and args["cgroup"] is not None:
        end = "/" + args["cgroup"].strip("/") + "/memory.pressure"
        if not any(name.endswith(end) for name in sources):
            return "the recording has no memory.pressure of this cgroup (it has the largest groups of version 2)"
    return ""


def over(recording: Recording, check: str, variants: list[list[str]], every: float, span: tuple[float | None, float | None],
         attempts: int, progress: Callable[[float], None]) -> Outcome:
    """Runs ``check`` with each of ``variants`` at each moment. Raises ``LookupError`` where there is nothing to run over, ``OSError``."""
    parsed = [checked(check, argv) for argv in variants]
    low, high = span
    entries = [entry for entry in moments.straight(recording.entries) if (low is None or entry.head.real_ns / 1e9 >= low - WARM)
               and (high is None or entry.head.real_ns / 1e9 <= high)]
    if not any(low is None or entry.head.real_ns / 1e9 >= low for entry in entries):
        raise LookupError("the recording has no samples" + (" of that time" if span != (None, None) else ""))
    line = moments.Timeline(entries, every)
    with tempfile.TemporaryDirectory(prefix="memtriage-replay-", dir=recorded.room()) as folder:
        return _Replay(recording, line, folder, check, variants, parsed, attempts).run(low, progress)


class _Replay:
    def __init__(self, recording: Recording, line: moments.Timeline, folder: str, check: str, variants: list[list[str]],
                 parsed: list[options.Namespace], attempts: int) -> None:
        self.recording, self.line, self.check, self.parsed = recording, line, check, parsed
        self.tree = recorded.Tree(os.path.join(folder, "tree"))
        self.log = kills.Log(recording, line.entries)
        self.log_path = os.path.join(folder, "log")
        self.results = [Result(argv, [], [0.0] * len(STATES), Engine(attempts)) for argv in variants]
        self.argv = []
        for number, argv in enumerate(variants):
            state = [] if check == "check_proc_count" else ["--state-dir", os.path.join(folder, f"state-{number}")]
            log = ["--log", self.log_path] if check == "check_oom_kill" else []
            self.argv.append([*argv, "--procfs", self.tree.proc, "--sysfs", self.tree.sys, *state, *log])
        self.written = ("", -1)
        self.wanted = ("slabinfo", *NEEDS[check])
        self.boots: set[str] = set()
        self.unread: dict[str, int] = {}
        self.unjudged: dict[str, int] = {}

    def run(self, low: float | None, progress: Callable[[float], None]) -> Outcome:
        shown, start, judged, ran = 0, None, False, 0
        last: tuple[int, list[tuple[int, str]]] = (-1, [])
        for moment in self.line.moments():
            found = self._at(moment, last)
            last = found
            visible = low is None or moment.at >= low
            progress(self.line.times[moment.place] / (self.line.times[-1] or 1.0))
            for result, (state, words) in zip(self.results, found[1]):
                if state != NONE:
                    result.engine.feed(moment.at, state)
                if not visible:
                    continue
                if not result.changes or result.changes[-1].state != state:
                    result.changes.append(Change(moment.at, state, words))
                result.spent[state] += moment.seconds if state == NONE else moment.seconds - moment.blind
                result.spent[NONE] += 0.0 if state == NONE else moment.blind
            ran += 1
            if visible:
                shown += 1
                start = moment.at if start is None else start
                judged |= any(state != NONE for state, _ in found[1])
        if not judged and self.unjudged:
            raise LookupError(f"{self.check} has nothing to judge: {max(self.unjudged, key=self.unjudged.__getitem__)}")
        end = self.line.entries[-1].head.real_ns / 1e9
        self._finish_log(len(self.line.entries) - 1)
        first = self.line.entries[0].head.real_ns / 1e9 if start is None else start
        for result in self.results:
            result.engine.pages[:] = [page for page in result.engine.pages if page.at >= first]
        struck = [kill for kill in self.log.kills if kill.at >= first]
        return Outcome(first, end, shown, len(self.boots), self.results, struck, list(self._notes(ran, struck)))

    def _finish_log(self, place: int) -> None:
        for number in range(place, -1, -1):
            sample = moments.chosen(self.recording, self.line.entries, moments.Moment(0.0, number, True, 0.0, 0.0), ())
            if sample is not None:
                self.log.advance(number, sample)
                break
        self.log.finish()

    def _at(self, moment: moments.Moment, last: tuple[int, list[tuple[int, str]]]) -> tuple[int, list[tuple[int, str]]]:
        """The record's number, and what each variant says."""
        sample = moments.chosen(self.recording, self.line.entries, moment, self.wanted)
        if sample is None:
            words = "no sample can be read: damaged" if moment.fresh else moments.why_none(self.line.entries, moment.place)
            return -1, [(NONE, words)] * len(self.results)
        if sample.head.seq == last[0]:
            return last  # the recorder was slower than the check: nothing new to judge
        self.log.advance(moment.place, sample)
        self.boots.add(self.log.boot)
        source = sample.content.sources.get("slabinfo")
        if source is not None and source.data is None:
            why = "did not answer in time" if source.lost else os.strerror(source.errno)
            self.unread[why] = self.unread.get(why, 0) + 1
        if self.check == "check_oom_kill" and self.written != (self.log.boot, len(self.log.text)):
            with open(self.log_path, "wb") as handle:
                handle.write(self.log.text)
            self.written = self.log.boot, len(self.log.text)
        self.tree.show(sample)
        said = []
        for argv, args in zip(self.argv, self.parsed):
            why = lacking(self.check, args, sample)
            if why:
                self.unjudged[why] = self.unjudged.get(why, 0) + 1
                said.append((NONE, why))
                continue
            outcome = inprocess.run(self.check, argv)
            said.append((outcome.state, outcome.first.replace(self.tree.proc + "/", "/proc/").replace(self.tree.sys + "/", "/sys/")))
        return sample.head.seq, said

    def _notes(self, ran: int, struck: list[kills.Kill]) -> Iterator[str]:
        for why, count in self.unread.items():
            if self.check in ("check_free_mem", "check_slab_growth", "check_mem_pressure"):
                yield f"slabinfo was not recorded at {count} of {ran} moments ({why}): caches have no names there; live they may have."
        for why, count in self.unjudged.items():
            yield f"not judged at {count // len(self.results)} of {ran} moments: {why}."
        if self.log.denied:
            yield f"the recorder could not read the kernel's log ({self.log.denied}): kills are counted, not named."
        elif any(not kill.name for kill in struck):
            yield "the log has no report of some kills: they are counted, not named, and their time is that of the next sample."
        if self.check == "check_proc_count" and any(args["args"] or args["exclude"] for args in self.parsed):
            yield "command lines are recorded up to 1,024 bytes, when a process is first seen."
