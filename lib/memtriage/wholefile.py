"""Files that are there whole or not at all: what reads a picture, rules or a history never sees half of one."""

from __future__ import annotations

import errno
import os
import stat

from memtriage.state import fill


def write(path: str, data: bytes, mode: int | None = None, replace: bool = True) -> None:
    """Writes beside ``path`` and renames, so that a link is replaced and not followed; synced before. ``mode`` as the umask leaves it by
    default, else exactly that.

    Raises ``OSError``: also where ``path`` is a folder or a device, and where it is anything at all without ``replace``. sudo and cron pass
    over names with a dot, such as that of the file beside it.
    """
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        pass
    else:
        if not replace or not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):  # never a device, whoever root is
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    new = f"{path}.{os.getpid()}.new"
    try:
        os.unlink(new)  # of one that was killed: in a container numbers of processes are few
    except FileNotFoundError:
        pass
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666 if mode is None else mode)
    try:
        fill(handle, data, mode)
        if replace:
            os.replace(new, path)
        else:
            os.link(new, path)  # fails where somebody else made one meanwhile
            os.unlink(new)
    except BaseException:  # Ctrl-C, too, leaves nothing behind
        os.unlink(new)
        raise
