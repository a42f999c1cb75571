"""A sample of a recording as the parsers of :mod:`memtriage.procfs` see the live system: typed values, the same errors, or a whole tree."""

from __future__ import annotations

import os
import shutil
from typing import Callable, TypeVar

from memtriage.procfs import auxv, files
from memtriage.recording import Process, Sample, Source

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
    size = sample.number("page_size")
    return size if size is not None and 0 < size < 2**30 else int(os.sysconf("SC_PAGE_SIZE"))


def room() -> str | None:
    """Where trees cost no disk, for ``dir`` of :mod:`tempfile`. ``None``: the usual place, which TMPDIR sets."""
    return "/dev/shm" if not os.environ.get("TMPDIR") and os.access("/dev/shm", os.W_OK | os.X_OK) else None


def snapshot_to_tree(sample: Sample, folder: str) -> tuple[str, str]:
    """Writes the sample as a captured tree below ``folder``, for ``--procfs`` and ``--sysfs``; returns these two folders.

    What could not be read is not there: a file that was denied is missing in the tree. Names from the recording never lead out of it.
    """
    tree = Tree(folder)
    tree.show(sample)
    return tree.proc, tree.sys


class Tree:
    """A captured tree that shows one sample after another, of which only what differs is written: two thousand moments of a thousand
    processes would else be millions of files."""

    def __init__(self, folder: str) -> None:
        """``folder`` is empty, or yet to be made. Raises ``OSError``, as :meth:`show` does."""
        self.proc, self.sys = os.path.join(folder, "proc"), os.path.join(folder, "sys")
        for path in (self.proc, self.sys):
            os.makedirs(path, exist_ok=True)
        self._files: dict[str, bytes] = {}
        self._processes: dict[int, Process] = {}
        self._links: Source | None = None

    def show(self, sample: Sample) -> None:
        """Makes the tree what the host's files were then."""
        files_now: dict[str, bytes] = {}
        links = None
        for name, source in sample.content.sources.items():
            if name in ("meta", "sample", "kmsg") or source.data is None:
                continue
            if name == _ALIASES:
                links = source
            elif name.startswith(_SYS):
                files_now[os.path.join(self.sys, name[len(_SYS):])] = source.data
            else:
                files_now[os.path.join(self.proc, name)] = source.data
        if sample.note("page_size") is not None:
            files_now[os.path.join(self.proc, "self/auxv")] = auxv.made(page_size(sample))
        for path in self._files.keys() - files_now.keys():
            _remove(path)
        for path, data in files_now.items():
            if self._files.get(path) != data:
                _put(self.proc if path.startswith(self.proc) else self.sys, path, data)
        self._files = files_now
        if links != self._links:
            _aliases(links, os.path.join(self.sys, "kernel/slab"))
            self._links = links
        self._show_processes(sample.content.processes)

    def _show_processes(self, processes: dict[int, Process]) -> None:
        known = self._processes
        for pid in known.keys() - processes.keys():
            for name in Process._fields:
                _remove(f"{self.proc}/{pid}/{name}")
            try:
                os.rmdir(f"{self.proc}/{pid}")
            except OSError:
                pass  # another source of the recording lies in it
        for pid, process in processes.items():
            before = known.get(pid)
            if process == before:
                continue
            for place, text in enumerate(process):
                if before is not None and before[place] == text:
                    continue
                path = f"{self.proc}/{pid}/{Process._fields[place]}"
                if text or place == _CMDLINE:
                    _put(self.proc, path, text)
                elif before is not None:
                    _remove(path)
        self._processes = processes


_CMDLINE = Process._fields.index("cmdline")
"""Kernel threads have an empty one; other files are empty where they could not be read."""
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


def _safe(name: str) -> bool:
    return bool(name) and "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def _put(folder: str, path: str, text: bytes) -> None:
    if not _safe(path[len(folder) + 1 :]):
        return
    try:
        try:
            handle = os.open(path, _WRITE, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            handle = os.open(path, _WRITE, 0o600)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return  # two names of which one lies in the other, which no kernel has: the first stands
    try:
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except (OSError, ValueError):
        pass  # it was no safe name, or never written


def _aliases(source: Source | None, folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if source is None:
        return
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
