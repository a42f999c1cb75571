"""NRPE: one ``command[...]`` line for each variant, since no arguments are taken from the network (dont_blame_nrpe=0)."""

from __future__ import annotations

import shlex

from memtriage.integration.table import Line, Wanted, made_by

TIMEOUT = ("-t", "8")
"""Below the 10 s of check_nrpe, which ends in CRITICAL and knows nothing of the check."""
LONGEST = 2047
"""What NRPE reads of a line of its configuration."""


def words(line: Line, wanted: Wanted, short: bool = False) -> list[str]:
    """The program and its options, as started."""
    timed = {"-t", "--timeout"} & {word.partition("=")[0] for word in line.words} or any(word.startswith("-t") for word in line.words)
    sudo = ["/usr/bin/sudo", "-n"] if line.check.name in wanted.sudo else []
    return [*sudo, wanted.path(line.check), *line.words, *(() if timed else TIMEOUT), *(["--short"] if short else [])]


def render(wanted: Wanted) -> dict[str, str]:
    """``memtriage-nrpe.cfg``, to be included by nrpe.cfg (Debian: its place is /etc/nagios/nrpe.d)."""
    text = [made_by("nrpe", "#"), "# For NRPE's include_dir. Arguments are fixed here: dont_blame_nrpe=0 may stay."]
    if any(line.check.name in wanted.sudo for line in wanted.lines):
        text.append("# Lines with sudo need what memtriage config sudoers prints.")
    text.append("# To a server with check_nrpe -2, of whose answers 1,023 bytes arrive, use the lines with --short.")
    for line in wanted.lines:
        text += ["", f"# {line.check.about}"]
        # $$ is NRPE's own way to write $: a single one would begin a macro.
        for mark, short in (("", False), ("#", True)):
            definition = f"command[{line.name}]=" + " ".join(shlex.quote(word) for word in words(line, wanted, short)).replace("$", "$$")
            if len(definition) > LONGEST:
                raise ValueError(f"{line.name}: NRPE reads {LONGEST} characters of a line, this one has {len(definition)}")
            text.append(mark + definition)
    return {"memtriage-nrpe.cfg": "\n".join(text) + "\n"}
