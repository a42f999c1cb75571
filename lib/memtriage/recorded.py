"""A sample of a recording as the parsers of :mod:`memtriage.procfs` see the live system: typed values, the same errors, or a whole tree."""

from __future__ import annotations

import os
from typing import Callable, TypeVar

from memtriage.procfs import files
from memtriage.recording import Sample, Source

T = TypeVar("T")
_ALIASES = "/sys/kernel/slab"
_SYS = "/sys/"


def data(sample: Sample, name: str) -> bytes:
    """The file ``name`` (below /proc, or beginning with ``/sys/``) as it was read.

    Raises as reading it would have: :class:`~memtriage.procfs.files.Missing` where it was not recorded, ``Denied`` where the recorder had
    no right, ``Unreadable`` where reading failed or the kernel did not answer in time.
    """
    path = name if name.startswith("/") else "/proc/" + name
    source = sample.content.sources.get(name)
    if source is None:
        raise files.Missing(path, "not in this recording")
    if source.lost:
        raise files.Unreadable(path, "did not answer in time")
    if source.data is None:
        raise files.failure(path, OSError(source.errno, os.strerror(source.errno)))
    return source.data


def value(sample: Sample, name: str, parse: Callable[[bytes], T]) -> T:
    """``value(sample, "meminfo", meminfo.parse)`` is what ``meminfo.read()`` gave at that moment. Raises as :func:`data`, or the parser."""
    return parse(data(sample, name))


def page_size(sample: Sample) -> int:
    """Bytes of a page on the recorded host; where the recording does not say, of this one."""
    word = sample.note("page_size")
    return int(word) if word is not None and word.isdigit() and 0 < int(word) < 2**30 else int(os.sysconf("SC_PAGE_SIZE"))


def snapshot_to_tree(sample: Sample, folder: str) -> tuple[str, str]:
    """Writes the sample as a captured tree below ``folder``, for ``--procfs`` and ``--sysfs``; returns these two folders.

    What could not be read is not there: a file that was denied is missing in the tree. Names from the recording never lead out of it.
    """
    proc, sys = os.path.join(folder, "proc"), os.path.join(folder, "sys")
    for path in (proc, sys):
        os.makedirs(path, exist_ok=True)
    for name, source in sample.content.sources.items():
        if name in ("meta", "sample", "kmsg") or source.data is None:
            continue
        if name == _ALIASES:
            _aliases(source, os.path.join(sys, "kernel/slab"))
        elif name.startswith(_SYS):
            _put(sys, name[len(_SYS):], source.data)
        else:
            _put(proc, name, source.data)
    for pid, process in sample.content.processes.items():
        for name, text in zip(process._fields, process):
            if text or name == "cmdline":
                _put(proc, f"{pid}/{name}", text)
    return proc, sys


def _safe(name: str) -> bool:
    return bool(name) and "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def _put(folder: str, name: str, text: bytes) -> None:
    if not _safe(name):
        return
    path = os.path.join(folder, name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as handle:
            handle.write(text)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        pass  # two names of which one lies in the other, which no kernel has: the first stands


def _aliases(source: Source, folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    for line in (source.data or b"").decode("utf-8", "surrogateescape").split("\n"):
        name, _, target = line.rpartition(" ")
        if not _safe(name) or "/" in name or not _safe(target.replace(".", "x", 1)) or "/" in target:
            continue
        path = os.path.join(folder, name)
        try:
            if target == ".":
                os.mkdir(path)
            else:
                os.symlink(target, path)
        except OSError:
            continue
