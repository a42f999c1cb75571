#!/bin/sh
''':' # sh reads from here to exec, Python a string. Where memory is limited below what it needs, Python
# exits 1, which is WARNING, or spins without end.
unknown='SLAB_GROWTH UNKNOWN - cannot run:'
while read -r _ first what soft _; do  # Max address space SOFT HARD bytes; from nine characters on it is ample, or "unlimited"
    case "$first $what" in "address space") least=24 limit=AS ;; "data size") least=12 limit=DATA ;; *) continue ;; esac
    if [ ${#soft} -lt 9 ] && [ "$soft" -lt $((least * 1048576)) ]; then
        echo "$unknown the $first $what limit (RLIMIT_$limit) is $((soft / 1048576)) MiB; Python needs $least MiB"
        exit 3
    fi
done 2>/dev/null </proc/self/limits
command -v python3 >/dev/null || { echo "$unknown no python3 in PATH"; exit 3; }
exec python3 "$0" "$@"
'''
__doc__ = """Which kernel slab cache grows, how fast, and is it one that can be reclaimed?

Compares /proc/slabinfo with earlier runs. Growth limits apply to suspects:
caches the kernel cannot reclaim, or that are pinned; size limits to all
unreclaimable slab; the time to exhaustion to slab that grows provenly.
"""

try:
    import gc

    gc.disable()  # a run this short frees nothing: 2 ms
    import os
    import re

    import nagiosplugin

    from memtriage import diagnosis, exhaustion, following, options, plugin, slabtrack, state, survey, threshold
    from memtriage.wording import clean, duration, percent, signed, size
except BaseException as error:  # Python would leave with 1, which is WARNING
    import os

    try:
        why = " ".join(f"SLAB_GROWTH UNKNOWN - cannot start: {type(error).__name__}: {error}".split())
        os.write(1, why.translate({124: "/", 60: "(", 62: ")"}).encode("ascii", "replace")[:400] + b"\n")
    finally:
        os._exit(3)

NAME = "SLAB_GROWTH"


def pattern(text):
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as wrong:
        raise ValueError(f"'{text}' is no regular expression: {wrong}") from None


OPTIONS = options.complete((
    *options.pair("", "growth per hour of a suspect cache (bytes)", threshold.BYTES),
    *options.pair("size", "all unreclaimable slab (% of RAM, or bytes)", threshold.SHARE_OR_BYTES, "25%", "40%"),
    options.Option(("--cache",), "only caches whose name matches", "REGEX", None, pattern),
    options.Option(("--exclude",), "no caches whose name matches", "REGEX", None, pattern),
    *options.TREND,
))
LARGE = 0.2
"""Share of RAM from which on a pinned cache is critical whether it still grows or not."""
WORTH = 0.05
"""Share of RAM below which it is not, as long as memory is not seen to end."""


class SlabGrowth(nagiosplugin.Resource):
    """Probes slab now, remembers it, compares it with the sample one window ago, and asks what grows provenly."""

    def __init__(self, args):
        self.args = args

    def wanted(self, name):
        keep, drop = self.args["cache"], self.args["exclude"]
        return not (keep and not keep.search(name)) and not (drop and drop.search(name))

    def slab_key(self, key):
        """Whether a cause is slab this check was asked about; of the parts only those that stand for caches without names."""
        return self.wanted(key[2:]) if key.startswith("c.") else key in ("p.slab_unreclaimable", "p.slab", "p.per_cpu")

    def probe(self):
        args = self.args
        now = following.read(args["procfs"], args["sysfs"])
        self.now = now._replace(slab=survey.aliased(now.slab, args["sysfs"]))
        try:
            self.totals = slabtrack.totals(args["procfs"], self.now)
        except slabtrack.NoSlab as lacking:
            raise plugin.Unsupported(str(lacking)) from None
        folder = state.default_folder(os.environ, args["state_dir"], os.geteuid())
        sample = following.sample(args["procfs"], self.now)
        self.memory = state.remember(folder, following.NAME, sample)
        past = following.history(self.memory.samples, self.now.page)
        self.row = sample.values
        self.outlook = following.outlook(self.now, past, exhaustion.Rules(args["window"], args["warmup"], args["min_samples"]))
        self.causes = [cause for cause in self.outlook.causes if self.slab_key(cause.key)]
        self.pinned = [held for held in self.outlook.pinned if self.slab_key(held.key)]
        held = {held.key for held in self.pinned} | {cause.key for cause in self.causes if cause.pinned}
        self.change = slabtrack.compare(self.now, past, args["window"], self.wanted, held)
        found, change, top = self.totals, self.change, 2 if args["short"] else 5
        yield nagiosplugin.Metric("slab_total", found.total, "B", min=0, max=found.ram)
        yield nagiosplugin.Metric("slab_unreclaim", found.unreclaimable, "B", min=0, max=found.ram, context="size")
        part = round(100 * found.unreclaimable / found.ram, 2)
        yield nagiosplugin.Metric("slab_unreclaim_pct", part, "%", min=0, max=100, context="size_pct")
        if change.suspect is not None:
            yield nagiosplugin.Metric("growth_per_hour", max(0, int(change.suspect.per_hour)), "B", min=0, context="growth")
        if self.causes:
            yield nagiosplugin.Metric("eta", int(self.outlook.eta), "s", min=0)
        if self.pinned:
            yield nagiosplugin.Metric("pinned", int(sum(held.size for held in self.pinned)), "B", min=0, max=found.ram, context="plain")
        labels = slabtrack.labels([cache.name for cache in change.largest[:top]])
        for cache, label in zip(change.largest[:top], labels):
            yield nagiosplugin.Metric("s_" + label, cache.size, "B", min=0, context="plain")
            rate = change.rates.get(cache.name)
            if rate is not None:
                yield nagiosplugin.Metric("g_" + label, int(rate.per_hour), "B", context="plain")

    def grave(self):
        """Pinned caches that are critical by themselves: the kernel needed the memory, and they grew, or are much of it."""
        ram = self.totals.ram
        return [held for held in self.pinned if held.size >= WORTH * ram and (held.growth > 0.02 * held.size or held.size >= LARGE * ram)]

    def eta_alarms(self):
        limits = (self.args["eta_warning"], self.args["eta_critical"])
        return bool(self.causes) and any(limit and limit.alarms(int(self.outlook.eta)) for limit in limits)

    def growth_alarms(self):
        limits = (self.args["warning"], self.args["critical"])
        value = self.change.suspect.per_hour if self.change.suspect else None
        return value is not None and any(limit and limit.alarms(max(0, int(value))) for limit in limits)

    def headline(self, state_now):
        found, change, caches = self.totals, self.change, self.now.slab.caches
        largest = change.largest[0] if change.largest else None
        level = f"slab {size(found.total)} ({percent(100 * found.total / found.ram)} of RAM), unreclaimable {size(found.unreclaimable)}"
        if self.eta_alarms():
            culprit = diagnosis.cause_culprit(self.causes[0], self.row, caches)
            head = f"memory {diagnosis.eta_words(self.outlook)}; culprit: {culprit.words}"
        elif self.grave():
            held = self.grave()[0]
            head = f"culprit: {diagnosis.pinned_words(held, caches)}: the kernel reclaims and cannot shrink it; {level}"
        elif state_now and self.growth_alarms():
            head = f"{change.suspect_words} grows {size(change.suspect.per_hour)}/h over {duration(change.span)}; {level}"
        elif state_now:
            held = f"; largest: {self.largest_unreclaimable()}" if largest else ""
            head = f"unreclaimable slab holds {percent(100 * found.unreclaimable / found.ram)} of RAM ({size(found.unreclaimable)}){held}"
        elif change.fastest:
            rate = change.rates[change.fastest.name]
            kind = "reclaimable" if change.fastest.reclaimable else "unreclaimable"
            head = f"{level}; fastest: {change.fastest.words} ({kind}) {signed(rate.per_hour)}/h over {duration(change.span)}"
        elif change.suspect is not None:
            head = f"{level}; unreclaimable {signed(change.suspect.per_hour)}/h over {duration(change.span)}"
            head += f"; largest: {largest.words} {size(largest.size)}" if largest else ""
        else:
            window = self.args["window"]
            head = f"{level}; growth is said after {duration(window) if window < 60 else 'a minute'} of history"
            head += f"; largest: {largest.words} {size(largest.size)}" if largest else ""
        return head + (f"; caches unnamed (slabinfo: {self.now.slab.denied.reason})" if self.now.slab.denied else "")

    def largest_unreclaimable(self):
        fixed = [cache for cache in self.change.largest if not cache.reclaimable] or self.change.largest
        return f"{fixed[0].words} {size(fixed[0].size)}"

    def details(self, state_now):
        now, change = self.now, self.change
        lines = ["Kernel memory, not processes: " + slabtrack.in_words(self.totals, now, self.args["procfs"])]
        lines += diagnosis.growth_lines(self.outlook, self.row, now.slab.caches)
        if self.memory.problem:
            lines.append(f"State: {self.memory.problem}")
        if now.slab.denied:
            lines.append(plugin.slab_remedy(now.slab.denied, "check_slab_growth"))
        lines += [f"Line of slabinfo not understood: {clean(odd, 80)}" for odd in now.slab.odd[:2]]
        for cache in change.largest[: 10 if self.args["verbose"] else 5]:
            rate = change.rates.get(cache.name)
            kind = "reclaimable" if cache.reclaimable else "unreclaimable"
            lines.append(f"{cache.words} {size(cache.size)}, {kind}" + (f", {signed(rate.per_hour)}/h" if rate else ""))
        return lines


def judge(args):
    slab = SlabGrowth(args)
    sizes = args["size_warning"], args["size_critical"]
    report = plugin.evaluate(nagiosplugin.Check(
        slab, plugin.Gauge("slab_total"), plugin.Gauge("plain"), plugin.Gauge("size", *sizes), plugin.Gauge("size_pct", *sizes, kind="%"),
        plugin.Gauge("growth", args["warning"], args["critical"]), plugin.Gauge("eta", args["eta_warning"], args["eta_critical"]),
        plugin.Words(slab.headline, slab.details)))
    if slab.grave():
        report = report._replace(state=plugin.CRITICAL)
    if report.state == 0 and slab.memory.problem and not slab.memory.stored and len(slab.memory.samples) < 2:
        return report._replace(state=plugin.UNKNOWN, headline=f"growth cannot be judged, nothing is remembered: {slab.memory.problem}")
    return report


def main():
    plugin.main(NAME, __doc__, OPTIONS, judge)


if __name__ == "__main__":
    main()
