"""Mistakes seen in other plugins, and what engines make of a plugin's output: one test for each that no other test covers.

Each docstring tells the mistake; the test is the guard. All run the checks' real files.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memtriage.integration import nrpe
from memtriage.integration import table as definitions
from tests.checks.command import CHECKS, FIXTURES, RECORDING, ROOT, Answer, environment
from tests.checks.forked import on, run
from tests.conftest import python_for_others

each_check = pytest.mark.parametrize("check", CHECKS)
RANGES = [("check_free_mem", "-w", "-c"), ("check_free_mem", "--swap-warning", "--swap-critical"),
          ("check_free_mem", "--commit-warning", "--commit-critical"), ("check_slab_growth", "-w", "-c"),
          ("check_slab_growth", "--size-warning", "--size-critical"), ("check_proc_count", "-w", "-c")]


def tree(folder: Path, scenario: str = "healthy", drop: str = "", **lines: str) -> Path:
    """A captured tree with other lines in its meminfo, or one line less; returns its /proc. What no test changes is a link."""
    source, proc = FIXTURES / scenario, folder / "proc"
    proc.mkdir(parents=True)
    for path in (source / "proc").iterdir():
        if path.name in ("slabinfo", "uptime", "sys"):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, proc / path.name)
        elif path.name != "meminfo":
            (proc / path.name).symlink_to(path)
    (folder / "sys").symlink_to(source / "sys")
    rows = [line.partition(":") for line in (source / "proc" / "meminfo").read_text().splitlines()]
    (proc / "meminfo").write_text("".join(f"{name}: {lines.get(name) or value}\n" for name, _, value in rows if name != drop))
    return proc


def outside(value: float, spec: str) -> bool:
    """The plugin guideline's range once more, read by other means than the checks': does ``value`` alarm?"""
    inverted, _, start, _, end = re.fullmatch(r"(@?)(([-0-9.~]*)(:))?([-0-9.]*)", spec).groups()  # type: ignore[union-attr]
    low = 0.0 if not start else float("-inf") if start == "~" else float(start)
    inside = low <= value <= (float(end) if end else float("inf"))
    return inside if inverted else not inside


def judged(answer: Answer) -> int:
    """The state that somebody who reads nothing but the perfdata comes to: its values against its limits."""
    state = 0
    for item in answer.perfdata.values():
        value, warn, crit = ([re.sub("[Bsc%]", "", part) for part in item.split(";")] + ["", ""])[:3]
        state = max(state, *(level for level, spec in ((1, warn), (2, crit)) if spec and outside(float(value), spec)), 0)
    return state


# What is read

NEEDED = ["MemTotal", "MemFree", "Cached", "SwapTotal", "SwapFree"]
SPARED = {"MemAvailable": None, "Buffers": None, "SwapCached": None, "Shmem": "shmem", "AnonPages": "anon", "Slab": None,
          "SReclaimable": "slab_reclaimable", "SUnreclaim": "slab_unreclaimable", "Committed_AS": "committed", "Hugetlb": None}


@pytest.mark.parametrize("line", NEEDED)
def test_a_missing_line_is_named(line, tmp_path):
    """A missing field was read as 0: an alarm without cause, or OK on half a file."""
    answer = run("check_free_mem", "--procfs", str(tree(tmp_path, drop=line))).sound()
    assert answer.code == 3
    assert answer.first.endswith(f"proc/meminfo: it has no line {line}: cut short or not a meminfo file")


@pytest.mark.parametrize("line", SPARED)
def test_a_line_an_old_kernel_lacks_is_absent_and_not_zero(line, tmp_path):
    """A missing field was read as 0: an alarm without cause, and a metric that says 0."""
    answer = run("check_free_mem", "--procfs", str(tree(tmp_path, drop=line))).sound()
    assert answer.code == 0
    assert "62.0% of 3.84 GiB available (2.38 GiB" in answer.first
    assert SPARED[line] not in answer.perfdata


@pytest.mark.parametrize(("line", "value", "whole"), [
    ("SwapFree", "9999999 kB", "SwapTotal"), ("MemFree", "4028401 kB", "MemTotal"), ("AnonPages", "99999999 kB", "MemTotal"),
    ("Slab", "99999999 kB", "MemTotal"), ("SUnreclaim", "9999999 kB", "Slab"), ("SReclaimable", "9999999 kB", "Slab")])
def test_a_part_larger_than_its_whole_is_unknown(line, value, whole, tmp_path):
    """Available above total passed for OK at 124 %; a container's other counters contradict each other no less."""
    proc = tree(tmp_path, **{line: value})
    for check in ("check_free_mem", "check_slab_growth")[: 1 + (whole == "Slab")]:
        answer = run(check, "--procfs", str(proc), "--state-dir" if "slab" in check else "--sysfs", str(tmp_path / "x")).sound()
        assert answer.code == 3
        assert re.search(rf": {line} \([0-9]+ B\) is larger than {whole} \([0-9]+ B\): a container's view", answer.first), answer.first


@pytest.mark.parametrize("value", ["xyz kB", "-5 kB", "", "1e6 kB", "12 MB", "nan"])
def test_available_that_is_no_number_is_not_estimated(value, tmp_path):
    """A value that could not be read was taken for one that is not there."""
    answer = run("check_free_mem", "--procfs", str(tree(tmp_path, MemAvailable=value or " "))).sound()
    assert answer.code == 3
    assert "MemAvailable is not a number" in answer.first


def test_nothing_available_is_nothing(tmp_path):
    """psutil replaces MemAvailable 0 by an estimate: 2.57 GB available on an exhausted host."""
    answer = run("check_free_mem", "--procfs", str(tree(tmp_path, MemAvailable="0 kB"))).sound()
    assert (answer.code, answer.perfdata["available"], answer.perfdata["available_pct"]) == (2, "0B;;;0;4125081600", "0%;10:;5:;0;100")
    assert answer.first.startswith("FREE_MEM CRITICAL - 0.00% of 3.84 GiB available (0 B); culprit: ")


def test_swap_of_a_host_without_swap_never_alarms(tmp_path):
    """check_swap calls a host without swap CRITICAL, with 0 % of 0 free."""
    proc = tree(tmp_path, SwapTotal="0 kB", SwapFree="0 kB")
    answer = run("check_free_mem", "--procfs", str(proc), "--swap-warning", "50%", "--swap-critical", "80%").sound()
    assert answer.code == 0
    assert answer.perfdata["swap_used"] == "0B;;;0;0"
    assert "swap_used_pct" not in answer.perfdata


# Options

def table(check: str) -> list[tuple[list[str], str]]:
    """The flags of each option and its metavar, out of the help text."""
    rows = re.findall(r"^  ((?:-\w, )?--[a-z-]+|-\w(?:, --[a-z-]+)?)( [A-Z]+)?(?=  |$)", run(check, "--help").out, re.M)
    return [(flags.split(", "), metavar.strip()) for flags, metavar in rows]


VALUES = {"RANGE": "0:", "SECONDS": "20", "DIR": str(FIXTURES / "healthy" / "proc"), "REGEX": "a", "NAME": "httpd", "USER": "0",
          "LETTERS": "S", "PID": "1", "PATH": "/", "N": "9", "FORMAT": "nagios",
          "FILE": str(FIXTURES / "oom" / "5.10-process.log")}


@each_check
def test_every_option_in_every_form(check, tmp_path):
    """A switch ate the word behind it (--no-kthreads), and an option of the help text was not accepted at all."""
    options = table(check)
    assert {"--timeout", "--verbose", "--procfs", "--sysfs", "--no-perfdata", "--short", "--ok-if-unsupported"} < {
        flags[-1] for flags, _ in options}
    forms: dict[str, list[str]] = {"--a b": [], "--a=b": [], "-a b": [], "-ab": []}
    for flags, metavar in options:
        special = {"--metric": "threads", "--state-dir": str(tmp_path), "--budget-warning": "50%", "--budget-critical": "60%",
                   "--file": RECORDING, "--output": "nagios"}
        value = special.get(flags[-1]) or VALUES.get(metavar)
        assert bool(value) == bool(metavar), flags
        if flags[-1] in ("--help", "--version"):
            continue
        if not value:
            answer = run(check, f"{flags[-1]}=1")
            assert answer.out == f"{check[6:].upper()} UNKNOWN - usage: {flags[-1]} takes no value; see --help\n"
        forms["--a b"] += [flags[-1], value] if value else [flags[-1]]
        forms["--a=b"] += [f"{flags[-1]}={value}"] if value else []
        forms["-a b"] += [flags[0], value] if value else [flags[0]]
        forms["-ab"] += [flags[0] + value] if value and len(flags) > 1 else []
    for form in forms.values():  # whatever ate too much or too little would not leave just this one word over
        assert run(check, *form, "--bogus").out == f"{check[6:].upper()} UNKNOWN - usage: unknown option --bogus; see --help\n", form
        answer = run(check, *form).sound()
        # A cgroup and a log that are none of theirs are an answer of their own.
        assert answer.code == 0 or (check in ("check_oom_kill", "check_mem_pressure") and "usage: " not in answer.out), form


@each_check
def test_no_prefix_of_an_option_is_one(check):
    """argparse takes --warn for --warning, and --no for whatever begins so."""
    longs = {flags[-1] for flags, _ in table(check)}
    for flag in ("--warnin", "--no", "--bogus-option=1", "-vx"):
        assert flag not in longs
        answer = run(check, flag, "5").sound()
        assert answer.code == 3
        assert f"unknown option {flag if flag != '-vx' else '-x'}; see --help" in answer.out


@pytest.mark.parametrize(("check", "warning", "critical"), RANGES)
def test_garbage_for_every_threshold(check, warning, critical):
    """-w abc, -w '' and -w xx were accepted, and then nothing ever alarmed; -w -5 became 18446744073709551611."""
    for flag, text in ((warning, ""), (critical, "-5"), (critical, "1_000")):
        answer = run(check, flag, text).sound()
        assert answer.out.startswith(f"{check[6:].upper()} UNKNOWN - usage: --"), answer.out
        assert f"'{text}'" in answer.out


@pytest.mark.parametrize(("check", "options"), [
    ("check_free_mem", ["-w", "5%:", "-c", "10%:"]), ("check_free_mem", ["-w", "20%", "-c", "10%"]),
    ("check_free_mem", ["--swap-warning", "90%", "--swap-critical", "80%"]), ("check_slab_growth", ["-w", "2GiB", "-c", "1GiB"]),
    ("check_slab_growth", ["--size-warning", "50%"]), ("check_proc_count", ["-w", "250", "-c", "150"])])
def test_a_warning_behind_its_critical_is_refused(check, options):
    """-w 90% -c 80% was accepted, so that WARNING never came."""
    answer = run(check, *options).sound()
    assert answer.code == 3
    assert "can never be seen beside critical" in answer.first


@pytest.mark.parametrize(("check", "option"), [("check_free_mem", "-w"), ("check_free_mem", "--swap-critical"), ("check_slab_growth",
                                               "--size-critical")])
def test_more_than_all_is_refused(check, option):
    """More than 100 % of a whole was accepted as a limit."""
    assert "asks for more than 100%" in run(check, option, "101%").sound().out


@each_check
def test_a_range_the_shell_has_expanded_is_explained(check):
    """A shell makes /root:10 of ~:10; the plugin took the text."""
    answer = run(check, "-w", "/root:10").sound()
    assert answer.code == 3
    assert "(a shell has expanded it: quote '~:N')" in answer.first


def test_zero_is_a_limit():
    """Range(0) of nagiosplugin is no limit at all."""
    assert on("healthy", "check_proc_count", "-w", "0").sound().code == 1
    assert on("healthy", "check_proc_count", "-C", "none", "-c", "0").sound().code == 0
    assert on("healthy", "check_proc_count", "-c", "0.5").sound().code == 2


# Verdicts

METRICS = [("check_free_mem", ("-w", "-c"), "available", "B", {}), ("check_free_mem", ("-w", "-c"), "available_pct", "%", {}),
           ("check_free_mem", ("--swap-warning", "--swap-critical"), "swap_used", "B", {"SwapFree": "1000000 kB"}),
           ("check_free_mem", ("--swap-warning", "--swap-critical"), "swap_used_pct", "%", {"SwapFree": "1000000 kB"}),
           ("check_free_mem", ("--commit-warning", "--commit-critical"), "committed", "B", {}),
           ("check_free_mem", ("--commit-warning", "--commit-critical"), "committed_pct", "%", {}),
           ("check_slab_growth", ("--size-warning", "--size-critical"), "slab_unreclaim", "B", {}),
           ("check_slab_growth", ("--size-warning", "--size-critical"), "slab_unreclaim_pct", "%", {}),
           *(("check_proc_count", ("-w", "-c"), metric, unit, {}) for metric, unit in (
               ("procs", ""), ("threads", ""), ("rss", "B"), ("pss", "B"), ("age", "s")))]


@pytest.mark.parametrize("row", METRICS, ids=[f"{row[0]}-{row[2]}" for row in METRICS])
def test_every_limit_in_both_states(row, tmp_path):
    """Copied code compared swap with 1 - used, set WARNING for the critical limit, kept what was smaller where the help says bigger, took
    bytes for kB, and wrote the limits of the other side into perfdata."""
    check, flags, metric, unit, lines = row
    fixed = {"check_free_mem": ["-w", "~:", "-c", "~:"], "check_proc_count": ["-C", "httpd", "-m", metric],
             "check_slab_growth": ["--state-dir", str(tmp_path / "state"), "--size-warning", "~:", "--size-critical", "~:"]}[check]
    proc = str(tree(tmp_path, **lines))
    label = "age_max" if metric == "age" else metric
    value = re.match("[0-9.]+", run(check, "--procfs", proc, *fixed).sound().perfdata[label]).group()  # type: ignore[union-attr]
    step = 0.01 if unit == "%" else 1
    below, above = (f"{float(value) + way * step:.2f}{unit}" if unit == "%" else f"{int(value) + way}{unit}" for way in (-1, 1))
    most = [(f"{value}{unit}", False), (below, True)]
    # With -m age any process alarms, so that only a limit that the oldest one passes says something.
    least = [(f"{value}{unit}:", False), (f"@{below}:{above}", True)]
    if metric == "age":
        least = [(f"{value}{unit}", False), (f"{above}:", True)]
    for state, flag, limits in ((1, flags[0], most), (2, flags[1], least)):
        for limit, alarm in limits:
            answer = run(check, "--procfs", proc, *fixed, flag, limit).sound()
            assert answer.code == (state if alarm else 0), (flag, limit, answer.out)
            if metric != "age":
                assert judged(answer) == answer.code, answer.out
                own = answer.perfdata[metric].split(";")
                assert own[state] and not own[3 - state], answer.out


def test_perfdata_is_not_rounded(tmp_path):
    """Rounded to GB, both value and limit became 0; a limit of 0.001% became 0:, which nothing falls below."""
    proc = str(tree(tmp_path, MemAvailable="1 kB", Committed_AS="1234567 kB"))
    answer = run("check_free_mem", "--procfs", proc, "-w", "0.001%:", "-c", "0:").sound()
    assert (answer.code, answer.perfdata["available_pct"]) == (1, "0%;0.001:;0:;0;100")
    assert answer.perfdata["available"] == "1024B;;;0;4125081600"
    assert answer.perfdata["committed"].startswith(f"{1234567 * 1024}B;")
    answer = on("healthy", "check_proc_count", "-m", "rss", "-w", "0.000001GiB").sound()
    assert answer.perfdata["rss"].split(";")[1] == "1073.741824"


# Growth between runs

def grow(folder: Path, slabs: int, minutes: float, boot: str = "6b0f3a52-1c7e-4d0a-9f35-2f1c8c0d7e11") -> None:
    """Sets the tree's clock, its boot and how many slabs of 32 KiB kmalloc-2k has."""
    file = folder / "proc" / "slabinfo"
    file.write_text(re.sub(r"(?m)^kmalloc-2k .*$", f"kmalloc-2k {slabs * 16} {slabs * 16} 2048 16 8 : tunables 0 0 0 : slabdata {slabs} "
                           f"{slabs} 0", file.read_text()))
    (folder / "proc" / "uptime").write_text(f"{minutes * 60:.2f} 1.00\n")
    (folder / "proc" / "sys" / "kernel" / "random" / "boot_id").write_text(boot + "\n")


def runs(folder: Path, steps: list[tuple[int, float]], *options: str) -> Answer:
    tree(folder)
    for slabs, minutes in steps:
        grow(folder, slabs, minutes)
        answer = run("check_slab_growth", "--procfs", str(folder / "proc"), "--state-dir", str(folder / "state"), *options).sound()
    return answer


def per_hour(answer: Answer) -> int:
    return int(answer.perfdata["growth_per_hour"].split("B")[0])


@pytest.mark.parametrize("interval", [5, 30])
def test_growth_is_per_hour_whatever_the_interval(interval, tmp_path):
    """A rate was the difference of two runs, without the time between them."""
    answer = runs(tmp_path, [(1000 + 10 * step * interval, 3000 + step * interval) for step in range(5)], "--window", "1h", "-w", "1GiB")
    assert per_hour(answer) == pytest.approx(600 * 32768, rel=0.02)
    assert answer.code == 0


def test_a_first_run_shows_no_rate(tmp_path):
    """The first run has nothing to compare with, and showed 0 as a fact."""
    answer = runs(tmp_path, [(1000, 3000)], "-w", "1", "-c", "2")
    assert answer.code == 0
    assert "growth is said after a minute of history" in answer.first
    assert not [label for label in answer.perfdata if label.startswith(("g_", "growth"))]


def test_shrinking_without_a_limit_is_ok(tmp_path):
    """Range('') of nagiosplugin is 0 to infinity: a negative rate without a limit was CRITICAL."""
    answer = runs(tmp_path, [(1000 - 10 * step, 3000 + 10 * step) for step in range(6)])
    assert (answer.code, per_hour(answer)) == (0, 0)


def test_a_reboot_is_no_growth(tmp_path):
    """After a reboot, or a counter that began again, the difference was taken all the same."""
    runs(tmp_path, [(10, 3000), (12, 3010), (14, 3020)], "-c", "1GiB")
    grow(tmp_path, 90000, 3, boot="00000000-1111-2222-3333-444444444444")
    answer = run("check_slab_growth", "--procfs", str(tmp_path / "proc"), "--state-dir", str(tmp_path / "state"), "-c", "1GiB").sound()
    assert answer.code == 0
    assert "growth_per_hour" not in answer.perfdata


# Processes

def test_arguments_are_matched_whole(tmp_path):
    """ps cuts the command line at the width of the terminal, and 4,096 bytes were all that was read."""
    code = "import time; print(1, flush=True); time.sleep(20)"
    process = subprocess.Popen([sys.executable, "-c", code, "x" * 100000, "mark-at-the-end-4712"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        answer = run("check_proc_count", "-a", "mark-at-the-end-4712", env=environment(COLUMNS="20")).sound()
        assert answer.perfdata["procs"].split(";")[0] == "1"
    finally:
        process.kill()
        process.wait(timeout=10)


WRAPPERS = ["env", "timeout 9", "nice -n 1", "setsid -w", "sh -c 'CHECK; exit $?'",
            "bash -c 'CHECK; exit $?'",
            "python3 -c 'import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))'", "sudo -n",
            "su -s /bin/sh nobody -c 'CHECK; true'"]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_wraps_the_check_does_not_count(wrapper):
    """-C ps was always 1, and the sh -c around the check matched its own filter."""
    words = shlex.split(wrapper)
    if not shutil.which(words[0]) or (words[0] in ("su", "sudo") and os.geteuid() != 0):
        pytest.skip(f"needs {words[0]}, and root for it")
    check = [str(ROOT / "checks" / "check_proc_count.py"), "-a", "mark-4713"]
    line = [word.replace("CHECK", shlex.join(check)) for word in words] + ([] if "CHECK" in wrapper else check)
    env = {**environment(), "PATH": python_for_others() + ":/usr/sbin:/sbin"}
    done = subprocess.run(line, env=env, capture_output=True, timeout=30, text=True, check=False)
    assert done.stdout.startswith("PROC_COUNT OK - 0 processes with args 'mark-4713' | procs=0;;;0 "), done


HIDING = 'mount -t proc -o hidepid=$1 proc /proc && shift && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'


@pytest.mark.needs_root
@pytest.mark.parametrize("hidepid", ["1", "2"])
def test_hidden_processes_are_not_ok(hidepid):
    """A denied source was OK: 0 processes found, since none of them could be seen."""
    if subprocess.run(["unshare", "-m", "sh", "-c", "mount -t proc -o hidepid=2 proc /proc"], capture_output=True, check=False).returncode:
        pytest.skip("needs unshare, and the right to mount")
    check = ROOT / "checks" / "check_proc_count.py"

    def hidden(*options: str) -> Answer:
        line = ["unshare", "-m", "sh", "-c", HIDING, "sh", hidepid, str(check), *options]
        env = environment(PATH=python_for_others() + ":/usr/sbin:/sbin")
        done = subprocess.run(line, env=env, capture_output=True, timeout=30, check=False)
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode()).sound()

    for options in (["-w", "1000"], ["-C", "no-such-program", "-c", "1:"], ["-u", "root", "-w", "5"], ["-m", "rss", "-c", "1TiB"]):
        answer = hidden(*options)
        assert answer.code == 3, answer.out
        assert re.search(r"only [0-9]+ matching processes can be seen, others may be hidden \(/proc with hidepid\): run it as root",
                         answer.first)
    assert hidden("-u", "nobody", "-w", "1000").code == 0
    sleeper = subprocess.Popen(["sleep", "20"], user=65534, group=65534, extra_groups=[])
    try:
        answer = hidden("-C", "sleep", "-c", "0:0")
        assert answer.code == 2  # too many stay too many
        assert "Others may be hidden from this user (/proc with hidepid): these are lower bounds." in answer.out
    finally:
        sleeper.kill()
        sleeper.wait(timeout=5)


def test_hidden_processes_are_not_the_culprit(tmp_path):
    """The largest of the processes that could be seen was named, at 0.4 % of memory."""
    proc = tree(tmp_path, "d-process-group")
    for path in [path for path in proc.iterdir() if path.name.isdigit()]:
        if (path / "comm").read_text() != "sshd\n":
            path.unlink()
    answer = run("check_free_mem", "--procfs", str(proc)).sound()
    assert answer.code == 2
    assert "culprit: processes this check cannot see (/proc with hidepid, or another PID namespace) " in answer.first
    assert "sshd" not in answer.out


# Output

OUTPUTS = [(scenario, check, more) for scenario in ("hostile-names", "merged-slab", "i-openvz", "cgroup-v1-limit")
           for check in CHECKS for more in ("-vv", "--short")]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> list[Answer]:
    state = str(tmp_path_factory.mktemp("state"))
    env = environment(MEMTRIAGE_STATE_DIR=state)
    return [on(scenario, check, more, env=env).sound(8192) for scenario, check, more in OUTPUTS]


def test_lines_that_no_engine_bends(outputs):
    """Engines trim and fold blanks, break columns of a proportional font, and take an empty first line for no output."""
    for answer in outputs:
        for line in answer.out.splitlines():
            assert line and line == line.strip() and "\t" not in line, answer.out
            assert not re.search(r"\S {3,}\S", line), line
        words, _, perfdata = answer.out.partition("\n")[0].partition(" | ")
        assert words and "  " not in perfdata and not words.endswith(" ")
        assert answer.code == 3 or answer.out.count("\n") >= 2, answer.out


def test_names_lose_what_macros_would_lose(outputs):
    """Nagios strips ` ~ $ & | ' \" < > in macros and rewrites ; in the first line: a name with them arrived as another, or in a shell."""
    for answer in outputs:
        assert not set("`$&\\") & set(answer.out), answer.out
        for name in re.findall(r"'(.*?)'(?= [0-9(,]|$)", answer.out.partition("\n")[0]):
            assert not set("~;\"") & set(name), name


def icinga(text: str) -> dict[str, tuple[float, str, str, str]]:
    """Perfdata as Icinga 2 reads it (lib/base/perfdatavalue.cpp): label up to the last ``=``, no commas, known units, plain limits."""
    found = {}
    for item in text.split(" "):
        label, _, rest = item.rpartition("=")
        parts = rest.split(";")
        number = re.fullmatch(r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)([a-zA-Z%]*)", parts[0])
        assert label and "::" not in label and number and "," not in rest, item
        assert number[2] in ("", "B", "s", "%", "c"), item
        limits = [part if re.fullmatch(r"-?[0-9.]+", part) else "" for part in [*parts, "", ""][1:3]]
        found[label] = (float(number[1]), number[2], *limits)
    return found


def test_perfdata_as_icinga_reads_it(outputs):
    """Commas, units of 1000 for 1024, nan, exponents and U: the metric is dropped, or another value arrives."""
    for answer in outputs:
        line = answer.out.partition("\n")[0]
        if " | " in line:
            read = icinga(line.partition(" | ")[2])
            assert list(read) == list(answer.perfdata)
            assert all(abs(value) < 2**53 and f"{value:.6f}".rstrip("0").rstrip(".") == re.match("[-0-9.]+", answer.perfdata[label])[0]
                       for label, (value, *_) in read.items())


def test_upper_limits_are_plain_numbers():
    """Icinga 2 drops ranges and limits with units: graphs had no line where the alarm is."""
    answer = on("healthy", "check_proc_count", "-m", "rss", "-w", "~:1GiB", "-c", "0:2GiB").sound()
    assert icinga(answer.out.partition("\n")[0].partition(" | ")[2])["rss"][2:] == ("1073741824", "2147483648")
    answer = on("healthy", "check_proc_count", "-m", "age", "-w", "90d").sound()
    assert answer.code == 0


PERL = """
use Monitoring::Plugin::Performance;
while (<STDIN>) {
    chomp;
    my @items = Monitoring::Plugin::Performance->parse_perfstring($_);
    print join(" ", map { join("=", $_->label, $_->value, $_->uom // "") } @items), "\\n";
}
"""


@pytest.mark.engine
def test_perfdata_as_perl_reads_it(outputs):
    """Perfdata was tried with the plugin's own reader only."""
    if subprocess.run(["perl", "-MMonitoring::Plugin", "-e", "1"], capture_output=True, check=False).returncode:
        pytest.skip("needs Perl's Monitoring::Plugin: apt-get install libmonitoring-plugin-perl")
    lines = [answer.out.partition("\n")[0].partition(" | ")[2] for answer in outputs if " | " in answer.out]
    done = subprocess.run(["perl", "-e", PERL], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=30, check=True)
    for line, read in zip(lines, done.stdout.splitlines()):
        ours = [re.match(r"(.*)=([-0-9.]+)(\D*?)(?:;|$)", item).groups() for item in line.split(" ")]  # type: ignore[union-attr]
        assert [tuple(item.split("=")) for item in read.split(" ")] == ours
    assert done.stderr == ""


def test_a_cache_name_that_is_no_label(tmp_path):
    """= or ' in a perfdata label raises RuntimeError in nagiosplugin."""
    proc = tree(tmp_path)
    file = proc / "slabinfo"
    for name in ("a='b\"=;c", "a::b", "a.b/c", "\u00e4\u00df", "=", "'"):
        file.write_text(file.read_text() + f"{name} 160000 160000 2048 16 8 : tunables 0 0 0 : slabdata 10000 10000 0\n", encoding="utf-8")
    answer = run("check_slab_growth", "--procfs", str(proc), "--state-dir", str(tmp_path / "state")).sound()
    assert answer.code == 0
    assert len([label for label in answer.perfdata if label.startswith("s_")]) == 5
    assert "s_a_b__c" not in answer.perfdata or answer.perfdata["s_a_b__c"].startswith("327680000B")


# How it ends

def test_a_pipe_nobody_reads():
    """A full stdout ended with 1, which is WARNING; a pipe that stays full must not hold the check beyond its time-out."""
    for blocking in (True, False):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ, which Python names since 3.10
        os.set_blocking(writer, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, blocking)
        started = time.monotonic()
        process = subprocess.Popen([str(ROOT / "checks" / "check_free_mem.py"), "-t", "1"], stdout=writer,
                                   stderr=subprocess.PIPE, env=environment())
        try:
            assert (process.communicate(timeout=8)[1], process.returncode) == (b"", 3)
        finally:
            process.kill()
            os.close(reader)
            os.close(writer)
        assert time.monotonic() - started < 4


LATE = """
import os, signal, sys
from memtriage import options, plugin
piece, wrote, leave = int(sys.argv.pop()), os.write, os._exit
def write(handle, data):
    size = wrote(handle, data[:piece or None])
    os.kill(os.getpid(), signal.SIGALRM)
    return size
def slow(state):
    if not ended:
        ended.append(state)
        os.kill(os.getpid(), signal.SIGALRM)
    leave(state)
ended = []
os.write, os._exit = write, slow
plugin.main("X", "About.", options.complete(()), lambda args: plugin.Report(2, "short of memory", [], []))
"""


@pytest.mark.parametrize("piece", [0, 5])
def test_the_last_second_passes_when_all_is_said(piece):
    """Seen in a guest that thrashed: a WARNING in words with UNKNOWN as exit code, since the exit itself took a second."""
    done = subprocess.run([sys.executable, "-c", LATE, str(piece)], env=environment(PYTHONPATH=str(ROOT / "lib")), capture_output=True,
                          timeout=30, check=False)
    assert (done.returncode, done.stdout) == ((3, b"X CRITICAL") if piece else (2, b"X CRITICAL - short of memory\n"))


@each_check
def test_a_reader_that_has_gone(check):
    """SIGPIPE, or Python's BrokenPipeError with exit 1."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([str(ROOT / "checks" / f"{check}.py")], env=environment(), stdout=writer, stderr=subprocess.PIPE, timeout=30,
                          check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (3, b"")


def no_more_processes() -> None:
    os.setgroups([])
    os.setgid(64990)
    os.setuid(64990)  # whom nothing else here runs as
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))


@pytest.mark.needs_root
@each_check
def test_where_nothing_can_fork(check, public_path):
    """A plugin that forks is dead in the case it exists for: fork failed, Cannot allocate memory."""
    env = environment(PATH=python_for_others(), MEMTRIAGE_STATE_DIR=str(public_path))
    public_path.chmod(0o777)
    link = public_path / check
    link.symlink_to(ROOT / "checks" / f"{check}.py")
    for file in (ROOT / "checks" / f"{check}.py", link):
        done = subprocess.run([str(file)], env=env, capture_output=True, timeout=30, preexec_fn=no_more_processes, check=False)
        assert Answer(done.returncode, done.stdout.decode(), done.stderr.decode()).sound().code == 0, done
    # The installed command resolves a link by readlink(1): it cannot here, and must not leave with sh's own 2, which is CRITICAL.
    link.unlink()
    link.symlink_to(ROOT / "bin" / check)
    done = subprocess.run(["dash" if shutil.which("dash") else "sh", str(link)], env=env, capture_output=True, timeout=60, check=False,
                          preexec_fn=no_more_processes)
    answer = Answer(done.returncode, done.stdout.decode(), done.stderr.decode()).sound()
    assert answer.out == f"MEMTRIAGE UNKNOWN - {check} cannot run: no other process can be started to resolve its link\n"


# What the pages say

def blocks(page: str) -> list[str]:
    return re.findall(r"(?ms)^```\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"))


def test_the_outputs_shown_in_the_readme():
    """Help and pages promised what the program does not do."""
    shown = [part for block in blocks("README.md") for part in re.split(r"(?m)^\$ ", block)[1:]]
    assert len(shown) == 2
    for part in shown:
        command, _, lines = part.partition("\n")
        words = shlex.split(command)
        assert words[0].startswith("checks/check_")
        output = run(Path(words[0]).stem, *words[1:], cwd=ROOT).out.splitlines()
        wanted = lines.strip().splitlines()
        assert wanted[-1] == "..." and output[: len(wanted) - 1] == wanted[:-1], output


def commands() -> list[list[str]]:
    """Every command line of a check that a page shows as an NRPE definition, and those of ``memtriage config``."""
    names = ("README.md", "docs/config.md", *(f"docs/{name}.md" for name in CHECKS))
    pages = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)
    made = [definitions.check(name) for name in CHECKS]
    pages += nrpe.render(definitions.Wanted(made, definitions.lines(made, [])))["memtriage-nrpe.cfg"]
    return [shlex.split(line) for line in sorted(set(re.findall(r"(?m)^#?command.*?/usr/lib/nagios/plugins/(check_.*)$", pages)))]


def test_the_commands_shown_on_the_pages(tmp_path):
    """Help and pages promised what the program does not do: run every documented command."""
    lines = commands()
    assert len(lines) >= 14
    for check, *options in lines:
        answer = on("healthy", check, *options, env=environment(MEMTRIAGE_STATE_DIR=str(tmp_path))).sound()
        assert answer.code in (0, 1, 2), answer.out


def test_options_named_on_the_pages_exist():
    """Pages named options that the program rejects."""
    known = {check: {flag for flags, _ in table(check) for flag in flags} for check in CHECKS}
    for check in CHECKS:
        prose = re.sub(r"(?ms)^```.*?^```", "", (ROOT / "docs" / f"{check}.md").read_text(encoding="utf-8"))
        for span in re.findall(r"`([^`]+)`", prose):
            if not span.startswith("-"):
                continue
            flag = span.split()[0].replace("/-c", "")
            assert flag in known[check] or any(name.startswith(flag.rstrip("\u2026")) for name in known[check]), (check, span)
