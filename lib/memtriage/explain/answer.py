"""All of the explanation as data: the questions a person has at 3 a.m., in order, and the ledger behind the answers."""

from __future__ import annotations

from memtriage import diagnosis, exhaustion, following, survey
from memtriage.explain import owners as reading
from memtriage.explain import past, rows, shortage, sites
from memtriage.procfs import files
from memtriage.record import NamedTuple
from memtriage.state import Sample

RULES = exhaustion.Rules(4 * 3600.0, 3600.0, 6)
"""The defaults of the checks."""
SOON = 72 * 3600.0


class Answer(NamedTuple):
    """Everything that is known; nothing here is worded for a screen but the words that the checks use too."""

    now: following.Now
    short: list[shortage.Shortage]
    culprit: diagnosis.Culprit
    outlook: exhaustion.Outlook
    growth: list[str]
    ledger: list[rows.Row]
    blind: list[rows.Sight]
    owners: reading.Owners
    samples: int
    history_s: float
    allocated: str
    """Who allocated the objects of the culprit's cache, in a sentence; empty where there is no such cache or nothing is known."""


def find(proc: str, sys: str, state_dir: str | None = None, exact: bool = True, given: list[Sample] | None = None,
         rules: exhaustion.Rules = RULES, thorough: bool = False) -> Answer:
    """Reads and judges; ``given`` is a history to use instead of the remembered one, ``rules`` those of the checks that share it.
    ``thorough``: asks also what takes the kernel long, and says why something is not known.

    Raises :class:`~memtriage.procfs.files.ProcfsError` where not even meminfo can be judged.
    """
    page = survey.page_size(proc)
    owners = reading.read(proc, page, exact)
    programs = {group.name: (group.members, group.rss // page) for group in owners.groups}
    now = rows.aliased(following.read(proc, sys, programs), sys)
    memory = now.memory
    try:
        sample = following.sample(proc, now)
        known = past.history(now, sample, state_dir, given)
    except files.ProcfsError:  # a tree without boot id or uptime
        known = exhaustion.History([], [], now.page)
    outlook = following.outlook(now, known, rules)
    short = shortage.found(proc, memory, now.page)
    limit = diagnosis.Limit(memory.limited_by, memory.total) if memory.limited_by else None
    row = known.rows[-1] if known.rows else {}
    alarming = bool(short) or (outlook.eta is not None and outlook.eta < SOON)
    # As the check does: while all is well, it does not look for a program.
    groups = survey.groups(proc, now.page, memory.limited_by) if memory.limited_by else owners.as_groups() if alarming else []
    culprit = diagnosis.blame(memory.book, limit, outlook, row, now.slab.caches, groups, alarming, memory.info.get("Mlocked") or 0)
    ledger, blind = rows.rows(proc, sys, now, known, owners, rules.window)
    blind += [rows.Sight(name, "cannot be read", None) for name in shortage.sources(proc)]
    span = known.times[-1] - known.times[0] if known.times else 0.0
    blamed = sites.cache_of(culprit, now.slab.caches)
    allocated = sites.sentence(blamed, proc, sys, thorough) if blamed is not None else ""
    return Answer(now, short, culprit, outlook, diagnosis.growth_lines(outlook, row, now.slab.caches), ledger, blind, owners,
                  len(known.times), span, allocated)
