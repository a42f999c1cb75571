"""Hosts of a fleet, and what their checks last said: built up from API objects as they arrive, kept small.

Read from perfdata alone: words are for people, and change. The one exception is the kernel's release, a text, in the second line of
check_slab_growth.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from memtriage.fleet import perfdata, variables
from memtriage.fleet.trouble import Trouble
from memtriage.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

MOST = 200_000
"""Hosts; beyond that something else is answering."""
KERNEL = "kernel"
"""The attribute that the running kernel's release, where a check says it, is kept under."""
RELEASE = re.compile(r"\bLinux ([0-9][A-Za-z0-9.+_-]{0,63}[A-Za-z0-9])\.?(?:$|[\s;])", re.MULTILINE)

HOST_ATTRS = ["name", "vars", "groups", "zone"]
SERVICE_ATTRS = ["name", "host_name", "check_command", "check_interval", "last_check_result"]
_WORDS = ("service.check_command", "service.vars.nrpe_command", "service.name")
SERVICES = " || ".join(
    [f'match("*{word}*", {where})' for word in ("slab?growth", "free?mem") for where in _WORDS]
    + [f'match("{name} *", service.last_check_result.output)' for name in ("SLAB_GROWTH", "FREE_MEM")])
"""Which services are those of check_slab_growth and check_free_mem, however they are named: by command, NRPE command, name or output."""

OK, SILENT, EMPTY, UNKNOWN = "ok", "silent", "empty", "unknown"
"""A result that can be judged; too old; never any; UNKNOWN, or without our perfdata."""


class Result(NamedTuple):
    """The last result of one check on one host."""

    state: str
    figures: perfdata.Figures | None
    at: float = 0.0
    """When the check ended, seconds since 1970."""


class Host:
    """One host. ``slab`` and ``memory``: what check_slab_growth and check_free_mem said, ``None`` where there is no such service."""

    __slots__ = ("attributes", "memory", "name", "since", "slab", "steady")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.slab: Result | None = None
        self.memory: Result | None = None
        self.steady = False
        """Whether earlier runs prove growth that no check has proven yet (:mod:`memtriage.fleet.past`)."""
        self.since: float | None = None
        """The first run of the history at which it grew, seconds since 1970."""

    def figure(self, label: str, check: Result | None) -> float | None:
        return check.figures.values.get(label) if check is not None and check.state == OK and check.figures else None

    @property
    def state(self) -> str | None:
        """Of the slab check; ``None`` where the host has none."""
        return self.slab.state if self.slab else None

    @property
    def kernel_grows(self) -> bool:
        """The check has proven a trend of slab, which it says by an ``eta``; or earlier runs have."""
        return self.steady or self.figure("eta", self.slab) is not None

    @property
    def programs_grow(self) -> bool:
        """check_free_mem has proven a trend, and it is not slab."""
        return self.slab is not None and self.slab.state == OK and not self.kernel_grows and self.figure("eta", self.memory) is not None

    @property
    def eta(self) -> float | None:
        """Seconds until memory is gone, by whichever check says less."""
        known = [eta for eta in (self.figure("eta", self.slab), self.figure("eta", self.memory)) if eta is not None]
        return min(known, default=None)

    @property
    def growth(self) -> dict[str, int]:
        return self.slab.figures.growth if self.slab and self.slab.state == OK and self.slab.figures else {}

    @property
    def culprit(self) -> str | None:
        """The label of the cache that grows fastest among the suspects, else of all; ``None`` where no cache is named or none grows."""
        growing = {label: rate for label, rate in self.growth.items() if rate > 0}
        suspect = self.figure("growth_per_hour", self.slab)
        named = [label for label, rate in growing.items() if suspect and abs(rate - suspect) <= 1]
        return named[0] if named else max(growing, key=lambda label: growing[label], default=None)


class Fleet:
    """All hosts by name, and what was odd on the way."""

    def __init__(self, now: float, intervals: float = 3.0, asked: frozenset[str] = frozenset()) -> None:
        """``now``: seconds since 1970. A result older than ``intervals`` times its check's interval is silent."""
        self.now, self.intervals, self.asked = now, intervals, asked
        self.hosts: dict[str, Host] = {}
        self.odd = 0
        """Items of perfdata that are none."""
        self.ahead = 0
        """Results from the future: clocks differ."""

    def add_hosts(self, rows: Iterable[dict[str, Any]]) -> None:
        """Objects of ``/v1/objects/hosts`` with :data:`HOST_ATTRS`."""
        for row in rows:
            name = row.get("name")
            if not isinstance(name, str) or not name:
                continue
            if len(self.hosts) >= MOST:
                raise Trouble(f"more than {MOST} hosts: name fewer with --filter")
            attributes = variables.flat(row.get("vars"), self.asked)
            attributes.update(variables.flat({"group": row.get("groups"), "zone": row.get("zone")}))
            self.hosts[name] = Host(name, attributes)

    def add_services(self, rows: Iterable[dict[str, Any]]) -> None:
        """Objects of ``/v1/objects/services`` with :data:`SERVICE_ATTRS`. Those of hosts that were not asked for are passed over.

        Two services of one kind on a host: the one that can be judged, else the first.
        """
        for row in rows:
            host = self.hosts.get(row["host_name"]) if isinstance(row.get("host_name"), str) else None
            if host is None:
                continue
            result = row.get("last_check_result")
            result = result if isinstance(result, dict) else {}
            output = result.get("output")
            output = output[:4096] if isinstance(output, str) else ""
            figures = perfdata.parse(result.get("performance_data"))
            state = self.judge(row, result, figures)
            found = Result(state, figures, 0.0 if state == EMPTY else float(result["execution_end"]))
            if _is_slab(row, output, figures):
                if host.slab is None or host.slab.state != OK:
                    host.slab = found
                release = RELEASE.search(output)
                if release and KERNEL not in host.attributes:
                    host.attributes[KERNEL] = sys.intern(release.group(1))
            elif host.memory is None or host.memory.state != OK:
                host.memory = found

    def judge(self, row: dict[str, Any], result: dict[str, Any], figures: perfdata.Figures) -> str:
        """OK, SILENT, EMPTY or UNKNOWN."""
        ended, interval = result.get("execution_end"), row.get("check_interval")
        if not isinstance(ended, (int, float)) or not 0 < ended < 1e11:
            return EMPTY
        if ended > self.now + 300:
            self.ahead += 1
        if self.now - ended > self.intervals * (interval if isinstance(interval, (int, float)) and interval >= 1 else 300):
            return SILENT
        self.odd += figures.odd
        if result.get("state") not in (0, 1, 2) or not ("slab_total" in figures.values or "available" in figures.values):
            return UNKNOWN
        return OK


def _is_slab(row: dict[str, Any], output: str, figures: perfdata.Figures) -> bool:
    """By what it printed; where that is neither's (a time-out), by its name and command."""
    if "slab_total" in figures.values or output.startswith("SLAB_GROWTH "):
        return True
    if "available" in figures.values or output.startswith("FREE_MEM "):
        return False
    return "slab" in f"{row.get('name')} {row.get('check_command')}".lower()
