"""report.txt of an evidence bundle: what a kernel developer asks before having an opinion, in the words of a bug tracker. Times are UTC."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator

from memtriage import diagnosis
from memtriage.procfs import files, loadavg, vmstat
from memtriage.recording.payload import Content
from memtriage.report import suspect
from memtriage.report.case import Case
from memtriage.report.host import Facts
from memtriage.report.suspect import Suspect
from memtriage.wording import clean, duration, share, signed, size

WIDTH = 100
STEADY = 0.05
"""Of the suspect's growth: what changed by less is called steady."""
_PARTS = ("anon", "page_cache", "shmem", "slab_reclaimable", "slab_unreclaimable", "slab", "hugepages", "page_tables", "kernel_stacks",
          "per_cpu", "vmalloc", "network_buffers", "zram", "zswap", "zfs_arc", "balloon", "gpu", "unaccounted")
_WORK = (("fork", "new process or thread"), ("pgfault", "page fault"), ("pgmajfault", "major fault"), ("pgpgin", "KiB read from disks"),
         ("pgpgout", "KiB written to disks"), ("packets", "network packet"), ("context", "context switch"))


def lines(case: Case, facts: Facts, found: Suspect, pieces: list[str], hidden: list[str], included: list[str]) -> Iterator[str]:
    """``pieces`` describes the files beside this one, ``hidden`` what was replaced, ``included`` what was not."""
    for number, (title, rows) in enumerate((
            ("Summary", _summary(case, facts, found)), ("Symptom", _symptom(case, found)), ("Since when", _since(case, found)),
            ("Kernel", _kernel(case, facts)), ("Workload", _work(case, facts, found)), ("What grows", _culprit(case, facts, found)),
            ("What was excluded, and how", _excluded(case, facts, found)), ("OOM kills", _kills(case)),
            ("How it was measured", _measured(case)), ("Files", iter(pieces)), ("What was made private", _hidden(hidden, included)))):
        yield f"{number + 1}. {title}"
        for row in rows:
            indent = "   - " if row.startswith("  ") else "   "
            yield from textwrap.wrap(row.strip(), WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent), break_on_hyphens=False,
                                     break_long_words=False) or [""]
        yield ""


def utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def _summary(case: Case, facts: Facts, found: Suspect) -> Iterator[str]:
    kernel = f"Linux {facts.release}"
    if not found.key:
        yield f"{kernel}: nothing has grown by {size(suspect.LEAST)} in this history. {_holder(case)}"
        return
    span, total = found.since.times[-1] - found.since.times[0], case.answer.now.memory.book.total
    now = "now" if found.why == "now" else f"at {utc(found.since.times[-1])}, {found.why},"
    yield f"{kernel}: {found.words} grew by {size(found.since.grown)} in {duration(span)} " \
          f"({signed(found.since.per_hour)}/h), {now} {size(found.since.sizes[-1])} of {size(total)} RAM."
    if found.pictured:
        yield f"The picture has it with {found.pictured}: over the time by which it was judged."
    if not found.proven:
        yield "This is what grew most. By the rules of the checks (time after boot, number of samples, steadiness) it is not proven " \
              "to be a trend."


def _holder(case: Case) -> str:
    return f"Largest holder: {case.answer.culprit.words}."


def _symptom(case: Case, found: Suspect) -> Iterator[str]:
    memory, outlook = case.answer.now.memory, case.answer.outlook
    points = suspect.last_boot(case) if case.points else []
    yield f"Available memory (MemAvailable): {size(memory.available)} of {size(memory.total)} ({share(memory.available, memory.total)})."
    if len(points) > 1:
        before, after = (point.sample.values.get("available", 0) * 1024 for point in (points[0], points[-1]))
        yield f"It went from {size(before)} at {utc(points[0].time)} to {size(after)} at {utc(points[-1].time)} ({signed(after - before)})."
    yield from (f"Short is {entry.sentence}." for entry in case.answer.short)
    yield from _limits(case)
    words = diagnosis.eta_words(outlook)
    if words and found.why == "now":
        yield f"At this rate memory is {words}."
    yield from (line + ("" if line.endswith(".") else ".") for line in case.answer.growth)
    if found.key:
        yield _holder(case)


def _limits(case: Case) -> Iterator[str]:
    """Of the kills and of the last sample: after a kill memory is free again, so a sample that is short of nothing says little."""
    struck = case.kills[-1] if case.kills else None
    if struck is not None:
        before = case.last_time - struck.at
        yield f"A limit was reached: the OOM killer struck{f' {len(case.kills)} times, the last time' if len(case.kills) > 1 else ''} at " \
              f"{utc(struck.at)} ({clean(struck.name, 16) or 'not named in the log'}" \
              f"{f', by the limit of control group {clean(struck.group, 80)}' if struck.group else ''})" \
              f"{f', {duration(before)} before the last sample' if before >= 1 else ''}."
        if not case.answer.short:
            yield "At the last sample, after it, nothing is short: neither memory, swap, commit, a control group, a zone, nor large blocks."
        return
    counted = _kills_counted(case)
    if counted:
        yield f"A limit was reached: the kernel counts {counted} OOM kill{'s' if counted > 1 else ''} since boot; " \
              "when is not in this history."
    if not case.answer.short:
        yield f"{'At the last sample none was reached' if counted else 'No limit was reached at the last sample'}: " \
              "neither of memory, swap, commit, a control group, a zone, nor of large blocks."


def _kills_counted(case: Case) -> int:
    """Since boot, by the last sample (since Linux 4.13)."""
    try:
        return vmstat.parse(case.last.sources["vmstat"].data or b"").get("oom_kill") or 0
    except (KeyError, files.ProcfsError):
        return 0


def _since(case: Case, found: Suspect) -> Iterator[str]:
    if not found.key:
        yield "No growth was seen."
        return
    start = found.since.times[0]
    if found.at_onset:
        yield f"It was no more than {size(found.since.sizes[0])} until {utc(start)}, then it grew."
    else:
        yield f"It grows since the first sample of this boot, {utc(start)}: when it began is not in this history."
    yield "Each boot seen, with the same counter:"
    page = case.answer.now.page
    for boot in dict.fromkeys(point.sample.boot for point in case.points):
        points = [point for point in case.points if point.sample.boot == boot]
        line = suspect.series(points, found.key, page)
        if not line.times:
            continue
        up = duration(points[0].sample.uptime)
        yield f"  {utc(points[0].time)} to {utc(points[-1].time)}, Linux {points[-1].release}: {size(line.sizes[0])} to " \
              f"{size(line.sizes[-1])}, {signed(line.per_hour)}/h ({len(points)} samples, the first {up} after boot)"


def _kernel(case: Case, facts: Facts) -> Iterator[str]:
    yield facts.version or f"Linux {facts.release}"
    seen = [release for release in dict.fromkeys(point.release for point in case.points) if release and release != facts.release]
    yield f"Other kernels seen in this history: {', '.join(seen) or 'none'}."
    if facts.installed:
        yield f"Installed beside it (not known to have run): {', '.join(facts.installed)}."
    yield f"Command line: {facts.cmdline or 'not known'}"
    yield f"Tainted: {facts.taint}"
    yield f"Modules: {facts.modules}"
    yield f"RAM {size(case.answer.now.memory.book.total)}, page {size(case.answer.now.page)}{facts.machine}."


def _work(case: Case, facts: Facts, found: Suspect) -> Iterator[str]:
    before, after = counters(case.first), counters(case.last)
    before, after = {**before, **facts.counters_first}, {**after, **facts.counters}
    span = case.last_time - case.first_time
    if case.live or span <= 0:
        up = case.points[-1].sample.uptime if case.points else 0.0
        before, span, what = {}, up, f"Since boot {duration(up)} ago"
        grown = found.since.sizes[-1] if found.key else 0.0
    else:
        what = f"From {utc(case.first_time)} to {utc(case.last_time)}"
        grown = found.whole.grown if found.key else 0.0
    rows, kernels = [], not found.key.startswith("g.")
    for name, word in _WORK:
        count = after.get(name, 0) - (before.get(name, 0))
        if name in after and (not before or name in before) and count > 0 and span > 0:
            each = f"; {size(grown / count)} of growth for each" if grown > 0 and kernels else ""
            rows.append(f"  {count} x {word}, {3600 * count / span:.0f}/h{each}")
    if not rows:
        yield "No counters of work in this history."
    elif grown > 0 and kernels:
        yield f"{what}; what grew in the same time is divided by each: a scale to compare kernels by, not a cause."
    else:
        yield f"{what}:"
    yield from rows


def counters(content: Content) -> dict[str, int]:
    """What the host did, as far as recorded files count it. Processes and threads by the last number given, which wraps."""
    found: dict[str, int] = {}
    for name, keys in (("vmstat", ("pgfault", "pgmajfault", "pgpgin", "pgpgout")),):
        try:
            values = vmstat.parse(content.sources[name].data or b"").values
        except (KeyError, files.ProcfsError):
            continue
        found.update({key: values[key] for key in keys if key in values})
    try:
        found["fork"] = loadavg.parse(content.sources["loadavg"].data or b"").last_pid
    except (KeyError, files.ProcfsError):
        pass
    return found


def _culprit(case: Case, facts: Facts, found: Suspect) -> Iterator[str]:
    if not found.key:
        yield "Nothing."
        return
    yield f"{found.words}: {size(found.since.sizes[0])} to {size(found.since.sizes[-1])}."
    anon = case.answer.now.memory.book.parts.get("anon")
    if found.key.startswith("g.") and found.why == "now" and anon is not None and found.since.sizes[-1] > anon:
        yield f"That is resident memory: what its processes share counts in each. All processes together hold {size(anon)} of their own."
    cache = next((one for one in case.answer.now.slab.caches if "c." + one.name == found.key), None)
    if cache is not None:
        each = f", {cache.size / cache.objects:.0f} bytes each with what is lost to packing" if cache.objects else ""
        yield f"{cache.objects} active objects{each}; {'' if cache.reclaimable else 'un'}reclaimable by its flag " \
              "(on SLUB active objects include free ones in per-CPU slabs)."
        if cache.aliases:
            yield f"SLUB has merged it with {', '.join(clean(name, 40) for name in cache.aliases)}: any of them may be the one. " \
              "Booting with slab_nomerge tells them apart."
        else:
            yield "It shares its slabs with no other cache, as far as /sys/kernel/slab tells."
    yield from facts.sites


def _excluded(case: Case, facts: Facts, found: Suspect) -> Iterator[str]:
    points, page = suspect.last_boot(case) if case.points else [], case.answer.now.page
    growth = found.whole.grown if found.key else 0.0
    for name in _PARTS:
        line = suspect.series(points, "p." + name, page)
        word = name if name in ("zram", "zswap") else diagnosis.WORDS[name]
        if not line.sizes:
            continue
        if max(line.sizes) == 0 and min(line.sizes) == 0:
            yield f"  {word}: none"
        else:
            own = " (the suspect is in it)" if found.key and name in _around(case, found) else ""
            yield f"  {word}: {size(line.sizes[0])} to {size(line.sizes[-1])}, {_verdict(line, growth)}{own}"
    groups = {key for point in points for key in point.sample.values if key.startswith("g.")}
    largest = sorted(groups, key=lambda key: (-(suspect.size(points[-1], key, page) or 0.0), key))[:5]
    for key in largest:
        line = suspect.series(points, key, page)
        if key == found.key or not line.sizes[-1]:
            continue
        count = [point.sample.values.get("n." + key[2:], 0) for point in (points[0], points[-1])]
        yield f"  processes of '{clean(key[2:], 24)}': {count[0]} with {size(line.sizes[0])} resident to {count[1]} with " \
              f"{size(line.sizes[-1])}, {_verdict(line, growth)}"
    if len(points) > 1:
        yield from _reclaim(points[0].sample.values, points[-1].sample.values, found)
    yield from (f"  pinned: {clean(held.key[2:], 40)} {size(held.size)} did not shrink while the kernel reclaimed"
                for held in case.answer.outlook.pinned[:3])
    blind = [sight for sight in case.answer.blind if f"{sight.source}.txt" not in facts.texts]  # vmallocinfo is not read for the ledger
    yield from (f"  not seen: {sight.source} ({sight.reason if case.live else 'not in a recording'})" for sight in blind[:5])


def _around(case: Case, found: Suspect) -> tuple[str, ...]:
    """The parts of the ledger that the suspect is counted in."""
    if found.key.startswith("c."):
        flags = {cache.reclaimable for cache in case.answer.now.slab.caches if "c." + cache.name == found.key}
        return "slab", "slab_reclaimable" if True in flags else "slab_unreclaimable"
    return ("anon",) if found.key.startswith("g.") else (found.key[2:],)


def _verdict(line: suspect.Series, growth: float) -> str:
    if abs(line.grown) < max(suspect.LEAST, STEADY * abs(growth)):
        return "steady"
    return f"{'grew' if line.grown > 0 else 'shrank'} by {size(abs(line.grown))}"


def _reclaim(before: dict[str, int], after: dict[str, int], found: Suspect) -> Iterator[str]:
    changes = {key: after[key] - before[key] for key in ("pgscan", "slabs_scanned") if key in before and key in after}
    if not changes:
        return
    if not any(changes.values()):
        yield "  reclaim: the kernel did not look for memory in this time, so nothing shows whether what grew could be given back"
        return
    words = [f"{changes['pgscan']} pages"] if "pgscan" in changes else []
    words += [f"{changes['slabs_scanned']} slab objects"] if "slabs_scanned" in changes else []
    yield f"  reclaim: the kernel looked at {' and '.join(words)} in this time" + (
        ", and what grew grew all the same" if found.key and found.since.grown > 0 else "")


def _kills(case: Case) -> Iterator[str]:
    if case.log_trouble:
        yield f"The kernel's log may not be read ({case.log_trouble})."
    if not case.kills:
        counted = _kills_counted(case)
        if counted:
            yield f"None in this history; the kernel counts {counted} since boot."
        else:
            yield "None in this history." if not case.log_trouble else "None that is known of."
        return
    yield f"{len(case.kills)} (oom.txt has the kernel's reports):"
    for kill in case.kills[:20]:
        limit = f", by the limit of control group {clean(kill.group, 80)}" if kill.group else ""
        yield f"  {utc(kill.at)}  {clean(kill.name, 16) or '(not named in the log)'}{limit}"
    if len(case.kills) > 20:
        yield f"  ... and {len(case.kills) - 20} more"


def _measured(case: Case) -> Iterator[str]:
    points = len(case.points)
    if case.live:
        yield f"One reading of /proc at {utc(case.last_time)}, and {points - 1} earlier samples that the checks of memtriage remembered."
    else:
        yield f"A recording of {case.samples} samples (memtriage record), of which {points}, evenly spread, were compared; " \
              f"{utc(case.points[0].time) if case.points else '?'} to {utc(case.last_time)}."
    yield f"Growth is judged, here and in the picture, by the rules of the checks for a window of {duration(case.rules.window)}, " \
          f"without the first {duration(case.rules.warmup)} after boot; a history shorter than --window is judged as a whole."
    yield "Slab caches by slabinfo: num_slabs times pages per slab. Programs by resident pages. " \
          "The parts are disjoint and sum up to MemTotal: 'memory no counter explains' is the rest."


def _hidden(hidden: list[str], included: list[str]) -> Iterator[str]:
    if included:
        yield "Left as they are, as was asked: " + ", ".join(included) + "."
    yield "Replaced by the same word wherever they stood: " + (", ".join(hidden) or "nothing was found to replace") + "."
    yield "Kept: names of programs, kernel modules and slab caches; the kernel's own counters."
