"""What a picture shows, as plain data: made by :mod:`memtriage.report.compose`, drawn by :mod:`~memtriage.report.figure` and
:mod:`~memtriage.report.page`.

All lists of one picture are as long as ``times``; ``None`` is a moment where the value is not known. A gap in the history is a moment of
its own in which everything is ``None``, so that no drawing joins what lies on either side.
"""

from __future__ import annotations

from memtriage.record import NamedTuple

CULPRIT = "#b3001b"
"""The one strong colour, of pictures and pages: a red dark enough to be the darkest area in grey print and for the colour-blind."""


class Band(NamedTuple):
    """One layer of the stack."""

    key: str
    """As in a history: ``g.httpd``, ``c.nfs_inode_cache``, ``p.page_cache``; ``rest`` for what is too small to be shown alone."""
    words: str
    """For the legend: printable text, cleaned."""
    values: list[float | None]
    """Bytes."""
    culprit: bool = False


class Mark(NamedTuple):
    """Something that happened: ``kind`` is ``oom``, ``boot``, ``alarm`` or ``recorder``."""

    at: float
    kind: str
    words: str


class Cone(NamedTuple):
    """The projected end: ``available`` bytes at ``start``, 0 at ``low`` at the earliest, at ``high`` at the latest (``None``: open)."""

    start: float
    available: float
    low: float
    middle: float
    high: float | None


class Row(NamedTuple):
    """A line of the ledger: what it is, bytes, and whether it is the culprit's."""

    words: str
    size: float
    culprit: bool = False


class Moment(NamedTuple):
    """What ``explain`` says at ``times[index]``: its first sentences, and the ledger, largest first."""

    index: int  # type: ignore[assignment]  # a tuple's own method of that name is not used
    verdict: list[str]
    rows: list[Row]


class Picture(NamedTuple):
    """A history of one host. Times are seconds since 1970."""

    host: str
    title: str
    """The verdict in a sentence, with the culprit and its growth."""
    verdict: list[str]
    """The sentences below it."""
    times: list[float]
    bands: list[Band]
    """Bottom first; together they are ``total`` wherever everything is known."""
    total: list[float | None]
    available: list[float | None]
    swap_used: list[float | None]
    psi_some: list[float | None]
    """Percent of the time since the moment before in which some task waited for memory."""
    psi_full: list[float | None]
    marks: list[Mark]
    cone: Cone | None
    moments: list[Moment]
    notes: list[str]
    """What is missing and why: a denied source, samples lost."""
    growth: str = ""
    """Of the culprit, as the verdict has it: ``+1.93 GiB in 20.3 h``."""
    grew: tuple[float, float] | None = None
    """When that was: there it is written. ``None``: anywhere."""
