#!/bin/sh
''':' # sh reads from here to exec, Python a string. Below 24 MiB Python exits 1, which is WARNING, or spins without end.
unknown='SLAB_GROWTH UNKNOWN - cannot run:'
while read -r _ _ what soft _; do  # Max address space SOFT HARD bytes; from nine characters on it is ample, or "unlimited"
    if [ "$what" = space ] && [ ${#soft} -lt 9 ] && [ "$soft" -lt 25165824 ]; then
        echo "$unknown the address space limit (RLIMIT_AS) is $((soft / 1048576)) MiB; Python needs 24 MiB"
        exit 3
    fi
done 2>/dev/null </proc/self/limits
command -v python3 >/dev/null || { echo "$unknown no python3 in PATH"; exit 3; }
exec python3 "$0" "$@"
'''
__doc__ = """Which kernel slab cache grows, how fast, and is it one that can be reclaimed?

Compares /proc/slabinfo with earlier runs. Growth limits apply to suspects:
caches the kernel cannot reclaim; size limits to all unreclaimable slab.
"""

try:
    import gc

    gc.disable()  # a run this short frees nothing: 2 ms
    import os
    import re

    import nagiosplugin

    from memtriage import growth, options, plugin, slabtrack, state, threshold
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
    options.Option(("--window",), "compare with the run this long ago", "SECONDS", "4h", options.seconds),
    options.STATE_DIR,
))


class SlabGrowth(nagiosplugin.Resource):
    """Probes slab now, remembers it, and compares it with the sample one window ago."""

    def __init__(self, args):
        self.args = args

    def wanted(self, name):
        keep, drop = self.args["cache"], self.args["exclude"]
        return not (keep and not keep.search(name)) and not (drop and drop.search(name))

    def probe(self):
        args = self.args
        try:
            self.now = slabtrack.read(args["procfs"], args["sysfs"])
        except slabtrack.NoSlab as lacking:
            raise plugin.Unsupported(str(lacking)) from None
        folder = state.default_folder(os.environ, args["state_dir"], os.geteuid())
        self.memory = state.remember(folder, "check_slab_growth", slabtrack.sample(args["procfs"], self.now))
        self.change = slabtrack.compare(self.now, self.memory.samples, args["window"], self.wanted)
        now, change, top = self.now, self.change, 2 if args["short"] else 5
        yield nagiosplugin.Metric("slab_total", now.total, "B", min=0, max=now.ram)
        yield nagiosplugin.Metric("slab_unreclaim", now.unreclaimable, "B", min=0, max=now.ram, context="size")
        part = round(100 * now.unreclaimable / now.ram, 2)
        yield nagiosplugin.Metric("slab_unreclaim_pct", part, "%", min=0, max=100, context="size_pct")
        if change.suspect is not None:
            judged = growth.judged(change.span, args["window"])
            context = "growth" if judged else "plain"
            yield nagiosplugin.Metric("growth_per_hour", max(0, int(change.suspect.per_hour)), "B", min=0, context=context)
        labels = slabtrack.labels([cache.name for cache in change.largest[:top]])
        for cache, label in zip(change.largest[:top], labels):
            yield nagiosplugin.Metric("s_" + label, cache.size, "B", min=0, context="plain")
            rate = change.rates.get(cache.name)
            if rate is not None:
                yield nagiosplugin.Metric("g_" + label, int(rate.per_hour), "B", context="plain")

    def headline(self, state_now):
        now, change = self.now, self.change
        largest = change.largest[0] if change.largest else None
        level = f"slab {size(now.total)} ({percent(100 * now.total / now.ram)} of RAM), unreclaimable {size(now.unreclaimable)}"
        if state_now and self.growth_alarms():
            head = f"{change.suspect_words} grows {size(change.suspect.per_hour)}/h over {duration(change.span)}; {level}"
        elif state_now:
            held = f"; largest: {self.largest_unreclaimable()}" if largest else ""
            head = f"unreclaimable slab holds {percent(100 * now.unreclaimable / now.ram)} of RAM ({size(now.unreclaimable)}){held}"
        elif change.fastest:
            rate = change.rates[change.fastest.name]
            kind = "reclaimable" if change.fastest.reclaimable else "unreclaimable"
            head = f"{level}; fastest: {change.fastest.words} ({kind}) {signed(rate.per_hour)}/h over {duration(change.span)}"
        elif change.suspect is not None:
            head = f"{level}; unreclaimable {signed(change.suspect.per_hour)}/h over {duration(change.span)}"
            head += f"; largest: {largest.words} {size(largest.size)}" if largest else ""
        else:
            head = f"{level}; growth is said from the second run on"
            head += f"; largest: {largest.words} {size(largest.size)}" if largest else ""
        return head + (f"; caches unnamed (slabinfo: {now.slab.denied.reason})" if now.slab.denied else "")

    def growth_alarms(self):
        limits = (self.args["warning"], self.args["critical"])
        value = self.change.suspect.per_hour if self.change.suspect else None
        return value is not None and any(limit and limit.alarms(max(0, int(value))) for limit in limits)

    def largest_unreclaimable(self):
        fixed = [cache for cache in self.change.largest if not cache.reclaimable] or self.change.largest
        return f"{fixed[0].words} {size(fixed[0].size)}"

    def details(self, state_now):
        now, change = self.now, self.change
        lines = ["Kernel memory, not processes: " + slabtrack.in_words(now)]
        if self.memory.problem:
            lines.append(f"State: {self.memory.problem}")
        if now.slab.denied:
            lines.append(plugin.slab_remedy(now.slab.denied, "check_slab_growth"))
        lines += [f"Line of slabinfo not understood: {clean(odd, 80)}" for odd in now.slab.odd[:2]]
        if change.suspect is not None and not growth.judged(change.span, self.args["window"]):
            lines.append(f"History reaches back {duration(change.span)}: too short to judge a growth per hour.")
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
        plugin.Gauge("growth", args["warning"], args["critical"]), plugin.Words(slab.headline, slab.details)))
    if report.state == 0 and slab.memory.problem and not slab.memory.stored and len(slab.memory.samples) < 2:
        return report._replace(state=plugin.UNKNOWN, headline=f"growth cannot be judged, nothing is remembered: {slab.memory.problem}")
    return report


def main():
    plugin.main(NAME, __doc__, OPTIONS, judge)


if __name__ == "__main__":
    main()
