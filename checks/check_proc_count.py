#!/bin/sh
''':' # sh reads from here to exec, Python a string. Where memory is limited below what it needs, Python
# exits 1, which is WARNING, or spins without end.
unknown='PROC_COUNT UNKNOWN - cannot run:'
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
__doc__ = """How many processes match, how much memory they hold, and how long they run.

Never counts itself, what wraps it (sh, sudo, nrpe) or anything it started.
"""

try:
    import gc

    gc.disable()  # a run this short frees nothing: 2 ms
    import nagiosplugin

    from memtriage import options, plugin, processes, survey, threshold
    from memtriage.wording import clean, clean_end, duration, percent, size
except BaseException as error:  # Python would leave with 1, which is WARNING
    import os

    try:
        why = " ".join(f"PROC_COUNT UNKNOWN - cannot start: {type(error).__name__}: {error}".split())
        os.write(1, why.translate({124: "/", 60: "(", 62: ")"}).encode("ascii", "replace")[:400] + b"\n")
    finally:
        os._exit(3)

NAME = "PROC_COUNT"
UNITS = {"procs": threshold.COUNT, "threads": threshold.COUNT, "rss": threshold.BYTES, "pss": threshold.BYTES, "age": threshold.SECONDS}
ANY = threshold.Units({**threshold.SIZES, **threshold.TIMES})


def metric(text):
    if text not in UNITS:
        raise ValueError(f"'{text}' is none of {', '.join(UNITS)}")
    return text


def text_of(text):
    if not text:
        raise ValueError("an empty filter would match everything")
    return text


def number_of(text):
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text)):
        raise ValueError(f"'{text}' is no number of workers")
    return int(text)


OPTIONS = options.complete((
    options.Option(("-w", "--warning"), "WARNING where the metric is outside RANGE", "RANGE"),
    options.Option(("-c", "--critical"), "CRITICAL where the metric is outside RANGE", "RANGE"),
    options.Option(("-m", "--metric"), "what -w and -c judge: procs, threads, rss, pss (root) or age (of each)", "NAME", "procs", metric),
    options.Option(("-C", "--command"), "name of the program (comm; argv[0] beyond 15 characters)", "NAME", None, text_of),
    options.Option(("-a", "--args"), "command line matches", "REGEX", None, processes.pattern),
    options.Option(("-u", "--user"), "name or number of the user", "USER", None, processes.user),
    options.Option(("-s", "--state"), "in one of these states (letters as in ps: R S D Z T I)", "LETTERS", None, processes.states),
    options.Option(("-p", "--ppid"), "children of this process", "PID", None, processes.process_id),
    options.Option(("--cgroup",), "in this cgroup or below it", "PATH", None, text_of),
    options.Option(("-k", "--no-kthreads"), "leave kernel threads out"),
    options.Option(("--max-workers",), "judge what so many would take of the memory they can have", "N", None, number_of),
    *options.pair("budget", "that share (%)", threshold.PROJECTED, "90%", "100%"),
    options.Option(("-X", "--exclude"), "leave out what REGEX matches in name or command line", "REGEX", None, processes.pattern),
))


class Processes(nagiosplugin.Resource):
    def __init__(self, args):
        self.args = args

    def probe(self):
        chosen = self.args["metric"]
        self.count = count = processes.count(self.args["procfs"], processes.Filter.of(self.args), pss=chosen == "pss")
        if chosen == "pss" and count.pss_unsupported:
            raise plugin.Unsupported("this kernel has no smaps_rollup (it came with Linux 4.14): use -m rss")
        if chosen == "pss" and count.pss is None:
            raise plugin.Refused(f"the PSS of {count.pss_denied} of {count.procs} processes may not be read: run it as root (sudo -n)")
        rows = [("procs", count.procs, ""), ("threads", count.threads, ""), ("rss", count.rss, "B")]
        if count.procs:
            rows += [("rss_avg", count.rss // count.procs, "B"), ("rss_max", count.rss_max, "B")]
            rows += [("age_min", int(min(count.ages)), "s"), ("age_max", int(max(count.ages)), "s")]
        rows += [("zombies", count.zombies, ""), ("uninterruptible", count.uninterruptible, "")]
        if chosen == "pss":
            rows.append(("pss", count.pss, "B"))
        for name, value, unit in rows:
            yield nagiosplugin.Metric(name, value, unit, min=0, context="judged" if name == chosen else "plain")
        self.budget = None
        if self.args["max_workers"] is not None and count.pids:
            from memtriage import workers  # noqa: PLC0415 - few ask for it

            proc, sysfs = self.args["procfs"], self.args["sysfs"]
            memory = survey.memory(proc, sysfs)
            self.budget = workers.project(proc, sysfs, count.pids, self.args["max_workers"], memory, survey.page_size(proc, memory.info))
        if self.budget is not None:
            found = self.budget
            yield nagiosplugin.Metric("budget_used", round(found.share, 2), "%", min=0, context="budget")
            yield nagiosplugin.Metric("projected", found.projected, "B", min=0, max=found.room.size, context="plain")
            if found.fits is not None:
                yield nagiosplugin.Metric("headroom_workers", max(0, found.fits - found.now.workers), "", min=0, context="plain")
        if chosen == "age":
            # Each process is judged; perfdata shows the youngest and the oldest.
            for age in sorted(count.ages):
                yield nagiosplugin.Metric("age", int(age), "s", context="each")

    def headline(self, state):
        count, chosen = self.count, self.args["metric"]
        noun = "process" if count.procs == 1 else "processes"
        words = f"{count.procs} {noun} {processes.Filter.of(self.args).words}".rstrip()
        if count.procs:
            words += f", {count.threads} thread{'s' * (count.threads != 1)}, RSS {size(count.rss)}"
            words += f" (mean {size(count.rss / count.procs)}, largest {size(count.rss_max)})"
        if chosen == "age" and count.procs:
            words += f", age {duration(min(count.ages))} to {duration(max(count.ages))}"
        if chosen == "pss":
            words += f", PSS {size(count.pss)}"
        words += f", {count.zombies} zombies" if count.zombies else ""
        words += f", {count.uninterruptible} in uninterruptible sleep" if count.uninterruptible else ""
        if self.budget is not None:
            found = self.budget
            fit = "any number fits" if found.fits is None else f"{found.fits} fit"
            words = f"{found.wanted} workers would take {size(found.projected)}, {percent(found.share)} of what "
            words += f"{clean_end(found.room.bound)} can give them ({size(found.room.size)}); {fit}; "
            return words + f"now {count.procs} x {size(found.now.mean)} {processes.Filter.of(self.args).words}"
        limit = self.args["critical"] if state == 2 else self.args["warning"]
        return words + (f": {chosen} outside {limit.spec}" if state in (1, 2) and limit else "")

    def certain(self, limits, state):
        """Whether the state stands however many more processes there are: too many, or one too old or too young, stays so."""
        if state == 0 or self.args["metric"] == "age":
            return state != 0
        limit = limits[2 - state]
        return not limit.range.invert and getattr(self.count, self.args["metric"]) > limit.range.end

    def details(self, state):
        count = self.count
        largest = count.largest
        lines = ["No process matches; this check itself and what wraps it (sh, sudo, nrpe) never count."]
        if largest:
            words = f"Largest: pid {largest.pid} '{clean(largest.comm)}' RSS {size(largest.rss)}"
            lines = [words + "; RSS counts shared pages once for each process."]
        if self.budget is not None:
            found = self.budget.now
            measure = "PSS" if self.budget.exact else "RSS (as root it would be PSS: here shared pages count for each)"
            lines.append(f"One takes {size(found.mean)} in the mean, {size(found.percentile_95)} at the 95th percentile, "
                         f"{size(found.largest)} the largest, by {measure}; "
                         f"{size(found.shared)} is shared, one more adds {size(found.each)}.")
            lines += [f"Near its own limit: {self.budget.capped}."] if self.budget.capped else []
        elif self.args["max_workers"] is not None:
            lines.append("No budget: there is no such process to reckon it from.")
        if count.hidden:
            lines.append("Others may be hidden from this user (/proc with hidepid): these are lower bounds.")
        if count.unreadable:
            lines.append(f"{count.unreadable} processes could not be read for these filters: not counted.")
        return lines


class Each(plugin.Gauge):
    """Judges single processes and leaves no perfdata of each."""

    def performance(self, metric, resource):
        return None


def judge(args):
    for name in ("warning", "critical"):
        try:
            args[name] = None if args[name] is None else threshold.parse(args[name], UNITS[args["metric"]])
        except ValueError as wrong:
            raise options.Usage(f"--{name}: {wrong}") from None
    try:
        threshold.check_order(args["warning"], args["critical"])
    except ValueError as wrong:
        raise options.Usage(f"--warning: {wrong}") from None
    budgets = [plugin.Gauge("budget", args["budget_warning"], args["budget_critical"], kind="%")]
    found, limits = Processes(args), (args["warning"], args["critical"])
    report = plugin.evaluate(nagiosplugin.Check(
        found, plugin.Gauge("judged", *limits), plugin.Gauge("plain"), Each("each", *limits), *budgets,
        plugin.Words(found.headline, found.details)))
    if found.count.hidden and not found.certain(limits[::-1], report.state):
        raise plugin.Refused(f"only {found.count.procs} matching processes can be seen, others may be hidden (/proc with hidepid): "
                             "run it as root (sudo -n), or let this user see all (mount option gid=)")
    return report


def main():
    plugin.main(NAME, __doc__, OPTIONS, judge)


if __name__ == "__main__":
    main()
