"""Who is to blame for an OOM kill: the same rules as everywhere, on the memory that the kernel reported at that moment.

The victim is whom the kernel chose, not who holds the memory: a browser dies beside 22 GiB of network buffers.
"""

from __future__ import annotations

from collections.abc import Callable

from memtriage import accounting, diagnosis
from memtriage.procfs.keyed import Keyed
from memtriage.procfs.oom_report import Kill, Report
from memtriage.record import NamedTuple
from memtriage.wording import clean, duration, share, size

_UNITS = (".service", ".scope", ".socket", ".mount", ".slice")


def ledger(report: Report) -> accounting.Ledger | None:
    """The host's memory at the kill, ``None`` where the report's tables are missing, as in a cgroup's or a torn log."""
    if "Cached" not in report.memory or "AnonPages" not in report.memory:
        return None
    return accounting.ledger(Keyed(report.memory, []))


def caches(report: Report) -> list[diagnosis.Cache]:
    """Largest first; the kernel lists only those that cannot be reclaimed."""
    found = [diagnosis.Cache(name, held, False) for name, held in report.caches]
    return sorted(found, key=lambda cache: (-cache.size, cache.name))


def groups(report: Report) -> list[diagnosis.Group]:
    """Processes by program, largest first. Before Linux 6.9 the table has no anonymous memory apart from RSS."""
    held: dict[str, list[int]] = {}
    for task in report.tasks:
        entry = held.setdefault(task.name, [0, 0, 0])
        entry[0] += 1
        entry[1] += task.rss if task.anon is None else task.anon
        entry[2] += task.rss
    return sorted((diagnosis.Group(name, *entry) for name, entry in held.items()), key=lambda group: (-group.anon, group.name))


def culprit(report: Report, now: Callable[[], list[diagnosis.Cache]] = list) -> diagnosis.Culprit | None:
    """``None`` where the log does not hold enough to say it. ``now`` gives the slab caches of this moment, where it is of the same boot."""
    listed = groups(report)
    if report.constraint == "memcg":
        if report.oom_memcg is None or report.limit is None:
            return None
        found = diagnosis.limit_culprit(report.oom_memcg, report.limit, listed)
        if "most held by" in found.words:
            return found._replace(meaning=REACHED)
        if listed:
            return found
        alone = f"cgroup limit of '{clean(report.oom_memcg, 40)}'"  # whether a process holds most of it is not known
        return found._replace(words=alone, meaning=REACHED)
    if report.constraint in ("cpuset", "memory_policy"):
        return _bound(report, listed)
    book = ledger(report)
    if book is None:
        return _largest_cache(report)
    ill = illness(report)
    if ill is not None and ill.parts:
        book = book._replace(parts={name: held for name, held in book.parts.items() if name in ill.parts})
    found = diagnosis.culprit(book, caches(report), listed, True)
    held = kept(report) if ill is None and found.part in ("anon", "slab_reclaimable") else 0
    if held and held >= max((group.anon for group in listed), default=0):
        return _held(held, now())
    if found.part == "anon" and not listed:
        return found._replace(words=f"processes, which the log does not list, {size(found.size)}")
    return found


def kept(report: Report) -> int:
    """Bytes of reclaimable slab that reclaim left, 0 where it is no more than it may leave: the host kills only when it finds no more."""
    left = report.memory.get("SReclaimable") or 0
    return left if report.constraint == "none" and left >= LEFT * report.memory["MemTotal"] else 0


def _held(held: int, now: list[diagnosis.Cache]) -> diagnosis.Culprit:
    """The log names no reclaimable cache. What is held survives the victim, so the cache that has most of it now had it then."""
    largest = max((cache for cache in now if cache.reclaimable), key=lambda cache: cache.size, default=None)
    if largest is not None and 2 * largest.size >= held:
        words = f"{largest.words} {size(largest.size)} now, held"
    else:
        words = f"reclaimable slab {size(held)}, held"
    return diagnosis.Culprit("slab_reclaimable", words, held, diagnosis.PINNED)


def _largest_cache(report: Report) -> diagnosis.Culprit | None:
    """Of a torn report: the kernel lists caches only where unreclaimable slab is more than all pages of programs and files."""
    listed = caches(report)
    if not listed:
        return None
    words = f"{listed[0].words} {size(listed[0].size)}, unreclaimable"
    return diagnosis.Culprit("slab_unreclaimable", words, listed[0].size, diagnosis.MEANING["slab_unreclaimable"])


def _bound(report: Report, listed: list[diagnosis.Group]) -> diagnosis.Culprit | None:
    """Bound to some memory nodes: the kernel's table has the processes that may use them; what else lies on them is not in the log."""
    if not listed:
        return None
    words = f"cpuset '{clean(report.cpuset or '?', 40)}'" if report.constraint == "cpuset" else "memory policy"
    if report.nodes:
        words += f" (nodes {clean(report.nodes, 20)})"
    return diagnosis.Culprit("nodes", f"{words}, most held by {listed[0].words}", listed[0].anon,
                             "Some of the host's memory nodes are full, not its memory: others may have plenty.")


def victim(kill: Kill) -> str:
    """``'chrome' (pid 4242, 1.20 GiB)``."""
    said = [f"pid {kill.pid}"] if kill.pid is not None else []
    said += [size(kill.rss)] if kill.rss is not None else []
    return f"'{clean(kill.name, 24)}'" + (f" ({', '.join(said)})" if said else "")


def victims(kills: list[Kill], most: int = 3) -> str:
    """All of them, those of one name together: ``3 x 'httpd', 'mysqld' (pid 7, 2.00 GiB)``."""
    names: dict[str, list[Kill]] = {}
    for kill in kills:
        names.setdefault(kill.name, []).append(kill)
    ranked = sorted(names.values(), key=len, reverse=True)
    said = [victim(same[0]) if len(same) == 1 else f"{len(same)} x '{clean(same[0].name, 24)}'" for same in ranked[:most]]
    more = len(ranked) - most
    return ", ".join(said) + (f" and {more} other{'s' if more > 1 else ''}" if more > 0 else "")


def scope(report: Report) -> str | None:
    """Whose memory had run out, as a sentence; ``None`` where the log does not say."""
    if report.constraint == "memcg":
        words = f"Scope: cgroup '{clean(report.oom_memcg, 80)}'" if report.oom_memcg else "Scope: a cgroup, which one the log does not say"
        if report.limit is not None:
            words += f" at its limit of {size(report.limit)}"
        if report.task_memcg and report.task_memcg != report.oom_memcg:
            words += f", victim in '{clean(report.task_memcg, 80)}'"
    elif report.constraint == "cpuset":
        words = f"Scope: cpuset '{clean(report.cpuset, 60)}'" if report.cpuset else "Scope: a cpuset, which one the log does not say"
        words += f", memory nodes {clean(report.nodes, 20)}" if report.nodes else ""
    elif report.constraint == "memory_policy":
        words = "Scope: the asker's memory policy (mbind, numactl)" + (f", nodes {clean(report.nodes, 20)}" if report.nodes else "")
    elif report.constraint == "none" or report.memory:
        words = "Scope: the host"
    else:
        return None
    unit = _unit(report.task_memcg or report.oom_memcg or "")
    return words + (f"; the victim's unit: {clean(unit, 60)}" if unit else "") + "."


def _unit(path: str) -> str | None:
    """The innermost service or scope of a cgroup's path, else its innermost slice."""
    parts = [part for part in path.split("/") if part.endswith(_UNITS)]
    inner = [part for part in parts if not part.endswith(".slice")] or parts
    return inner[-1] if inner else None


REACHED = "The limit of a cgroup was reached, not the host's memory."
KERNEL = ("slab_reclaimable", "slab_unreclaimable", "slab", *accounting.KERNEL_OTHER)
"""Parts of the ledger that lie in lowmem; the rest may lie in HighMem."""


class Illness(NamedTuple):
    """Why memory was short although some was free. ``parts`` of the ledger are to blame, all where it is empty."""

    name: str
    sentence: str
    parts: tuple[str, ...] = ()


def illness(report: Report) -> Illness | None:
    """Where it was not the amount of memory but its kind: pieces too small, or a zone that few can use (32-bit lowmem, DMA)."""
    if report.constraint == "memcg" or not report.zones:
        return None
    high = [zone for zone in report.zones if zone.name in ("HighMem", "Movable")]
    low = [zone for zone in report.zones if zone not in high and zone.name != "Device"]
    normal = [zone for zone in low if zone.name == "Normal"]
    if normal and all(zone.free <= zone.min for zone in normal) and any(zone.free > 4 * max(zone.low, 1024**2) for zone in high):
        few, many = sum(zone.free for zone in normal), sum(zone.free for zone in high)
        return Illness("lowmem full", f"Lowmem, not memory: zone Normal has {size(few)} free, while {size(many)} lie free where the kernel "
                       "cannot put its own data. A 64-bit kernel has no such limit.", KERNEL)
    order = report.order or 0
    wanted = report.page << max(0, order)
    roomy = [zone for zone in low if zone.blocks and zone.free > zone.low]
    if order > 0 and roomy and not any(count for zone in roomy for block, count in zone.blocks.items() if block >= wanted):
        free = sum(zone.free for zone in roomy)
        return Illness(f"fragmentation, no {size(wanted)} in one piece", f"Fragmentation: {size(wanted)} in one piece (order {order}) were "
                       f"asked for; {size(free)} are free, above the watermarks, in smaller pieces.")
    if report.gfp and "GFP_DMA" in report.gfp:
        zone = "DMA32" if "GFP_DMA32" in report.gfp else "DMA"
        return Illness(f"zone {zone} full", f"Only zone {zone} could serve this request (a device with few address bits), not all memory.")
    return None


def asked(report: Report) -> str | None:
    """Who asked for memory: seldom the one to blame."""
    if report.order == -1:
        return "Asked for by hand (SysRq f)."
    if report.asker is None:
        return None
    kind = f", {clean((report.gfp.partition('(')[2].rstrip(')') or report.gfp).replace('|', ' + '), 60)}" if report.gfp else ""
    order = f"order {report.order}" if report.order is not None else "order unknown"
    return f"Asked for by '{clean(report.asker, 24)}' ({order}{kind}), which need not be the one to blame."


def shares(report: Report, kill: Kill) -> str | None:
    """The victim's share of what had run out, and the largest user beside it."""
    total = report.limit if report.constraint == "memcg" else report.memory.get("MemTotal")
    said = []
    held = kill.rss
    if report.constraint == "memcg" and kill.anon_rss is not None:
        held = kill.anon_rss + (kill.shmem_rss or 0)  # files may be charged to others
    if held is not None and total:
        of = "the limit" if report.constraint == "memcg" else "RAM"
        said.append(f"Victim '{clean(kill.name, 24)}' held {share(held, total)} of {of}")
    listed = groups(report)
    if listed:
        said.append(f"{'largest' if said else 'Largest'} user: {listed[0].words}")
    return "; ".join(said) + "." if said else None


LEFT = 0.15
"""Share of RAM in reclaimable slab from which on it is odd that the kernel killed and did not take it back."""


def slab(report: Report) -> str | None:
    """Slab totals and the largest caches that could not be reclaimed."""
    get = report.memory.get
    fixed = get("SUnreclaim")
    whole = get("Slab")
    if (fixed is None and whole is None) or report.constraint == "memcg":
        return None
    total = report.memory["MemTotal"]
    if fixed is None:
        return f"Slab {size(whole or 0)} ({share(whole or 0, total)} of RAM)."
    named = ", ".join(f"{clean(cache.name, 30)} {size(cache.size)}" for cache in caches(report)[:4])
    said = f"Slab: unreclaimable {size(fixed)} ({share(fixed, total)} of RAM), reclaimable {size(get('SReclaimable') or 0)}"
    said += f"; {named}." if named else "."
    if kept(report):
        said += f" Reclaim left those {size(kept(report))}: something may hold them, as pinned inodes are, and the log names no such cache."
    return said


ROOM = 180
"""Characters of the first line behind its name and state."""


class Story:
    """The words for one or several kills. ``found`` is oldest first; ``aged`` gives the seconds since a kill, where the log has them;
    ``now`` the slab caches of this moment, those a kill ``up_s`` seconds ago or less can have left."""

    def __init__(self, found: list[tuple[Report, Kill]], aged: Callable[[Kill], float | None],
                 now: Callable[[], list[diagnosis.Cache]] = list, up_s: float = 0.0) -> None:
        self.found = found
        self.aged = aged
        told = []
        for report, kill in reversed(found):
            passed = aged(kill)
            told.append((report, kill, culprit(report, now if passed is not None and passed <= up_s else list)))
        # The newest that says who is to blame: of a torn report at least the victim is known.
        self.main = next((one for one in told if one[2] is not None), told[0] if told else None)

    def headline(self, kills: int, window_s: float, where: str, trouble: str | None) -> str:
        """``2 OOM kills in the last 5.0 min: 'chrome' ...; culprit: ...``; ``trouble`` is why the log could not be read."""
        head = f"{kills} OOM kill{'s' if kills > 1 else ''}{where} in the last {duration(window_s)}"
        if self.main is None:
            return f"{head}; whom it killed is not " + (f"known (log: {trouble})" if trouble else "in the log")
        report, _, blamed = self.main
        words, ill = "", illness(report)
        if ill is not None:
            words = f"; {ill.name}"
        if blamed is not None and (ill is None or ill.parts):
            words += f"; culprit: {blamed.words}"
            if blamed.part == "cgroup" and report.limit is not None:
                words = words.replace("cgroup limit of ", f"{size(report.limit)} cgroup limit of ", 1)
        kills_found = [kill for _, kill in self.found]
        bare = [kill._replace(pid=None, anon_rss=None, file_rss=None, shmem_rss=None) for kill in kills_found]
        for names in (victims(kills_found), victims(kills_found, 1), victims(bare, 1)):
            if len(head) + 2 + len(names) + len(words) <= ROOM:
                break
        return f"{head}: {names}{words}"

    def details(self, most: int) -> list[str]:
        """Who was to blame and who not, whose memory it was, and the kills one by one."""
        if self.main is None:
            return []
        report, kill, blamed = self.main
        book, ill = ledger(report), illness(report)
        lines = []
        if ill is not None and not ill.parts:
            lines.append(ill.sentence + (f" Most is held by: {blamed.words}." if blamed is not None else ""))
        elif blamed is not None:
            host = book is not None and blamed.part not in ("cgroup", "nodes")
            against = diagnosis.contrast(book, blamed, groups(report)) if book is not None and host else ""
            lines.append(f"{blamed.meaning} {against}".rstrip())
        else:
            lines.append("Who held the memory is not in the log: the kernel's tables are missing or cut.")
        lowmem = ill.sentence if ill is not None and ill.parts else None
        for line in (scope(report), lowmem, shares(report, report.kills[0] if report.kills else kill), slab(report), asked(report)):
            if line:
                lines.append(line)
        if report.group:
            lines.append(f"The whole cgroup '{clean(report.group, 80)}' was killed: memory.oom.group is set.")
        for _, one in self.found[: -most - 1 : -1]:
            passed = self.aged(one)
            uid = f", uid {one.uid}" if one.uid is not None else ""
            lines.append(f"Killed: {victim(one)}{uid}" + (f", {duration(passed)} ago" if passed is not None else ""))
        return lines
