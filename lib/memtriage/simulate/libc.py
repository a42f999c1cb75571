"""The few calls of the C library that Python 3.9 does not have."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
_library = ctypes.CDLL(None, use_errno=True)


def call(name: str, *words: object) -> int:
    """Calls ``name``; raises ``OSError`` where it returns -1."""
    result: int = getattr(_library, name)(*words)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def name_process(name: str) -> None:
    """Sets the name that ps and explain show, at most 15 bytes."""
    call("prctl", PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the thread that forked it ends. ``parent`` is who it should be: it may be gone already."""
    call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def pausing_threads(count: int, stack: int) -> None:
    """Starts ``count`` threads that do nothing, with ``stack`` bytes each and no guard page. They end with the process.

    Their start routine is pause(3) itself, so that no Python state is made for them. Every signal is blocked in them. Raises ``OSError``.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    attributes = ctypes.create_string_buffer(512)  # larger than any C library's pthread_attr_t
    try:
        _library.pthread_attr_init(attributes)
        _library.pthread_attr_setguardsize(attributes, ctypes.c_size_t(0))
        while _library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(stack)) and stack < 1 << 24:
            stack *= 2  # less than this processor's register state needs
        for _ in range(count):
            error = _library.pthread_create(ctypes.byref(ctypes.c_ulong()), attributes, _library.pause, None)
            if error:
                raise OSError(error, f"pthread_create: {os.strerror(error)}")
    finally:
        _library.pthread_attr_destroy(attributes)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
