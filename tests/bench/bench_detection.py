"""How well leaks are told from what is none: ``make bench-detection``. Prints tables, writes nothing.

    PYTHONPATH=lib:. python tests/bench/bench_detection.py [--seeds N] [--kind WORD] [--misses]

Runs the engine over simulated hosts with a known truth (tests/detection/hosts.py), each also with missed and late runs, beside three rules
people use: 90 % used, Prometheus' predict_linear (least squares over 4 h, MemAvailable gone within 24 h), and plain Mann-Kendall over 4 h.
Seeds below 24 were looked at while tuning; the others are reported apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from memtriage import exhaustion, growth, thinning
from memtriage.thinning import Sample
from tests.detection import hosts

RULES = exhaustion.Rules(4 * 3600.0, 3600.0, 6)
SEEN = 24
HORIZON = 72 * 3600.0
"""The default of --eta-warning: what is gone before that is an alarm."""


class Result(NamedTuple):
    """Per rule: when it first alarmed (seconds since boot), and for ours what it named and how far its time was off at half of the way."""

    host: hosts.Host
    first: dict[str, float]
    named: str
    eta_error: float | None


def caches(story: hosts.Story, row: dict[str, int]) -> dict[str, exhaustion.Cache]:
    return {key[2:]: exhaustion.Cache(key in story.reclaimable or key == "c.dentry",
                                      story.in_use if key in story.reclaimable else 0.02 if key == "c.dentry" else None)
            for key in row if key.startswith("c.")}


def least_squares(times: list[float], values: list[float]) -> tuple[float, float]:
    """Slope and value at the last moment."""
    count, last = len(times), times[-1]
    mean_t, mean_v = sum(times) / count, sum(values) / count
    below = sum((moment - mean_t) ** 2 for moment in times)
    slope = sum((moment - mean_t) * (value - mean_v) for moment, value in zip(times, values)) / below if below else 0.0
    return slope, mean_v + slope * (last - mean_t)


def judged(host: hosts.Host, every: int) -> Result:
    """Runs all rules at each sample, as a monitoring system would."""
    kept: list[Sample] = []
    recent: list[tuple[float, float]] = []
    first: dict[str, float] = {}
    named = ""
    eta_error = None
    half = (host.story.start + host.exhausted) / 2 if host.exhausted else None
    for number, (moment, row, _) in enumerate(host.samples):
        kept.append(Sample(hosts.BOOT, moment, row))
        kept = thinning.thinned(kept, also=kept[-1])
        available = row["available"] * 1024.0
        recent = [(then, value) for then, value in recent if moment - then <= 4 * 3600.0]
        recent.append((moment, available))
        if available < 0.1 * host.total:
            first.setdefault("90 % level", moment)
        if len(recent) >= 10 and moment - recent[0][0] >= 3.5 * 3600:
            times, values = [then for then, _ in recent], [value for _, value in recent]
            slope, level = least_squares(times, values)
            if level + slope * 86400 < 0:
                first.setdefault("predict_linear 4 h", moment)
            if number % every == 0 and growth.theil_sen(times, [-value for value in values]).low > 0:
                first.setdefault("Mann-Kendall 4 h", moment)
        past_half = half is not None and eta_error is None and moment >= half
        if (number % every and not past_half) or ("memtriage" in first and not past_half):
            continue
        history = exhaustion.History([sample.uptime for sample in kept], [sample.values for sample in kept], hosts.PAGE)
        outlook = exhaustion.outlook(history, caches(host.story, row), available, host.total, RULES)
        if outlook.eta is not None and outlook.eta <= HORIZON and "memtriage" not in first:
            first["memtriage"] = moment
            named = outlook.causes[0].key
        if past_half and host.exhausted:
            eta_error = abs(outlook.eta - (host.exhausted - moment)) / (host.exhausted - moment) if outlook.eta is not None else -1.0
    return Result(host, first, named, eta_error)


def stories(seeds: range) -> Iterator[tuple[int, hosts.Story, float]]:
    for seed in seeds:
        for story, total in [*hosts.leaks(seed), *hosts.benign(seed)]:
            yield seed, story, total


def table(title: str, results: list[Result]) -> None:
    leaks = [result for result in results if result.host.story.truth]
    benign = [result for result in results if not result.host.story.truth]
    print(f"\n{title}: {len(leaks)} leaks, {len(benign)} benign")
    print(f"{'rule':<20} {'TP':>4} {'FN':>4} {'FP':>4} {'TN':>4} {'F1':>6} {'median lead':>12}")
    for rule in ("memtriage", "90 % level", "predict_linear 4 h", "Mann-Kendall 4 h"):
        # An alarm before the leak has begun is a false one.
        found = [result for result in leaks if result.first.get(rule, -1) >= result.host.story.start]
        early = [result for result in leaks if 0 <= result.first.get(rule, -1) < result.host.story.start]
        wrong = len([result for result in benign if rule in result.first]) + len(early)
        missed = len(leaks) - len(found)
        score = 2 * len(found) / (2 * len(found) + wrong + missed) if found else 0.0
        leads = [(result.host.exhausted - result.first[rule]) / (result.host.exhausted - result.host.story.start)
                 for result in found if result.host.exhausted]
        right = len([result for result in benign if rule not in result.first])
        lead = statistics.median(leads) if leads else 0
        print(f"{rule:<20} {len(found):4d} {missed:4d} {wrong:4d} {right:4d} {score:6.3f} {lead:11.0%}")
    named = [result for result in leaks if result.named]
    right = [result for result in named if result.named in result.host.story.truth]
    errors = [result.eta_error for result in leaks if result.eta_error is not None]
    said = [error for error in errors if error >= 0]
    print(f"culprit named right: {len(right)} of {len(named)}; time said at half of the way: {len(said)} of {len(errors)}, "
          f"off by {statistics.median(said) if said else 0:.0%} in the median, within 25 %: {sum(error <= 0.25 for error in said)}")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--seeds", type=int, default=32)
    reader.add_argument("--kind", default="", help="only stories whose name holds this word")
    reader.add_argument("--misses", action="store_true", help="list what went wrong")
    reader.add_argument("--every", type=int, default=3, help="judge each Nth sample only")
    args = reader.parse_args()
    results: tuple[list[Result], list[Result]] = ([], [])
    started = time.monotonic()
    for seed, story, total in stories(range(args.seeds)):
        if args.kind not in story.name:
            continue
        for rough in (False, True):
            host = hosts.host(story, seed, total, rough=rough)
            if story.truth and host.exhausted is None:
                sys.exit(f"{story.name}, seed {seed}: this leak never ends memory")
            result = judged(host, args.every)
            results[seed >= SEEN].append(result)
            fault = ("missed" if story.truth and "memtriage" not in result.first else
                     "false alarm" if result.first.get("memtriage", 1e18) < (story.start if story.truth else 1e17) else
                     "wrong culprit" if story.truth and result.named not in story.truth else "")
            if args.misses and seed < SEEN and (fault or (result.eta_error or 0) > 0.25 or (result.eta_error or 0) < 0):
                lead = ""
                if host.exhausted and "memtriage" in result.first:
                    lead = f"lead {(host.exhausted - result.first['memtriage']) / (host.exhausted - story.start):.0%}"
                    lead += f" of {(host.exhausted - story.start) / 3600:.1f} h"
                print(f"  {fault or 'eta':<13} {story.name}, seed {seed}, {'rough' if rough else 'even'}: "
                      f"at {result.first.get('memtriage', 0) / 3600:.1f} h named {result.named or '-'} {lead} eta error {result.eta_error}")
    table(f"Seeds 0 to {min(SEEN, args.seeds) - 1}, tuned on", results[0])
    table(f"Seeds {SEEN} to {args.seeds - 1}, never looked at", results[1])
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
