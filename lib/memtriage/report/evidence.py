"""The files of an evidence bundle, in a fixed order, each with a line that says what it is; and what is left out, and why."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator

from memtriage import recorded, thinning
from memtriage.diagnosis import Cache
from memtriage.procfs import files
from memtriage.procfs.pid import stat, statm
from memtriage.record import NamedTuple
from memtriage.recording import FIRST, Recording, Ring, glance, layout, payload
from memtriage.recording.payload import Content, Damaged
from memtriage.report import compose, dossier, host, inputs, sites, suspect, verdict
from memtriage.report.case import LIVE, WHOLE, Case, Span
from memtriage.report.history import History, Unusable
from memtriage.report.private import Private
from memtriage.wording import line

RAW = ("meminfo", "slabinfo", "vmstat", "zoneinfo", "pressure/memory", "swaps", "net/sockstat", *LIVE)
COLUMNS = 40
"""Programs and caches in series.csv, those that grew most."""
PROCESSES = 200


class Item(NamedTuple):
    """A file of the bundle."""

    name: str
    about: str
    data: bytes


class Bundle(NamedTuple):
    items: list[Item]
    lacking: list[tuple[str, str]]
    """Names and reasons."""

    def listing(self) -> list[str]:
        """A line a file, then what is left out."""
        rows = [f"{item.name:<24} {len(item.data):>9} B  {item.about}" for item in self.items]
        return rows + [f"{name:<24} left out: {line(why)}" for name, why in self.lacking]


def build(case: Case, private: Private, recording: str | None, span: Span = WHOLE,
          asked: verdict.Asked = verdict.USUAL) -> Bundle:
    """``recording``: the file, for the picture, what part of it, and by which rules it is judged."""
    history = _history(case, private, recording, span)
    judged = None
    if history is not None:  # words and picture by the same samples and the same rules
        judged = verdict.judge(history, asked)
        case = suspect.agreed(case, verdict.outlook(history, len(history.frames) - 1, asked))
    found = suspect.find(case, judged) if case.points else suspect.NONE
    cache = None
    if found.key.startswith("c."):
        cache = next((one for one in case.answer.now.slab.caches if one.name == found.key[2:]), Cache(found.key[2:], 0, False))
    facts = host.facts(case.last, case.host_is_here, case.live, cache, private)
    items: list[Item] = []
    lacking = list(facts.lacking)
    picture, why = _picture(history, asked)
    if picture:
        items.append(Item("picture.png", "memory over time, by who holds it", picture))
    else:
        lacking.append(("picture.png", why))
    if case.points:
        items.append(Item("series.csv", f"the history as numbers: {len(case.points)} moments, bytes", _series(case, found)))
    for folder, content in (("first", case.first), ("last", case.last)):
        if folder == "first" and content is case.last:
            lacking.append(("first/", "the live host is read once: give a recording" if case.live else "the last boot has one sample only"))
            continue
        for name in RAW:
            source = content.sources.get(name)
            plain = f"{folder}/{name.replace('/', '_')}"
            if source is not None and source.data is not None:
                items.append(Item(plain, f"/proc/{name} as the kernel wrote it, {folder} sample", source.data))
            elif name not in LIVE or case.live:
                gone = "no such file on this kernel" if case.live else "not in this recording"
                lacking.append((plain, gone if source is None else "it did not answer" if source.lost else os.strerror(source.errno)))
    items.append(Item("processes.txt", f"the {PROCESSES} largest processes, last sample", _processes(case)))
    links = case.last.sources.get("/sys/kernel/slab")
    if links is not None and links.data:
        items.append(Item("slab-aliases.txt", "which slab caches share one (name, what it is a link to)", links.data))
    if case.oom:
        items.append(Item("oom.txt", "the kernel's reports of OOM kills", "".join(row + "\n" for row in case.oom).encode()))
    about = {"modules.txt": "/proc/modules, without addresses", "sysctl-vm.txt": "sysctl vm.*", sites.FILE: "who allocated it",
             "vmallocinfo.txt": "/proc/vmallocinfo, without addresses"}
    items += [Item(name, about[name], data) for name, data in sorted(facts.texts.items())]
    report = "".join(row.rstrip() + "\n" for row in dossier.lines(case, facts, found, list(_pieces(items, lacking)),
                                                         private.summary(), sorted(private.open)))
    return Bundle([Item("report.txt", "start here: the case in words", report.encode("ascii", "replace")), *items], lacking)


def _pieces(items: list[Item], lacking: list[tuple[str, str]]) -> Iterator[str]:
    """For the report: raw files together, and what is left out for one reason together."""
    for item in items:
        if "/" not in item.name:
            yield f"  {item.name}: {item.about}"
    for folder in ("first", "last"):
        raw = [item.name.partition("/")[2] for item in items if item.name.startswith(folder + "/")]
        if raw:
            yield f"  {folder}/: {', '.join(raw)}, as the kernel wrote them, {folder} sample"
    for why in dict.fromkeys(why for _, why in lacking):
        yield f"  left out: {', '.join(name for name, reason in lacking if reason == why)}: {line(why)}"


def _series(case: Case, found: suspect.Suspect) -> bytes:
    """Time, boot, uptime, then counters: those of the host, the parts, and the programs and caches that changed most."""
    page = case.answer.now.page
    keys = sorted({key for point in case.points for key in point.sample.values})
    named = [key for key in keys if key[:2] in ("c.", "g.")]
    swing = {key: max(sizes) - min(sizes) for key in named if (sizes := suspect.series(case.points, key, page).sizes)}
    chosen = sorted(named, key=lambda key: (key != found.key, -swing[key], key))[:COLUMNS]
    plain = [key for key in keys if key[:2] not in ("c.", "g.", "n.")]
    boots = list(dict.fromkeys(point.sample.boot for point in case.points))
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["time_utc", "boot", "release", "uptime_s", *(_cell(key) for key in [*plain, *chosen])])
    for point in case.points:
        cells: list[object] = [dossier.utc(point.time), boots.index(point.sample.boot) + 1, _cell(point.release),
                               f"{point.sample.uptime:.2f}"]
        for key in [*plain, *chosen]:
            value: float | None = point.sample.values.get(key)
            if key[:2] in ("c.", "g.", "p.") or key in ("available", "total"):
                value = suspect.size(point, key, page)
            cells.append("" if value is None else int(value))
        rows.writerow(cells)
    return out.getvalue().encode("utf-8", "replace")


def _cell(word: str) -> str:
    """A name that a spreadsheet takes for no formula and a terminal for no command."""
    word = "".join(letter if letter.isprintable() else "?" for letter in word)
    return "'" + word if word[:1] in ("=", "+", "-", "@") else word


def _processes(case: Case) -> bytes:
    page, rows = case.answer.now.page, []
    for pid, process in case.last.processes.items():
        try:
            one, memory = stat.parse(process.stat), statm.parse(process.statm)
        except files.ProcfsError:
            continue
        group = files.text(process.cgroup).strip().split("\n")[-1].rpartition(":")[2]
        command = files.text(process.cmdline.strip(b"\0").replace(b"\0", b" "))
        rows.append((-memory.resident_pages, pid, [str(pid), str(one.ppid), one.state, str(one.num_threads),
                                                  str(memory.resident_pages * page // 1024),
                                                   str(memory.anon_pages * page // 1024), one.comm, group or "-", command or "-"]))
    head = ["PID", "PPID", "STATE", "THREADS", "RSS_KIB", "ANON_KIB", "COMM", "CGROUP", "COMMAND"]
    text = "".join("\t".join(line(cell) for cell in row) + "\n" for row in [head, *(row for _, _, row in sorted(rows)[:PROCESSES])])
    return text.encode()


def _history(case: Case, private: Private, recording: str | None, span: Span) -> History | None:
    """What the picture shows, of what is private already: the samples are written once more, cleaned, and read from there."""
    if len(case.points) < 3:
        return None
    with tempfile.TemporaryDirectory(dir=recorded.room()) as folder:
        path = os.path.join(folder, "memory.json")
        if recording is not None:
            _clean_copy(recording, path, private, span)
        else:
            samples = [point.sample for point in case.points]
            with open(path, "wb") as handle:
                handle.write(thinning.fitted("memory", samples, samples[-1])[0])
        try:
            return inputs.read([path])
        except Unusable:
            return None


def _picture(history: History | None, asked: verdict.Asked) -> tuple[bytes, str]:
    """The picture, else why there is none."""
    if history is None:
        return b"", "fewer than three moments to draw"
    try:
        from memtriage.report import figure  # noqa: PLC0415 - an extra, and half a second
    except ImportError as error:
        return b"", f"drawing needs {error.name}: pip install 'memtriage[report]'" if (error.name or "").partition(".")[0] in (
            "matplotlib", "numpy") else "this version cannot draw"
    except OSError:  # matplotlib has no room for what it keeps: a full disk, or one that is read only
        return b"", "drawing needs a folder that can be written: set MPLCONFIGDIR to one"
    try:
        data: bytes = figure.render(compose.picture(history, "host", asked=asked), "png")
        return data, ""
    except Exception as error:  # drawing is another's work: without its picture the bundle is still worth having
        return b"", f"it could not be drawn: {type(error).__name__}"


def _clean_copy(recording: str, path: str, private: Private, span: Span) -> None:
    """A recording of the same samples, some hundred of them, with nothing private in them."""
    with Recording(recording) as old:
        entries = span.of(old.entries)
        step = max(1, -(-len(entries) // 1000))
        ring = Ring.open(path, 256 * 1024**2)
        number, first = 0, True
        for entry in [*entries[:-1:step], *entries[-1:]]:
            try:
                content: Content = private.content(old.content(entry))
            except Damaged:
                continue
            raw = payload.encode(content, None)
            stored = glance.stored(content, raw)
            ring.write(layout.describe(stored, len(raw), ring.seq + number, entry.head.real_ns, entry.head.boot_ns,
                                       entry.head.interval_ms * step, FIRST if first else entry.head.flags & FIRST), stored)
            number, first = number + 1, False
        ring.close()
