"""An OOM kill in words: victim, culprit, whose memory had run out, who held how much, who asked."""

from __future__ import annotations

from collections.abc import Callable

from memtriage import diagnosis
from memtriage.oomculprit import Present, caches, culprit, groups, illness, kept, ledger
from memtriage.procfs.oom_report import Kill, Report
from memtriage.wording import clean, duration, share, size

_UNITS = (".service", ".scope", ".socket", ".mount", ".slice")


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
    ``now`` what the host has now, for kills of the last ``up_s`` seconds, since boot."""

    def __init__(self, found: list[tuple[Report, Kill]], aged: Callable[[Kill], float | None],
                 now: Callable[[], Present] = Present, up_s: float = 0.0) -> None:
        self.found = found
        self.aged = aged
        told = ((report, kill, culprit(report, now if (passed := aged(kill)) is not None and passed <= up_s else Present))
                for report, kill in reversed(found))
        # The newest that says who is to blame, and no older one is asked: of a torn report at least the victim is known.
        self.main = next((one for one in told if one[2] is not None), (*found[-1], None) if found else None)

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
