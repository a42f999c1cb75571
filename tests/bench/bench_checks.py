"""What a check costs as a whole process, next to bare imports and to other plugins here. Prints tables, writes nothing, ends all it starts.

    python tests/bench/bench_checks.py [--rounds N] [--processes N]

Runs the checks of this checkout with $MEMTRIAGE_PYTHON or this interpreter, and the commands installed beside it. CPU is user + system time
of the process and all its children, the median of N rounds; the commands take turns, so that a slow minute of the host hits all of them.
Needs a C compiler: the floor to compare with, and a launcher smaller than what it measures, are C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Callable, NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON = os.environ.get("MEMTRIAGE_PYTHON") or sys.executable
PEERS = "/usr/lib/nagios/plugins"
SLEEPER = "mt_sleeper"
TREE = os.path.join(ROOT, "tests/fixtures/c-unreclaimable-slab/proc")


class Candidate(NamedTuple):
    label: str
    command: list[str]
    before: Callable[[], object] = lambda: None
    """Called before each round, not measured."""


class Cost(NamedTuple):
    cpu_ms: float
    peak_kib: float
    code: int
    said: str


def environment() -> dict[str, str]:
    """As NRPE leaves it, and this interpreter first."""
    return {"PATH": os.path.dirname(PYTHON) + ":/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent"}


def run(measure: str, command: list[str]) -> Cost:
    done = subprocess.run([measure, *command], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)
    cpu_us, peak_kib, code = (int(word) for word in done.stderr.split())
    said = done.stdout.decode("utf-8", "replace").partition("\n")[0].partition("|")[0].strip()
    return Cost(cpu_us / 1000, peak_kib, code, said)


def compared(measure: str, candidates: list[Candidate], rounds: int) -> dict[str, Cost]:
    """Medians by label. One round more is run first and thrown away: it compiles and fills caches. Every other round goes backwards."""
    costs: dict[str, list[Cost]] = {candidate.label: [] for candidate in candidates}
    for turn in range(rounds + 1):
        for candidate in candidates if turn % 2 else reversed(candidates):
            candidate.before()
            cost = run(measure, candidate.command)
            if turn:
                costs[candidate.label].append(cost)
    return {label: Cost(statistics.median(cost.cpu_ms for cost in found), statistics.median(cost.peak_kib for cost in found),
                        max(cost.code for cost in found), found[-1].said) for label, found in costs.items()}


def table(title: str, costs: dict[str, Cost], base: str) -> None:
    """Prints one row per command, with ratios to the row ``base``."""
    print(f"\n{title}; ratios to: {base}")
    print(f"{'command':<44} {'CPU ms':>8} {'ratio':>6} {'peak MiB':>9} {'ratio':>6} {'exit':>4}  says")
    for label, cost in costs.items():
        cpu, peak = cost.cpu_ms / max(costs[base].cpu_ms, 0.001), cost.peak_kib / costs[base].peak_kib
        print(f"{label:<44} {cost.cpu_ms:8.2f} {cpu:6.2f} {cost.peak_kib / 1024:9.1f} {peak:6.2f} {cost.code:4d}  {cost.said[:70]}")


def checks(name: str, *options: str) -> list[Candidate]:
    """The check of the checkout, and the command installed beside the interpreter, each if there."""
    found = []
    checkout, installed = os.path.join(ROOT, "checks", name + ".py"), os.path.join(os.path.dirname(PYTHON), name)
    if os.path.exists(checkout):
        found.append(Candidate(" ".join([name, *(options[:2] if options[:1] == ("-C",) else ())]), [PYTHON, checkout, *options]))
    if os.access(installed, os.X_OK):
        found.append(Candidate(" ".join([name, *(options[:2] if options[:1] == ("-C",) else ()), "(installed)"]), [installed, *options]))
    return found


def imports(measure: str, *modules: str) -> list[Candidate]:
    words = "import " + ", ".join(modules)
    command = [PYTHON, "-c", words]
    return [Candidate(f"python -c '{words}'", command)] if run(measure, command).code == 0 else []


def peer(name: str, *options: str) -> list[Candidate]:
    path = os.path.join(PEERS, name)
    return [Candidate(" ".join([name, *options]), [path, *options])] if os.access(path, os.X_OK) else []


def start_up(measure: str, folder: str, rounds: int) -> None:
    base = imports(measure, "nagiosplugin", "argparse")
    if not base:
        sys.exit(f"{PYTHON} has no nagiosplugin")
    candidates = [Candidate("python -c pass", [PYTHON, "-c", "pass"]), *base, *imports(measure, "nagiosplugin", "psutil"),
                  *checks("check_free_mem", "--state-dir", folder),
                  *checks("check_slab_growth", "--state-dir", folder), *checks("check_proc_count", "-C", "init"),
                  *checks("check_oom_kill", "--state-dir", folder), *checks("check_mem_pressure", "--state-dir", folder),
                  *peer("check_memory", "-a", "-w", "20%:", "-c", "10%:"), *peer("check_procs"),
                  *peer("check_swap", "-w", "20%", "-c", "10%"), *peer("pmp-check-unix-memory")]
    table("One run on this host as it is", compared(measure, candidates, rounds), base[0].label)


def room() -> int:
    """How many processes more this user may have here, by the limits that can be read."""
    limits = []
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as handle:
        own = handle.read().splitlines()
    groups = [os.path.join("/sys/fs/cgroup", "pids" if ":pids:" in line else "", line.split(":", 2)[2].lstrip("/")) for line in own]
    folders = {part for group in groups for part in _upwards(group)}
    for path in ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max", *(os.path.join(one, "pids.max") for one in folders)]:
        try:
            with open(path, encoding="ascii") as handle:
                word = handle.read().strip()
        except OSError:
            continue
        if word.isdigit():
            limits.append(int(word))
    running = sum(name.isdigit() for name in os.listdir("/proc"))
    return min(limits, default=0) - running


def _upwards(path: str) -> Iterator[str]:
    while path.startswith("/sys/fs/cgroup"):
        yield path.rstrip("/")
        path = os.path.dirname(path.rstrip("/"))


@contextlib.contextmanager
def sleeping(program: str, count: int) -> Iterator[None]:
    """Has ``count`` sleeping processes for the time of the block. They end with their parent, whatever ends that."""
    with subprocess.Popen([program, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        try:
            if parent.stdout is None or parent.stdout.readline() != b"ready\n":
                sys.exit(f"could not make {count} processes")
            yield
        finally:
            if parent.stdin is not None:
                parent.stdin.close()
            try:
                parent.wait(30)
            except subprocess.TimeoutExpired:
                parent.terminate()


def many_processes(measure: str, tools: dict[str, str], count: int, rounds: int) -> None:
    spare = room()
    if spare < count + 500:
        print(f"\nWith {count} processes: not run, the limits here leave room for {max(0, spare)} more and 500 are kept free")
        return
    floor = Candidate("c_loop: /proc/*/stat in C", [tools["c_loop"]])
    candidates = [floor]
    for name in ("x", SLEEPER):  # none of them, and all
        candidates += [*checks("check_proc_count", "-C", name), *peer("check_procs", "-C", name)]
    loop = "import psutil; print(sum(p.info['name'] == %r for p in psutil.process_iter(['name', 'status', 'memory_info'])))" % SLEEPER
    if imports(measure, "psutil"):
        candidates.append(Candidate("psutil.process_iter(name, status, memory)", [PYTHON, "-c", loop]))
    with sleeping(tools["sleepers"], count):
        costs = compared(measure, candidates, rounds)
    table(f"With {count} sleeping processes", costs, floor.label)
    for peer_label in [label for label in costs if label.startswith("check_procs")]:
        name = peer_label.split(" ")[-1]
        for own in [label for label in costs if label.startswith(f"check_proc_count -C {name}")]:
            cpu, peak = costs[own].cpu_ms / costs[peer_label].cpu_ms, costs[own].peak_kib / costs[peer_label].peak_kib
            print(f"{own} / {peer_label}: CPU {cpu:.2f}, peak {peak:.2f}")


def history(measure: str, base: str, rounds: int) -> None:
    """The same run on a captured tree with no history, and with as much as the state file ever holds."""
    sys.path.insert(0, os.path.join(ROOT, "lib"))
    try:
        from memtriage import following, state  # noqa: PLC0415 - measured without them where they do not exist
    except ImportError as error:
        print(f"\nState file: not run, {error}")
        return
    sample = following.sample(TREE, following.read(TREE, os.path.join(os.path.dirname(TREE), "sys")))
    wide = {**sample.values, **{f"c.filler_{key}": 1000 + 7919 * key for key in range(100)}}  # as many caches as a large host has
    sides = {}
    for side in ("empty", "full"):
        sides[side] = os.path.join(base, side)
        os.makedirs(sides[side], exist_ok=True)
    folder = state.default_folder({}, sides["full"], os.geteuid())
    path = os.path.join(folder, following.NAME + ".json")
    for step in range(500, 0, -1):
        values = {key: value + step * 97 * len(key) for key, value in wide.items()}
        kept = state.remember(folder, following.NAME, state.Sample(sample.boot, sample.uptime - step * 300.0, values))
        if not kept.stored:
            sys.exit(f"state file: {kept.problem}")
    full = path + ".copy"
    shutil.copy(path, full)

    def forget() -> None:
        shutil.rmtree(sides["empty"])
        os.makedirs(sides["empty"])

    for own in [*checks("check_free_mem", "--procfs", TREE), *checks("check_slab_growth", "--procfs", TREE)]:
        candidates = [
            Candidate(own.label + ", no history", [*own.command, "--state-dir", sides["empty"]], forget),
            Candidate(own.label + ", full history", [*own.command, "--state-dir", sides["full"]], lambda: shutil.copy(full, path)),
        ]
        costs = compared(measure, candidates, rounds)
        table(f"State file of {os.path.getsize(full)} bytes, {len(kept.samples)} samples", costs, candidates[0].label)
        empty, filled = (costs[candidate.label] for candidate in candidates)
        print(f"full less empty: {filled.cpu_ms - empty.cpu_ms:.2f} ms CPU, {(filled.peak_kib - empty.peak_kib) / 1024:.2f} MiB")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--rounds", type=int, default=15)
    reader.add_argument("--processes", type=int, default=5000, help="sleeping processes for check_proc_count; 0: without")
    args = reader.parse_args()
    if args.rounds < 1 or not 0 <= args.processes <= 20000:
        reader.error("--rounds is 1 or more, --processes 0 to 20000")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit("bench_checks needs a C compiler (cc)")
    with tempfile.TemporaryDirectory() as base:
        tools = {name: os.path.join(base, name) for name in ("measure", "c_loop", "sleepers")}
        for name, path in tools.items():
            subprocess.run([compiler, "-O2", "-Wall", "-o", path, os.path.join(HERE, name + ".c")], check=True, timeout=60)
        version = subprocess.run([PYTHON, "-V"], capture_output=True, check=True, timeout=60).stdout.decode().strip()
        print(f"{version} ({PYTHON}), Linux {os.uname().release}, {os.cpu_count()} CPUs, {args.rounds} rounds")
        start_up(tools["measure"], os.path.join(base, "live"), args.rounds)
        if args.processes:
            many_processes(tools["measure"], tools, args.processes, args.rounds)
        history(tools["measure"], base, args.rounds)
    chosen = f"MEMTRIAGE_PYTHON={shlex.quote(PYTHON)} " if os.environ.get("MEMTRIAGE_PYTHON") else ""
    script = os.path.relpath(os.path.abspath(__file__))
    print(f"\nAgain: {chosen}{shlex.quote(sys.executable)} {shlex.quote(script)} --rounds {args.rounds} --processes {args.processes}")


if __name__ == "__main__":
    main()
