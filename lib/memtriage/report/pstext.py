"""What ``ps aux`` prints: programs with their number and resident memory, and who ran."""

from __future__ import annotations

from memtriage.procfs import files


def groups(text: bytes, page: int) -> tuple[dict[str, tuple[int, int]], frozenset[bytes], bool]:
    """Programs with their number and resident pages, from ``ps aux``; who they are; whether there was a list at all."""
    found: dict[str, tuple[int, int]] = {}
    crowd = set()
    columns = None
    for line in text.split(b"\n")[:-1] if not text.endswith(b"\n") else text.split(b"\n"):
        if columns is None:
            if b"PID" in line and b"RSS" in line:
                columns = [word.strip() for word in line.split()]
            continue
        words = line.split(None, 10)
        if len(words) < 11 or not words[1].isdigit() or not words[5].isdigit() or len(words[5]) > 14:
            continue
        pages = int(words[5]) * 1024 // page
        if not pages:
            continue
        name = _name(words[10])
        members, held = found.get(name, (0, 0))
        found[name] = members + 1, held + pages
        if name not in ("ps", "sleep", "date", "free", "cat"):
            crowd.add(words[1] + b" " + words[10][:40])
    return found, frozenset(crowd), columns is not None


def _name(command: bytes) -> str:
    """The program of a command line: without its folder, a login shell's dash, and what a server says of itself behind a colon."""
    first = command.split(None, 1)[0] if command.strip() else b"?"
    if first.startswith(b"["):
        return files.text(first.strip(b"[]"))[:40] or "?"
    name = first.rstrip(b":").rpartition(b"/")[2] or first
    return files.text(name.lstrip(b"-") or name)[:40]


def others(before: frozenset[bytes], after: frozenset[bytes]) -> bool:
    """Whether so few of the processes are the same that the host must have been booted in between."""
    return len(before) >= 5 and len(after) >= 5 and len(before & after) * 5 < min(len(before), len(after))
