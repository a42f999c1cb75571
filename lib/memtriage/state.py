"""What a check remembers between runs: a short history of raw counters in one small file, which never stands in a verdict's way.

Whatever is wrong with the file, its folder or the disk ends as a sentence beside the samples that could be had, not as an exception.
A new file is written whole beside the old one and then takes its name, so that a reader, a crash or a full disk never meets half of one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Mapping

from memtriage.record import NamedTuple
from memtriage.thinning import LIMIT, Sample, decoded, fitted, placed, thinned, unsound

__all__ = ["LIMIT", "Memory", "Sample", "default_folder", "remember"]

SYSTEM = "/var/lib/memtriage"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that lies in a file's place would wait for ever.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


class Memory(NamedTuple):
    """What is known after a run."""

    samples: list[Sample]
    """Oldest first, the boot of the new sample last, and the new sample among them unless it was refused."""
    problem: str | None
    """What went wrong and what to do, in one line of printable ASCII, or ``None``."""
    stored: bool
    """Whether the next run will find the new sample."""


class _Unusable(Exception):
    """Something in the folder cannot be used; the text says what, why and what to do."""


def default_folder(environ: Mapping[str, str], option: str | None, uid: int) -> str:
    """Returns the folder of user ``uid``, which is named by the number so that what root runs by hand never locks out the monitoring user.

    ``option`` is --state-dir. A home that does not exist is not made (services have ``/nonexistent``), and that of somebody else (sudo
    may keep HOME) is not used: root would leave folders in it that its owner cannot write to.
    """
    own = str(uid)
    base = option or environ.get("MEMTRIAGE_STATE_DIR")
    if not base:
        base = SYSTEM
        if not any(os.access(path, os.W_OK | os.X_OK) for path in (SYSTEM, os.path.join(SYSTEM, own))):
            states, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
            if os.path.isabs(states):
                base = os.path.join(states, "memtriage")
            elif os.path.isabs(home) and _owner(home) in (0, uid):
                base = os.path.join(home, ".local/state/memtriage")
    return os.path.join(base, own)


def remember(folder: str, name: str, sample: Sample, deadline_s: float = 1.0) -> Memory:
    """Adds ``sample`` to the history ``name`` in ``folder`` and returns that history.

    ``folder`` is made if need be; it and the files in it must be real ones of the effective user. Waits ``deadline_s`` at most for other
    runs. Never raises for anything that is wrong outside of this process.
    """
    news = [] if unsound(sample) else [sample]
    try:
        if not name or not _LETTERS.issuperset(name) or name[0] == ".":
            raise _Unusable(f"'{_plain(name)}' is no name for a state file")
        folder = os.path.abspath(folder)
        handle = _open_folder(folder)
    except (_Unusable, OSError, ValueError) as why:
        words = str(why) if isinstance(why, _Unusable) else _words(folder, why)
        return Memory(news, f"state not saved: {words}; no memory of earlier runs", False)
    try:
        return _exchange(handle, os.path.join(folder, name), sample, deadline_s)
    finally:
        os.close(handle)


def _exchange(folder: int, path: str, sample: Sample, deadline_s: float) -> Memory:
    name = os.path.basename(path)
    notes: list[str] = []
    failed = unsound(sample)
    lock = -1
    try:
        if not failed:
            try:
                lock = _lock(folder, path, deadline_s)
            except _Unusable as why:
                failed = str(why)
        old: list[Sample] = []
        aside = None
        try:
            old, aside = _read(folder, path)
        except _Unusable as why:
            failed = failed or str(why)
        samples = old
        if not unsound(sample):
            samples, ahead = placed(old, sample)
            samples = thinned(samples, also=sample)
            if ahead:
                aside = f"{ahead} stored samples of this boot lie in its future (restored snapshot or captured tree)"
        if not failed:
            data, cut = fitted(name, samples, sample)
            if cut:
                notes.append(f"state of {_plain(name)} too large: only the {cut} largest of {len(sample.values)} values saved")
            try:
                _write(folder, path, data, bool(aside))
                if aside:
                    aside += f"; old file kept as {_plain(path)}.damaged"
            except _Unusable as why:
                failed = str(why)
    finally:
        if lock >= 0:
            os.close(lock)
    if aside:
        notes.append(aside if old or failed else f"{aside}; starting again")
    if failed:
        notes.insert(0, f"state not saved: {failed}; {'old samples used' if old else 'no memory of earlier runs'}")
    return Memory(samples, "; ".join(notes) or None, not failed)


def _open_folder(path: str) -> int:
    """Opens, or makes and opens, the folder ``path`` for the effective user alone."""
    base, own = os.path.split(path)
    missing: list[str] = []
    part = base
    while not os.path.lexists(part):
        missing.append(part)
        part = os.path.dirname(part)
    for part in reversed(missing):
        try:
            os.mkdir(part, 0o700)
        except FileExistsError:
            pass
    above = os.open(base, _FOLDER)
    try:
        try:
            handle = os.open(own or ".", _FOLDER, dir_fd=above)
        except FileNotFoundError:
            try:
                os.mkdir(own, 0o700, dir_fd=above)
            except FileExistsError:
                pass
            handle = os.open(own, _FOLDER, dir_fd=above)
    finally:
        os.close(above)
    info = os.fstat(handle)
    if info.st_uid == os.geteuid() and not info.st_mode & 0o022:
        return handle
    os.close(handle)
    if info.st_uid != os.geteuid():
        raise _Unusable(f"{_plain(path)} belongs to uid {info.st_uid}, not {os.geteuid()}; chown it or give another --state-dir")
    raise _Unusable(f"{_plain(path)} can be written to by others; chmod it to 0700")


def _lock(folder: int, path: str, deadline_s: float) -> int:
    """Returns the lock, held; closing it lets go."""
    path += ".lock"
    end = time.monotonic() + deadline_s
    try:
        handle = os.open(os.path.basename(path), os.O_RDWR | os.O_CREAT | _FILE, 0o600, dir_fd=folder)
    except OSError as error:
        raise _Unusable(_words(path, error)) from None
    try:
        odd = _odd(os.fstat(handle))
        if odd:
            raise _Unusable(f"{_plain(path)} {odd}; remove it")
        pause = 0.001
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                left = end - time.monotonic()
                if left <= 0:
                    raise _Unusable(f"{_plain(path)} was held by another run for {deadline_s:g} s; look for one that hangs") from None
                time.sleep(min(pause, left))
                pause = min(pause * 2, 0.02)
            except OSError as error:
                raise _Unusable(_words(path, error)) from None
    except BaseException:
        os.close(handle)
        raise


def _read(folder: int, path: str) -> tuple[list[Sample], str | None]:
    """Returns the samples of the file, and why it is to be set aside if it holds none. Raises where it is better left alone."""
    path += ".json"
    name, shown = os.path.basename(path), _plain(path)
    try:
        odd = _odd(os.lstat(name, dir_fd=folder))
        if odd:
            return [], f"{shown} {odd}"
        handle = os.open(name, os.O_RDONLY | _FILE, dir_fd=folder)
        try:
            odd = _odd(os.fstat(handle))
            parts: list[bytes] = []
            while not odd and (part := os.read(handle, LIMIT + 1)):
                parts.append(part)
                if sum(map(len, parts)) > LIMIT:
                    odd = f"is longer than {LIMIT} bytes"
        finally:
            os.close(handle)
    except FileNotFoundError:
        return [], None
    except OSError as error:
        raise _Unusable(_words(path, error)) from None
    if odd:
        return [], f"{shown} {odd}"
    try:
        return decoded(name[: -len(".json")], b"".join(parts)), None
    except LookupError:
        return [], f"{shown} is of another version or check"
    except (ValueError, TypeError, RecursionError):
        return [], f"{shown} is damaged"


def _write(folder: int, path: str, data: bytes, aside: bool) -> None:
    """Makes ``data`` the contents of the file; the old file goes aside or away only once the new one is safely on the disk."""
    name = os.path.basename(path)
    new, now = name + ".new", name + ".json"
    where = path + ".new"
    try:
        try:
            os.unlink(new, dir_fd=folder)
        except FileNotFoundError:
            pass
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=folder)
        try:
            fill(handle, data, 0o600)
            if aside:
                where = path + ".damaged"
                os.rename(now, name + ".damaged", src_dir_fd=folder, dst_dir_fd=folder)
                where = path + ".json"
            os.rename(new, now, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(new, dir_fd=folder)
            raise
    except OSError as error:
        raise _Unusable(_words(where, error)) from None


def fill(handle: int, data: bytes, mode: int | None) -> None:
    """Writes all of a new file, synced, and closes it. ``mode`` exactly, whatever the umask, or as it was opened. Raises ``OSError``."""
    try:
        if mode is not None:
            os.fchmod(handle, mode)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _owner(path: str) -> int:
    try:
        return os.stat(path).st_uid
    except (OSError, ValueError):
        return -1


def _odd(info: os.stat_result) -> str:
    """Says why a file cannot be one of ours; the empty string if it can."""
    if stat.S_ISLNK(info.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(info.st_mode):
        return "is not a regular file"
    return "" if info.st_uid == os.geteuid() else f"belongs to uid {info.st_uid}, not {os.geteuid()}"


def _words(path: str, error: Exception) -> str:
    """Says what went wrong at ``path`` and what to do about it."""
    number = error.errno if isinstance(error, OSError) else None
    shown, above = _plain(path), _plain(os.path.dirname(path))
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"no room left in {above}; make some"
    if number == errno.EROFS:
        return f"{above} is read-only"
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission for {shown} as uid {os.geteuid()}; chown it or give another --state-dir"
    if number in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EEXIST, errno.ENOTEMPTY):
        return f"{shown} is a symbolic link or not what belongs there; remove it or give another --state-dir"
    return f"{shown}: {_plain(os.strerror(number)) if number else 'no usable path'}; give another --state-dir"


def _plain(text: str) -> str:
    """Leaves nothing in ``text`` that could forge a line, a bar or markup in an alert."""
    return "".join(letter if " " <= letter <= "~" and letter not in "|<>" else "?" for letter in text)
