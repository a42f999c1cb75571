"""Writes each check's and command's --help into its page, and the output of commands where a page asks for it, between the marks.

    run: memtriage ...   what the command prints; also python -m tests. ...
    session              each line that begins with ``$ `` is run by bash, and what it prints stands below it; all sessions of a page in one
                         folder, which is empty but for this checkout's tests, in UTC
    file: NAME           a file of this checkout

``python docs/help.py --check`` only compares. Run by ``make docs``; with names of pages only those.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- help: made by make docs -->\n```\n", "```\n<!-- end of help -->\n"
RUN = re.compile(r"(<!-- run: (memtriage|python -m tests\.[a-z.]+) ?([^\n]*?) -->\n```\n).*?(```\n<!-- end of run -->\n)", re.DOTALL)
SESSION = re.compile(r"(<!-- session -->\n```\n)(.*?)(```\n<!-- end of session -->\n)", re.DOTALL)
FILE = re.compile(r"(<!-- file: ([^\n]*) -->\n```\n).*?(```\n<!-- end of file -->\n)", re.DOTALL)
sys.path.insert(0, str(ROOT / "lib"))

from memtriage import cli  # noqa: E402 - from this checkout
from memtriage.options import _wrap  # noqa: E402


def of_check(name: str) -> str:
    """What the check prints."""
    command = [sys.executable, str(ROOT / "checks" / (name + ".py")), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if shown.returncode != 3:
        raise SystemExit(f"{name}: --help failed: {shown.stdout}")
    return shown.stdout


def of_command(name: str) -> str:
    """What argparse knows of a command, laid out by hand: its own text differs from one Python to the next."""
    for variable in [key for key in os.environ if key.startswith("MEMTRIAGE_")]:
        del os.environ[variable]  # they change defaults
    module, parser = cli.subcommand(name)
    words = "".join(f" {action.metavar or action.dest}" for action in parser._actions if not action.option_strings)
    lines = [f"Usage: memtriage {name} [options]{words}", "", *module.__doc__.strip().splitlines(), ""]
    for action in parser._actions:
        value = "" if action.nargs == 0 else action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices
                                                                 else action.dest.upper())
        left = "  " + (", ".join(action.option_strings) + (f" {value}" if value else "") if action.option_strings else value)
        text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help) % {"default": action.default, "prog": parser.prog}
        if len(left) > 24:
            lines.append(left)
            left = ""
        rows = _wrap(text, 60)
        lines.append(f"{left:<26}{rows[0]}".rstrip())
        lines += [" " * 26 + row for row in rows[1:]]
    return "\n".join(lines) + "\n"


def ran(found: "re.Match[str]") -> str:
    """The mark, and below it what the command in it prints."""
    command = [sys.executable, "-m", found[2].split()[-1], *shlex.split(found[3])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "lib"), str(ROOT), os.environ.get("PYTHONPATH"))))}
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=env)
    return found[1] + shown.stdout + found[4]


class Sessions:
    """The terminal of one page."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder / "here", folder / "bin"
        for path in (self.folder, self.programs, folder / "tmp"):
            path.mkdir()
        (self.folder / "tests").symlink_to(ROOT / "tests")
        commands = {"memtriage": "-m memtriage", **{path.stem: str(path) for path in (ROOT / "checks").glob("check_*.py")}}
        for name, words in commands.items():
            (self.programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n', encoding="utf-8")
            (self.programs / name).chmod(0o755)
        self.env = {"PATH": f"{self.programs}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "lib"), "TZ": "UTC", "LC_ALL": "C.UTF-8",
                    "HOME": os.environ.get("HOME", "/"), "TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}

    def ran(self, found: "re.Match[str]") -> str:
        lines = []
        for line in found[2].splitlines():
            if not line.startswith("$ "):
                continue
            shown = subprocess.run(["bash", "-c", line[2:]], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                                   text=True, timeout=120, check=False)
            if shown.stderr or shown.returncode > 3:
                raise SystemExit(f"{line}\nleft with {shown.returncode}: {shown.stderr}")
            lines += [line, *shown.stdout.splitlines()]
        return found[1] + "".join(line.rstrip() + "\n" for line in lines) + found[3]


def in_file(found: "re.Match[str]") -> str:
    return found[1] + (ROOT / found[2]).read_text(encoding="utf-8") + found[3]


def renewed(page: Path) -> str:
    """The page's text with the blocks as they are now. The pages of commands need not have one of help."""
    text = FILE.sub(in_file, RUN.sub(ran, page.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        text = SESSION.sub(Sessions(Path(folder)).ran, text)
    if not page.stem.startswith("check_") and page.stem not in cli.COMMANDS:
        return text
    before, found, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not found and page.stem in cli.COMMANDS:
        return text
    if not found or not end:
        raise SystemExit(f"{page.name}: no help block")
    return before + START + (of_check if page.stem.startswith("check_") else of_command)(page.stem) + END + after


if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    for path in map(Path, names) if names else sorted((ROOT / "docs").glob("*.md")):
        new = renewed(path)
        if new != path.read_text(encoding="utf-8"):
            if "--check" in sys.argv:
                raise SystemExit(f"{path.name}: a block is old; run make docs")
            path.write_text(new, encoding="utf-8")
