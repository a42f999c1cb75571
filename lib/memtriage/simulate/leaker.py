"""The process that holds a leak, and the one that cleans up once everything else has ended, however it ended.

What a leak holds ends with its process: with the command's end, with kill -9 of the command (the leaker's pipe ends, and the kernel kills
it with its parent), with any error. Temporary folders and cgroups outlive processes; those are the cleaner's.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import Callable, NoReturn

from memtriage.simulate import libc
from memtriage.simulate.place import Leak, Place, Refused

PATIENCE = 60.0
"""Seconds that one order may take before the leaker counts as stuck."""


def _leave(code: int) -> NoReturn:
    os._exit(code)


def _detach() -> None:
    """Keeps the terminal's keys and streams away from a child: only the command itself answers to them."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


class Cleaner:
    """Removes ``folder`` and everything in it, and the cgroup ``groups``, when the last process that inherited its pipe has ended."""

    def __init__(self, folder: str, groups: str) -> None:
        sys.stdout.flush()
        watched, self.lifeline = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.lifeline)
                os.setsid()  # out of reach of a kill -9 of the whole process group
                _detach()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                libc.name_process("memtriage-clean")
                while os.read(watched, 1):
                    pass
                _leave(0 if _remove(folder, groups) else 1)
            finally:
                _leave(2)
        os.close(watched)

    def finish(self) -> bool:
        """Lets it work and waits for it. Says whether nothing is left."""
        os.close(self.lifeline)
        return os.waitpid(self.pid, 0)[1] == 0


def _remove(folder: str, groups: str) -> bool:
    import shutil  # noqa: PLC0415 - after the fork, so that it is nobody else's memory

    for attempt in range(100):
        if groups:
            for path, _, _ in os.walk(groups, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass  # a process in it that is still ending
        if folder and os.path.isdir(folder):
            shutil.rmtree(folder, ignore_errors=True)
        if not (groups and os.path.isdir(groups)) and not (folder and os.path.isdir(folder)):
            return True
        time.sleep(0.02 * min(attempt, 5))
    return False


class Leaker:
    """Runs ``make(place)`` in a process named ``name`` and lets it grow on demand."""

    def __init__(self, make: Callable[[Place], Leak], place: Place, name: str) -> None:
        sys.stdout.flush()
        (orders, self.orders), (self.answers, answers) = os.pipe(), os.pipe()
        parent = os.getpid()
        gc.freeze()  # or the collector would touch, and so copy, all that the two could share
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.orders)
                os.close(self.answers)
                _detach()
                libc.die_with_parent(parent)
                _first_to_die()
                most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
                libc.name_process(name)
                gc.disable()
                _serve(make, place, orders, answers)
            finally:
                _leave(1)
        os.close(orders)
        os.close(answers)
        try:
            self.grow(0)  # until it is set up
        except BaseException:
            self.end()
            raise

    def grow(self, count: int) -> None:
        """Makes ``count`` more units. Raises :class:`Refused` with the reason where that fails."""
        try:
            os.write(self.orders, struct.pack("=q", count))
            ready = select.select([self.answers], [], [], PATIENCE)[0]
            answer = os.read(self.answers, 4096) if ready else b"-no answer for a minute"
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise Refused("the process that held the leak is gone: killed, perhaps by the OOM killer")
        if answer != b"+":
            raise Refused(answer[1:].decode("utf-8", "replace"))

    def end(self) -> None:
        """Ends the leak, however busy it is."""
        for handle in (self.orders, self.answers):
            os.close(handle)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _first_to_die() -> None:
    """Should memory run out after all, the OOM killer is to take this process and no innocent one."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # a kernel before 2.6.36


def _serve(make: Callable[[Place], Leak], place: Place, orders: int, answers: int) -> None:
    leak: Leak | None = None
    while True:
        order = os.read(orders, 8)
        if len(order) < 8:
            _leave(0)
        try:
            if leak is None:
                leak = make(place)
            leak.grow(struct.unpack("=q", order)[0])
            os.write(answers, b"+")
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                error = Refused(f"it takes more open files than the {most} that a process may have (ulimit -Hn)")
            text = str(error) if isinstance(error, (Refused, OSError)) else f"{type(error).__name__}: {error}"
            os.write(answers, b"-" + text.encode("utf-8", "replace")[:2000])
