"""The speaker's own process: everything it needs is loaded, warmed up and locked in memory before it is needed."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Callable

import memtriage
from memtriage.passive import Failed
from memtriage.passive.commandfile import CommandFile
from memtriage.passive.icinga2 import Icinga2
from memtriage.passive.nrdp import Nrdp
from memtriage.passive.nsca import Nsca
from memtriage.passive.outbox import Delivery, Outbox
from memtriage.passive.settings import Settings, Wrong, read
from memtriage.passive.speaker import Speaker
from memtriage.recorder import guard

DELIVERIES: Mapping[str, Callable[[Mapping[str, str]], Delivery]] = {"icinga2": Icinga2, "nrdp": Nrdp, "nsca": Nsca, "file": CommandFile}
NICE = -10
"""Before most, behind the recorder."""
_NOT_LOADED = ("memtriage.cli", "memtriage.report", "memtriage.fleet", "memtriage.simulate", "memtriage.saturate", "memtriage.replay",
               "memtriage.integration", "memtriage.__main__", "memtriage.checks")


def delivery(settings: Settings) -> Delivery:
    """The way to the engine. Raises :class:`~memtriage.passive.settings.Wrong`."""
    try:
        return DELIVERIES[settings.kind](settings.words)
    except (ValueError, OSError) as error:
        raise Wrong(f"[{settings.kind}]: {getattr(error, 'strerror', None) or error}") from None


def prepared(kind: str, path: str, recording: str, procfs: str, lock: bool, say: Callable[[str], None]) -> Callable[[], None]:
    """Reads the settings and makes the way ready; returns what the speaker's process does. Raises ``Wrong``."""
    settings = read(kind, path)._replace(recording=recording)
    way = delivery(settings)
    load_all()
    return lambda: _speak(settings, way, procfs, lock, say)


def _speak(settings: Settings, way: Delivery, procfs: str, lock: bool, say: Callable[[str], None]) -> None:
    """The speaker's whole life, after which its process ends."""
    guard.steady_heap()
    guard.usual_priority()
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except OSError:
        pass  # then as programs usually are
    guard.spare_from_oom()
    threading.stack_size(guard.STACK * 2)  # of threads started from here on; a check nests deeper than the recorder's helpers
    outbox = Outbox(way, say)
    speaker = Speaker(settings, outbox, procfs)
    speaker.warm()
    try:
        way.ping()
    except Failed as failure:
        say(f"passive results: {failure}")
    gc.collect()
    gc.freeze()
    locked = guard.lock_memory(whole=True) if lock else "no: not asked for"
    say(f"passive results for {len(settings.services)} services to {settings.kind}; memory locked: {locked}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: speaker.stop.set())
    speaker.run()
    os._exit(0)


def load_all() -> None:
    """Imports whatever a check could import later on, in the worst of moments."""
    for module in pkgutil.walk_packages(memtriage.__path__, "memtriage."):
        if not module.name.startswith(_NOT_LOADED):
            try:
                importlib.import_module(module.name)
            except ImportError:
                continue  # an extra that is not installed, which no check needs either
    gc.enable()  # a check switches it off for its own short life
    sys.stdout = sys.stderr  # nothing here has a stdout
