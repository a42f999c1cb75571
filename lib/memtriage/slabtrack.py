"""Slab caches between runs: what is remembered of them, and how fast each one grows.

Remembered are raw counters: pages of every cache that has any, the totals of meminfo and, where slabinfo is denied, the dentry and inode
counts that everybody may read. What they mean is worked out anew at each run.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from memtriage import accounting, diagnosis, growth, survey
from memtriage.procfs import boot_id, dentry_state, files, inode_nr, meminfo, uptime
from memtriage.state import Sample
from memtriage.wording import label as plain_label
from memtriage.wording import share, size


class NoSlab(Exception):
    """This kernel does not say how much slab it has."""


class Now(NamedTuple):
    """This run's readings, bytes and counts."""

    ram: int
    total: int
    reclaimable: int | None
    unreclaimable: int
    page: int
    slab: survey.Slab
    dentries: dentry_state.DentryState | None
    inodes: inode_nr.InodeNr | None


def read(proc: str, sys: str) -> Now:
    """Raises :class:`~memtriage.procfs.files.ProcfsError` where not even meminfo tells of slab."""
    info = meminfo.read(proc)
    total, ram = info.get("Slab"), info.get("MemTotal")
    wrong = accounting.problem(info)
    if wrong or not ram:
        raise files.Malformed(f"{proc}/meminfo", wrong or "MemTotal is 0")
    if total is None:
        raise NoSlab("this kernel's meminfo has no Slab line")
    if total > ram:
        raise files.Malformed(f"{proc}/meminfo", f"Slab ({total} B) is larger than MemTotal ({ram} B)")
    unreclaimable = info.get("SUnreclaim")
    page = survey.page_size(proc, info)
    dentries = inodes = None
    try:
        dentries = dentry_state.read(proc)
        inodes = inode_nr.read(proc)
    except files.ProcfsError:
        pass  # a captured tree without them
    slab = survey.slab(proc, sys, page)
    # Before Linux 2.6.19 nothing says what is reclaimable; then all of it may have to stay.
    return Now(ram, total, info.get("SReclaimable"), total if unreclaimable is None else unreclaimable, page, slab, dentries, inodes)


def sample(proc: str, now: Now) -> Sample:
    """The raw counters to remember, under the boot and uptime of the tree they came from."""
    values = {"slab": now.total, "sunreclaim": now.unreclaimable}
    if now.reclaimable is not None:
        values["sreclaimable"] = now.reclaimable
    if now.dentries:
        values["dentries"] = now.dentries.nr_dentry
    if now.inodes:
        values["inodes"] = now.inodes.nr_inodes
    for cache in now.slab.caches:
        if cache.size:
            values["c." + cache.name] = cache.size // now.page
    return Sample(boot_id.read(proc), uptime.read(proc).up_s, values)


class Change(NamedTuple):
    """Growth since the sample one window ago. ``suspect`` is what limits on growth apply to."""

    span: float
    rates: dict[str, growth.Rate]
    largest: list[diagnosis.Cache]
    fastest: diagnosis.Cache | None
    suspect: growth.Rate | None
    suspect_words: str


def compare(now: Now, samples: list[Sample], window: float, wanted: Callable[[str], object]) -> Change:
    """Rates of all wanted caches; the suspect is the fastest that cannot be reclaimed, or all of SUnreclaim where none can be named."""
    boot = [sample for sample in samples if sample.boot == samples[-1].boot]  # empty where this run's sample was refused
    largest = [cache for cache in now.slab.caches if cache.size and wanted(cache.name)]
    start = growth.baseline([sample.uptime for sample in boot], window)
    if start is None:
        return Change(0.0, {}, largest, None, None, "")
    before, span = boot[start].values, boot[-1].uptime - boot[start].uptime
    rates: dict[str, growth.Rate] = {}
    had_names = any(key.startswith("c.") for key in before)
    for cache in largest:
        # A cache that was not there at all, while others were read, held nothing.
        pages = before.get("c." + cache.name, 0 if had_names else None)
        found = growth.rate(pages * now.page, cache.size, span) if pages is not None else None
        if found is not None:
            rates[cache.name] = found
    growing = [cache for cache in largest if cache.name in rates and rates[cache.name].change > 0]
    fastest = max(growing, key=lambda cache: rates[cache.name].change, default=None)
    fixed = max((cache for cache in growing if not cache.reclaimable), key=lambda cache: rates[cache.name].change, default=None)
    if rates:
        return Change(span, rates, largest, fastest, rates[fixed.name] if fixed else growth.Rate(0, span), fixed.words if fixed else "")
    total = growth.rate(before.get("sunreclaim", now.unreclaimable), now.unreclaimable, span)
    return Change(span, rates, largest, None, total, "unreclaimable slab (cache unknown)")


def labels(names: list[str]) -> list[str]:
    """Perfdata labels for caches, unique in 17 characters: with the prefix that follows they stay unique in RRD's 19."""
    taken: list[str] = []
    for name in names:
        text = plain_label(name)
        if len(text) > 17 or text in taken:
            import zlib  # noqa: PLC0415 - rare, and a shared library

            text = f"{text[:12]}_{zlib.crc32(name.encode('utf-8', 'replace')) & 0xFFFF:04x}"
        taken.append(text)
    return taken


def in_words(now: Now) -> str:
    """The second line: how slab is made up, and what the dentry and inode counters say of it."""
    said = f"reclaimable {size(now.reclaimable)}, " if now.reclaimable is not None else ""
    said += f"unreclaimable {size(now.unreclaimable)} ({share(now.unreclaimable, now.ram)} of RAM)"
    if now.dentries:
        said += f"; {now.dentries.nr_dentry} dentries, {now.dentries.nr_unused} unused"
    if now.inodes:
        said += f"; {now.inodes.nr_inodes} inodes, {now.inodes.nr_free} free"
    return said + "."
