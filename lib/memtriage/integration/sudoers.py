"""sudo: the exact command lines of the other definitions, and no other argument."""

from __future__ import annotations

from memtriage.integration import nrpe
from memtriage.integration.table import Line, Wanted, long_words, made_by

_SPECIAL = {"\\": "\\\\\\\\"} | {letter: "\\" + letter for letter in ":,= #*?[]!^"}
"""The reader of the file takes a backslash away, fnmatch(3) the next: a backslash itself needs four."""


def escaped(word: str) -> str:
    """One argument in a sudoers file: nothing in it is a wildcard, a regular expression, a separator or a comment."""
    return "".join(_SPECIAL.get(letter, letter) for letter in word)


def commands(line: Line, wanted: Wanted) -> list[str]:
    """The forms an engine runs ``line`` in: itself, Icinga 2's own, through NRPE, and through NRPE with little output."""
    path = wanted.path(line.check)
    forms = [[path, *line.words], [path, *long_words(line)], *(nrpe.words(line, wanted, short)[2:] for short in (False, True))]
    found: list[str] = []
    for path, *words in forms:
        text = path + (" " + " ".join(map(escaped, words)) if words else ' ""')
        if text not in found:
            found.append(text)
    return found


def render(wanted: Wanted) -> dict[str, str]:
    """``memtriage-sudoers``, for /etc/sudoers.d (mode 0440, no dot in its name)."""
    allowed = [command for line in wanted.lines if line.check.name in wanted.sudo for command in commands(line, wanted)]
    text = [made_by("sudoers", "#"),
            "# For /etc/sudoers.d/memtriage, mode 0440. Each line is allowed as it stands; \"\" means: without any argument.",
            "# Not needed where the flight recorder publishes slabinfo (memtriage config systemd) and kernel.dmesg_restrict is 0."]
    if not allowed:
        text.append("# None of the checks is run by sudo.")
        return {"memtriage-sudoers": "\n".join(text) + "\n"}
    text += ["", "Cmnd_Alias MEMTRIAGE = \\", ", \\\n".join("    " + command for command in allowed), "",
             "# Less in the log: three lines a run otherwise.", "# Defaults!MEMTRIAGE !log_allowed, !pam_session", "",
             f"{wanted.user} ALL=(root) NOPASSWD: MEMTRIAGE"]
    return {"memtriage-sudoers": "\n".join(text) + "\n"}
