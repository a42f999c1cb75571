"""What a bundle must not tell: host and user names, addresses, command lines, paths. Each is replaced by the same word wherever it stands.

The samples themselves are cleaned, before anything is made of them: what is reckoned, cut short or drawn afterwards has no private word.
Names of programs (comm), kernel modules and slab caches stay, since they are what is blamed, but for private words in them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Callable

from memtriage.procfs import files
from memtriage.recording.payload import Content, Process, Source

CLASSES = ("hostnames", "users", "addresses", "commands", "paths")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s'\"<>]+", re.IGNORECASE)
_MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}(?![\w:-])")
_IP6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:)[0-9A-Fa-f:.]{2,45}(?:%\w+)?(?![\w:])")
_IP4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w.]*\w)")
_UUID = re.compile(r"(?<![\w-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\w-])")
_PATH = re.compile(r"(?<![\w.+)\]<-])/(?:[^\s'\"|<>(),;:=\\]|\\x[0-9a-f]{2})+")
_HOME = re.compile(rb"/home/([A-Za-z0-9_][A-Za-z0-9_.-]{0,31})")
_MEMCG = re.compile(rb"\(([0-9]+):([^)\s]*)\)")
_BUILDER = re.compile(r"\([^()\s]+@[^()\s]+\)")
_HARMLESS = frozenset(("0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1"))
_FLAGS = frozenset((
    "quiet", "splash", "ro", "rw", "debug", "single", "nomodule", "noresume", "nosmp", "noapic", "nolapic", "nosmt", "nohz", "nopti",
    "nokaslr", "noswap", "nomodeset", "nofb", "slab_nomerge", "slub_nomerge", "slub_debug", "slab_debug", "noswapaccount", "nowatchdog"))
_PLAIN = re.compile(r"(?:-?[0-9]{1,20}[kKmMgG%]?|0x[0-9a-f]{1,16}|on|off|auto|yes|no|y|n|force|always|never|madvise|performance|"
                    r"strict|none|full|"
                    r"default|noforce|[a-z]|soft|hard|ignore|lazy|voluntary|disable|enable|disabled|enabled|acpi|hpet|tsc|kvm-clock|"
                    r"(?:tty|ttyS|ttyAMA|hvc)[0-9]{1,2}(?:,[0-9n]{1,10})?|memory|auto,[a-z_,]{1,40}|[FZPUTAO]{1,7}(?:,[A-Za-z0-9_-]{1,40}\*?)*)")
_KEY = re.compile(r"[a-z][a-zA-Z0-9_.-]{0,40}")
_KNOWN_GROUPS = frozenset(("system.slice", "user.slice", "machine.slice", "init.scope", "kubepods", "kubepods.slice", "docker", "lxc",
                           "libpod_parent", "app.slice", "session.slice", "background.slice"))
COUNTERS = frozenset((
    "meminfo", "vmstat", "zoneinfo", "pressure/memory", "pressure/io", "pressure/cpu", "loadavg", "net/sockstat", "uptime", "stat",
    "sys/fs/dentry-state", "sys/fs/inode-nr", "sys/fs/file-nr", "buddyinfo", "pagetypeinfo", "spl/kstat/zfs/arcstats"))
"""Files of numbers whose words are the kernel's own."""


class Private:
    """Replaces, and remembers by what. ``include`` names the classes that stay as they are."""

    def __init__(self, include: Iterable[str], hosts: Iterable[str] = (), users: Iterable[str] = (), hidden: Iterable[str] = ()) -> None:
        """``hosts`` and ``users`` are names to look for; ``hidden`` further words, always replaced."""
        self.open = frozenset(include)
        self.known: dict[str, dict[str, str]] = {}
        self._words: dict[str, str] = {}
        self._finder: re.Pattern[str] | None = None
        self._hidden: re.Pattern[str] | None = None
        for kind, words in (("hostnames", hosts), ("users", users), ("hidden", hidden)):
            for word in words:
                self.learn(kind, word)

    def learn(self, kind: str, word: str) -> None:
        """From now on ``word`` is a name of this kind."""
        if len(word) < 2 or kind in self.open or word.lower() in self._words or word in ("localhost", "root", "(none)"):
            return
        self._words[word.lower()] = kind
        self._finder = _any(self._words)
        self._hidden = _any([name for name, kind in self._words.items() if kind == "hidden"])

    def learn_homes(self, data: bytes) -> None:
        """Users whose home folder is named in it."""
        for found in _HOME.findall(data):
            self.learn("users", found.decode())

    def _token(self, kind: str, text: str, form: Callable[[int], str]) -> str:
        known = self.known.setdefault(kind, {})
        if text not in known:
            known[text] = form(len(known) + 1)
        return known[text]

    def words(self, text: str, kernels: bool = False) -> str:
        """Without names of hosts and users. In ``kernels`` own words they are not looked for: a host may be called ``node``."""
        finder = self._hidden if kernels else self._finder
        if finder is None:
            return text
        singular = {"hostnames": "host", "users": "user", "hidden": "word"}

        def replaced(found: re.Match[str]) -> str:
            name = found[0].lower()
            return self._token(self._words[name], name, lambda number: f"{singular[self._words[name]]}{number}")

        return finder.sub(replaced, text)

    def text(self, text: str, kernels: bool = False) -> str:
        """Free text without anything private; ``kernels`` as of :meth:`words`."""
        if "addresses" not in self.open:
            text = _URL.sub(lambda found: self._token("addresses", found[0], lambda number: f"url{number}"), text)
            text = _MAIL.sub(lambda found: self._token("addresses", found[0], lambda number: f"mail{number}"), text)
            text = _MAC.sub(lambda found: self._token(
                "mac", found[0].lower(), lambda number: f"02:00:00:00:{number >> 8 & 255:02x}:{number & 255:02x}"), text)
            text = _IP6.sub(self._address, text)
            text = _IP4.sub(self._address, text)
        if "paths" not in self.open:
            text = _UUID.sub(lambda found: self._token("uuid", found[0].lower(), lambda number: f"uuid{number}"), text)
            text = _PATH.sub(lambda found: self.path(found[0]), text)
        return self.words(text, kernels)

    def _address(self, found: re.Match[str]) -> str:
        bare = found[0].partition("%")[0]
        tail = bare[len(bare.rstrip(".")):]
        try:
            address = ipaddress.ip_address(bare.rstrip("."))
        except ValueError:
            return found[0]
        if str(address) in _HARMLESS:
            return found[0]
        if address.version == 6:
            return self._token("ipv6", str(address), lambda number: f"2001:db8::{number:x}") + tail
        nets = ("192.0.2", "198.51.100", "203.0.113")
        return self._token("ipv4", str(address), lambda number: f"{nets[number // 254]}.{number % 254 + 1}"
                                                             if number < 762 else f"ip{number}"
                           ) + tail

    def path(self, path: str) -> str:
        """``/path1`` for all of it."""
        if "paths" in self.open or not path.strip("/"):
            return self.words(path)
        return self._token("paths", path, lambda number: f"/path{number}")

    def cgroup(self, path: str) -> str:
        """Part by part, so that it still tells what lies in what."""
        if "paths" in self.open:
            return self.words(path)
        return "/".join(part if not part or part in _KNOWN_GROUPS else self._token("cgroups", part, lambda number: f"cg{number}")
                        for part in path.split("/"))

    def comm(self, name: str) -> str:
        """A program's name."""
        return self.text(name)

    def command(self, line: str) -> str:
        """A process's command line."""
        return self.text(line) if "commands" in self.open else self._token("commands", line, lambda number: f"cmd{number}")

    def kernel_line(self, line: str) -> str:
        """The kernel's command line: what sets the kernel stays, where it is a known flag, a number or a usual word."""
        if "commands" in self.open:
            return self.text(line)
        before, end, after = f" {line.strip()} ".partition(" -- ")
        said = [self._parameter(word) for word in before.split()]
        return " ".join(said + (["-- (words for init)"] if end and after.split() else []))

    def _parameter(self, word: str) -> str:
        key, equals, value = word.partition("=")
        if not equals:
            return word if word in _FLAGS else self._token("commands", word, lambda number: f"cmd{number}")
        key = self.words(key) if _KEY.fullmatch(key) else "parameter"
        return f"{key}={value if _PLAIN.fullmatch(value) else self._token('commands', value, lambda number: f'cmd{number}')}"

    def version(self, line: str) -> str:
        """/proc/version without who built it."""
        return self.text(_BUILDER.sub("(builder)", line))

    def cache(self, data: bytes) -> bytes:
        """slabinfo or its aliases: kernels up to 5.8 have caches named after control groups, ``dentry(1234:session-5.scope)``."""
        return _MEMCG.sub(lambda found: b"(%s:%s)" % (found[1], self.cgroup(files.text(found[2])).encode()), data)

    def content(self, content: Content) -> Content:
        """A sample without anything private, and without the kernel's log and what is not known here."""
        for process in content.processes.values():
            self.learn_homes(process.cmdline)
        sources = {}
        for name, source in content.sources.items():
            key = name
            if name.startswith("/sys/fs/cgroup/"):
                key = self._group_file(name)
            clean = self._source(name, source)
            if clean is not None:
                sources[key] = clean
        return Content(sources, {pid: self._process(process) for pid, process in content.processes.items()}, content.listing)

    def _group_file(self, name: str) -> str:
        folder, _, file = name[len("/sys/fs/cgroup/"):].rpartition("/")
        first, slash, rest = folder.partition("/")
        if first in ("memory", "unified"):
            return f"/sys/fs/cgroup/{first}{slash}{self.cgroup(rest)}/{file}"
        return f"/sys/fs/cgroup/{self.cgroup(folder)}/{file}"

    def _source(self, name: str, source: Source) -> Source | None:
        if source.data is None or name in COUNTERS or name.startswith(("sys/vm/", "/sys/fs/cgroup/", "/sys/block/zram")):
            return source
        data = source.data
        if name in ("slabinfo", "/sys/kernel/slab"):
            return source._replace(data=self.cache(data))
        if name == "sys/kernel/random/boot_id":
            boot = self._token("boots", files.text(data), lambda number: f"00000000-0000-4000-8000-{number:012d}\n")
            return source._replace(data=boot.encode())
        text = files.text(data)
        if name == "cmdline":
            return source._replace(data=(self.kernel_line(text) + "\n").encode())
        if name == "self/cgroup":
            return source._replace(data=self._groups(data))
        if name == "version":
            return source._replace(data=self.version(text).encode())
        if name in ("meta", "sample"):
            kept = [line for line in text.split("\n") if line.partition(" ")[0]
                    in ("page_size", "clock_ticks", "interval_ms", "monotonic_us")]
            return source._replace(data="".join(line + "\n" for line in kept).encode())
        if name in ("swaps", "sys/kernel/osrelease"):
            return source._replace(data=(self.text(text) if name == "swaps" else self.words(text)).encode())
        return None

    def _groups(self, data: bytes) -> bytes:
        rows = []
        for row in files.text(data).split("\n"):
            front, colon, path = row.rpartition(":") if row.count(":") == 2 else (row[: _third(row)], ":", row[_third(row) + 1 :])
            rows.append(f"{self.words(front)}{colon}{self.cgroup(path)}" if row else "")
        return "\n".join(rows).encode()

    def _process(self, process: Process) -> Process:
        start, end = process.stat.find(b"("), process.stat.rfind(b")")
        name = self.comm(files.text(process.stat[start + 1 : end])).encode()[:60]
        stat = process.stat[: start + 1] + name + process.stat[end:] if 0 <= start < end else b""
        line = files.text(process.cmdline.strip(b"\0").replace(b"\0", b" "))
        return Process(stat, process.statm if process.statm.replace(b" ", b"").strip().isdigit() else b"",
                       self.command(line).encode() + b"\0" if line else b"", self._groups(process.cgroup) if process.cgroup else b"")

    def key(self, key: str) -> str:
        """The same of a key of the checks' memory: ``g.PROGRAM``, ``c.CACHE``."""
        if key[:2] in ("g.", "n."):
            return key[:2] + self.comm(key[2:])
        return files.text(self.cache(key.encode("utf-8", "replace")))

    def summary(self) -> list[str]:
        """How many of each were replaced."""
        words = {"hostnames": "host names", "users": "user names", "hidden": "words given with --hide",
                 "addresses": "URLs and mail addresses",
                 "mac": "MAC addresses", "ipv6": "IPv6 addresses", "ipv4": "IPv4 addresses", "uuid": "UUIDs", "paths": "paths",
                 "cgroups": "parts of control groups' paths", "commands": "command lines and kernel parameters"}
        return [f"{word} ({len(self.known[kind])})" for kind, word in words.items() if self.known.get(kind)]


def _any(names: Iterable[str]) -> re.Pattern[str] | None:
    """Finds any of them, longer first: host.example.org before host. A short one only as a whole word."""
    parts = [re.escape(name) if len(name) > 3 else rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
             for name in sorted(names, key=lambda name: (-len(name), name))]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _third(row: str) -> int:
    """Where the second colon is: a control group's path may hold more."""
    return row.find(":", row.find(":") + 1)
