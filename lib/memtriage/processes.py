"""Counting processes by what they are called, run as, belong to: one pass over /proc, nothing forked, nothing kept of what does not match.

/proc/<pid>/stat is read for every process and parsed only where its name can match, which is what makes 5,000 processes cheap.
"""

from __future__ import annotations

import os
import re

from memtriage import survey
from memtriage.procfs import files, uptime
from memtriage.procfs.pid import cgroup as pid_cgroup
from memtriage.procfs.pid import cmdline, smaps_rollup, stat, status
from memtriage.record import TYPE_CHECKING, NamedTuple
from memtriage.wording import clean

if TYPE_CHECKING:
    from typing import Any

COMM = 15
"""Bytes the kernel keeps of a process' name (TASK_COMM_LEN less its end)."""
_SHELLS = frozenset(("sh", "dash", "bash", "ash", "ksh", "mksh", "zsh", "busybox", "fish"))


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression from the command line."""
    try:
        if text:
            return re.compile(text)
    except (re.error, OverflowError, RecursionError) as wrong:
        raise ValueError(f"'{text}' is no regular expression: {wrong}") from None
    raise ValueError("an empty filter would match everything")


def user(text: str) -> int:
    """The number of a user given by name or number."""
    if text.isascii() and text.isdigit() and len(text) < 11:
        return int(text)
    import pwd  # noqa: PLC0415 - loads the name service only where a name is asked for

    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise ValueError(f"no user '{text}' on this host") from None


def states(text: str) -> str:
    """State letters as /proc/<pid>/stat shows them."""
    if not text or set(text) - set("RSDZTtXxKWPI"):
        raise ValueError(f"'{text}' holds a letter that is no process state (R S D Z T t X K W P I)")
    return text


def process_id(text: str) -> int:
    """A process number."""
    value = files.number(text.encode("utf-8", "replace"))
    if value is None:
        raise ValueError(f"'{text}' is no process number")
    return value


class Filter(NamedTuple):
    """What a process must be to count; all that is given must hold."""

    command: str | None
    args: re.Pattern[str] | None
    user: int | None
    state: str | None
    ppid: int | None
    cgroup: str | None
    no_kthreads: bool
    exclude: re.Pattern[str] | None

    @classmethod
    def of(cls, options: dict[str, Any]) -> Filter:
        """From the check's options, which have the same names."""
        return cls(options["command"], options["args"], options["user"], options["state"], options["ppid"], options["cgroup"],
                   bool(options["no_kthreads"]), options["exclude"])

    @property
    def words(self) -> str:
        """What was asked for, for the first line."""
        said = []
        for word, value in (("command", self.command), ("args", self.args and self.args.pattern), ("cgroup", self.cgroup),
                            ("state", self.state)):
            if value:
                said.append(f"{word} '{clean(value, 32)}'")
        said += [f"uid {self.user}"] if self.user is not None else []
        said += [f"parent {self.ppid}"] if self.ppid is not None else []
        said += ["no kernel threads"] if self.no_kthreads else []
        said += [f"without '{clean(self.exclude.pattern, 32)}'"] if self.exclude else []
        return "with " + ", ".join(said) if said else ""


class Largest(NamedTuple):
    pid: int
    comm: str
    rss: int


class Count:
    """The sums over all matching processes. Bytes, seconds."""

    def __init__(self) -> None:
        self.procs = self.threads = self.rss = self.rss_max = self.zombies = self.uninterruptible = 0
        self.unreadable = 0
        self.hidden = False
        """Whether there may be processes that this user cannot see: then all sums are lower bounds."""
        self.ages: list[float] = []
        self.pss: int | None = 0
        self.pss_denied = 0
        self.pss_unsupported = False
        self.largest: Largest | None = None


def count(proc: str, wanted: Filter, pss: bool = False) -> Count:
    """Counts. Raises :class:`~memtriage.procfs.files.ProcfsError` where /proc itself cannot be read; who ends meanwhile is not counted."""
    total = Count()
    page, ticks = survey.page_size(proc), os.sysconf("SC_CLK_TCK")
    now = uptime.read(proc).up_s
    ours = _ours(proc)
    short = os.fsencode(wanted.command)[:COMM] if wanted.command else b""
    needle = b"(" + short + b")" if wanted.command else b""
    prefix = os.path.join(proc, "")
    open_, read, close, flags = os.open, os.read, os.close, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    names = files.listing(proc)
    total.hidden = "1" not in names  # every PID namespace has its 1: hidepid=2 has taken it away, and who knows what else
    for name in names:
        if not "0" <= name[0] <= "9":
            continue
        try:
            # The kernel gives all of this file at the first read; files.read() would cost twice the time.
            handle = open_(prefix + name + "/stat", flags)
            try:
                data = read(handle, 4096)
            finally:
                close(handle)
        except OSError as error:
            total.hidden |= isinstance(files.failure(name, error), files.Denied)  # hidepid=1
            continue
        if needle not in data:
            continue
        try:
            process = stat.parse(data)
            if process.pid in ours or process.ppid == ours.get("self") or not _matches(proc, process, wanted):
                continue
        except files.Missing:
            continue
        except files.Denied:
            total.hidden = True
            continue
        except files.ProcfsError:
            total.unreadable += 1
            continue
        _add(total, process, page, max(0.0, now - process.starttime_ticks / ticks))
        if pss:
            _add_pss(total, proc, process)
    if ours and wanted.user == os.geteuid():
        total.hidden = False  # hidepid hides nobody's own processes
    return total


def _add(total: Count, process: stat.PidStat, page: int, age: float) -> None:
    rss = max(0, process.rss_pages) * page
    total.procs += 1
    total.threads += process.num_threads
    total.rss += rss
    total.ages.append(age)
    total.zombies += process.state == "Z"
    total.uninterruptible += process.state == "D"
    if total.largest is None or rss > total.rss_max:
        total.rss_max, total.largest = rss, Largest(process.pid, process.comm, rss)


def _add_pss(total: Count, proc: str, process: stat.PidStat) -> None:
    if process.rss_pages <= 0:
        return  # zombies and kernel threads have no mappings
    try:
        value = smaps_rollup.read(proc, process.pid).get("Pss")
    except files.Missing:
        if os.path.exists(os.path.join(proc, str(process.pid), "statm")):  # it has not ended: the kernel is older than 4.14
            total.pss_unsupported = True
        return
    except files.ProcfsError:
        value = None
    if value is None or total.pss is None:
        total.pss = None
        total.pss_denied += 1
    else:
        total.pss += value


def _matches(proc: str, process: stat.PidStat, wanted: Filter) -> bool:
    if wanted.ppid is not None and process.ppid != wanted.ppid:
        return False
    if wanted.state and process.state not in wanted.state:
        return False
    if wanted.no_kthreads and process.kthread:
        return False
    if wanted.command and not _is_command(proc, process, wanted.command):
        return False
    if wanted.args or wanted.exclude:
        line = " ".join(cmdline.read(proc, process.pid))
        if wanted.args and not wanted.args.search(line):
            return False
        if wanted.exclude and (wanted.exclude.search(line) or wanted.exclude.search(process.comm)):
            return False
    if wanted.user is not None:
        ids = status.read(proc, process.pid).uids
        if ids is None or ids[1] != wanted.user:
            return False
    if wanted.cgroup is not None:
        inside = wanted.cgroup
        if not any(entry.within(inside) for entry in pid_cgroup.read(proc, process.pid)):
            return False
    return True


def _is_command(proc: str, process: stat.PidStat, command: str) -> bool:
    if len(os.fsencode(command)) <= COMM:
        return process.comm == command
    argv = cmdline.read(proc, process.pid)
    return bool(argv) and os.path.basename(argv[0].split(" ")[0] if len(argv) == 1 else argv[0]) == command


def _ours(proc: str) -> dict[Any, int]:
    """This process and the ancestors that only wrap it: a shell running a command, sudo, the nrpe child of this one request.

    By pid; ``self`` is this process. Empty on a captured tree. The daemons behind them (nrpe itself, a terminal's shell) count.
    """
    if os.path.abspath(proc) != "/proc":
        return {}
    try:
        own = int(os.readlink(os.path.join(proc, "self")))
    except (OSError, ValueError):
        own = os.getpid()
    found: dict[Any, int] = {"self": own, own: own}
    try:
        process = stat.read(proc, own)
        for _ in range(32):  # deeper than any chain of wrappers
            parent = stat.read(proc, process.ppid)
            if not _wraps(proc, parent):
                break
            found[parent.pid] = own
            process = parent
    except files.ProcfsError:
        pass  # an ancestor ended or is hidden: what lies above it wraps nothing any more
    return found


def _wraps(proc: str, process: stat.PidStat) -> bool:
    if process.comm == "nrpe":
        parent = stat.read(proc, process.ppid)
        return parent.comm == "nrpe" or "-i" in cmdline.read(proc, process.pid)
    words = cmdline.read(proc, process.pid)
    if process.comm in ("sudo", "su", "doas", "runuser", "timeout", "env", "nice", "ionice", "prlimit", "setpriv"):
        return True
    return any("check_proc_count" in word for word in words[1:]) or (
        process.comm in _SHELLS and any(not word.startswith("-") or "c" in word for word in words[1:]))
