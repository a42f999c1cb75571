"""A tar.gz that is the same byte for byte whenever its files are, written for its owner alone."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
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


def write(path: str, data: bytes, replace: bool) -> None:
    """Whole or not at all, 0600. Follows no link. Raises ``OSError``; without ``replace`` also where anything has the name, and for what is
    neither a file nor a link in any case."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        pass
    else:
        if not replace or not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):  # never a device, whoever root is
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    new = f"{path}.{os.getpid()}.new"
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if replace:
            os.replace(new, path)
        else:
            os.link(new, path)  # fails where somebody else made one meanwhile
            os.unlink(new)
    except BaseException:
        os.unlink(new)
        raise
