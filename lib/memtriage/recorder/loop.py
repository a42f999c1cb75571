"""The loop: wait, read, pack, hand over. No fork, no import, no new descriptor but for new processes; all else was there before."""

from __future__ import annotations

import os
import select
import signal
import threading
import time

import memtriage
from memtriage.record import NamedTuple
from memtriage.recorder import guard
from memtriage.recorder.kernel_log import KernelLog
from memtriage.recorder.notify import Notify
from memtriage.recorder.processes import MOST, Processes, without
from memtriage.recorder.rare import Groups, Rare
from memtriage.recorder.shortage import Shortage, low_watermark
from memtriage.recorder.slow import Details, GroupFiles, Slab, Worker, memory_groups
from memtriage.recorder.sources import ALIASES, EMPTY, FILES, Scratch, once, opened, removed
from memtriage.recorder.writer import Writer
from memtriage.recording import FIRST, Content, Process, Ring, Source, glance, layout, payload

KEY_EVERY = 64
"""Samples from one record that stands alone to the next. In between each is compressed against the last one whose place in the group has
the lowest set bit cleared: no record needs more than six others, half of all are needed by none."""
BUFFER = 1024 * 1024
"""Bytes that wait for a stalled disk: a quarter of an hour of samples, one a second, of a host with 100 processes."""
STOCK = 1536 * 1024
"""Bytes of heap beyond what the first samples need."""
DETAILS_WAIT = 0.03
"""Seconds a sample waits for command lines, and for control groups."""


class Settings(NamedTuple):
    interval_s: float = 10.0
    fast_s: float = 1.0
    sync_s: float = 5.0
    groups_above: int = 64 * 1024**2
    root: str = "/proc"
    sysfs: str = "/sys"
    kmsg: str = "/dev/kmsg"
    lock: bool = True
    priority: bool = True
    samples: int = 0
    """Ends after so many; 0 for never."""
    rare_s: float = 10.0
    """Between two readings of what is not read at every sample (:mod:`memtriage.recorder.rare`)."""


class Recorder:
    """One run. Made, warmed up, then :meth:`run` until a signal ends it."""

    def __init__(self, settings: Settings, ring: Ring, slab: Slab | None) -> None:
        guard.steady_heap()
        self.settings = settings
        self.stopping = False
        self.seq = ring.seq
        self.taken = 0
        self.lost = 0
        self.place = 0
        self.kept: list[tuple[int, int, Content]] = []
        self.key_size = 0
        self.spared = 0
        """What this group of samples goes without, as no record would hold it: see :func:`~memtriage.recorder.processes.without`."""
        self.flags = FIRST
        self.fast = False
        self.poll = select.poll()
        self.notify = Notify(os.environ)
        self.scratch = Scratch(256 * 1024)
        self.files = opened(settings.root, FILES) + removed(settings.sysfs)
        self.processes = Processes(settings.root, guard.many_files())
        self.log = KernelLog(settings.kmsg)
        self.once = once(settings.root, ALIASES.replace("/sys", settings.sysfs, 1))
        self.shortage = Shortage(settings.root, low_watermark(self.files, self.scratch), self.poll)
        if settings.priority:
            self.priority, self.oom = guard.raise_priority(), guard.spare_from_oom()
        else:
            self.priority, self.oom = "not asked for", guard.own_oom_score()
        threading.stack_size(guard.STACK)
        self.writer = Writer(ring, BUFFER, settings.sync_s)
        self.slab = Worker(slab.read, "slabinfo") if slab is not None else None
        self.rare = Rare(self.slab)
        self.details = Details(settings.root)
        self.detail = Worker(self.details.read, "details", guard.usual_priority)
        self.group_files = GroupFiles(memory_groups(settings.sysfs), settings.groups_above)
        self.grouping = Worker(self.group_files.read, "groups", guard.usual_priority)
        self.groups = Groups()
        self.locked = "no: not asked for"
        self.meta = EMPTY
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.poll.register(self._wake[0], select.POLLIN)

    def warm(self) -> None:
        """Full passes before anything is locked, so that the stack, the heap and the code that a sample needs are there."""
        self.addresses = guard.hide_addresses(self.settings.root)
        interval = int(self.settings.interval_s * 1000)
        old: Content | None = None
        for _ in range(12):
            content = self._content(0)[0]
            glance.stored(content, payload.encode(content, None))
            if old is not None:
                glance.stored(content, payload.encode(content, old))
            old = content
        self.rare.every_s = self.settings.rare_s
        self.stock = guard.stock(STOCK)
        guard.freeze()
        if self.settings.lock:
            self.locked = guard.lock_memory()
        words = {"program": f"memtriage {memtriage.__version__}", "pid": str(os.getpid()), "page_size": str(os.sysconf("SC_PAGE_SIZE")),
                 "clock_ticks": str(os.sysconf("SC_CLK_TCK")), "interval_ms": str(interval),
                 "fast_interval_ms": str(int(self.settings.fast_s * 1000)),
                 "sync_s": f"{self.settings.sync_s:g}", "locked": self.locked, "oom_score_adj": self.oom, "priority": self.priority,
                 "stat_addresses": self.addresses, "psi_trigger": self.shortage.trigger, "started_ns": str(time.time_ns())}
        self.meta = Source("".join(f"{key} {value}\n" for key, value in words.items()).encode("utf-8", "replace"), 0, 0, 0)

    def run(self) -> None:
        """Samples until told to stop. SIGTERM and SIGINT end it, SIGHUP opens the file anew."""
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reopen)
        due = last = time.monotonic()
        while not self.stopping:
            now = self._wait(due)
            if self.shortage.now and not self.fast:  # the kernel's alarm, in the middle of a long interval
                self.fast = True
                due = min(due, max(now, last + self.settings.fast_s))
            if self.stopping:
                self._sample(0.0)  # what happened since the last one, in the kernel's log for one
                return
            if now < due:
                continue
            last = now
            late = now - due
            due += self._missed(late)  # this process was stopped, or had no CPU
            self._sample(late)
            self.taken += 1
            if self.taken == 1:
                self.notify.send(b"READY=1\nSTATUS=recording")
            if self.settings.samples and self.taken >= self.settings.samples:
                return
            self.fast = self.shortage.now
            due += self._step()
            due += self._missed(time.monotonic() - due)  # the sample took longer than it may

    def _missed(self, behind: float) -> float:
        """Samples that were due and could not be taken are a hole in the numbers, before the next one; returns their time."""
        missed = max(0, int(behind / self._step()))
        self.seq += missed
        return missed * self._step()

    def _step(self) -> float:
        return self.settings.fast_s if self.fast else self.settings.interval_s

    def _wait(self, due: float) -> float:
        """Until the next sample is due, a signal comes, memory gets short, or the watchdog wants a word."""
        every = self.notify.every_s
        left = due - time.monotonic()
        if left > 0:
            for handle, events in self.poll.poll(1000 * min(left, every or left)):
                if handle == self._wake[0]:
                    os.read(handle, 64)
                else:
                    self.shortage.alarmed(events)
        if every and self.taken:
            self.notify.send(b"WATCHDOG=1")
        return time.monotonic()

    def _sample(self, late: float) -> None:
        """One sample, whatever the kernel refuses meanwhile: that one is lost then, and the next stands alone."""
        try:
            self._try_sample(late)
        except (MemoryError, OSError):
            self._lose()
        self.seq += 1

    def _lose(self) -> None:
        self.lost += 1
        self.place = 0

    def _try_sample(self, late: float) -> None:
        content, real, boot = self._content(int(late * 1e6))
        if self.writer.anew:  # what is written from now on is in another file, and can lean on nothing
            self.writer.anew = False
            self.place = 0
        self.seq = max(self.seq, self.writer.floor)
        if self.place and (self.place % KEY_EVERY == 0 or self.seq - self.kept[0][1] > layout.FARTHEST):
            self.place = 0
        place = self.place
        while self.kept and self.kept[-1][0] != place & (place - 1):
            self.kept.pop()
        base = self.kept[-1] if place and self.kept else None
        if base is None:
            self.spared = 0
        content = without(content, self.spared)
        raw = payload.encode(content, base[2] if base else None)
        if base is not None and 2 * len(raw) > self.key_size:
            base, place = None, 0
            raw = payload.encode(content, None)
        stored = glance.stored(content, raw)
        while self._too_large(raw, stored) and self.spared < 2:
            self.spared += 1
            base, place = None, 0
            content = without(content, self.spared)
            raw = payload.encode(content, None)
            stored = glance.stored(content, raw)
        if self._too_large(raw, stored):
            self._lose()
            return
        if base is None:
            self.kept.clear()
            self.key_size = len(raw)
        step_ms = min(int(1000 * self._step()), 2**32 - 1)
        head = layout.describe(stored, len(raw), self.seq, real, boot, step_ms, self.flags, self.seq - base[1] if base else 0)
        if self.writer.put(head, stored):
            self.kept.append((place, self.seq, content))
            self.place = place + 1
            self.flags = 0
        else:  # the disk has been standing for long: what comes next cannot lean on this one
            self._lose()

    def _too_large(self, raw: bytes, stored: bytes) -> bool:
        most = min(self.writer.ring.largest, len(self.writer.buffer.memory))
        return len(raw) > layout.LARGEST or layout.padded(layout.ALIGN + len(stored)) > most

    def _content(self, late_us: int) -> tuple[Content, int, int]:
        real, boot, zero = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic_ns()
        self.rare.begin(zero)
        sources: dict[str, Source] = {}
        for file in self.files:
            sources[file.name] = self.rare.read(file, self.scratch, zero) if file.rare else file.read(self.scratch, zero)
        info = sources["meminfo"].data if "meminfo" in sources else None
        self.shortage.judge(info)
        processes, listing = self.processes.read(zero, self.rare.due)
        sources["kmsg"] = self.log.read()
        self._ask_details(processes)
        self._ask_groups()
        slab = self.rare.slabinfo(zero, info)
        if slab is not None:
            sources["slabinfo"] = slab
        sources.update(self.groups.sources(zero))
        words = b"monotonic_us %d\nkernel_threads_us %d\nlate_us %d\nshort %s\nlost %d\nwaiting %d\ndisk %s\ndisk_problem %s\n" % (
            zero // 1000, (self.processes.kernel_ns - zero) // 1000, late_us, self.shortage.why.encode() if self.shortage.now else b"-",
            self.lost, len(self.writer.buffer.records), self.writer.disk, self.writer.problem.encode("utf-8", "replace") or b"-")
        sources["sample"] = Source(words, 0, 0, 0)
        sources["meta"] = self.meta
        sources.update(self.once)
        return Content(sources, processes, listing), real, boot

    def _ask_details(self, processes: dict[int, Process]) -> None:
        """New processes are described in the sample that sees them if that takes no time, else in a later one."""
        self._take_details(0.0, processes)
        if self.detail.busy:
            del self.processes.wanted[:-MOST]
        elif self.processes.wanted:
            self.details.pids, self.processes.wanted = self.processes.wanted, []
            self.detail.ask()
            self._take_details(DETAILS_WAIT, processes)

    def _take_details(self, seconds: float, processes: dict[int, Process]) -> None:
        for pid, cmdline, cgroup in self.detail.answer(seconds) or ():
            process = self.processes.describe(pid, cmdline, cgroup)
            if process is not None and pid in processes:
                processes[pid] = process

    def _ask_groups(self) -> None:
        self._take_groups(self.grouping.answer(0.0))
        if not self.grouping.busy:
            files = self.group_files
            files.calm, files.full = not self.shortage.now, self.rare.due
            if files.idle():
                self.groups.take([file.name for file in files.files], files.sizes())
            else:
                self.grouping.ask()
                self._take_groups(self.grouping.answer(DETAILS_WAIT))

    def _take_groups(self, answer: tuple[list[str], dict[str, Source]] | None) -> None:
        if answer is not None:
            self.groups.take(*answer)

    def _stop(self, number: int, frame: object) -> None:
        self.stopping = True

    def _reopen(self, number: int, frame: object) -> None:
        self.writer.open_anew()

    def close(self, seconds: float = 5.0) -> bool:
        """Ends the writing; ``False`` where the disk did not take all in the time."""
        self.notify.send(b"STOPPING=1")
        done = self.writer.stop(seconds)
        if done:
            self.writer.ring.close()
        return done
