"""The budget of a server's workers: workers x memory per worker, against what they can have."""

from __future__ import annotations

from memtriage import processes, survey, wording, workers
from memtriage.explain import configured


def text(proc: str, sys: str, wanted: str) -> str:
    """``wanted`` is ``NAME=N`` or ``auto``. Raises ``LookupError`` with a sentence, and what reading raises."""
    if wanted == "auto":
        found = list(configured.find(proc))
        if not found:
            raise LookupError("no server runs here whose number of workers is plain to find: give --workers NAME=N")
        return "\n".join(_one(proc, sys, entry.command, entry.workers, f" ({entry.workers} by {wording.clean_end(entry.source, 60)})")
                         for entry in found)
    name, equals, number = wanted.rpartition("=")
    if not equals or not name or not (number.isascii() and number.isdigit() and len(number) <= 7 and int(number)):
        raise LookupError("--workers takes NAME=N, such as apache2=150, or auto")
    return _one(proc, sys, name, int(number), "")


def _one(proc: str, sys: str, name: str, number: int, source: str) -> str:
    chosen = processes.Filter(name, None, None, None, None, None, False, None)
    memory = survey.memory(proc, sys)
    found = workers.project(proc, sys, processes.count(proc, chosen).pids, number, memory, survey.page_size(proc, memory.info))
    label = wording.clean(name, 24)
    if found is None:
        raise LookupError(f"no process named '{label}' to reckon from")
    now, size = found.now, wording.size
    verdict = "fit" if found.fits is None or number <= found.fits else "do NOT fit"
    most = "any number" if found.fits is None else str(found.fits)
    rows = [
        f"{number} workers '{label}'{source} {verdict}: they would take {size(found.projected)},",
        f"{wording.percent(found.share)} of the {size(found.room.size)} that {wording.clean_end(found.room.bound, 40)} can give them. "
        f"Room for {most}.",
        f"Now {now.workers} take {size(now.total)}: {size(now.mean)} in the mean, {size(now.percentile_95)} at the 95th percentile,",
        f"{size(now.largest)} the largest; {size(now.shared)} is shared, one more adds {size(now.each)}.",
    ]
    if not found.exact:
        rows.append("By RSS: as root it would be PSS; here shared pages count for each worker, so this is too high.")
    if found.capped:
        rows.append(f"Near its own limit: {found.capped}.")
    return "\n".join(rows) + "\n"
