#!/bin/sh
''':' # sh reads from here to exec, Python a string. Where memory is limited below what it needs, Python
# exits 1, which is WARNING, or spins without end.
unknown='MEM_RECORDER UNKNOWN - cannot run:'
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
__doc__ = """Is the flight recorder alive, in time, and able to go on when memory is short?

Judged by its file alone: the age of the newest sample, gaps and lost samples
of the last hour. See memtriage record.
"""

try:
    import gc

    gc.disable()  # a run this short frees nothing: 2 ms
    import os
    import time

    import nagiosplugin

    from memtriage import options, plugin, threshold
    from memtriage.procfs import boot_id, uptime
    from memtriage.recording import Damaged, Recording, Sample, Unreadable, gap, number
    from memtriage.wording import clean, duration, percent, size
except BaseException as error:  # Python would leave with 1, which is WARNING
    import os

    try:
        why = " ".join(f"MEM_RECORDER UNKNOWN - cannot start: {type(error).__name__}: {error}".split())
        os.write(1, why.translate({124: "/", 60: "(", 62: ")"}).encode("ascii", "replace")[:400] + b"\n")
    finally:
        os._exit(3)

NAME = "MEM_RECORDER"
HOUR = 3600.0
OPTIONS = options.complete((
    *options.pair("", "age of the newest sample, by default 3 and 10 intervals,", threshold.SECONDS),
    *options.pair("gap", "the longest time without a sample in the last hour", threshold.SECONDS),
    *options.pair("lost", "the number of samples lost in the last hour", threshold.COUNT),
    *options.pair("disk", "free space beside the recording (% or bytes)", threshold.SHARE_OR_BYTES),
    options.Option(("--file",), "the recording (default: $MEMTRIAGE_RECORDING, else /var/log/memtriage/recording)", "FILE"),
))


class Recorder(nagiosplugin.Resource):
    """Probes the last hour of a recording."""

    def __init__(self, args):
        self.args = args
        self.path = args["file"] or os.environ.get("MEMTRIAGE_RECORDING") or "/var/log/memtriage/recording"
        self.live = os.path.abspath(args["procfs"]) == "/proc"
        # The recorder's own clock: in a container /proc/uptime may be the container's (lxcfs).
        self.up = time.clock_gettime(time.CLOCK_BOOTTIME) if self.live else uptime.read(args["procfs"]).up_s
        self.boot = boot_id.read(args["procfs"])
        try:
            self.take(HOUR)
            if self.age > 3 * self.interval:  # before the alarm: halving may have been led astray by a damaged place
                self.take(None)
        except Unreadable as why:
            raise plugin.Refused(f"{why}; start it with memtriage record, or as a service, and give its file with --file") from None

    def take(self, seconds):
        """Reads the newest sample and the hour before it."""
        with Recording(self.path, seconds) as recording:
            entries = recording.entries
            if not entries:
                raise Unreadable(f"{self.path}: no sample in it")
            self.newest = newest = entries[-1].head
            heads = [entry.head for entry in recording.last(HOUR)]
            self.last = None
            for entry in reversed(entries[-64:]):
                try:
                    self.last = Sample(entry.head, recording.content(entry))
                    break
                except Damaged:
                    continue
        if self.last is None:
            raise Unreadable(f"{self.path}: damaged: none of the last {len(entries[-64:])} samples can be read")
        # The usual interval: the last sample of a shortage says the short one, and the next comes after the long one.
        self.interval = min(max(newest.interval_ms, self.last.number("interval_ms") or 0), 2**32 - 1) / 1000
        source = self.last.content.sources.get("sys/kernel/random/boot_id")
        self.same_boot = source is not None and (source.data or b"").strip() == self.boot.encode()
        self.age = self.up - newest.boot_ns / 1e9 if self.same_boot else self.up
        self.age -= self.asleep() if self.same_boot else 0
        self.gaps = [gap(before, after) for before, after in zip(heads, heads[1:])]

    def asleep(self):
        """Seconds since the newest sample in which the host was suspended, and the recorder with it; a captured tree does not tell."""
        monotonic_us = self.last.number("monotonic_us", "sample")
        if not self.live or monotonic_us is None:
            return 0.0
        ahead = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        return max(0.0, ahead - (self.last.head.boot_ns / 1e9 - monotonic_us / 1e6))

    def probe(self):
        if self.age < -60:
            raise plugin.Refused(f"{self.path}: its newest sample is {duration(-self.age)} ahead of this host's uptime: of another host?")
        self.age = max(0.0, self.age)
        yield nagiosplugin.Metric("age", round(self.age, 1), "s", min=0)
        self.longest = max((hole.seconds for hole in self.gaps), default=0.0)
        self.lost = sum(hole.lost for hole in self.gaps)
        self.restarts = sum(hole.restart for hole in self.gaps)
        yield nagiosplugin.Metric("gap_max_1h", round(self.longest, 1), "s", min=0, context="gap")
        yield nagiosplugin.Metric("samples_lost", self.lost, "", min=0, context="lost")
        words = [number(word) for word in (self.last.note("disk", "sample") or "").split()]
        self.disk = words if len(words) == 2 and None not in words else None
        if self.disk is None and (self.args["disk_warning"] or self.args["disk_critical"]):
            raise plugin.Refused(f"{self.path}: its newest sample does not say how much room the disk has")
        if self.disk:
            yield nagiosplugin.Metric("disk_free", self.disk[0], "B", min=0, max=self.disk[1], context="disk")
            share = round(100 * self.disk[0] / max(1, self.disk[1]), 2)
            yield nagiosplugin.Metric("disk_free_pct", share, "%", min=0, max=100, context="disk_pct")

    def headline(self, state_now):
        locked = self.last.note("locked") or "no: not said"
        lock = "memory locked" if locked.startswith("yes") else f"memory not locked ({clean(locked[4:], 60)})"
        if not self.same_boot:
            return f"nothing recorded since boot {duration(self.up)} ago: the recorder does not run"
        alive = f"newest sample {duration(self.age)} old (every {self.interval:g} s)"
        alive += "; the recorder does not run or its disk stands still" if self.age > max(1.0, 3 * self.interval) else ""
        wanted = self.disk and (self.args["disk_warning"] or self.args["disk_critical"])
        disk = f"; disk {percent(100 * self.disk[0] / max(1, self.disk[1]))} free" if wanted else ""
        return f"{alive}; longest gap in 1 h {self.longest:.1f} s, {self.lost} samples lost; {lock}{disk}"

    def details(self, state_now):
        note = self.last.note
        problem = note("disk_problem", "sample") or "-"
        lines = [f"Recorder {clean(note('pid') or '?')} ({clean(note('program') or '?')}), started anew {self.restarts} times in 1 h; "
                 f"{clean(note('priority') or '?', 120)}; oom_score_adj {clean(note('oom_score_adj') or '?', 60)}"]
        if problem != "-":
            lines.append(f"The disk does not take samples: {clean(problem, 80)}; {clean(note('waiting', 'sample') or '?')} were waiting")
        if self.disk:
            lines.append(f"Disk: {size(self.disk[0])} of {size(self.disk[1])} free; the recording has all it needs ({size(self.size())})")
        for hole in sorted(self.gaps, key=lambda hole: -hole.seconds)[:5]:
            if hole.restart or hole.lost or hole.seconds > 1.5 * max(hole.after.interval_ms, hole.before.interval_ms) / 1000:
                ago = (self.newest.boot_ns - hole.before.boot_ns) / 1e9
                when = f", {duration(ago)} before the newest" if ago >= 1 else ", up to the newest" if ago >= 0 else ""
                why = "recorder started anew" if hole.restart else f"{hole.lost} samples lost" if hole.lost else "the next one late"
                lines.append(f"Gap of {hole.seconds:.1f} s{when}: {why}")
        return lines

    def size(self):
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0


def judge(args):
    recorder = Recorder(args)
    limits = [args["warning"], args["critical"]]
    for place, factor in enumerate((3, 10)):
        if limits[place] is None:
            limits[place] = threshold.parse(f"{max(1, round(factor * recorder.interval))}", threshold.SECONDS)
    gaps, lost, disk = ((args[f"{name}_warning"], args[f"{name}_critical"]) for name in ("gap", "lost", "disk"))
    return plugin.evaluate(nagiosplugin.Check(
        recorder, plugin.Gauge("age", *limits), plugin.Gauge("gap", *gaps), plugin.Gauge("lost", *lost), plugin.Gauge("disk", *disk),
        plugin.Gauge("disk_pct", *disk, kind="%"), plugin.Words(recorder.headline, recorder.details)))


def main():
    plugin.main(NAME, __doc__, OPTIONS, judge)


if __name__ == "__main__":
    main()
