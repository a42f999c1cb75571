"""Runs a check's own file as a process of its own, without starting a Python for each: a parent has loaded it and forks for every run.

What a run leaves is what an engine would see: the exit code, standard output and error of a process that ended, with its signals and its
timer. What it does not show is how a check starts, the line for sh at its head and the imports: :func:`tests.checks.command.run` does.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from typing import Any

from tests.checks import command
from tests.checks.command import FIXTURES, ROOT, Answer, environment

PARENT = """
import json, os, runpy, select, sys, time, traceback
path = sys.argv[1]
check = runpy.run_path(path, run_name="check")
def child(folder, env, options, out, err):
    os.dup2(out, 1), os.dup2(err, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = [path, *options]
    code = 1
    try:
        check["main"]()
        code = 0  # as Python leaves where nobody says otherwise
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
for line in sys.stdin:
    folder, env, *options = json.loads(line)
    out, err = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        child(folder, env, options, out[1], err[1])
    os.close(out[1]), os.close(err[1])
    data = {out[0]: b"", err[0]: b""}
    left = set(data)
    while left:
        for handle in select.select(list(left), [], [])[0]:
            piece = os.read(handle, 65536)
            data[handle] += piece
            if not piece:
                left.discard(handle)
                os.close(handle)
    status = os.waitpid(pid, 0)[1]
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    text = [data[out[0]].decode("ascii"), data[err[0]].decode("utf-8", "replace")]
    print(json.dumps([code, *text]), file=sys.__stdout__, flush=True)
"""
_parents: dict[str, subprocess.Popen[str]] = {}


def run(check: str, *options: str, cwd: object = "", env: dict[str, str] | None = None, started: bool = False) -> Answer:
    """As :func:`tests.checks.command.run`, to which it leaves the run where it must be ``started`` for itself."""
    if started:
        return command.run(check, *options, env=env, cwd=cwd or None)
    parent = _parents.get(check)
    if parent is None:
        parent = _parents[check] = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(ROOT / "checks" / f"{check}.py")], env=environment(PYTHONPATH=str(ROOT / "lib")),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(_end, parent)
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write(json.dumps([str(cwd or os.getcwd()), env or environment(), *options]) + "\n")
    parent.stdin.flush()
    line = parent.stdout.readline()
    assert line, f"the parent of {check} ended"
    answer: list[Any] = json.loads(line)
    return Answer(*answer)


def on(scenario: str, check: str, *options: str, **more: Any) -> Answer:
    return run(check, "--procfs", f"{scenario}/proc", *options, cwd=FIXTURES, **more)


def _end(parent: subprocess.Popen[str]) -> None:
    assert parent.stdin is not None
    parent.stdin.close()
    parent.wait(timeout=10)
