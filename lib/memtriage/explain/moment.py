"""A moment of a recording as a captured tree, with what came before it as history: for ``explain --from``."""

from __future__ import annotations

import datetime
import tempfile

from memtriage import following, recorded
from memtriage.procfs import files
from memtriage.recording import Recording, Sample, Unreadable
from memtriage.state import Sample as Remembered

BEFORE = 12 * 3600.0
"""Seconds of history that are read."""
MOST = 60
"""Samples of it: evenly spread, each costs a tree."""


def parse(text: str) -> float:
    """``--at``: ISO time (local), such as 2026-05-12T03:04, or seconds since 1970. Raises ``LookupError`` with a sentence."""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise LookupError(f"'{text[:40]}' is no time such as 2026-05-12T03:04") from None


def tree(path: str, moment: float | None, folder: str) -> tuple[str, str, list[Remembered]]:
    """Writes the last sample at or before ``moment`` (the newest where ``None``) below ``folder``.

    Returns the folders that stand for /proc and /sys, and the history up to it. Raises ``LookupError`` with a sentence.
    """
    try:
        with Recording(path) as recording:
            chosen = recording.at(float("inf") if moment is None else moment)
            if chosen is None:
                raise LookupError("the recording holds no sample" + ("" if moment is None else " of that time or before"))
            past = _past(recording, chosen)
    except Unreadable as error:
        raise LookupError(str(error)) from None
    return (*recorded.snapshot_to_tree(chosen, folder), past)


def _past(recording: Recording, chosen: Sample) -> list[Remembered]:
    entries = recording.last(BEFORE, chosen)
    step = max(1, len(entries) // MOST)
    found = []
    with tempfile.TemporaryDirectory(dir=recorded.room()) as folder:
        shown = recorded.Tree(folder)
        for sample in recording.samples_of(entries[::-step][::-1]):
            shown.show(sample)
            try:
                found.append(following.sample(shown.proc, following.read(shown.proc, shown.sys)))
            except files.ProcfsError:
                continue  # what could not be judged then is no history
    return [one for one in found if found and one.boot == found[-1].boot]
