"""Keeps a speaker beside the recorder: started with it, started anew should it die, ended with it. Imports nothing of what a speaker needs.

Two processes: the keeper, which does nothing but wait, and the speaker (:mod:`memtriage.passive.resident`), which may be slow, hang or die
without the recorder noticing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Callable

AGAIN_S = 5.0
"""Before a speaker that died is started anew."""
_PDEATHSIG = 1


def start(prepare: Callable[[], Callable[[], None]], close: list[int], say: Callable[[str], None]) -> tuple[int, str]:
    """Forks the keeper, has it ``prepare`` the speaker's work, and returns its number and what was wrong with that, if anything.

    ``close`` are descriptors that are the recorder's alone. To be called while this process has one thread.
    """
    recorder = os.getpid()
    told, tell = os.pipe2(os.O_CLOEXEC)
    keeper = os.fork()
    if keeper:
        os.close(tell)
        with os.fdopen(told, "rb") as answer:
            problem = answer.read(4096).decode("utf-8", "replace")
        if problem:
            os.waitpid(keeper, 0)
        return keeper, problem
    try:
        for handle in (told, *close):
            os.close(handle)
        _die_with(recorder)
        try:
            work = prepare()
        except Exception as error:
            os.write(tell, (str(error) or type(error).__name__).encode("utf-8", "replace")[:4096])
            os._exit(1)
        os.close(tell)
        _keep(work, say)
    finally:
        os._exit(1)


def end(keeper: int, seconds: float = 6.0) -> None:
    """Ends both; what waits is tried once more."""
    try:
        os.kill(keeper, signal.SIGTERM)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if os.waitpid(keeper, os.WNOHANG)[0]:
                return
            time.sleep(0.02)
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _die_with(parent: int) -> None:
    """SIGTERM when the parent ends, however it ends."""
    try:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (OSError, AttributeError):
        pass  # then a recorder killed with SIGKILL leaves its speaker behind, until systemd ends the whole group
    if os.getppid() != parent:
        os._exit(0)


def _keep(work: Callable[[], None], say: Callable[[str], None]) -> None:
    """Starts the speaker, and again whenever it dies. Ends with the signal that ends it."""
    child = 0

    def stop(number: int, frame: object) -> None:
        if child:
            try:
                os.kill(child, signal.SIGTERM)
                os.waitpid(child, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        os._exit(0)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the recorder too, which then ends this one
    while True:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        own = os.getpid()
        try:
            child = os.fork()
        except OSError as error:
            signal.signal(signal.SIGTERM, stop)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
            say(f"no process for passive results: {error.strerror}")
            time.sleep(AGAIN_S)
            continue
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
            _die_with(own)
            try:
                work()
            finally:
                os._exit(1)
        signal.signal(signal.SIGTERM, stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        status = os.waitpid(child, 0)[1]
        child = 0
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
        say(f"passive results: the speaker ended ({how}); it is started again in {AGAIN_S:g} s")
        time.sleep(AGAIN_S)
