"""Manual pages and shell completions, made by argparse-manpage and shtab from the parsers in parsers.py; at build time only."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

import shtab

try:
    from argparse_manpage.manpage import Manpage
except ImportError:  # up to 1.2, which Debian 12 has
    from build_manpages.manpage import Manpage

RANGES = """\
.SH RANGES
RANGE is a Nagios range; its ends belong to it. 10 alarms below 0 and above 10, 10: below 10, ~:10 above 10, 10:20 outside, @10:20 inside.
Where the measure has a unit the bounds may carry one: %, B, KiB, MiB, GiB, TiB, s, m, h, d.
"""
CHECK_STATUS = """\
.SH EXIT STATUS
0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. Nothing else, ever; --help and --version leave with 3 too.
"""
COMMAND_STATUS = """\
.SH EXIT STATUS
0 if it was done, 1 if it could not be, 2 if the command line cannot be used.
"""


def _roff(text: str) -> str:
    """Own text, with a minus that can be copied and typed again."""
    return re.sub(r"(?<!\\)-", r"\\-", text)


def page(parser: Any, version: str, epoch: int, more: str, others: list[str]) -> str:
    """One manual page in section 1. ``epoch`` in seconds is its date; ``more`` roff of further sections; ``others`` the SEE ALSO."""
    text = str(Manpage(parser))
    # The page's name is one word, the command is two.
    text = re.sub(r"(\.SH SYNOPSIS\n[^\n]*?\bmemtriage)\\?-", r"\1 ", text, count=1)
    name = _roff(parser.prog)
    day = time.strftime("%Y\\-%m\\-%d", time.gmtime(epoch))
    title = f'.TH {name.upper()} 1 "{day}" "memtriage {version}" "memtriage"'
    # A line of the text that begins as a request would be one, and be lost.
    lines = [r"\&" + line if line.startswith("'") else line for line in text.splitlines()[1:] if line]
    body = "\n".join(lines).replace("\n.br\n.br\n", "\n.PP\n")
    also = ", ".join(f"{_roff(other)}(1)" for other in others)
    return f"{title}\n{body}\n{_roff(more)}.SH SEE ALSO\n.nh\n{also}\n"


def pages(check: dict[str, Any], command: dict[str, Any], version: str, epoch: int) -> dict[str, str]:
    """The file name and text of each page; ``check`` and ``command`` are the parsers by the name of their page."""
    made = {}
    for name, parser in check.items():
        made[f"{name}.1"] = page(parser, version, epoch, RANGES + CHECK_STATUS, [other for other in check if other != name] + ["memtriage"])
    for name, parser in command.items():
        others = [other for other in command if other != name] + (list(check) if name == "memtriage" else [])
        made[f"{name}.1"] = page(parser, version, epoch, COMMAND_STATUS, others)
    return made


# shtab 1.5.5, which Debian 12 has, offers the first of several choices only; later versions do as this does.
_REPAIRS = {'="${current_action}_choices"\n': '="${current_action}_choices[@]"\n',
            '-W "${current_action_choices}"': "-W \"${current_action_choices// /$'\\n'}\""}


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a command for ``bash`` or ``zsh``."""
    made: str = shtab.complete(parser, shell=shell, root_prefix=re.sub("[^a-z0-9_]", "_", parser.prog))
    if shell == "bash" and all(made.count(old) == 1 for old in _REPAIRS):
        for old, new in _REPAIRS.items():
            made = made.replace(old, new)
    return made
