"""The explanation as one screen of 80 x 40: plain sentences first, then the ledger."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from memtriage import wording
from memtriage.explain.answer import Answer
from memtriage.explain.deep import Deep
from memtriage.explain.rows import Row

WIDTH, HEIGHT, WORDS = 80, 40, 29
TOGETHER = 200
"""Characters of a paragraph on a page to which one more sentence may come."""
KERNEL = ("slab_reclaimable", "slab_unreclaimable", "slab", "kernel_stacks", "page_tables", "per_cpu", "vmalloc", "kernel_reclaimable",
          "network_buffers", "unaccounted", "gpu", "balloon", "zswap", "zram", "zfs_arc", "bounce")


def lines(answer: Answer, deep: Deep | None = None, everything: bool = False) -> list[str]:
    """At most :data:`HEIGHT` lines of :data:`WIDTH` characters; with ``everything`` as many as it takes."""
    top = [row for question, sentence in _sentences(answer, deep) for row in _wrapped(question, sentence)]
    room = 10**6 if everything else HEIGHT - len(top) - 3
    table = list(_table(answer, room, everything))
    return [*top, "", f"{'BYTES':>10} {'SHARE':>6} {'GROWTH/h':>10}  {'WHERE':<{WORDS}} SOURCE", *table]


def sentences(answer: Answer) -> list[str]:
    """What is said first, without the table: each question with its answer; of a long one, and of what is a line rather than a sentence,
    what follows stands apart."""
    found: list[str] = []
    for question, sentence in _sentences(answer, None):
        if question or not found or not found[-1].endswith(".") or len(found[-1]) + len(sentence) > TOGETHER:
            found.append(f"{question} {sentence}".strip())
        else:
            found[-1] += " " + sentence
    return found


def _sentences(answer: Answer, deep: Deep | None) -> Iterator[tuple[str, str]]:
    memory, book = answer.now.memory, answer.now.memory.book
    part = book.parts.get
    limit = f" (the limit of cgroup '{wording.clean_end(memory.limited_by, 30)}')" if memory.limited_by else ""
    left = f"{wording.size(memory.available)} of {wording.size(memory.total)}{limit} can still be had"
    kinds = [entry.kind for entry in answer.short]
    out = "Yes" if {"available", "cgroup"} & set(kinds) else "Of some" if kinds else "No"
    yield from _say("Out of memory?", f"{out}: {left}, {wording.share(memory.available, memory.total)}.")
    if answer.outlook.pinned:
        yield from _say("", f"Only {wording.size(answer.outlook.headroom)} without caches that reclaim has shown it cannot shrink.")
    if answer.short:
        for place, entry in enumerate(answer.short):
            yield from _say("" if place else "Which kind?", entry.sentence[:1].upper() + entry.sentence[1:] + ".")
    else:
        yield from _say("Which kind?", "None: available memory, swap, commit limit, cgroup, zones and blocks are well.")
    anon, shared = part("anon"), part("shmem") or 0
    groups = answer.owners.groups
    largest = f"; the largest is '{wording.clean(groups[0].name, 20)}', {wording.size(groups[0].anon)}" if groups else ""
    if anon is not None:
        yield from _say("The processes?", f"They hold {wording.share(anon, book.total)} ({wording.size(anon)}){largest}. Shared memory and "
                                          f"tmpfs hold {wording.share(shared, book.total)}.")
    kernel = sum(part(name) or 0 for name in KERNEL)
    slab = sum(part(name) or 0 for name in KERNEL[:3])
    dark = max(0, part("unaccounted") or 0)
    yield from _say("The kernel?", f"It holds {wording.share(kernel, book.total)} ({wording.size(kernel)}): slab {wording.size(slab)}, "
                                   f"no counter explains {wording.size(dark)}.")
    yield from _say("Which, then?", f"{'Culprit' if answer.short or answer.outlook.causes else 'Largest'}: {answer.culprit.words}.")
    yield from _say("", answer.culprit.meaning)
    yield from _say("", answer.allocated)
    yield from _say("Until when?", _until(answer))
    for line in answer.growth[:3]:
        yield from _say("", line)
    if deep is not None:
        reserved = wording.size(deep.pages.reserved * answer.now.page)
        yield from _say("Page by page:", f"{wording.size(deep.drivers)} taken by drivers straight from the page allocator "
                                         f"({wording.share(deep.drivers, book.total)}); reserved at boot {reserved}.")
    for sight in answer.blind[:4]:
        most = f"; at most {wording.size(sight.at_most)} are hidden there" if sight.at_most else ""
        yield from _say("Not seen:", f"{sight.source}: {sight.reason}{most}.")
    if answer.owners.unreadable and anon is not None:
        over = max(0, answer.owners.anon - anon)
        yield from _say("Not exact:", f"{answer.owners.unreadable} processes without PSS: memory shared after fork counts in each"
                                      + (f", at least {wording.size(over)} twice" if over else "") + ".")


def _until(answer: Answer) -> str:
    outlook = answer.outlook
    if outlook.eta is not None and outlook.eta_low is not None and outlook.eta_high is not None:
        between = wording.durations(outlook.eta_low, outlook.eta_high)
        return f"Memory will be gone in {wording.duration(outlook.eta)}" + (f" ({between})." if " to " in between else ".")
    if answer.samples < 2:
        return "Not known: no check has remembered anything of this boot yet."
    return f"Nothing grows provenly ({answer.samples} samples over {wording.duration(answer.history_s)})."


def _say(question: str, sentence: str) -> Iterator[tuple[str, str]]:
    if sentence:
        yield question, wording.line(sentence)


def _wrapped(question: str, sentence: str) -> Iterator[str]:
    for place, row in enumerate(textwrap.wrap(sentence, WIDTH - 15)):
        yield f"{question if not place else '':<14} {row}"


def _table(answer: Answer, room: int, everything: bool) -> Iterator[str]:
    total = answer.now.memory.book.total
    # Parts first, as many as fit; then the largest of what is in them, in their places.
    parts = [row for row in answer.ledger if not row.level]
    small = [] if everything else [row for row in parts if row.key != "free" and abs(row.size) * 1000 < total]
    shown = [row for row in parts if row not in small]
    children = [row for row in answer.ledger if row.level and (everything or row.size * 1000 >= total)]
    spare = max(0, room - len(shown) - bool(small))
    kept = children if everything else sorted(children, key=lambda row: -row.size)[:spare]
    for row in answer.ledger:
        if row in shown or (row.level and row in kept):
            yield _row(row, total)
    if small:
        rest = sum(row.size for row in small)
        yield _row(Row(0, "", f"{len(small)} smaller parts (--all)", rest, "", None), total)


def _row(row: Row, total: int) -> str:
    growth = wording.signed(row.growth_per_hour) if row.growth_per_hour is not None and abs(row.growth_per_hour) >= 1024**2 else ""
    words = "  " + row.words.replace("process group ", "").replace("slab cache ", "") if row.level else row.words
    words = words if len(words) <= WORDS else words.replace("allocated by ", "")
    words = words if len(words) <= WORDS else words[: WORDS - 2] + ".."
    line = f"{wording.size(row.size):>10} {wording.share(row.size, total):>6} {growth:>10}  {words:<{WORDS}} {row.source}"
    return wording.line(line[:WIDTH])
