"""Asks each check again and again inside this process, and hands over what is worth saying: what changed, a heartbeat, all while it hurts.

Each service has a thread of its own: a check that stands still, because the kernel holds a lock it wants, stops no other.
"""

from __future__ import annotations

import select
import threading
import time

from memtriage import inprocess, survey, wording
from memtriage.passive import Result, Service, parted
from memtriage.passive.outbox import Outbox
from memtriage.passive.settings import Settings
from memtriage.procfs import files, zoneinfo
from memtriage.recorder.shortage import Shortage

STUCK_S = 20.0
"""A check that has not answered for so long is reported as UNKNOWN by the thread that watches."""
ALARM_S = 10.0
"""Between two reports of the same state while memory is short."""
LOOK_S = 1.0


class Voice:
    """One service: its check, asked in a thread of its own."""

    def __init__(self, service: Service, extra: list[str]) -> None:
        self.service = service
        self.argv = [*service.words, *extra]
        self.thread = 0
        """That asks it."""
        self.began = 0.0
        """Monotonic time when the present question was asked, 0 between questions."""
        self.told: int | None = None
        """The state last handed over."""
        self.told_at = 0.0

    def ask(self) -> Result:
        self.thread = threading.get_ident()
        self.began, wall = time.monotonic(), time.time()
        try:
            outcome = inprocess.run(self.service.check, self.argv)
        finally:
            self.began = 0.0
        return parted(self.service.name, outcome.state, outcome.output, wall, time.time())


class Stop:
    """Set by a handler of signals, which may take no lock: a second signal would find it held by the first, for ever."""

    def __init__(self) -> None:
        self._on = False

    def set(self) -> None:
        self._on = True

    def is_set(self) -> bool:
        return self._on


class Speaker:
    """All services of one host. :meth:`run` returns once ``stop`` is set."""

    def __init__(self, settings: Settings, outbox: Outbox, procfs: str = "/proc") -> None:
        self.settings = settings
        self.outbox = outbox
        self.procfs = procfs
        self.stop = Stop()
        self._soon = threading.Condition()
        self._round = 0
        self._beat = time.monotonic()
        """When the present heartbeat began. It is one for all: Icinga 2 closes a connection that is idle for ten seconds, and a new one
        costs it twenty times what a result does."""
        self.poll = select.poll()
        self.shortage = Shortage(procfs, _low_watermark(procfs), self.poll)
        self.voices = [Voice(service, self._extra(service)) for service in settings.services]

    def _extra(self, service: Service) -> list[str]:
        """Where to look, to remember and to find the recording, unless the service's own options say it."""
        values = {"--procfs": self.procfs if self.procfs != "/proc" else "", "--state-dir": self.settings.state_dir,
                  "--file": self.settings.recording if service.check == "check_mem_recorder" else ""}
        known = {flag for option in inprocess.load(service.check).OPTIONS for flag in option.flags}
        given = {word.partition("=")[0] for word in service.words}
        return [word for flag, value in values.items() if value and flag in known - given for word in (flag, value)]

    def warm(self) -> None:
        """Asks and reports each once, which loads what a question and an answer need."""
        for voice in self.voices:
            self._tell(voice, voice.ask())

    def run(self) -> None:
        threads = [threading.Thread(target=self._listen, args=(voice,), name=voice.service.name, daemon=True) for voice in self.voices]
        threads.append(threading.Thread(target=self.outbox.run, name="outbox", daemon=True))
        for thread in threads:
            thread.start()
        while not self.stop.is_set():
            self._watch()
        self.outbox.stop()
        threads[-1].join(5.0)

    def _watch(self) -> None:
        """Is memory short, and does every check answer?"""
        for _, events in self.poll.poll(1000 * LOOK_S):
            self.shortage.alarmed(events)
        try:
            self.shortage.judge(files.read(self.procfs, "meminfo"))
        except files.ProcfsError:
            pass  # then the kernel's own alarm is what is left
        short = self.shortage.now
        if short and not self.outbox.hurry:
            self._hurry()
        if not short:
            self.outbox.hurry = False
        self.outbox.watch()
        now = time.monotonic()
        if now - self._beat >= self.settings.heartbeat_s:
            self._beat = now
            self._ask_all()
        for voice in self.voices:
            began = voice.began
            if began and now - began > STUCK_S and self._due(voice, 3, now):
                said = f"{inprocess.load(voice.service.check).NAME} UNKNOWN - no answer for {now - began:.0f} s inside the recorder"
                wall = time.time()
                self._tell(voice, Result(voice.service.name, 3, [said + _where(voice.thread)], [], wall - (now - began), wall))

    def _hurry(self) -> None:
        """Opens the connection before there is something to say, and has every check asked now."""
        self.outbox.hurry = True
        self.outbox.wake()
        self._ask_all()

    def _ask_all(self) -> None:
        with self._soon:
            self._round += 1
            self._soon.notify_all()

    def _listen(self, voice: Voice) -> None:
        while not self.stop.is_set():
            with self._soon:
                seen = self._round
            result = voice.ask()
            if self._due(voice, result.state, time.monotonic()):
                self._tell(voice, result)
            with self._soon:
                if self._round == seen:
                    self._soon.wait(self.settings.fast_s if self.shortage.now else self.settings.every_s)

    def _due(self, voice: Voice, state: int, now: float) -> bool:
        if state != voice.told:
            return True
        if self.shortage.now and state and now - voice.told_at >= ALARM_S:
            return True
        return voice.told_at < self._beat

    def _tell(self, voice: Voice, result: Result) -> None:
        voice.told, voice.told_at = result.state, time.monotonic()
        self.outbox.put(result)


def _where(thread: int) -> str:
    path = files.current(thread)
    return wording.line(f"; reading {path}")[:150] if path else ""


def _low_watermark(procfs: str) -> int:
    """Bytes, 0 where the kernel does not say."""
    try:
        return zoneinfo.low_watermark_pages(zoneinfo.read(procfs).zones) * survey.page_size(procfs)
    except files.ProcfsError:
        return 0
