"""Which files an ordinary check needs to start: to be kept in memory, so that a slow disk is not asked for them when memory is short."""

from __future__ import annotations

import os
import sys

from memtriage import inprocess

AGENTS = ("nrpe", "icinga2")
"""Programs that start checks: what they have mapped is needed as well."""
SHELLS = ("/bin/sh", "/usr/bin/env")


def needed() -> list[str]:
    """Files of the interpreter, of the modules that all checks load, of the shell, and of agents that run now. Sorted.

    To be called in a process of its own, as it loads every check.
    """
    for check in inprocess.CHECKS:
        inprocess.load(check)
    found = {os.path.realpath(sys.executable), *(os.path.realpath(path) for path in SHELLS if os.path.exists(path)), *_mapped("self")}
    for module in list(sys.modules.values()):
        for name in (getattr(module, "__cached__", None), getattr(module, "__file__", None)):
            if isinstance(name, str) and os.path.isfile(name):
                found.add(os.path.realpath(name))
                break  # the source is not read where compiled code lies beside it
    for pid in os.listdir("/proc"):
        if pid.isdigit() and _comm(pid) in AGENTS:
            found.update(_mapped(pid))
    return sorted(found)


def _comm(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as handle:
            return handle.read().rstrip("\n")
    except OSError:
        return ""


def _mapped(pid: str) -> set[str]:
    """Files that a process has mapped, as far as this one may see them."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as handle:
            paths = {line.split(None, 5)[5].rstrip("\n") for line in handle if len(line.split(None, 5)) == 6}
    except OSError:
        return set()
    return {path for path in paths if path.startswith("/") and os.path.isfile(path)}
