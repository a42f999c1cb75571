#!/bin/sh
''':' # sh reads from here to exec, Python a string. Where memory is limited below what it needs, Python
# exits 1, which is WARNING, or spins without end.
unknown='MEM_PRESSURE UNKNOWN - cannot run:'
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
__doc__ = """Does the lack of memory already hurt, in what way, and who holds the memory?

Time lost waiting for memory (PSI). -w and -c judge the share of the last 60 s
in which no task could run; what the averages miss, the total tells.
"""

try:
    import gc

    gc.disable()  # a run this short frees nothing: 2 ms
    import os

    import nagiosplugin

    from memtriage import histories, options, plugin, stall, state, threshold
    from memtriage.procfs import files
    from memtriage.wording import clean, duration, percent
except BaseException as error:  # Python would leave with 1, which is WARNING
    import os

    try:
        why = " ".join(f"MEM_PRESSURE UNKNOWN - cannot start: {type(error).__name__}: {error}".split())
        os.write(1, why.translate({124: "/", 60: "(", 62: ")"}).encode("ascii", "replace")[:400] + b"\n")
    finally:
        os._exit(3)

NAME = "MEM_PRESSURE"
WINDOWS = ("avg10", "avg60", "avg300")
JUDGED = {"full_avg60": "", "some_avg60": "some_", "full_avg10": "avg10_", "full_avg300": "avg300_", "some_avg10": "some_avg10_",
          "some_avg300": "some_avg300_", "full_stalled": "stall_"}
"""Metrics and the prefix of the options that judge them."""
OPTIONS = options.complete((
    *options.pair("", "full avg60 (% of time)", threshold.PERCENT, "5%", "10%"),
    *options.pair("avg10", "full avg10", threshold.PERCENT),
    *options.pair("avg300", "full avg300", threshold.PERCENT),
    *options.pair("some", "some avg60", threshold.PERCENT),
    *options.pair("some-avg10", "some avg10", threshold.PERCENT),
    *options.pair("some-avg300", "some avg300", threshold.PERCENT),
    *options.pair("stall", "the share of full stall since the last run", threshold.PERCENT),
    options.Option(("--cgroup",), "the pressure in this cgroup (version 2), e.g. /system.slice", "PATH", None, options.path),
    options.STATE_DIR,
))


class Pressure(nagiosplugin.Resource):
    """Probes pressure and its causes, and remembers both."""

    def __init__(self, args):
        self.args = args
        self.path = histories.group(args["cgroup"])
        self.folder = state.default_folder(os.environ, args["state_dir"], os.geteuid())

    def probe(self):
        args = self.args
        try:
            self.now = stall.read(args["procfs"], args["sysfs"], self.path)
        except stall.NoPressure as lacking:
            raise plugin.Unsupported(str(lacking)) from None
        now = self.now
        if now.pressure.full is None:
            raise plugin.Refused("the pressure file has no line 'full': cut short")
        sample = state.Sample(now.boot, now.up_s, now.values)
        self.memory = state.remember(self.folder, histories.name("check_mem_pressure", self.path), sample)
        self.change = stall.change(self.memory.samples)
        for name, line in (("some", now.pressure.some), ("full", now.pressure.full)):
            for window in WINDOWS:
                yield nagiosplugin.Metric(f"{name}_{window}", getattr(line, window), "%", min=0, max=100)
            yield nagiosplugin.Metric(f"{name}_total", line.total_us, "c", min=0, context="plain")
        if self.change:
            for name in ("some", "full"):
                lost = self.change.share(name)
                if lost is not None:
                    context = "plain" if name == "some" else "full_stalled"
                    yield nagiosplugin.Metric(f"{name}_stalled", round(lost, 2), "%", min=0, max=100, context=context)
            for key in ("swap_in", "swap_out", "reclaim", "refault"):
                if key in self.change.rates:
                    yield nagiosplugin.Metric(f"{key}_per_s", int(self.change.rates[key] * now.page), "B", min=0, context="plain")
            if "faults" in self.change.rates:
                yield nagiosplugin.Metric("major_faults_per_s", round(self.change.rates["faults"], 2), min=0, context="plain")

    def holder(self, state_now):
        """The culprit, or why there is none; pressure is judged all the same."""
        try:
            args = self.args["procfs"], self.args["sysfs"]
            found = stall.group_holder(*args, self.path) if self.path else None
            return found or stall.holder(*args, bool(state_now), self.folder), None
        except files.ProcfsError as error:
            return None, f"not known ({error.path}: {error.reason})"

    def headline(self, state_now):
        now = self.now.pressure
        self.found, trouble = self.holder(state_now)
        words = f"full {percent(now.full.avg60)}, some {percent(now.some.avg60)} of the last 60 s"
        words += f" in cgroup '{clean(self.path, 40)}'" if self.path else ""
        lost = self.change.share("full") if self.change else None
        since = f", full {percent(lost)} of {duration(self.change.span)}" if lost is not None else ""
        what = stall.kind(self.change, self.now.page) if state_now or now.some.avg60 >= 1 else ""
        what = f"; {what}" if what else ""
        who = f"; {'culprit' if state_now else 'largest'}: {self.found.culprit.words if self.found else trouble}"
        more = since if lost is not None and lost > now.full.avg60 else what
        for line in (words + since + what + who, words + more + who, words + who):
            if len(line) <= plugin.FIRST_LINE - len("MEM_PRESSURE CRITICAL - "):
                break  # what falls first stands in the long output as well
        return line

    def details(self, state_now):
        now, change = self.now.pressure, self.change
        lines = []
        if self.found:
            lines.append(f"{self.found.culprit.meaning} {self.found.contrast}".rstrip())
        meaning = stall.kind_meaning(change, self.now.page) if state_now or self.args["verbose"] else None
        if meaning:
            lines.append(meaning)
        for name, line in (("full (nobody could run)", now.full), ("some (somebody waited)", now.some)):
            lines.append(f"{name}: {percent(line.avg10)} of 10 s, {percent(line.avg60)} of 60 s, {percent(line.avg300)} of 300 s.")
        lines += stall.traffic(change, self.now.page)
        lines += [f"Line of the pressure file not understood: {clean(odd, 80)}" for odd in now.odd[:2]]
        if self.found and self.found.trouble:
            lines.append(f"Memory of earlier runs: {self.found.trouble}")
        if self.memory.problem:
            lines.append(f"State: {self.memory.problem}")
        return lines


def judge(args):
    pressure = Pressure(args)
    gauges = [plugin.Gauge(metric, args[prefix + "warning"], args[prefix + "critical"], kind="%") for metric, prefix in JUDGED.items()]
    return plugin.evaluate(nagiosplugin.Check(pressure, plugin.Gauge("plain"), *gauges, plugin.Words(pressure.headline, pressure.details)))


def main():
    plugin.main(NAME, __doc__, OPTIONS, judge)


if __name__ == "__main__":
    main()
