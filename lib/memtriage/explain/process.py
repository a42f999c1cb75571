"""One process, as a person asks about it: who runs it since when, what it holds, which files and mappings are the largest."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import psutil

from memtriage import wording

MOST = 5
"""Processes of one name, and mappings of one process, that are shown."""


def text(wanted: str) -> str:
    """Raises ``LookupError`` where there is no such process."""
    if wanted.isascii() and wanted.isdigit():
        try:
            found = [psutil.Process(int(wanted))]
        except (psutil.NoSuchProcess, OverflowError):
            raise LookupError(f"there is no process {wanted}") from None
    else:
        found = [process for process in psutil.process_iter(["name", "memory_info"]) if process.info["name"] == wanted]
        found.sort(key=lambda process: -(process.info["memory_info"].rss if process.info["memory_info"] else 0))
        if not found:
            raise LookupError(f"there is no process named '{wording.clean(wanted)}'")
    said = [wording.line(row) for process in found[:MOST] for row in _one(process)]
    if len(found) > MOST:
        said.append(f"{len(found) - MOST} more of that name, each smaller")
    return "\n".join(said) + "\n"


def _one(process: psutil.Process) -> Iterator[str]:
    try:
        with process.oneshot():
            began = datetime.datetime.fromtimestamp(process.create_time()).isoformat(" ", "seconds")
            yield f"{process.name()}, pid {process.pid}, of {process.username()} since {began}"
            yield f"  state    {process.status()}, {process.num_threads()} threads"
            yield f"  command  {wording.clean(' '.join(process.cmdline()) or '(kernel thread or zombie)', 120)}"
            memory = process.memory_info()
            yield (f"  resident {wording.size(memory.rss)}, of which shared {wording.size(memory.shared)}; "
                   f"address space {wording.size(memory.vms)}")
    except psutil.NoSuchProcess:
        yield f"pid {process.pid} has ended"
        return
    except psutil.AccessDenied:
        yield f"pid {process.pid}: not visible to this user"
        return
    try:
        full = process.memory_full_info()
        yield f"  PSS      {wording.size(full.pss)}, of its own (USS) {wording.size(full.uss)}, in swap {wording.size(full.swap)}"
        maps = sorted(process.memory_maps(grouped=True), key=lambda entry: -entry.pss)[:MOST]
        yield from (f"  mapping  {wording.size(entry.pss):>10}  {wording.clean_end(entry.path, 80)}" for entry in maps)
        yield f"  files    {process.num_fds()} descriptors, {len(process.open_files())} of them regular files"
    except psutil.AccessDenied:
        yield "  PSS, mappings and files are not readable by this user"
    except psutil.NoSuchProcess:
        yield "  it has ended meanwhile"
