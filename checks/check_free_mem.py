#!/bin/sh
''':' # sh reads from here to exec, Python a string. Where memory is limited below what it needs, Python
# exits 1, which is WARNING, or spins without end.
unknown='FREE_MEM UNKNOWN - cannot run:'
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
__doc__ = """Is this host (or the cgroup it runs in) running out of memory, and who holds it?

Judges MemAvailable against the effective total (MemTotal, or the smallest
cgroup limit up the tree) and, where growth is proven, the time until it is
gone. Names what grows, else the largest holder, in the first line.
"""

try:
    import gc

    gc.disable()  # a run this short frees nothing: 2 ms
    import os

    import nagiosplugin

    from memtriage import diagnosis, exhaustion, following, options, plugin, state, survey, threshold
    from memtriage.accounting import KERNEL_OTHER
    from memtriage.procfs import files
    from memtriage.wording import clean_end, percent, share, size
except BaseException as error:  # Python would leave with 1, which is WARNING
    import os

    try:
        why = " ".join(f"FREE_MEM UNKNOWN - cannot start: {type(error).__name__}: {error}".split())
        os.write(1, why.translate({124: "/", 60: "(", 62: ")"}).encode("ascii", "replace")[:400] + b"\n")
    finally:
        os._exit(3)

NAME = "FREE_MEM"
OPTIONS = options.complete((
    *options.pair("", "available memory (% of the effective total, or bytes)", threshold.SHARE_OR_BYTES, "10%:", "5%:"),
    *options.pair("swap", "used swap (% or bytes)", threshold.SHARE_OR_BYTES),
    *options.pair("commit", "Committed_AS (% of CommitLimit, or bytes)", threshold.COMMITTED),
    *options.TREND,
))


class FreeMemory(nagiosplugin.Resource):
    """Probes memory once and remembers it; words are made from the same figures."""

    def __init__(self, args):
        self.args = args
        self.trouble = None

    def probe(self):
        self.now = following.read(self.args["procfs"], self.args["sysfs"])
        self.slab = self.now.slab
        self.outlook = self.foreseen()
        memory = self.memory = self.now.memory
        get, part = memory.info.get, memory.book.parts.get
        yield nagiosplugin.Metric("available", memory.available, "B", min=0, max=memory.total)
        yield nagiosplugin.Metric("available_pct", round(100 * memory.available / memory.total, 2), "%", min=0, max=100)
        yield nagiosplugin.Metric("total", memory.total, "B", min=0, context="free")
        for name in ("free", "page_cache", "anon", "shmem", "slab_reclaimable", "slab_unreclaimable", "hugepages", "unaccounted"):
            if part(name) is not None:
                least = None if name == "unaccounted" else 0
                yield nagiosplugin.Metric(name, part(name), "B", min=least, max=memory.book.total, context="free")
        other = [part(name) for name in KERNEL_OTHER if part(name) is not None]
        yield nagiosplugin.Metric("kernel_other", sum(other), "B", min=0, max=memory.book.total, context="free")
        swap, commit = get("SwapTotal"), get("CommitLimit")
        used = swap - get("SwapFree")
        yield nagiosplugin.Metric("swap_used", used, "B", min=0, max=swap)
        if swap:
            yield nagiosplugin.Metric("swap_used_pct", round(100 * used / swap, 2), "%", min=0, max=100)
        if not (get("Committed_AS") is not None and commit) and (self.args["commit_warning"] or self.args["commit_critical"]):
            raise plugin.Refused("limits on Committed_AS, but this kernel's meminfo has no CommitLimit or no Committed_AS")
        if get("Committed_AS") is not None:
            yield nagiosplugin.Metric("committed", get("Committed_AS"), "B", min=0, max=commit)
            if commit:
                yield nagiosplugin.Metric("committed_pct", round(100 * get("Committed_AS") / commit, 2), "%", min=0)
        if self.outlook.pinned:
            usable = int(self.outlook.headroom)
            yield nagiosplugin.Metric("usable", usable, "B", min=0, max=memory.total, context="available")
            yield nagiosplugin.Metric("usable_pct", round(100 * usable / memory.total, 2), "%", min=0, max=100, context="available_pct")
        if self.outlook.eta is not None:
            yield nagiosplugin.Metric("eta", int(self.outlook.eta), "s", min=0)

    def foreseen(self):
        """What grows and until when, from this and earlier runs. A host without a past is judged by its level alone."""
        args = self.args
        try:
            sample = following.sample(args["procfs"], self.now)
        except files.ProcfsError as lacking:
            self.row = following.counters(self.now)
            self.trouble = f"no trend: {lacking.path}: {lacking.reason}"
            return exhaustion.Outlook([], [], float(self.now.memory.available), None, None, None, [])
        folder = state.default_folder(os.environ, args["state_dir"], os.geteuid())
        memory = state.remember(folder, following.NAME, sample)
        self.trouble, self.row = memory.problem, sample.values
        rules = exhaustion.Rules(args["window"], args["warmup"], args["min_samples"])
        return following.outlook(self.now, following.history(memory.samples, self.now.page), rules)

    def findings(self, state):
        """The process groups (read only where they are needed) and the culprit."""
        proc, memory = self.args["procfs"], self.memory
        if state or self.args["verbose"] or memory.book.slab_is_largest() or self.outlook.causes or self.outlook.pinned:
            self.slab = survey.aliased(self.slab, self.args["sysfs"])  # every cache's name is about to be printed
        slab = self.slab
        groups = survey.groups(proc, self.now.page, memory.limited_by) if state or self.args["verbose"] or memory.limited_by else []
        limit = diagnosis.Limit(memory.limited_by, memory.total) if memory.limited_by else None
        locked = memory.info.get("Mlocked") or 0
        return groups, diagnosis.blame(memory.book, limit, self.outlook, self.row, slab.caches, groups, bool(state), locked)

    def headline(self, state):
        memory, found = self.memory, self.outlook
        self.found = self.findings(state)
        limit = " cgroup limit" if memory.limited_by else ""
        words = f"{percent(100 * memory.available / memory.total)} of {size(memory.total)}{limit} available ({size(memory.available)}"
        words += ", estimated)" if memory.estimated else ")"
        if found.pinned or any(cause.pinned for cause in found.causes):
            words += f", {size(found.headroom)} without what is pinned"
        if found.eta is not None:
            words += f", {diagnosis.eta_words(found)}"
        if self.swap_share() >= 80 or self.args["swap_warning"] or self.args["swap_critical"]:
            words += f", swap {percent(self.swap_share())} used"
        if self.args["commit_warning"] or self.args["commit_critical"]:
            words += f", committed {share(memory.info.get('Committed_AS'), memory.info.get('CommitLimit'))}"
        return f"{words}; {'culprit' if state else 'largest'}: {self.found[1].words}"

    def swap_share(self):
        total = self.memory.info.get("SwapTotal")
        return 100 * (total - self.memory.info.get("SwapFree")) / total if total else 0.0

    def details(self, state):
        groups, culprit = self.found
        memory, slab = self.memory, self.slab
        host = memory.limited_by is None
        lines = [f"{culprit.meaning} {diagnosis.contrast(memory.book, culprit, groups) if host else ''}".rstrip()]
        lines += diagnosis.growth_lines(self.outlook, self.row, slab.caches)
        lines += [f"Source contradicts itself: {note}." for note in memory.book.notes]
        if slab.denied and (culprit.part.startswith("slab") or self.args["verbose"]):
            lines.append(plugin.slab_remedy(slab.denied, "check_free_mem"))
        if memory.limited_by:
            inside = clean_end(memory.limited_by, 120)
            lines.append(f"Inside cgroup '{inside}'; the parts are those of the whole host ({size(memory.book.total)}).")
        ranked = sorted(memory.book.parts.items(), key=lambda item: -item[1])
        lines.append("Parts: " + ", ".join(f"{name} {size(value)}" for name, value in ranked if value or self.args["verbose"]) + ".")
        if state or self.args["verbose"]:
            lines += [f"{group.words}, RSS {size(group.rss)}" for group in groups[:5]]
            lines += [f"{cache.words} {size(cache.size)}" for cache in slab.caches[:5]]
        if self.trouble:
            lines.append(f"Memory of earlier runs: {self.trouble}")
        return lines


def judge(args):
    memory = FreeMemory(args)
    gauges = [plugin.Gauge("eta", args["eta_warning"], args["eta_critical"])]
    for prefix, metric in (("", "available"), ("swap_", "swap_used"), ("commit_", "committed")):
        limits = args[prefix + "warning"], args[prefix + "critical"]
        gauges += [plugin.Gauge(metric, *limits), plugin.Gauge(metric + "_pct", *limits, kind="%")]
    words = plugin.Words(memory.headline, memory.details)
    return plugin.evaluate(nagiosplugin.Check(memory, plugin.Gauge("free"), *gauges, words))


def main():
    plugin.main(NAME, __doc__, OPTIONS, judge)


if __name__ == "__main__":
    main()
