"""Names of the histories that checks of one host keep apart."""

from __future__ import annotations

from memtriage.wording import label


def group(path: str | None) -> str | None:
    """The cgroup asked for, or ``None`` for the host, which is the root's as well."""
    return path if path is not None and any(part not in ("", ".") for part in path.split("/")) else None


def name(check: str, path: str | None) -> str:
    """One for the host and one for each cgroup asked for, however its path was written."""
    if path is None:
        return check
    import zlib  # noqa: PLC0415 - a shared library

    plain = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    return f"{check}.{label(plain)[:40]}_{zlib.crc32(plain.encode('utf-8', 'replace')):08x}"
