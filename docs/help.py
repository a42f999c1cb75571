"""Writes each check's and command's --help into its page, and the output of commands where a page asks for it, between the marks.

``python docs/help.py --check`` only compares. Run by ``make docs``.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- help: made by make docs -->\n```\n", "```\n<!-- end of help -->\n"
RUN = re.compile(r"(<!-- run: memtriage ([^\n]*) -->\n```\n).*?(```\n<!-- end of run -->\n)", re.DOTALL)
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
    command = [sys.executable, "-m", "memtriage", *shlex.split(found[2])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "lib"), os.environ.get("PYTHONPATH"))))}
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=env)
    return found[1] + shown.stdout + found[3]


def renewed(page: Path) -> str:
    """The page's text with the blocks as they are now. The pages of commands need not have one of help."""
    text = RUN.sub(ran, page.read_text(encoding="utf-8"))
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
    for path in sorted((ROOT / "docs").glob("*.md")):
        new = renewed(path)
        if new != path.read_text(encoding="utf-8"):
            if "--check" in sys.argv:
                raise SystemExit(f"{path.name}: the help block is old; run make docs")
            path.write_text(new, encoding="utf-8")
