"""The explanation for programs: a tree of plain values. The names are documented in docs/explain.md and change only with ``version``."""

from __future__ import annotations

from typing import Any

from memtriage.explain.answer import Answer
from memtriage.explain.deep import Deep

VERSION = 1


def tree(answer: Answer, deep: Deep | None = None) -> dict[str, Any]:
    """Bytes, seconds and shares; what is not known is absent."""
    memory, outlook = answer.now.memory, answer.outlook
    found: dict[str, Any] = {
        "version": VERSION,
        "total": memory.total,
        "available": memory.available,
        "available_is_estimated": memory.estimated,
        "mem_total": memory.book.total,
        "short": [{"kind": entry.kind, "sentence": entry.sentence} for entry in answer.short],
        "culprit": answer.culprit._asdict(),
        "ledger": [],
        "not_seen": [{key: value for key, value in sight._asdict().items() if value is not None} for sight in answer.blind],
        "processes_without_pss": answer.owners.unreadable,
        "history": {"samples": answer.samples, "seconds": round(answer.history_s, 2)},
        "causes": [{"key": cause.key, "size": int(cause.size), "growth_per_hour": int(cause.slope * 3600),
                    "low_per_hour": int(cause.low * 3600), "high_per_hour": int(cause.high * 3600), "over": round(cause.span, 2),
                    "share": round(cause.share, 4), "pinned": cause.pinned} for cause in outlook.causes],
        "pinned": [{"key": held.key, "size": int(held.size)} for held in outlook.pinned],
    }
    if answer.allocated:
        found["allocated"] = answer.allocated
    if memory.limited_by is not None:
        found["limited_by"] = memory.limited_by
    if outlook.eta is not None and outlook.eta_low is not None and outlook.eta_high is not None:
        found["eta"] = {"seconds": int(outlook.eta), "low": int(outlook.eta_low), "high": int(outlook.eta_high)}
    for row in answer.ledger:
        line = {"key": row.key, "words": row.words, "size": row.size, "source": row.source}
        if row.growth_per_hour is not None:
            line["growth_per_hour"] = int(row.growth_per_hour)
        if row.level:
            found["ledger"][-1].setdefault("within", []).append(line)
        else:
            found["ledger"].append(line)
    if deep is not None:
        found["pages"] = {**{name: count * answer.now.page for name, count in deep.pages._asdict().items()}, "drivers": deep.drivers}
    return found
