"""The OOM killer's reports of many kernels: tests/fixtures/oom, each with its kernel in SOURCES."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memtriage import oomculprit
from memtriage.procfs import oom_report
from memtriage.procfs.oom_report import Report
from tests.fixtures.oom import forms, make, texts

FOLDER = Path(__file__).parents[1] / "fixtures" / "oom"
LOGS = sorted(path.stem for path in FOLDER.glob("*.log"))
CHROME, WECHAT, MYSQLD, PYTHON, HTTPD = ("chrome", 4242), ("WeChat", 4301), ("mysqld", 2188), ("python3", 5001), ("httpd", 2301)
SKB = "slab cache 'skbuff_small_head' 21.2 GiB, unreclaimable"
SQL = "process group 'mysqld' (1 x 2.44 GiB), 2.44 GiB"

# By log: the victims, the scope of the last report, and its culprit (None: the log does not say).
EXPECTED: dict[str, tuple[list[tuple[str, int | None]], str | None, str | None]] = {
    "2.2-saved-process": ([("netscape", 711)], None, None),
    "2.4-per-thread": ([("mozilla-bin", 18432), ("mozilla-bin", 18433), ("mozilla-bin", 18434)], None, None),
    "2.4-vm": ([MYSQLD], None, None),
    "2.6.9-header-without-name": ([MYSQLD], None, "processes, which the log does not list, 1.79 GiB"),
    "2.6.16-kill-and-children": ([HTTPD], None, "processes, which the log does not list, 1.79 GiB"),
    "2.6.18-rhel5": ([MYSQLD], "memory_policy", None),
    "2.6.18-cpuset": ([("solver", 991)], "cpuset", None),
    "2.6.20-rate-limited": ([MYSQLD], None, None),
    "2.6.24-child": ([HTTPD], None, "processes, which the log does not list, 1.79 GiB"),
    "2.6.27-panic": ([], None, None),
    "2.6.29-memcg": ([PYTHON], "memcg", "cgroup limit of '/batch'"),
    "2.6.32-debian-order-1": ([MYSQLD], None, SQL),
    "2.6.32-rhel6": ([MYSQLD], None, SQL),
    "2.6.32-rhel6-memcg": ([("java", 2157)], "memcg", "cgroup limit of '/lxc/web'"),
    "2.6.33-vsz": ([MYSQLD], None, None),
    "2.6.38-sacrifice": ([MYSQLD], None, SQL),
    "3.2-lowmem-32-bit": ([MYSQLD], None, "unreclaimable slab 742 MiB"),
    "3.7-memcg-with-mem-info": ([PYTHON], "memcg", "cgroup limit of '/1', most held by process group 'python3' (1 x 62.9 MiB)"),
    "3.10-rhel7": ([MYSQLD], None, SQL),
    "3.10-panic": ([], None, SQL),
    "3.13-docker": ([PYTHON], "memcg", "cgroup limit of '/docker/34186d9bd077', most held by process group 'python3' (1 x 62.9 MiB)"),
    "4.4-no-victim-panic": ([], None, "processes, which the log does not list, 1.79 GiB"),
    "4.8-named-gfp": ([MYSQLD], None, SQL),
    "4.9-allocating-task": ([CHROME], None, "process group 'chrome' (1 x 1.18 GiB), 1.18 GiB"),
    "4.15-slab-table": ([CHROME], None, SKB),
    "4.19-two-lines": ([MYSQLD], None, SQL),
    "4.19-slab-skipped": ([CHROME], None, "unreclaimable slab 28.5 GiB"),
    "5.0-memcg-constraint": ([PYTHON], "memcg", "cgroup limit of '/batch', most held by process group 'python3' (1 x 62.9 MiB)"),
    "5.4-kubernetes": ([("uwsgi", 63214)], "memcg",
                       "cgroup limit of '/kubepods/burstable/pod7f3c', most held by process group 'uwsgi' (1 x 211 MiB)"),
    "5.10-slab-leak": ([CHROME], "none", SKB),
    "5.10-slab-leak-second": ([WECHAT], "none", SKB),
    "5.10-process": ([MYSQLD], "none", SQL),
    "5.14-rhel9-podman": ([("stress", 5117)], "memcg",
                          "cgroup limit of '/machine.slice/libpod-9c1e.scope', most held by process group 'stress' (1 x 512 MiB)"),
    "5.15-oom-group": ([PYTHON, ("sh", 4990), ("python3", 5003)], "memcg",
                       "cgroup limit of '/system.slice/batch.service', most held by process group 'python3' (1 x 62.9 MiB)"),
    "5.15-cpuset": ([("solver", 991)], "cpuset", "cpuset 'job_7' (nodes 1), most held by process group 'mysqld' (1 x 2.44 GiB)"),
    "5.15-mempolicy": ([("solver", 991)], "memory_policy", "memory policy (nodes 0-1), most held by process group 'mysqld' (1 x 2.44 GiB)"),
    "5.19-order-3": ([MYSQLD], "none", SQL),
    "6.1-64k-pages": ([("java", 77)], "none", "process group 'java' (1 x 3.66 GiB), 3.66 GiB"),
    "6.1-sysrq": ([MYSQLD], "none", SQL),
    "6.1-boost": ([MYSQLD], "none", SQL),
    "6.6-no-victim": ([], None, None),
    "6.6-deadlocked": ([], None, "processes, which the log does not list, 1.79 GiB"),
    "6.6-exiting-only": ([], "memcg", None),
    "6.8-hostile-names": ([(name, 7000 + number) for number, name in enumerate(texts.NASTY)], "memcg",
                          "cgroup limit of '/user.slice', most held by process group '? a=1 ?b?' (1 x 15.6 MiB)"),
    "6.8-newline-in-name": ([("a\nb) total-vm:", 666)], "none", None),
    "6.9-rss-columns": ([MYSQLD], "none", SQL),
    "6.12-hugepages": ([HTTPD], "none", "hugepages 3.12 GiB"),
    "6.18-cgroup-v1": ([("python3", 5091)], "memcg", "cgroup limit of '/batch', most held by process group 'python3' (1 x 31.8 MiB)"),
    "6.18-userspace-forgery": ([PYTHON], "memcg", None),
    "6.18-syslog-forgery": ([PYTHON], "memcg", None),
    "interleaved-callers": ([CHROME, PYTHON], "memcg", "cgroup limit of '/batch', most held by process group 'python3' (1 x 62.9 MiB)"),
    "interleaved-without-callers": ([PYTHON, CHROME], "none", None),
    "torn-front": ([CHROME], "none", SKB),
    "torn-end": ([CHROME], "none", SKB),
    "cr-lf": ([CHROME], "none", SKB),
    "two-boots": ([MYSQLD, PYTHON], "memcg",
                  "cgroup limit of '/system.slice/app.service', most held by process group 'python3' (1 x 62.9 MiB)"),
}


def reports(name: str) -> list[Report]:
    found = oom_report.parse((FOLDER / f"{name}.log").read_bytes())
    assert found.odd == []
    return found.reports


def killed(data: bytes) -> list[tuple[str, int | None]]:
    return [(kill.name, kill.pid) for report in oom_report.parse(data).reports for kill in report.kills]


def test_every_log_is_expected_and_made_by_the_script(tmp_path: Path) -> None:
    assert sorted(EXPECTED) == LOGS
    assert len(LOGS) >= 40
    make.main(str(tmp_path))
    for path in [*FOLDER.glob("*.log"), FOLDER / "SOURCES"]:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_every_log_states_its_kernel() -> None:
    lines = (FOLDER / "SOURCES").read_text().splitlines()
    assert sorted(line.partition(".log: ")[0] for line in lines) == LOGS
    assert all(" after Linux " in line for line in lines)


@pytest.mark.parametrize("name", LOGS)
def test_victims_scope_and_culprit(name: str) -> None:
    victims, scope, words = EXPECTED[name]
    found = reports(name)
    assert [(kill.name, kill.pid) for report in found for kill in report.kills] == victims
    culprit = oomculprit.culprit(found[-1])
    assert (found[-1].constraint, culprit.words if culprit else None) == (scope, words)


def test_a_report_of_linux_5_whole() -> None:
    report, = reports("5.10-slab-leak")
    kill, = report.kills
    assert (kill.uid, kill.anon_rss, kill.file_rss, kill.shmem_rss, kill.message) == (1000, 309900 * 4096, 409600, 0, "Out of memory")
    assert kill.record.seq is not None
    assert (report.asker, report.gfp, report.order) == ("Xorg", "0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP)", 0)
    assert (report.cpuset, report.nodes, report.oom_memcg) == ("/", "0", None)
    assert report.task_memcg == "/user.slice/user-1000.slice/session-2.scope"
    page = 4096
    assert report.memory == {
        "MemTotal": 7995392 * page, "MemFree": 42000 * page, "Cached": 30000 * page, "Shmem": 21000 * page, "AnonPages": 410000 * page,
        "SReclaimable": 30500 * page, "SUnreclaim": 7480000 * page, "PageTables": 5200 * page, "KernelStack": 9216 * 1024, "SwapTotal": 0,
        "SwapFree": 0}
    assert report.caches[:2] == [("skbuff_small_head", 22180873 * 1024), ("skbuff_head_cache", 8065986 * 1024)]
    assert [task.name for task in report.tasks] == ["systemd", "Xorg", "chrome", "WeChat"]
    assert report.tasks[2] == (4242, 1000, 310000 * page, None, 12 * page, "chrome")
    assert [zone.name for zone in report.zones] == ["DMA", "DMA32", "Normal"]
    assert report.zones[0].blocks[4096] == 37


def test_a_cgroups_report() -> None:
    report, = reports("5.4-kubernetes")
    assert (report.limit, report.usage) == (256 * 1024**2, 256 * 1024**2)
    assert (report.oom_memcg, report.task_memcg) == ("/kubepods/burstable/pod7f3c", "/kubepods/burstable/pod7f3c/4f1d")
    assert report.memory == {}


def test_outcomes_without_a_kill() -> None:
    for name, outcome in (("6.6-no-victim", "no victim"), ("6.6-deadlocked", "panic"), ("3.10-panic", "panic"), ("2.6.27-panic", "panic"),
                          ("4.4-no-victim-panic", "panic"), ("6.6-exiting-only", "exiting")):
        assert [report.outcome for report in reports(name)] == [outcome], name


def test_oom_group() -> None:
    report, = reports("5.15-oom-group")
    assert report.group == "/system.slice/batch.service"
    assert report.outcome == "killed"


def test_rss_columns_of_linux_6_9() -> None:
    report, = reports("6.9-rss-columns")
    assert report.tasks[2].anon == (640000 - 100) * 4096


def test_hostile_names_do_not_move_a_cgroups_path() -> None:
    for report in reports("6.8-hostile-names"):
        assert (report.oom_memcg, report.task_memcg) == ("/user.slice", "/user.slice/,task_memcg=/x,oom_memcg=/y")
        assert [kill.uid for kill in report.kills] == [1000]


def test_illnesses() -> None:
    def ill(text: str) -> str | None:
        report, = oom_report.parse(text.encode()).reports
        found = oomculprit.illness(report)
        return found.name if found else None

    fragmented = (FOLDER / "5.19-order-3.log").read_text()
    assert ill(fragmented) == "fragmentation, no 32.0 KiB in one piece"
    assert ill(fragmented.replace("order=3", "order=1")) is None  # pieces of 8 KiB are there
    assert ill(fragmented.replace("0*32kB", "1*32kB (M)")) is None
    process = (FOLDER / "5.10-process.log").read_text()
    assert ill(process) is None
    assert ill(process.replace("GFP_HIGHUSER_MOVABLE", "GFP_KERNEL|GFP_DMA32")) == "zone DMA32 full"
    assert ill(process.replace("GFP_HIGHUSER_MOVABLE", "GFP_KERNEL|GFP_DMA")) == "zone DMA full"
    lowmem = (FOLDER / "3.2-lowmem-32-bit.log").read_text()
    assert ill(lowmem) == "lowmem full"
    assert ill(lowmem.replace("HighMem free:5232900kB", "HighMem free:400kB")) is None


@pytest.mark.parametrize("line", [
    "Tasks in /x/Out of memory: Killed process 1 (init) are going to be killed due to memory.oom.group set",
    "Task in /a/Out of memory: Killed process 1 (init) total-vm:4kB killed as a result of limit of /a",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a/Killed process 1 (init),"
    "task_memcg=/a/Killed process 1 (init),task=x,pid=5,uid=0",
    "Memory cgroup stats for /a/Out of memory: Killed process 1 (init) total-vm:4kB, anon-rss:4kB:",
    "Killed process 1 (i invoked oom-killer: gfp_mask=0xd0, order=0",
    "Killed process  invoked oom-killer: gfp_mask=0xd0, order=0",
    "[    1]     0     1     5000      900    126976       12             0 Killed process 1",
])
def test_what_quotes_a_kill_is_none(line: str) -> None:
    assert killed(line.encode() + b"\n") == []


@pytest.mark.parametrize(("line", "name", "pid"), [
    ("Out of memory: Killed process 4242 (chrome) total-vm:5kB", "chrome", 4242),
    ("Out of memory: Killed process 4242 (chrome) total-v", "chrome", 4242),
    ("Out of memory: Killed process 4242 (chrome)", "chrome", 4242),
    ("Out of memory: Killed process 4242 (chro", "chro", 4242),
    ("Out of memory: Killed process 42", "", None),
    ("Killed process 4242, UID 48, (a (b)) total-vm:5kB", "a (b)", 4242),
    ("Killed process 4242 (a (b)), UID 48, total-vm:5kB", "a (b)", 4242),
    ("Killed process 4242 (x).", "x", 4242),
    ("Killed process 4242 (x).).", "x).", 4242),
])
def test_cut_and_odd_lines(line: str, name: str, pid: int | None) -> None:
    assert killed(line.encode()) == [(name, pid)]


def test_a_kill_that_cannot_be_understood_is_odd() -> None:
    found = oom_report.parse(b"Killed process 12 by somebody\n")
    assert found == ([], ["Killed process 12 by somebody"])


def test_headers_that_were_rate_limited() -> None:
    line = b"Out of memory: Killed process %d (w%d) total-vm:8kB, anon-rss:4kB, file-rss:0kB\n"
    assert killed(b"".join(line % (pid, pid) for pid in range(20, 40))) == [(f"w{pid}", pid) for pid in range(20, 40)]


@pytest.mark.parametrize("piece", [
    b"Out of memory: kill process 1 (", b"Killed process 1 (", b"), saved process 1 (", b",task_memcg=/", b",1", b"1*4kB ", b"a:1 ",
    b"[ 1] 1 ", b"#012", b"hugepages_total=1 ", b"x cpuset=", b"Task in ", b"1,2,3,-;", b")", b"Nov 25 03:12:07 "])
def test_long_lines_cost_little(piece: bytes) -> None:
    started = time.process_time()
    constraint = b"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/"
    for front in (b"", b"Killed process 1 (", constraint, b"Normal: "):
        for end in (b"", b",task=x,pid=1,uid=0", b" mems_allowed=", b" score", b"KB"):
            oom_report.parse(front + piece * (200_000 // len(piece)) + end)
    assert time.process_time() - started < 5


TEXTS = {name: (FOLDER / f"{name}.log").read_bytes() for name in LOGS if not name.startswith("6.18-syslog") and b"\r" not in
         (FOLDER / f"{name}.log").read_bytes()}
WITH_KILLS = sorted(name for name in TEXTS if EXPECTED[name][0] and name not in ("torn-end", "two-boots"))


def whole_kills(lines: list[bytes]) -> list[tuple[str, int | None]]:
    """The victims whose own lines are among ``lines``, by what each line says alone."""
    return [victim for line in lines for victim in killed(line)]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_prefix_and_any_suffix_yield_every_kill_in_it(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(WITH_KILLS))
    text = TEXTS[name]
    cut = data.draw(st.integers(0, len(text)))
    for part, edge in ((text[:cut], cut), (text[cut:], cut)):
        lines = part.splitlines(True)
        if edge == cut and part == text[cut:] and cut and text[cut - 1:cut] != b"\n":
            lines = lines[1:]  # the rest of a line
        if part == text[:cut] and lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        expected = whole_kills(lines)
        found = killed(part)
        assert [victim for victim in expected if victim not in found] == [], (name, cut)
        assert len(found) <= len(EXPECTED[name][0])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_interleaving_of_two_reports_yields_every_kill(data: st.DataObject) -> None:
    first, second = data.draw(st.sampled_from(WITH_KILLS)), data.draw(st.sampled_from(WITH_KILLS))
    left, right = TEXTS[first].splitlines(True), TEXTS[second].splitlines(True)
    order = data.draw(st.lists(st.booleans(), min_size=len(left) + len(right), max_size=len(left) + len(right)))
    mixed: list[bytes] = []
    for turn in order:
        source = left if (turn and left) or not right else right
        mixed.append(source.pop(0))
    found = killed(b"".join(mixed))
    assert sorted(found, key=str) == sorted(EXPECTED[first][0] + EXPECTED[second][0], key=str), (first, second)


@settings(max_examples=100, deadline=None)
@given(name=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=15), pid=st.integers(1, 4194304))
@example(name=" kernel:", pid=1)
def test_any_name_comes_through(name: str, pid: int) -> None:
    victim = texts.Task(pid, 1000, 9000, 4000, name)
    inner = "/a/b,task=c,pid=1"
    for text in (forms.dmesg(texts.cgroup_5("/a", inner, 65536, (victim,), victim)),
                 forms.kmsg(texts.cgroup_5("/a", inner, 65536, (victim,), victim))):
        report, = oom_report.parse(text.encode()).reports
        assert [(kill.name, kill.pid, kill.uid, kill.rss) for kill in report.kills] == [(name, pid, 1000, 4000 * 4096)]
        assert report.oom_memcg == "/a"
