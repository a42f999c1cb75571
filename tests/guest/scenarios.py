"""What happens in the guest, one scenario after the other, and what is true about each. Runs in the guest and is read outside of it.

    scenarios.py prepare NAME           before anything is watched
    scenarios.py load NAME SECONDS ROOM takes ROOM bytes in so many seconds, and goes on at that rate: or does what is none of it
    scenarios.py httpd COUNT            innocent processes, whom an OOM killer may take
    scenarios.py backup FILE            reads a file round and round, as on any host: what memory is free is page cache

All leaks but the NFS one are those of memtriage simulate, without its safety: it stops before memory ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

SCRATCH = "/scratch/"
FILES = 60_000
FOLDER = 200
"""Files in each: few enough for one READDIR, which brings their attributes with it."""
MIB = 1 << 20


class Scenario(NamedTuple):
    title: str
    culprit: str = ""
    """What the text of an alarm must match; empty where there must be no alarm."""
    seconds: float = 90.0
    """From the first byte to the last, about."""
    memory: int = 384
    """MiB of the guest."""
    limit: int = 0
    """MiB that a cgroup with NRPE and the leak in it may have."""
    kill: bool = True
    """Whether it ends with the OOM killer."""
    both: tuple[str, ...] = ()
    """What must all be named somewhere in the text."""


LEAKER = r"process group 'leaky-app'"
SCENARIOS = {
    "process": Scenario("a process that never frees", LEAKER, 110),
    "nfs": Scenario("`nfs_inode_cache` pinned over a loopback NFS mount: the story", "slab cache 'nfs_inode_cache'", 140, 256),
    "nfs-filled": Scenario("the same cache merely filled, then reclaimed under pressure", "", 100, 256, kill=False),
    "find-copy": Scenario("`find` over 20,000 files and a big copy, twice", "", 80, kill=False),
    "daily": Scenario("load up and down, four days of half a minute", "", 120, kill=False),
    "workers": Scenario("one worker after the other", LEAKER, 110),
    "slab": Scenario("unreclaimable slab: POSIX locks", "slab cache 'file_lock_cache'"),
    "tmpfs": Scenario("a file in tmpfs", "shared memory/tmpfs", 110),
    "page-tables": Scenario("page tables", "page tables"),
    "cgroup": Scenario("a process in a cgroup with a limit, the checks in it too", LEAKER, 110, limit=160),
    "two": Scenario("a process and a slab cache at once", f"{LEAKER}|slab cache 'file_lock_cache'", 110,
                    both=(LEAKER, "slab cache 'file_lock_cache'")),
    "negative": Scenario("names looked up that do not exist", "", 80, kill=False),
    "dying-cgroups": Scenario("cgroups removed while something holds them", "[Dd]ying cgroups"),
    "unexplained": Scenario("full pipes: pages that no counter has", "memory no counter explains"),
}
COSTS = {"heap": 4096.0, "workers": 4800.0, "shmem": 4096.0, "slab-lock": 229.0, "page-tables": 4096.0, "cgroups": 25000.0,
         "negative": 290.0}
"""Bytes of memory that a unit of a kind takes in all, on Linux 6.1: only the pace depends on them."""


def paced(grow: Callable[[int], None], cost: float, seconds: float, room: float) -> None:
    """Grows by ``room`` bytes in ``seconds`` at a steady rate, and further until something ends it."""
    start, made = time.monotonic(), 0
    while time.monotonic() - start < 3 * seconds:
        due = int((time.monotonic() - start) / seconds * room / cost)
        while made < due:
            step = min(due - made, max(1, int(256 * 1024 / cost)))
            grow(step)
            made += step
        time.sleep(0.1)


def kind(name: str, room: float) -> Callable[[int], None]:
    """One of memtriage simulate's, in this process."""
    from memtriage.simulate import groups, kinds  # noqa: PLC0415 - outside the guest nobody needs it
    from memtriage.simulate.place import Place  # noqa: PLC0415

    folder = SCRATCH + "place"
    os.makedirs(folder, exist_ok=True)
    units = int(room * 1.35 / COSTS[name]) + 1000  # more than all of memory would be refused
    group = groups.new_folder("/sys", "abandoned") if kinds.KINDS[name].groups else ""
    return kinds.KINDS[name].make(Place(units, folder, group)).grow


def simulated(*names: str) -> Callable[[float, float], None]:
    """As many kinds at once, each with its share, at one pace."""

    def load(seconds: float, room: float) -> None:
        for name in names[1:]:
            if os.fork() == 0:
                title(f"leaky-{name}")
                paced(kind(name, room), COSTS[name] * len(names), seconds, room)
                os._exit(0)
        paced(kind(names[0], room), COSTS[names[0]] * len(names), seconds, room)

    return load


def pipes(seconds: float, room: float) -> None:
    """A MiB in each: the pages are the pipe's alone."""
    held: list[tuple[int, int]] = []
    block = b"x" * 65536

    def grow(count: int) -> None:
        for _ in range(count):
            reader, writer = os.pipe()
            fcntl.fcntl(writer, 1031, MIB)  # F_SETPIPE_SZ
            for _ in range(16):
                os.write(writer, block)
            held.append((reader, writer))

    paced(grow, 1.02 * MIB, seconds, room)


def hold(size: int, seconds: float, rise: float = 10.0) -> None:
    """A job: takes memory within ``rise`` seconds, keeps it, and ends."""
    if os.fork() == 0:
        title("job")
        space = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = time.monotonic()
        for offset in range(0, size, 4096):
            space[offset] = 1
            if not offset % MIB:
                time.sleep(max(0.0, start + rise * offset / size - time.monotonic()))
        time.sleep(seconds)
        os._exit(0)


def abandoned(seconds: float, room: float) -> None:
    """cgroups, until none gets memory any more: a host then stands at the brink, and falls when somebody asks for a bit more."""
    if os.fork() == 0:
        time.sleep(1.6 * seconds)
        title("job")
        os.nice(-20)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE  # by the kernel: a program that thrashes gets 2 MiB in a minute
        held = [mmap.mmap(-1, 4 * MIB, flags=flags) for _ in range(24)]
        time.sleep(60)
        os._exit(len(held))
    simulated("cgroups")(seconds, room)


def nfs(seconds: float, room: float) -> None:
    """A mark on each file: looks it up over NFS and holds its inode, as a leaked reference would."""
    from memtriage.simulate import libc  # noqa: PLC0415

    handle = libc.call("inotify_init1", 0)
    names = iter(range(FILES))

    def grow(count: int) -> None:
        for _ in range(count):
            number = next(names, None)
            if number is None:
                time.sleep(3600)
            folder = f"{SCRATCH}nfs/{number // FOLDER}"
            if not number % FOLDER:
                os.listdir(folder)
            libc.call("inotify_add_watch", handle, f"{folder}/{number}".encode(), 4)

    paced(grow, 1900, seconds, room)


def walk(path: str, seconds: float) -> None:
    """find, with a stat of each file, no faster than in ``seconds`` for all."""
    start, seen = time.monotonic(), 0
    for folder, _, names in os.walk(path):
        for name in names:
            os.lstat(os.path.join(folder, name))
            seen += 1
            if not seen % 200:
                time.sleep(max(0.0, start + seconds * seen / FILES - time.monotonic()))


def nfs_filled(seconds: float, room: float) -> None:
    walk(SCRATCH + "nfs", seconds * 0.6)
    hold(int(room * 0.45), seconds * 0.3)  # more than is free, less than makes the host short
    time.sleep(seconds * 0.4)


def find_copy(seconds: float, room: float) -> None:
    for _ in range(2):
        start = time.monotonic()
        walk(SCRATCH + "tree", seconds / 6)
        subprocess.run(["cp", SCRATCH + "large", SCRATCH + "copy"], check=False, timeout=300)
        walk(SCRATCH + "tree", 0)
        time.sleep(max(0.0, start + seconds / 2 - time.monotonic()))


def daily(seconds: float, room: float) -> None:
    """Four days: in the morning ten workers come one by one, in the evening they go."""
    day = seconds / 4
    for _ in range(4):
        for hour in range(10):
            hold(int(room * 0.05), day * (0.85 - 0.04 * hour) - 1, 1)
            time.sleep(day * 0.04)
        time.sleep(day * 0.6)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


def negative(seconds: float, room: float) -> None:
    grow, start, made = kind("negative", room), time.monotonic(), 0
    while time.monotonic() - start < seconds:
        due = int((time.monotonic() - start) / seconds * 1.5 * room / COSTS["negative"])
        grow(due - made)
        made = due
        time.sleep(0.1)


LOADS: dict[str, Callable[[float, float], None]] = {
    "process": simulated("heap"), "workers": simulated("workers"), "tmpfs": simulated("shmem"), "slab": simulated("slab-lock"),
    "page-tables": simulated("page-tables"), "cgroup": simulated("heap"), "two": simulated("heap", "slab-lock"),
    "dying-cgroups": abandoned, "unexplained": pipes, "nfs": nfs, "nfs-filled": nfs_filled, "find-copy": find_copy,
    "daily": daily, "negative": negative}


def title(name: str) -> None:
    from memtriage.simulate import libc  # noqa: PLC0415

    libc.name_process(name)


def tree(path: str, count: int) -> None:
    for number in range(count):
        if not number % FOLDER:
            os.makedirs(f"{path}/{number // FOLDER}")
        os.mknod(f"{path}/{number // FOLDER}/{number}")


def serve_nfs() -> None:
    """The server and a mount of it, on loopback; no rpcbind, version 4.2 alone."""
    tree(SCRATCH + "export", FILES)
    os.makedirs(SCRATCH + "nfs")
    for words in ("mount -t tmpfs nfs /var/lib/nfs", "modprobe nfsd", "mount -t nfsd nfsd /proc/fs/nfsd"):
        subprocess.run(words.split(), check=True, timeout=60)
    for name in ("v4recovery", "rpc_pipefs", "sm", "sm.bak"):
        os.makedirs("/var/lib/nfs/" + name)
    for name in ("etab", "rmtab"):
        with open("/var/lib/nfs/" + name, "wb"):
            pass
    for name in ("nfsv4gracetime", "nfsv4leasetime"):
        with open("/proc/fs/nfsd/" + name, "w", encoding="ascii") as handle:
            handle.write("10")
    for words in (f"exportfs -i -o rw,no_root_squash,no_subtree_check,insecure,fsid=0 127.0.0.1:{SCRATCH}export",
                  "rpc.nfsd -N 3 -V 4 2", "rpc.mountd -N 3 -V 4",
                  f"mount -t nfs4 -o actimeo=3600,nosharecache 127.0.0.1:/ {SCRATCH}nfs"):
        subprocess.run(words.split(), check=True, timeout=120)
    with open("/proc/sys/fs/inotify/max_user_watches", "w", encoding="ascii") as handle:
        handle.write("1000000")


def prepare(name: str) -> None:
    if name.startswith("nfs"):
        serve_nfs()
    elif name == "find-copy":
        tree(SCRATCH + "tree", 20_000)


def httpd(count: int) -> None:
    """Each with 6 MiB of its own."""
    title("httpd")
    for _ in range(count):
        if os.fork() == 0:
            break
    space = mmap.mmap(-1, 6 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, len(space), 4096):
        space[offset] = 1
    time.sleep(100_000)


def backup(path: str) -> None:
    title("backup")
    part = bytearray(MIB // 4)
    while True:
        with open(path, "rb") as handle:
            while handle.readinto(part):
                time.sleep(0.2)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "prepare":
        prepare(words[0])
    elif what == "load":
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_000_000, 1_000_000))
        os.nice(10)  # one emulated CPU: what it takes must not keep the checks from running
        title("leaky-app" if SCENARIOS[words[0]].kill else "load")
        LOADS[words[0]](float(words[1]), float(words[2]))
    elif what == "httpd":
        httpd(int(words[0]))
    else:
        backup(words[0])
