"""Recordings of a host with a known story, for what reads the past: memory that runs out, a kill, a reboot, a time without samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memtriage.recording import FIRST, Content, Process, Ring, Source, glance, layout, payload

START = 1_700_000_000
"""2023-11-14 22:13:20 UTC, when the first sample is taken."""
BOOTS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(10)]
ZONES = "Node 0, zone   Normal\n  pages free     200000\n        min      10000\n        low      12500\n        high     15000\n"


def source(data: bytes | str) -> Source:
    return Source(data.encode() if isinstance(data, str) else data, 0, 10, 20)


def meminfo(total: int, available: int, slab: int) -> str:
    """kB. What is not slab, free or a little page cache is anonymous."""
    free = max(1000, available - 100_000)
    rows = {"MemTotal": total, "MemFree": free, "MemAvailable": available, "Buffers": 0, "Cached": 120_000, "SwapCached": 0,
            "Active": 0, "Inactive": 0, "SwapTotal": 0, "SwapFree": 0, "AnonPages": total - free - 120_000 - slab - 20_000, "Mapped": 0,
            "Shmem": 0, "Slab": slab, "SReclaimable": 10_000, "SUnreclaim": slab - 10_000, "KernelStack": 5_000, "PageTables": 15_000,
            "CommitLimit": total // 2, "Committed_AS": total // 4, "Percpu": 0, "HugePages_Total": 0, "HugePages_Free": 0,
            "Hugepagesize": 2048}
    return "".join(f"{name}: {value:14d}" + ("\n" if name.startswith("HugePages_") else " kB\n") for name, value in rows.items())


def slabinfo(caches: dict[str, int]) -> str:
    """Objects of 4 KiB by cache."""
    head = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n"
    return head + "".join(f"{name:<17} {count:6d} {count:6d}   4096    8    8 : tunables    0    0    0 : slabdata "
                          f"{count // 8:6d} {count // 8:6d}"
                          "      0\n" for name, count in caches.items())


def process(pid: int, comm: str, pages: int, cmdline: str = "", cgroup: str = "0::/system.slice/x.service\n") -> Process:
    fields = f"{pid} ({comm}) S 1 {pid} {pid} 0 -1 4194304 9 0 0 0 3 9 0 0 20 0 1 0 500 90000000 {pages} 18446744073709551615 "
    return Process((fields + "0 " * 26 + "0\n").encode(), f"{pages + 100} {pages} 10 9 0 {pages} 0\n".encode(),
                   cmdline.replace(" ", "\0").encode() + b"\0", cgroup.encode())


class Host:
    """Writes a recording, minute by minute or as told."""

    def __init__(self, path: Path, interval: float = 60.0, size: int = 4 << 20) -> None:
        self.ring = Ring.open(str(path), size)
        self.interval = interval
        self.now, self.up, self.boot, self.flags = float(START), 7200.0, 0, FIRST
        self.oom_kills = 0
        self.more: dict[str, Source] = {}
        self.processes: dict[int, Process] = {1: process(1, "systemd", 2000)}
        self.total, self.available, self.caches = 4_000_000, 2_000_000, {"nfs_inode_cache": 8000, "dentry": 4000}
        self.seq = self.ring.seq
        self._last: tuple[int, Content] | None = None

    def sample(self, kmsg: str = "", **values: Any) -> Host:
        """Takes one, and lets the interval pass. Underscores in names are slashes where there is such a file."""
        for name, value in values.items():
            setattr(self, name, value)
        slab = sum(self.caches.values()) * 4
        rest = self.total - self.available - slab
        self.processes[20] = process(20, "httpd", max(1, rest * 9 // 40), "/usr/sbin/httpd -k start")
        texts = {
            "meminfo": meminfo(self.total, self.available, slab), "slabinfo": slabinfo(self.caches), "uptime": f"{self.up:.2f} 1.00\n",
            "vmstat": f"nr_free_pages {max(1000, self.available - 100_000) // 4}\npgmajfault 7\noom_kill {self.oom_kills}\n",
            "zoneinfo": ZONES, "stat": f"btime {int(self.now - self.up)}\n", "swaps": "Filename Type Size Used Priority\n",
            "pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n",
            "sys/kernel/random/boot_id": BOOTS[self.boot] + "\n", "sys/kernel/osrelease": f"6.1.{self.boot}-test\n",
            "version": f"Linux version 6.1.{self.boot}-test (root@build.example) #1 SMP\n", "cmdline": "root=/dev/sda1 quiet\n",
            "sample": f"monotonic_us {int(self.up * 1e6)}\nlate_us 0\nshort -\nlost 0\n", "meta": "page_size 4096\nclock_ticks 100\n",
            "kmsg": kmsg, "sys/vm/swappiness": "60\n"}
        content = Content({**{name: source(text) for name, text in texts.items()}, **self.more}, dict(sorted(self.processes.items())),
                          source(""))
        self.write(content)
        return self.wait(self.interval)

    def write(self, content: Content) -> None:
        base = None if self._last is None or self.seq % 8 == 0 else self._last
        raw = payload.encode(content, base[1] if base else None)
        stored = glance.stored(content, raw)
        self.ring.write(layout.describe(stored, len(raw), self.seq, int(self.now * 1e9), int(self.up * 1e9), int(self.interval * 1000),
                                        self.flags, self.seq - base[0] if base else 0), stored)
        self._last, self.flags = (self.seq, content), 0
        self.seq += 1

    def wait(self, seconds: float) -> Host:
        self.now += seconds
        self.up += seconds
        return self

    def reboot(self, off: float = 600.0) -> Host:
        """Off for so long, then a new boot whose recorder starts 100 s after its kernel."""
        self.now += off
        self.up, self.boot, self.oom_kills, self.flags = 100.0, self.boot + 1, 0, FIRST
        return self

    def killed(self, comm: str, pid: int, ago: float = 20.0, group: str = "") -> str:
        """Counts a kill, and returns the log's lines of it, of so long ago; :meth:`sample` takes them."""
        self.oom_kills += 1
        micro = int((self.up - ago) * 1e6)
        scope = f"constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={group}" if group else (
            "constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom")
        said = "Memory cgroup out of memory" if group else "Out of memory"
        return (f"4,{self.oom_kills * 3},{micro},-;{comm} invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE), order=0, "
                "oom_score_adj=0\n"
                f"6,{self.oom_kills * 3 + 1},{micro},-;oom-kill:{scope},task_memcg={group or '/system.slice'},"
                f"task={comm},pid={pid},uid=33\n"
                f"3,{self.oom_kills * 3 + 2},{micro},-;{said}: Killed process {pid} ({comm}) total-vm:900kB, anon-rss:800kB, file-rss:4kB, "
                "shmem-rss:0kB, UID:33 pgtables:68kB oom_score_adj:0\n")

    def close(self) -> None:
        self.ring.close()
