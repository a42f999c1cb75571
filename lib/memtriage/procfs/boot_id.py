"""/proc/sys/kernel/random/boot_id: a UUID made anew at every boot (Documentation/admin-guide/sysctl/kernel.rst, "random")."""

from __future__ import annotations

from memtriage.procfs import files

_HEX = frozenset(b"0123456789abcdef")


def parse(data: bytes) -> str:
    """Returns the UUID in small letters. Raises :class:`~memtriage.procfs.files.Malformed` where it has not the form of one."""
    word = data.strip().lower()
    parts = word.split(b"-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12] or not _HEX.issuperset(b"".join(parts)):
        raise files.Malformed("sys/kernel/random/boot_id", "not a UUID: " + files.text(word[:60]))
    return files.text(word)


def read(proc: str = "/proc") -> str:
    """Reads ``proc/sys/kernel/random/boot_id``. Raises :class:`~memtriage.procfs.files.ProcfsError`."""
    return parse(files.read(proc, "sys/kernel/random/boot_id"))
