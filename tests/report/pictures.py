"""Pictures made by hand, each with something a drawing can get wrong."""

from __future__ import annotations

from collections.abc import Callable

from memtriage.report.picture import Band, Cone, Mark, Moment, Picture, Row

MIB = 1024.0**2
GIB = 1024.0**3
START = 1709596800.0  # 2024-03-05 00:00:00 UTC
TOTAL = 8 * GIB
CACHE = "slab cache 'nfs_inode_cache'"
HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\">",
    "</title></style><script>document.title='owned'</script>",
    "\" onmouseover=\"document.title='owned'\" x='",
    "two\nlines\r\nand\u2028three \u202eback\u202c \x1b[31mred \x00 \udc80",
    "<!-- <script> ]]> &lt; &#60; ${title} $$ {{x}} %s \\u003c \\",
    "'; document.title='owned'; //",
    "very" + " long" * 2000,
    "unbroken" * 500,
    "</script <img src=x onerror=\"document.title='owned'\" ",
    "<!--<script </script/x=",
)
KINDS = ["oom", "boot", "alarm", "<b>", *["oom"] * 6]


def _ledger(rows: list[Row]) -> list[Row]:
    """Largest first; in the first, which is the slab where it leaks, two that are within."""
    rows = sorted(rows, key=lambda row: -row.size)
    return [rows[0], Row("  'nfs_inode_cache' of a server", rows[0].size * 0.75), Row("  the rest of it", rows[0].size * 0.25), *rows[1:]]


def slab_leak() -> Picture:
    """20 h in steps of 5 minutes: a slab cache grows, is dropped by a reboot after 7 h with an hour not recorded, and grows again."""
    times = [START + 300 * step for step in range(241)]
    boot, gap = 85, range(74, 85)

    def series(of: Callable[[int], float]) -> list[float | None]:
        return [None if step in gap else of(step) for step in range(len(times))]

    def leak(step: int) -> float:
        return (180 + 30.0 * (step if step < boot else step - boot)) * MIB

    def httpd(step: int) -> float:
        return (900 + 120 * (step % 24 > 11) + 3 * (step % 7)) * MIB

    known = [("p.kernel_other", "kernel, the rest", series(lambda step: 310 * MIB)),
             ("c.nfs_inode_cache", CACHE, series(leak)),
             ("c.dentry", "slab cache 'dentry'", series(lambda step: (150 + step % 5) * MIB)),
             ("g.httpd", "process group 'httpd' (41 x 22 MiB)", series(httpd)),
             ("g.java", "process group 'java' (1 x 640 MiB)", series(lambda step: 640 * MIB)),
             ("p.shmem", "shared memory/tmpfs", series(lambda step: 96 * MIB)),
             ("rest", "smaller ones together", series(lambda step: 140 * MIB))]
    taken = [None if step in gap else sum(values[step] or 0.0 for _, _, values in known) for step in range(len(times))]
    cache = [None if held is None else min(1.5 * GIB, 0.7 * (TOTAL - held)) for held in taken]
    free = [None if held is None or page is None else TOTAL - held - page for held, page in zip(taken, cache)]
    available = [None if page is None or left is None else 0.8 * page + left for page, left in zip(cache, free)]
    bands = [Band(key, words, values, key == "c.nfs_inode_cache") for key, words, values in known]
    bands += [Band("p.page_cache", "page cache", cache), Band("p.free", "free", free)]
    moments = [
        Moment(index, [f"Culprit: {CACHE} {(bands[1].values[index] or 0) / MIB:.0f} MiB, reclaimable but pinned.",
                       "Kernel memory, not a process: httpd is steady at 41 x 22 MiB."],
               _ledger([Row(band.words, band.values[index] or 0.0, band.culprit) for band in bands]))
        for index in range(0, len(times), 12) if index not in gap]
    end = len(times) - 1
    left = available[end] or 0.0
    stalls = series(lambda step: max(0.0, (step - boot) % 160 - 90) * 0.437 + step % 3 * 0.31)
    return Picture(
        "hub.example.org", f"{CACHE} grows by 360 MiB/h: memory is gone in about 5.5 h",
        ["It holds 4.73 GiB of 8.00 GiB, all of it since the last reboot 13.0 h ago, and reclaim does not shrink it.",
         "Kernel memory, not a process: httpd is steady at 41 x 22 MiB, java at 640 MiB."],
        times, bands, [None if step in gap else TOTAL for step in range(len(times))], available,
        series(lambda step: max(0.0, step - boot - 60) * 4 * MIB), stalls,
        [None if value is None else max(0.0, value - 7) * 0.59 for value in stalls],
        [Mark(times[60] + 20, "alarm", "check_slab_growth CRITICAL"), Mark(times[72] + 7, "oom", "OOM kill: httpd (pid 4711), 22 MiB"),
         Mark(times[72] + 90, "oom", "OOM kill: java (pid 812), 640 MiB"), Mark(times[74], "recorder", "no samples for 55 min"),
         Mark(times[85] - 30, "boot", "Reboot"), Mark(times[200], "alarm", "check_slab_growth WARNING")],
        Cone(times[end], left, times[end] + 4.4 * 3600, times[end] + 5.5 * 3600, times[end] + 7.1 * 3600), moments,
        ["55 min are not recorded, from 06:10 to 07:05 UTC: the host was down.",
         "smaps_rollup was denied to this user: shared pages count once for each process."])


def innocent_day() -> Picture:
    times = [START + 600 * step for step in range(145)]
    processes: list[float | None] = [(1200 + 30 * (step % 12)) * MIB for step in range(145)]
    cache: list[float | None] = [(2000 + 10 * step) * MIB for step in range(145)]
    free: list[float | None] = [TOTAL - (used or 0) - (held or 0) for used, held in zip(processes, cache)]
    bands = [Band("g.postgres", "process group 'postgres' (31 x 39 MiB)", processes), Band("p.page_cache", "page cache", cache),
             Band("p.free", "free", free)]
    verdict = ["Memory is not short: 6.1 GiB of 8.00 GiB can still be had.", "Nothing grows."]
    moments = [Moment(index, verdict, [Row(band.words, band.values[index] or 0) for band in bands]) for index in (0, 72, 144)]
    return Picture("quiet", "Nothing is wrong: 6.1 GiB of 8.00 GiB can still be had", verdict[1:], times, bands, [TOTAL] * 145,
                   [6.1 * GIB] * 145, [0.0] * 145, [0.0] * 145, [0.0] * 145, [], None, moments, [])


def hostile() -> Picture:
    """Every text of it is a try to leave its place."""
    times = [START + 60 * step for step in range(len(HOSTILE) + 2)]
    bands = [Band(f"g.{name}", name, [400 * MIB + 60 * MIB * step for step in range(len(times))], place == 0)
             for place, name in enumerate(HOSTILE)]
    marks = [Mark(times[place], kind, name) for place, (name, kind) in enumerate(zip(HOSTILE, KINDS))]
    moments = [Moment(0, list(HOSTILE), [Row(name, 400 * MIB) for name in HOSTILE])]
    return Picture(HOSTILE[0], HOSTILE[1], list(HOSTILE), times, bands, [TOTAL] * len(times), [4 * GIB] * len(times),
                   [float("nan")] * len(times), [float("inf")] * len(times), [None] * len(times), marks, None, moments, list(HOSTILE))


def single_moment() -> Picture:
    bands = [Band("g.httpd", "process group 'httpd'", [3 * GIB], True), Band("p.free", "free", [5 * GIB])]
    return Picture("short", "process group 'httpd' holds 3.00 GiB", [], [START], bands, [TOTAL], [5.5 * GIB], [None], [None], [None], [],
                   None, [Moment(0, ["One moment is no trend."], [Row("free", 5 * GIB), Row("process group 'httpd'", 3 * GIB, True)])], [])


def nothing_known() -> Picture:
    """Three moments of which no source could be read."""
    nothing: list[float | None] = [None] * 3
    return Picture("blind", "Nothing is known", ["meminfo: permission denied."], [START, START + 60, START + 120],
                   [Band("p.page_cache", "page cache", nothing)], nothing, nothing, nothing, nothing, nothing, [], None, [],
                   ["meminfo was denied."])


def no_moments() -> Picture:
    return Picture("empty", "No sample in this file", [], [], [], [], [], [], [], [], [], None, [], [])


def clock_set_back() -> Picture:
    """The third moment stands before the second; its ledger must stay its own."""
    times = [START, START + 600, START + 300, START + 900]
    values: list[float | None] = [1 * GIB, 2 * GIB, 3 * GIB, 4 * GIB]
    moments = [Moment(index, [f"moment {index}"], [Row("x", value or 0)]) for index, value in enumerate(values)]
    return Picture("back", "The clock was set back", [], times, [Band("g.x", "x", values, True)], [TOTAL] * 4, values, values,
                   [None] * 4, [None] * 4, [], None, moments, [])


def long_history() -> Picture:
    """20,000 moments of 12 layers, with a peak of one moment, and a source that is missing for a while."""
    count = 20000
    times = [START + 10.0 * step for step in range(count)]
    bands = [Band(f"g.p{place}", f"process group 'p{place}'", [(200 + place * 20 + step % (37 + place)) * MIB for step in range(count)])
             for place in range(11)]
    peak: list[float | None] = [(100 + step / 20) * MIB for step in range(count)]
    peak[12345] = 4 * GIB
    peak[5000:7000] = [None] * 2000
    bands.append(Band("c.kmalloc-64", "slab cache 'kmalloc-64'", peak, True))
    moments = [Moment(index, [f"sample {index}"], [Row(band.words, band.values[index] or 0.0, band.culprit) for band in bands])
               for index in range(0, count, 100)]
    return Picture("long", "slab cache 'kmalloc-64' grows by 18.0 MiB/h", [], times, bands, [TOTAL] * count, [3 * GIB] * count,
                   [0.0] * count, [float(step % 50) for step in range(count)], [0.0] * count, [], None, moments, [])


ALL: dict[str, Callable[[], Picture]] = {made.__name__: made for made in (
    slab_leak, innocent_day, hostile, single_moment, nothing_known, no_moments, clock_set_back, long_history)}
