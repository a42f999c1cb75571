"""The bridge to nagiosplugin: options in, thresholds, states and exit codes, one clean output out.

nagiosplugin's Resource, Context, Summary and Check do the work they are made for. Its Runtime is not used: it prints tracebacks into the
status, breaks perfdata over lines and leaves with Python's exit codes, see docs/output.md.
"""

from __future__ import annotations

import os
import signal
import sys

import nagiosplugin

from memtriage import threshold, wording
from memtriage.options import Namespace, Option, Usage, parse
from memtriage.procfs import files
from memtriage.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
CRITICAL = 2
UNKNOWN = 3
FIRST_LINE = 200
"""Characters of the first line before the bar."""


class Unsupported(Exception):
    """This kernel does not have what the check asks for: UNKNOWN, or OK with ``--ok-if-unsupported``."""


class Refused(Exception):
    """The check cannot answer, and its words say why and what to do: UNKNOWN."""


class Report(NamedTuple):
    """All that leaves a check."""

    state: int
    headline: str
    details: list[str]
    perfdata: list[str]


class Gauge(nagiosplugin.ScalarContext):  # type: ignore[misc]  # nagiosplugin has no type hints
    """A context whose limits were read by :mod:`memtriage.threshold`; a missing limit never alarms."""

    def __init__(self, name: str, warning: threshold.Threshold | None = None, critical: threshold.Threshold | None = None,
                 kind: str = "") -> None:
        super().__init__(name, _range(warning, kind), _range(critical, kind))
        self.limits = (warning, critical)
        self.kind = kind

    def performance(self, metric: Any, resource: Any) -> Any:
        """``label=value[unit];warn;crit;min;max`` in fixed notation; :class:`nagiosplugin.Performance` checks the label."""
        warn, crit = (threshold.perfdata(limit, self.kind) for limit in self.limits)
        ends = ["" if end is None else threshold.fixed(end) for end in (metric.min, metric.max)]
        return nagiosplugin.Performance(metric.name, threshold.fixed(metric.value), metric.uom or "", warn, crit, *ends)


def _range(limit: threshold.Threshold | None, kind: str) -> nagiosplugin.Range:
    # Range('') is 0 to infinity: a negative value without a threshold would be CRITICAL.
    return limit.range if limit is not None and limit.kind == kind else nagiosplugin.Range("~:")


class Words(nagiosplugin.Summary):  # type: ignore[misc]  # nagiosplugin has no type hints
    """Asks the check's own function for the first line, once the results are known."""

    def __init__(self, headline: Callable[[int], str], details: Callable[[int], list[str]]) -> None:
        self.headline = headline
        self.details = details

    def ok(self, results: Any) -> str:
        return self.headline(0)

    def problem(self, results: Any) -> str:
        return self.headline(int(results.most_significant_state))

    def verbose(self, results: Any) -> list[str]:
        return self.details(int(results.most_significant_state))


def evaluate(check: nagiosplugin.Check) -> Report:
    """Runs a nagiosplugin check and takes its state, words and perfdata from it."""
    check()
    return Report(check.exitcode, check.summary_str, check.verbose_str or [], check.perfdata)


def main(name: str, about: str, table: tuple[Option, ...], judge: Callable[[Namespace], Report]) -> NoReturn:
    """Runs one check from its command line to its exit. Never returns, never raises, leaves with 0 to 3 and nothing else.

    ``os._exit``, since flushing a full or closed stdout in Python's own exit would change the exit code once more; and it saves 5 ms.
    """
    state = UNKNOWN
    try:
        _silence()
        state, output = answer(name, about, table, judge, sys.argv[1:], lambda seconds: _arm(name, seconds))
        # A pipe that nobody reads must not hold a check for ever, and a second answer must not follow the first.
        left = [output]
        _arm(name, 1.0, (state, left))
        _write(left)
    except BaseException as error:
        state = UNKNOWN
        try:
            _write([f"{name} UNKNOWN - {wording.line(type(error).__name__ + ': ' + str(error))[:FIRST_LINE]}\n".encode("ascii")])
        except BaseException:
            pass  # stdout is full or closed: the exit code is all that is left to say
    finally:
        os._exit(state)


def answer(name: str, about: str, table: tuple[Option, ...], judge: Callable[[Namespace], Report], argv: list[str],
           arm: Callable[[float], None]) -> tuple[int, bytes]:
    """State and output of one run with the options ``argv``; whatever goes wrong is UNKNOWN and says so.

    ``arm`` is given the time-out. See :mod:`memtriage.inprocess` for a process that goes on afterwards.
    """
    args: Namespace | None = None
    try:
        args = parse(name, about, table, argv)
        arm(args["timeout"])
        report = judge(args)
    except Usage as usage:
        if usage.help:
            return UNKNOWN, usage.help.encode("ascii", "replace")
        report = _unknown(f"usage: {usage}; see --help")
    except Unsupported as error:
        fine = args is not None and args["ok_if_unsupported"]
        report = Report(0, f"not supported here, as allowed: {error}", [], []) if fine else _unknown(f"not supported here: {error}")
    except Refused as error:
        report = _unknown(str(error))
    except files.ProcfsError as error:
        report = _unknown(f"{error.path}: {error.reason}")
    except MemoryError:
        report = _unknown("not enough memory to run this check")
    except RecursionError:
        report = _unknown("input nested too deeply")
    except Exception as error:
        trail = error.__traceback__
        while trail is not None and trail.tb_next is not None:
            trail = trail.tb_next
        where = f"{os.path.basename(trail.tb_frame.f_code.co_filename)}:{trail.tb_lineno}" if trail else "unknown place"
        report = _unknown(f"a bug in this check, please report it: {type(error).__name__} at {where}: {error}")
    if args and args["output"] != "nagios":
        from memtriage import exposition  # noqa: PLC0415 - an engine never asks for it

        figures = [] if args["no_perfdata"] else report.perfdata
        return 0, exposition.text(name, report.state, figures, args["output"][len("prometheus:") :])
    short, verbose, plain = (args["short"], args["verbose"], args["no_perfdata"]) if args else (False, 0, False)
    return report.state, render(name, report, 1000 if short else 8192 if verbose >= 2 else 4096, plain)


def _unknown(sentence: str) -> Report:
    return Report(UNKNOWN, sentence, [], [])


def render(name: str, report: Report, budget: int, no_perfdata: bool = False) -> bytes:
    """Lays a report out: the sentence, a bar, all perfdata, then long output as far as ``budget`` bytes reach."""
    head = f"{name} {STATES[report.state]} - {wording.line(report.headline)}"
    if len(head) > FIRST_LINE:
        head = head[: FIRST_LINE - 2] + ".."
    perfdata = [] if no_perfdata else list(report.perfdata)
    # What is dropped first where room is short: the per-cache figures, which come last and are named apart.
    for item in [*reversed([item for item in perfdata if item[:2] in ("s_", "g_")])]:
        if len(head) + 3 + len(" ".join(perfdata)) < budget - 200:
            break
        perfdata.remove(item)
    lines = [head + (" | " + " ".join(perfdata) if perfdata else "")]
    used = len(lines[0]) + 1
    for number, detail in enumerate(report.details):
        text = wording.line(detail)
        rest = len(report.details) - number - 1
        if used + len(text) + 1 > budget - (40 if rest else 0):
            lines.append("(%d more lines: see -vv)" % (rest + 1))
            break
        lines.append(text)
        used += len(text) + 1
    return ("\n".join(lines) + "\n").encode("ascii")


def _write(left: list[bytes]) -> None:
    """Writes the one item of ``left``, which says what is left of it."""
    while left[0]:
        left[0] = left[0][os.write(1, left[0]) :]


def _silence() -> None:
    """Sends stderr to nowhere: Icinga 2 appends it to the output and reads perfdata out of it. Raises where stdout is closed."""
    os.fstat(1)  # otherwise the next file opened becomes stdout, and the answer vanishes into it with exit code 0
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
    except OSError:
        pass  # no /dev in this container: then whatever comes will be seen


def _arm(name: str, seconds: float, said: tuple[int, list[bytes]] | None = None, again: bool = False) -> None:
    """Ends the check from the signal handler itself, so that no ``except`` on the way can swallow it.

    ``said``: the state and what is left of an answer that is being written. On a host that thrashes the time may pass after all of it is
    out: then its state is the exit code, or an engine would have WARNING in words and UNKNOWN as the state.
    """

    def stop(number: int, frame: Any) -> None:
        if said is not None:
            state, left = said
            if left[0] and not again:  # it may have been written and not been noted yet: the handler runs between the two
                _arm(name, 0.2, said, True)
                return
            os._exit(UNKNOWN if left[0] else state)
        _arm(name, 1.0, (UNKNOWN, [b"\n"]), True)
        what = f"timed out after {threshold.fixed(seconds)} s" if number == signal.SIGALRM else f"ended by signal {number}"
        where = f" while reading {files.current()}" if files.current() else ""
        try:
            _write([f"{name} UNKNOWN - {wording.line(what + where)[:150]}\n".encode("ascii")])
        finally:
            os._exit(UNKNOWN)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def slab_remedy(error: files.ProcfsError, command: str) -> str:
    """What to do where slabinfo cannot be read: which right is missing and how to grant it."""
    if isinstance(error, files.Denied):
        return (f"Caches are unnamed: {error.path} is readable by root only. Grant it by sudo (in sudoers: nagios ALL=(root) NOPASSWD: "
                f"/usr/lib/nagios/plugins/{command} \"\") or at each boot: chgrp nagios /proc/slabinfo; chmod 0440 /proc/slabinfo")
    return f"Caches are unnamed: {error.path}: {error.reason} (kernels without CONFIG_SLUB_DEBUG have no slabinfo)."
