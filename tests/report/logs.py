"""Plain logs as admins have them, made to order: each part may be left out, translated or forged."""

from __future__ import annotations

import datetime

START = 1778547845
NEW = """               total        used        free      shared  buff/cache   available
Mem:     {total:12d}{used:12d}{free:12d}{shared:12d}{cache:12d}{available:12d}
Swap:    {swap_total:12d}{swap_used:12d}{swap_free:12d}
"""
WIDE = """               total        used        free      shared     buffers       cache   available
Mem:     {total:12d}{used:12d}{free:12d}{shared:12d}{buffers:12d}{cached:12d}{available:12d}
Swap:    {swap_total:12d}{swap_used:12d}{swap_free:12d}
"""
OLD = """             total       used       free     shared    buffers     cached
Mem:    {total:11d}{used:11d}{free:11d}{none:11d}{buffers:11d}{cached:11d}
-/+ buffers/cache:{less:11d}{more:11d}
Swap:   {swap_total:11d}{swap_used:11d}{swap_free:11d}
"""
GERMAN = NEW.replace("total        used        free      shared  buff/cache   available",
                     "gesamt       benutzt     frei      gemns.  Puffer/Cache verfügbar").replace("Mem:     ", "Speicher:")
CHINESE = NEW.replace("Mem:", "内存\uff1a").replace("Swap:", "交换\uff1a")
PS = "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
SLAB = """slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata
"""


def date(number: float) -> str:
    return f"{datetime.datetime.fromtimestamp(number, datetime.timezone.utc):%a %b %d %H:%M:%S UTC %Y}"


def free(leaked: int = 0, form: str = NEW, total: int = 8_000_000, available: int | None = None) -> str:
    """kB; ``leaked`` is gone from what is free."""
    rest = 4_000_000 - leaked
    cache, shared = 2_000_000, 100_000
    return form.format(total=total, used=total - rest - cache, free=rest, shared=shared, cache=cache,
                       available=available or rest + 1_500_000, buffers=200_000, cached=1_800_000, none=0,
                       less=total - rest - cache, more=rest + cache, swap_total=1_000_000, swap_used=250_000, swap_free=750_000)


def ps(*processes: tuple[int, int, str]) -> str:
    """Processes as number, RSS in kB, command line."""
    rows = [f"root     {pid:11d}  0.0 {rss * 100 / 8_000_000:4.1f} {rss * 3} {rss} ?        Ss   May11   0:01 {words}\n"
            for pid, rss, words in processes]
    return PS + "".join(rows) + "root           9  0.0  0.0      0     0 ?        I<   May11   0:00 [kworker/0:0H]\n"


def paged(page: int, **caches: int) -> str:
    """Caches by name in kB on a host with pages of so many bytes: objects as many as fit into a slab of one."""
    rows = ""
    for at, (name, kib) in enumerate(caches.items()):
        size, slabs = (192, 104, 576, 1088, 64, 256)[at % 6], kib * 1024 // page
        each = page // size
        rows += f"{name:<17} {slabs * each} {slabs * each} {size} {each} 1 : tunables 0 0 0 : slabdata {slabs} {slabs} 0\n"
    return SLAB + rows


def slab(**caches: int) -> str:
    """Caches by name in kB."""
    return SLAB + "".join(f"{name:<17} {kib} {kib} 1024 4 1 : tunables 0 0 0 : slabdata {kib // 4} {kib // 4} 0\n"
                          for name, kib in caches.items())


USUAL = ((1, 12_000, "/sbin/init splash"), (100, 600_000, "/usr/sbin/httpd -k start"), (101, 400_000, "/usr/sbin/httpd -k start"),
         (200, 300_000, "mysqld: worker | drop"), (201, 8_000, "-bash"), (202, 8_000, "/opt/a b/c d"))


def sample(at: float, leaked: int = 0, form: str = NEW) -> str:
    return date(at) + "\n" + free(leaked, form) + ps(*USUAL) + slab(kmalloc_leak=50_000 + leaked, dentry=60_000) + "----\n"
