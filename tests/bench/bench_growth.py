"""What the growth engine costs: ``PYTHONPATH=lib:. python tests/bench/bench_growth.py`` prints CPU milliseconds for one run of it.

300 caches and 40 process groups over a week of history as thinned as the state file holds it; once all quiet, once all growing.
"""

from __future__ import annotations

import random
import sys
import time

from memtriage import exhaustion, thinning
from memtriage.thinning import Sample

RULES = exhaustion.Rules(4 * 3600.0, 3600.0, 6)
TOTAL = 64 * 1024**3


def week(growing: bool) -> exhaustion.History:
    chance = random.Random(1)
    kept: list[Sample] = []
    steps = 7 * 288
    for step in range(steps):
        taken = 40 * 1024**2 * step / steps if growing else 0
        row = {"available": int(60 * 1024**2 - taken), "total": TOTAL // 1024, "p.anon": int(2**20 + taken / 2),
               "p.slab_unreclaimable": int(2**18 + taken / 2), "pgscan": 10 * step}
        share = taken / 2 / 4
        row.update({f"c.cache_{number}": int(500 + share / 300 + chance.random() * 5) for number in range(300)})
        row.update({f"g.program_{number}": int(5000 + share / 40 + chance.random() * 50) for number in range(40)})
        kept = thinning.thinned([*kept, Sample("boot", step * 300.0, row)])
    return exhaustion.History([sample.uptime for sample in kept], [sample.values for sample in kept], 4096)


def main() -> None:
    caches = {f"cache_{number}": exhaustion.Cache(number % 3 == 0, 0.1 if number % 3 == 0 else None) for number in range(300)}
    for growing in (False, True):
        history = week(growing)
        times = []
        for _ in range(21):
            start = time.process_time()
            found = exhaustion.outlook(history, caches, history.rows[-1]["available"] * 1024.0, float(TOTAL), RULES)
            times.append(time.process_time() - start)
        sys.stdout.write(f"growth engine: 300 caches, 40 groups, {len(history.times)} samples of a week, "
                         f"{'all growing' if growing else 'quiet'}: {sorted(times)[10] * 1000:.2f} ms CPU, {len(found.causes)} causes\n")


if __name__ == "__main__":
    main()
