"""Names of the histories that checks of one host keep apart."""

from __future__ import annotations

from memtriage.wording import label


def name(check: str, path: str | None) -> str:
    """One for the host and one for each cgroup asked for, however its path was written."""
    if path is None:
        return check
    import zlib  # noqa: PLC0415 - a shared library

    plain = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    return f"{check}.{label(plain)[:40]}_{zlib.crc32(plain.encode('utf-8', 'replace')):08x}"
