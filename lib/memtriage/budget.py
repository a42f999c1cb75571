"""How many workers fit: what one of them takes, from samples of those that run, and how many of them a given memory holds.

Workers forked from one parent share the pages that neither has written since. A sum of RSS counts these once for each worker; PSS divides
them by the number of their users, so it adds up, and says for one more worker too much. So what is shared is counted once, and each further
worker adds what is its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from memtriage.record import NamedTuple


class Sample(NamedTuple):
    """One process, in bytes."""

    pss: int
    private: int | None
    """USS: Private_Clean + Private_Dirty. ``None`` where it is not known; then all of PSS counts as its own."""

    page_tables: int = 0
    """VmPTE: the kernel's for this process alone, in no other figure here."""

    @property
    def own(self) -> int:
        """What would not be there without this worker."""
        return (self.pss if self.private is None else min(self.private, self.pss)) + self.page_tables


class Budget(NamedTuple):
    """Bytes."""

    workers: int
    total: int
    """PSS and page tables of all."""
    mean: float
    percentile_95: int
    largest: int
    """Mean, 95th percentile and largest of PSS."""
    shared: int
    """What they share, counted once."""
    each: int
    """What one more worker adds: the 95th percentile of what is a worker's own."""


def percentile(values: Sequence[int], share: float) -> int:
    """The smallest of ``values`` that ``share`` (0 to 1) of them do not exceed. Raises ``ValueError`` where there are none."""
    if not values:
        raise ValueError("no samples")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def budget(samples: Sequence[Sample]) -> Budget:
    """Raises ``ValueError`` where there are no samples."""
    pss = [sample.pss for sample in samples]
    own = [sample.own for sample in samples]
    high, each = percentile(pss, 0.95), percentile(own, 0.95)
    total = sum(pss) + sum(sample.page_tables for sample in samples)
    return Budget(len(pss), total, sum(pss) / len(pss), high, max(pss), total - sum(own), each)


def projected(found: Budget, workers: int) -> int:
    """Bytes that so many workers take, each as large as the 95th percentile."""
    return found.shared + workers * found.each


def fits(found: Budget, room: int) -> int | None:
    """How many workers ``room`` bytes hold, those that run counted in; ``None`` for any number, where a worker takes nothing.

    ``room`` is what is available and what the running workers take already.
    """
    if found.each <= 0:
        return None
    return max(0, (room - found.shared) // found.each)
