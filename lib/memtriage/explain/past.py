"""What the checks have remembered of this boot, for whoever asks: reads state files, never writes."""

from __future__ import annotations

import glob
import os

from memtriage import exhaustion, following, state, thinning


def samples(option: str | None, boot: str) -> list[state.Sample]:
    """The longest history of boot ``boot`` among the state files this user may read.

    Looks where the checks keep theirs: the user's own folder, then those of other users beside it and in the system's.
    """
    own = state.default_folder(os.environ, option, os.geteuid())
    best: list[state.Sample] = []
    for base in dict.fromkeys((os.path.dirname(own), state.SYSTEM)):
        for path in sorted(glob.glob(os.path.join(glob.escape(base), "*", following.NAME + ".json"))):
            try:
                with open(path, "rb") as handle:
                    data = handle.read(thinning.LIMIT + 1)
                found = [sample for sample in thinning.decoded(following.NAME, data) if sample.boot == boot]
            except (OSError, ValueError, TypeError, LookupError, RecursionError):
                continue
            if len(found) > len(best):
                best = found
    return best


def history(now: following.Now, sample: state.Sample, option: str | None, known: list[state.Sample] | None = None) -> exhaustion.History:
    """The samples up to ``sample``, which is the last one: those ``known``, else those remembered."""
    old = known if known is not None else samples(option, sample.boot)
    return following.history([*(one for one in old if one.uptime < sample.uptime), sample], now.page)
