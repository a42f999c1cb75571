"""A tar.gz that is the same byte for byte whenever its files are."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable

FOLDER = "memtriage-evidence"
"""In the archive; all files are in it."""


def packed(items: Iterable[tuple[str, bytes]]) -> bytes:
    """No time, owner or name of this host stands in it."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0, compresslevel=9) as zipped, tarfile.open(
            fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in items:
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size, info.mode, info.mtime = len(data), 0o644, 0
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
