"""What makes a process survive a lack of memory: locked pages, no OOM score, priority. Each may be refused; each then says so, once.

Everything in C is called by ctypes, and before recording begins.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource

from memtriage.record import NamedTuple

_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "ppc64le": 273, "s390x": 282, "riscv64": 30, "i686": 289, "armv7l": 314}
_BEST_EFFORT_FIRST = 2 << 13
STACK = 256 * 1024
"""Bytes of a helper thread's stack; the usual 8 MiB would be locked in full where the kernel has no MCL_ONFAULT."""


class Outcome(NamedTuple):
    """What was granted, as ``meta`` of a recording says it."""

    locked: str
    """``yes (...)`` or ``no: ...``."""
    oom_score_adj: str
    priority: str


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def steady_heap() -> None:
    """Keeps freed memory in the heap, where it is met again, instead of giving it back and mapping it anew (glibc; elsewhere a no-op)."""
    try:
        mallopt = _libc().mallopt
    except (OSError, AttributeError):
        return
    mallopt(_ARENA_MAX, 1)  # or each thread maps 64 MiB for itself, of which a first page is touched now and then
    mallopt(_MMAP_THRESHOLD, 1 << 26)
    mallopt(_TRIM_THRESHOLD, 1 << 28)
    mallopt(_TOP_PAD, 1 << 18)


def stock(size: int) -> list[bytes]:
    """Makes the heap larger by about ``size`` bytes that are touched and free again, so that a busy hour finds its memory there.

    The returned list, a few small objects, must be kept: they hold the interpreter's own pools in place.
    """
    large = [b"x" * 4096 for _ in range(size // 8192)]
    small = [b"%0200d" % number for number in range(size // 480)]
    kept = small[::256]
    del large, small
    return kept


def lock_memory(whole: bool = False) -> str:
    """mlockall, with what the kernel and the limits allow. What is not touched yet is locked once it is (MCL_ONFAULT, Linux 4.4).

    ``whole``: read in and locked at once, for code that is met for the first time in the crisis.
    """
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        pass  # then the limit may still be large enough
    try:
        mlockall = _libc().mlockall
    except (OSError, AttributeError):
        return "no: this C library has no mlockall"
    why = 0
    ways = ((_CURRENT | _FUTURE | _ON_FAULT, "current, future, on fault"), (_CURRENT | _FUTURE, "current, future"), (_CURRENT, "current"))
    for flags, words in ways[1:] if whole else ways:
        if mlockall(flags) == 0:
            return f"yes ({words})"
        why = ctypes.get_errno()
    return f"no: {os.strerror(why)} (needs CAP_IPC_LOCK or a larger RLIMIT_MEMLOCK)"


_OOM = "/proc/self/oom_score_adj"


def spare_from_oom() -> str:
    """Sets oom_score_adj as low as may be; returns the value in force."""
    why = ""
    for value in (b"-1000", b"-999"):
        try:
            with open(_OOM, "wb", buffering=0) as handle:
                handle.write(value)
            break
        except OSError as error:
            why = f": lower refused, {error.strerror}"
    return own_oom_score() + why


def own_oom_score() -> str:
    """The value in force."""
    try:
        with open(_OOM, "rb", buffering=0) as handle:
            return handle.read(16).decode("ascii", "replace").strip()
    except OSError as error:
        return f"unknown: {error.strerror}"


def raise_priority() -> str:
    """Nice -20, the first best-effort I/O priority, and SCHED_FIFO 1. For the calling thread and those that it starts afterwards."""
    granted: list[str] = []
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        granted.append("nice -20")
    except OSError as error:
        granted.append(f"nice unchanged: {error.strerror}")
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        try:
            if _libc().syscall(number, 1, 0, _BEST_EFFORT_FIRST) == 0:
                granted.append("I/O best effort 0")
        except (OSError, AttributeError):
            pass
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        granted.append("SCHED_FIFO 1")
    except OSError as error:
        granted.append(f"scheduler unchanged: {error.strerror}")
    return ", ".join(granted)


_PTRACE = 1 << 19
_CAPABILITIES = 0x20080522


def hide_addresses(root: str) -> str:
    """The calling thread gives up CAP_SYS_PTRACE, so that the kernel shows it no addresses of other programs in stat, as it shows none to
    other users: they say where memory is and not how much, and a recording's readers are not to know them. Returns what is so now.

    Left as it is where without it processes could not be seen (a /proc mounted with hidepid). capset(2): data of version 3.
    """
    try:
        libc = _libc()
        head, data = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
        if libc.capget(head, data) or not data[0] & _PTRACE:
            return "hidden: no CAP_SYS_PTRACE"
        names = set(os.listdir(root))
        data[0] &= ~_PTRACE
        if libc.capset(head, data):
            return f"shown: {os.strerror(ctypes.get_errno())}"
        names -= set(os.listdir(root))
        if names:  # ended just now, or hidden
            data[0] |= _PTRACE
            libc.capset(head, data)
            if names.intersection(os.listdir(root)):
                return "shown: without CAP_SYS_PTRACE processes are hidden"
            data[0] &= ~_PTRACE
            libc.capset(head, data)
    except AttributeError:
        return "shown: this C library has no capset"
    except OSError as error:
        return f"shown: {error.strerror}"
    return "hidden: CAP_SYS_PTRACE given up"


def usual_priority() -> None:
    """For a thread whose work may take long and can wait: back to where programs usually are."""
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        pass


def many_files() -> int:
    """Raises the limit of open files as far as it goes; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, 1 << 17), hard))
    except (ValueError, OSError):
        return soft
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def freeze() -> None:
    """No garbage collection from here on: the loop makes no cycles, and a collection would touch every object."""
    gc.collect()
    gc.freeze()
    gc.disable()
