"""What came of it, in words."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Sequence

from memtriage import budget
from memtriage.record import NamedTuple
from memtriage.saturate.client import Connection
from memtriage.saturate.server import Snapshot
from memtriage.wording import clean, size


class Seen(NamedTuple):
    """The server on this host, before and at its peak. Bytes."""

    before: Snapshot
    peak: Snapshot
    busy: int
    """Most workers seen with a connection."""
    available_before: int
    available_peak: int
    """The least of MemAvailable, or of what the cgroup leaves."""
    reserve: int


def answers(connections: Sequence[Connection]) -> list[str]:
    """How many were answered with what, how long it took, and what failed why."""
    good = [one for one in connections if one.status is not None and one.status < 500]
    took = sorted(one.took for one in good if one.took is not None)
    codes = collections.Counter(one.status for one in connections if one.status is not None)
    listed = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
    said = [f"answers: {len(good)} of {len(connections)} succeeded" + (f" ({listed})" if listed else "")]
    if took:
        said[0] += f"; after the end of the request: median {statistics.median(took):.2f} s, slowest {took[-1]:.2f} s"
    early = sum(one.early for one in connections)
    if early:
        said.append(f"{early} were answered or closed by the server while they were held")
    reasons = collections.Counter(one.failure for one in connections if one.failure is not None)
    said += [f"failed: {count} x {clean(str(why), 80)}" for why, count in reasons.most_common(5)]
    return said


def workers(seen: Seen, connections: int) -> list[str]:
    """Workers and their PSS, and whether what the first few had promised came true."""
    if not seen.peak.workers:
        hint = ", and others' processes cannot be seen without root" if seen.peak.denied else "; name them with --workers"
        return [f"workers: none found on this host{hint}"]
    name = clean(collections.Counter(worker.comm for worker in seen.peak.workers).most_common(1)[0][0], 24)
    said = [f"workers: '{name}', {len(seen.before.workers)} before, {len(seen.peak.workers)} at the peak, {seen.busy} of them busy"]
    if seen.busy < min(connections, len(seen.peak.workers)):
        said.append(f"only {seen.busy} workers had a request: a proxy in front keeps unfinished requests to itself (try --method POST)")
    elif connections > seen.busy:
        said.append(f"{connections - seen.busy} of {connections} connections waited: {seen.busy} workers are the limit")
    if not seen.peak.samples:
        return [*said, "PSS: not readable for this user"]
    found = budget.budget(seen.peak.samples)
    said.append(f"PSS: mean {size(found.mean)}, 95th percentile {size(found.percentile_95)}, largest {size(found.largest)}, with page "
                f"tables all {found.workers} take {size(found.total)} ({size(found.shared)} of it shared, each adds {size(found.each)})")
    return said + _budget(seen, found)


def _budget(seen: Seen, found: budget.Budget) -> list[str]:
    room = max(0, seen.available_peak - seen.reserve) + found.total
    fit = budget.fits(found, room)
    said = [f"budget: {'any number' if fit is None else fit} of them fit in what is available and what they take, "
            f"{size(seen.reserve)} left over"]
    if seen.before.samples:
        first = budget.budget(seen.before.samples)
        foreseen = budget.projected(first, found.workers)
        off = (foreseen - found.total) / max(1, found.total)
        verdict = "right" if abs(off) <= 0.10 else "too low: workers grow when they work" if off < 0 else "too high"
        fell = seen.available_before - seen.available_peak
        said.append(f"from the {first.workers} before, {size(foreseen)} were to be expected for {found.workers}: {verdict} "
                    f"({off * 100:+.0f}%); available memory of the host fell by {size(fell)}")
    return said
