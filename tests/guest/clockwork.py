"""Runs in the guest: a recorder, and checks that remember, while the wall clock is set and the host sleeps. Prints JSON, an object a line.

    clockwork.py CALM ASLEEP      seconds between two events, and of the sleep
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time

SCRATCH = "/scratch/"
STATE = SCRATCH + "state"
CHECKS = {"mem_recorder": ["--file", SCRATCH + "recording"], **{name: ["--state-dir", STATE] for name in (
    "free_mem", "slab_growth", "mem_pressure", "oom_kill")}}
IN_1971 = datetime.datetime(1971, 6, 1, tzinfo=datetime.timezone.utc).timestamp()


def up() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def ask(event: str) -> None:
    """Each check once, that of the recorder first: what does it say when it is asked at the worst moment?"""
    for name, options in CHECKS.items():
        begin = up()
        done = subprocess.run([f"/work/lib/bin/check_{name}", *options], capture_output=True, text=True, timeout=60, check=False)
        say(event=event, check=name, at=begin, code=done.returncode, out=done.stdout, err=done.stderr)
    remembered = {}
    for name in ("memory", "check_mem_pressure", "check_oom_kill"):
        with open(f"{STATE}/0/{name}.json", encoding="ascii") as handle:
            remembered[name] = [row[1] for row in json.load(handle)["rows"]]
    say(event=event, remembered=remembered)


def put(path: str, words: str) -> None:
    with open(path, "w", encoding="ascii") as handle:
        handle.write(words)


def sleep(seconds: int) -> None:
    """To RAM, until the real-time clock's alarm."""
    alarm = "/sys/class/rtc/rtc0/wakealarm"
    put(alarm, "0")
    put(alarm, f"+{seconds}")
    put("/sys/power/state", "mem")


def main(calm: float, asleep: int) -> None:
    recorder = subprocess.Popen([sys.executable, "-m", "memtriage", "record", "--output", SCRATCH + "recording", "--size", "4MiB",
                                 "--interval", "1", "--publish", "/run/slabinfo"], stderr=subprocess.PIPE, text=True)
    assert recorder.stderr is not None
    recorder.stderr.readline()
    right = time.time() - up()

    def clock(offset: float) -> None:
        time.clock_settime(time.CLOCK_REALTIME, right + up() + offset)

    events = {"right": lambda: None, "+2h": lambda: clock(7200), "-1h": lambda: clock(3600), "1971": lambda: clock(IN_1971 - right - up()),
              "right again": lambda: clock(0), "sleep": lambda: sleep(asleep)}
    for name, happen in events.items():
        before = up(), time.monotonic(), time.time()
        happen()
        after = up(), time.monotonic(), time.time()
        say(event=name, before=before, after=after, happened=[now - then for now, then in zip(after, before)])
        ask(name)
        time.sleep(calm)
    ask("end")
    recorder.terminate()
    recorder.wait(timeout=60)
    say(recorder=recorder.returncode, said=recorder.stderr.read())
    for name, options in (("print", ["--print"]), ("jsonl", ["--export", "jsonl"]), ("csv", ["--export", "csv"]),
                          ("since", ["--export", "jsonl", "--since", "20s"])):
        with open(SCRATCH + name, "wb") as out:
            subprocess.run([sys.executable, "-m", "memtriage", "record", *options, "--output", SCRATCH + "recording"], stdout=out,
                           timeout=200, check=True, env={**os.environ, "TZ": "UTC"})


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
