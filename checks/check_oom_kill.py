#!/bin/sh
''':' # sh reads from here to exec, Python a string. Where memory is limited below what it needs, Python
# exits 1, which is WARNING, or spins without end.
unknown='OOM_KILL UNKNOWN - cannot run:'
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
__doc__ = """Has the OOM killer struck, whom did it kill, and who was to blame?

Compares the kernel's counter of OOM kills with earlier runs. The log only
gives the names: the victim, whose limit was reached, who held the memory.
"""

try:
    import gc

    gc.disable()  # a run this short frees nothing: 2 ms
    import os

    import nagiosplugin

    from memtriage import histories, oomkill, oomlog, options, plugin, state, threshold
    from memtriage.wording import clean, duration
except BaseException as error:  # Python would leave with 1, which is WARNING
    import os

    try:
        why = " ".join(f"OOM_KILL UNKNOWN - cannot start: {type(error).__name__}: {error}".split())
        os.write(1, why.translate({124: "/", 60: "(", 62: ")"}).encode("ascii", "replace")[:400] + b"\n")
    finally:
        os._exit(3)

NAME = "OOM_KILL"
OPTIONS = options.complete((
    *options.pair("", "the number of kills since the last run, and for --hold after,", threshold.COUNT, "0", "0"),
    options.Option(("--cgroup",), "only kills in this cgroup and below, e.g. /system.slice", "PATH", None, options.path),
    options.Option(("--log",), "read names from this file (default: /dev/kmsg)", "FILE", None, options.path),
    options.Option(("--hold",), "how long a kill keeps alarming", "SECONDS", "1h", options.seconds),
    options.STATE_DIR,
))


class OomKills(nagiosplugin.Resource):
    """Probes the counter, remembers it, and finds the kills that alarm in the log."""

    def __init__(self, args):
        self.args = args
        self.path = histories.group(args["cgroup"])
        self.where = f" in cgroup '{clean(self.path, 40)}'" if self.path else ""
        live = os.path.abspath(args["procfs"]) == "/proc"
        self.has_log = live or args["log"] is not None

    def log(self, wanted, this_boot=True):
        if not self.has_log:
            return oomlog.Log("", [], None, [])
        return oomlog.read_log(self.args["log"], wanted, self.path, this_boot)

    def count(self):
        """The counter, or where this kernel has none a counter made of the log."""
        try:
            return oomkill.cgroup(self.args["sysfs"], self.path) if self.path else oomkill.host(self.args["procfs"])
        except oomkill.NoCounter:
            lacking = "this kernel does not count OOM kills (Linux 4.13 and later do)"
        if not self.has_log:
            raise plugin.Unsupported(f"{lacking}, and this tree has no log: give --log")
        log = self.log(oomlog.REMEMBERED, False)
        if log.problem:
            raise plugin.Refused(f"{lacking}, and the log may not be used: {log.problem}; {oomlog.remedy(log.problem)}")
        return oomkill.Count(oomlog.identities(log.found), "log")

    def probe(self):
        self.now = oomlog.now(self.args["procfs"])
        self.counted = self.count()
        folder = state.default_folder(os.environ, self.args["state_dir"], os.geteuid())
        sample = state.Sample(self.now.boot, self.now.up_s, self.counted.values)
        self.memory = state.remember(folder, histories.name("check_oom_kill", self.path), sample)
        self.held = oomkill.held(self.memory.samples, self.now, self.args["hold"], self.log)
        if self.counted.source != "log":
            yield nagiosplugin.Metric("oom_kills", self.counted.total, "c", min=0, context="plain")
        if self.held.new is not None:
            yield nagiosplugin.Metric("kills_new", self.held.new, min=0, context="kills")
        yield nagiosplugin.Metric("kills_hold", self.held.kills, min=0, context="kills")

    def headline(self, state_now):
        held, total = self.held, self.counted.total
        if held.kills:
            trouble = held.log.problem.reason if held.log.problem else None
            return self.story().headline(held.kills, held.window_s, self.where, trouble)
        if self.counted.source == "log":
            words = f"no OOM kill{self.where} in the last {duration(self.args['hold'])} by the log (this kernel has no counter)"
        elif not total:
            words = f"no OOM kill{self.where} since " + ("it was made" if self.path else f"boot {duration(self.now.up_s)} ago")
        else:
            words = f"no OOM kill{self.where} in the last {duration(self.args['hold'])}; {total} since " + (
                "it was made" if self.path else f"boot {duration(self.now.up_s)} ago")
        return words + (f", of which {held.undated} before the first run, when is not known" if held.undated else "")

    def story(self):
        """Words for kills cost an import that a quiet host need not pay for."""
        from memtriage import oomverdict  # noqa: PLC0415 - as said

        found = self.held.log.found if self.held.log else []
        return oomverdict.Story(found, lambda kill: oomlog.age(kill, self.now), self.present, self.now.up_s)

    def present(self):
        from memtriage import oomculprit, survey  # noqa: PLC0415 - only where the log blames what it does not name
        from memtriage.procfs import cgroup  # noqa: PLC0415 - as above

        proc, sys = self.args["procfs"], self.args["sysfs"]
        return oomculprit.Present(tuple(survey.slab(proc, sys, survey.page_size(proc)).caches), cgroup.dying(sys) or 0)

    def details(self, state_now):
        held, lines = self.held, []
        log = held.log
        if self.counted.source == "log":
            lines.append("Counted by the lines of the log (this kernel has no counter): a log that was rotated or overwritten hides kills.")
        if held.kills:
            lines += self.story().details(5 if self.args["verbose"] else 3)
            missing = held.kills - len(log.found)
            if missing and not log.problem:
                why = "rotated away, overwritten, or of another boot" if self.has_log else "this tree has none, give --log"
                lines.append(f"Not found in the log: {missing} of {held.kills} ({why}).")
        elif self.counted.source != "log":
            lines.append("The counter is the kernel's own: what userspace killers (earlyoom, systemd-oomd) end is not in it.")
        problem = log.problem if log else oomlog.readable(self.args["log"]) if self.has_log else None
        if problem:
            lines.append(f"Names are missing: {problem}. {oomlog.remedy(problem)}")
        lines += log.notes if log else []
        if self.memory.problem:
            lines.append(f"State: {self.memory.problem}")
        return lines


def judge(args):
    kills = OomKills(args)
    limits = args["warning"], args["critical"]
    report = plugin.evaluate(nagiosplugin.Check(kills, plugin.Gauge("plain"), plugin.Gauge("kills", *limits),
                                                plugin.Words(kills.headline, kills.details)))
    if report.state == 0 and kills.held.undated and not kills.memory.stored and len(kills.memory.samples) < 2:
        words = f"{kills.counted.total} OOM kills since boot, and whether any is new cannot be judged: {kills.memory.problem}"
        return report._replace(state=plugin.UNKNOWN, headline=words)
    return report


def main():
    plugin.main(NAME, __doc__, OPTIONS, judge)


if __name__ == "__main__":
    main()
