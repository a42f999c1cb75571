"""What only the live host tells beside a recording, and what both tell: kernel, taint, modules, vm settings, allocation sites, workload."""

from __future__ import annotations

import os
import re

from memtriage.diagnosis import Cache
from memtriage.procfs import files, slabinfo
from memtriage.record import NamedTuple
from memtriage.recording.payload import Content
from memtriage.report import sites
from memtriage.report.private import Private

TAINT = ((0, "P", "proprietary module"), (1, "F", "module was force loaded"), (2, "S", "kernel running on an out of specification system"),
         (3, "R", "module was force unloaded"), (4, "M", "machine check exception"), (5, "B", "bad page referenced"),
         (6, "U", "taint requested by userspace"), (7, "D", "kernel died recently (OOPS or BUG)"), (8, "A", "ACPI table overridden"),
         (9, "W", "warning was issued"), (10, "C", "staging driver"), (11, "I", "workaround for firmware bug"),
         (12, "O", "externally-built module"),
         (13, "E", "unsigned module"), (14, "L", "soft lockup occurred"), (15, "K", "live patched"),
         (16, "X", "auxiliary taint of the distribution"),
         (17, "T", "built with the struct randomization plugin"), (18, "N", "in-kernel test was run"), (19, "J", "mutating fwctl command"))
"""Bit, letter, meaning: Documentation/admin-guide/tainted-kernels.rst."""
_ADDRESS = re.compile(rb"0x[0-9a-f]{8,16}")
_TAINTING = re.compile(r" \(([A-Z]+)[+-]?\)\s*$")
"""Behind a module's address: how it taints; + and - are loading and going."""
NOT_RECORDED = "not in a recording, and this is not the host and boot it was made on"


class Facts(NamedTuple):
    """Sentences and texts, all private already."""

    release: str
    version: str
    cmdline: str
    installed: list[str]
    taint: str
    modules: str
    machine: str
    sites: list[str]
    counters: dict[str, int]
    """Of work, now; only where the bundle is of the live host."""
    counters_first: dict[str, int]
    texts: dict[str, bytes]
    """File names and their contents, for the bundle."""
    lacking: list[tuple[str, str]]
    """What is not in it, and why."""


def tainted(number: int) -> str:
    """``4097 = PO: proprietary module, externally-built module``."""
    bits = [(letter, words) for bit, letter, words in TAINT if number >> bit & 1]
    unknown = number >> len(TAINT)
    words = [words for _, words in bits] + ([f"bits not known here: {unknown << len(TAINT)}"] if unknown else [])
    return f"{number} = {''.join(letter for letter, _ in bits)}: {', '.join(words)}" if number else "no (0)"


def facts(content: Content, here: bool, live: bool, cache: Cache | None, private: Private) -> Facts:
    """``content`` is private already; ``here``: the live host is the one, in the same boot. ``cache`` is the suspect, where it is one."""
    def text(name: str) -> str:
        source = content.sources.get(name)
        return files.text(source.data).strip() if source is not None and source.data is not None else ""

    texts: dict[str, bytes] = {}
    lacking: list[tuple[str, str]] = []
    vm = "".join(f"vm.{name[7:]} = {' '.join(files.text(source.data or b'').split())}\n"
                 for name, source in sorted(content.sources.items()) if name.startswith("sys/vm/") and source.data)
    if vm:
        texts["sysctl-vm.txt"] = vm.encode()
    if not here:
        lacking += [(name, NOT_RECORDED) for name in ("modules.txt", "vmallocinfo.txt", sites.FILE, "taint")]
        return Facts(text("sys/kernel/osrelease"), text("version"), text("cmdline"), [],
                     "not known (not recorded)", "not known (not recorded)", "",
                     ["Allocation sites: not in a recording. On the host: memtriage evidence, as root."], {}, {}, texts, lacking)
    release = text("sys/kernel/osrelease")
    said = sites.find(cache, _object_size(content, cache), release, private, texts, lacking)
    number = files.number(_text("sys/kernel/tainted").strip())
    modules = _modules(private, texts, lacking)
    _put(texts, lacking, "vmallocinfo.txt", "vmallocinfo", lambda data: _kernels(data, private).encode())
    return Facts(release, text("version"), text("cmdline"), _installed(release, private),
                 "not known" if number is None else tainted(number), modules, f", {os.cpu_count()} CPUs, {os.uname().machine}", said,
                 _work() if live else {}, {}, texts, lacking)


def _object_size(content: Content, cache: Cache | None) -> int:
    """Bytes, by slabinfo; 0 where it is not known."""
    try:
        caches = slabinfo.parse(content.sources["slabinfo"].data or b"").caches
    except (KeyError, files.ProcfsError):
        return 0
    return next((one.objsize for one in caches if cache is not None and one.name == cache.name), 0)


def _text(name: str, root: str = "/proc") -> bytes:
    try:
        return files.read(root, name)
    except files.ProcfsError:
        return b""


def _put(texts: dict[str, bytes], lacking: list[tuple[str, str]], name: str, source: str, clean) -> None:  # type: ignore[no-untyped-def]
    try:
        texts[name] = clean(files.read("/proc", source))
    except files.ProcfsError as error:
        lacking.append((name, f"{error.path}: {error.reason}"))


def _kernels(data: bytes, private: Private) -> str:
    """Names of modules and functions, without addresses."""
    return private.words(files.text(_ADDRESS.sub(b"0x0", data)), kernels=True)


def _modules(private: Private, texts: dict[str, bytes], lacking: list[tuple[str, str]]) -> str:
    try:
        data = _kernels(files.read("/proc", "modules"), private)
    except files.Missing:
        lacking.append(("modules.txt", "this kernel was built without modules"))
        return "none: this kernel was built without modules"
    except files.ProcfsError as error:
        lacking.append(("modules.txt", f"{error.path}: {error.reason}"))
        return f"not known ({error.reason})"
    rows = data.splitlines()
    texts["modules.txt"] = data.encode()
    foreign = [f"{row.split()[0]} ({found[1]})" for row in rows if (found := _TAINTING.search(row))]
    return f"{len(rows)} (modules.txt)" + (f"; tainting: {', '.join(foreign)}" if foreign else "; none of them taints")


def _installed(release: str, private: Private) -> list[str]:
    try:
        return sorted(private.words(name) for name in os.listdir("/lib/modules") if name != release)[:20]
    except OSError:
        return []


def _work() -> dict[str, int]:
    """Since boot: processes and threads started, context switches, packets of all interfaces."""
    found: dict[str, int] = {}
    for row in _text("stat").split(b"\n"):
        words = row.split()
        if len(words) == 2 and words[0] in (b"processes", b"ctxt") and words[1].isdigit():
            found["fork" if words[0] == b"processes" else "context"] = int(words[1])
    packets = 0
    for row in _text("net/dev").split(b"\n")[2:]:
        numbers = row.partition(b":")[2].split()
        if len(numbers) >= 16 and all(word.isdigit() for word in numbers):
            packets += int(numbers[1]) + int(numbers[9])
    if packets:
        found["packets"] = packets
    return found
