"""Runs a check inside a process that goes on: the same code, text and perfdata as the command, without an exit, a signal or a pipe.

For whoever asks the same check many times, where a Python a run would cost 60 ms each: the replay of a recording, a resident evaluator.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
from types import ModuleType

from memtriage import options, plugin
from memtriage.record import NamedTuple

CHECKS = ("check_free_mem", "check_slab_growth", "check_proc_count", "check_oom_kill", "check_mem_pressure", "check_mem_recorder")
_loaded: dict[str, ModuleType] = {}


class Outcome(NamedTuple):
    """What the command would have left: its exit code, and its output without the last newline."""

    state: int
    output: str

    @property
    def first(self) -> str:
        """The sentence: the first line up to the bar."""
        return self.output.partition("\n")[0].partition(" | ")[0]


def load(check: str) -> ModuleType:
    """The module of a check, installed or of this checkout. Raises ``LookupError`` with a sentence."""
    if check not in CHECKS:
        raise LookupError(f"no check '{check}': there are {', '.join(CHECKS)}")
    if check not in _loaded:
        collects = gc.isenabled()
        try:
            _loaded[check] = _module(check)
        finally:
            if collects:
                gc.enable()  # a check of its own lives too short to collect garbage; this process does not
    return _loaded[check]


def _module(check: str) -> ModuleType:
    try:
        return importlib.import_module(f"memtriage.checks.{check}")
    except ModuleNotFoundError as error:
        if error.name not in ("memtriage.checks", f"memtriage.checks.{check}"):
            raise
    path = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "checks", check + ".py")
    spec = importlib.util.spec_from_file_location(f"memtriage_{check}", path)
    if spec is None or spec.loader is None or not os.path.exists(path):
        raise LookupError(f"{check} is not installed beside this command")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def usage(check: str, argv: list[str]) -> str:
    """What the check would say against these options; empty where it takes them. Raises ``LookupError`` as :func:`load`."""
    module = load(check)
    try:
        options.parse(module.NAME, module.__doc__ or "", module.OPTIONS, argv)
    except options.Usage as wrong:
        return str(wrong)
    return ""


def run(check: str, argv: list[str]) -> Outcome:
    """One run with these options. Usage errors and bugs are the check's own UNKNOWN; raises ``LookupError`` for no such check only.

    There is no time-out: ``-t`` is read and nothing more, since ending a run needs a signal and the main thread.
    """
    module = load(check)
    state, output = plugin.answer(module.NAME, module.__doc__ or "", module.OPTIONS, module.judge, argv, lambda seconds: None)
    return Outcome(state, output.decode("ascii", "replace").rstrip("\n"))
