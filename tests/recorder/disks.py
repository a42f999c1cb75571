"""File systems of a test's own, in files, that can be held or filled; and a host of many processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAKE = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f"), "btrfs": ("mkfs.btrfs", "-q", "-f")}


def do(*words: object, check: bool = True) -> bool:
    """Runs a command; what it says is in the error where it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or not check, (words, done.stderr)
    return done.returncode == 0


@contextmanager
def disk(image: Path, kind: str, mebibytes: int) -> Iterator[Path]:
    """A file system of this kind and size in the file ``image``, mounted beside it."""
    with open(image, "wb") as handle:
        handle.truncate(mebibytes << 20)
    do(*MAKE[kind], image)
    folder = image.with_suffix(".mounted")
    folder.mkdir()
    do("mount", "-o", "loop", image, folder)
    try:
        yield folder
    finally:
        for last in [False] * 40 + [True]:  # what was mounted within it lets go of its file a moment later
            if do("umount", folder, check=last):
                break
            time.sleep(0.25)


@contextmanager
def frozen(folder: Path, most: float) -> Iterator[None]:
    """Nothing is written to this file system meanwhile: who tries waits, and cannot even be killed; hence a timer beside, of ``most`` s."""
    do("fsfreeze", "--freeze", folder)
    timer = threading.Timer(most, do, ("fsfreeze", "--unfreeze", folder), {"check": False})
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        do("fsfreeze", "--unfreeze", folder, check=False)


BUSY = """
import mmap, os, random, sys, time
end = time.monotonic() + float(sys.argv[2])
for number in range(int(sys.argv[1])):
    if os.fork() == 0:
        random.seed(number)
        while time.monotonic() < end and os.getppid() != 1:
            with mmap.mmap(-1, 4096 * random.randint(1, 60)) as memory:
                memory[::4096] = b"x" * (len(memory) // 4096)
                time.sleep(random.uniform(0.3, 0.9))
        os._exit(0)
print("up", flush=True)
time.sleep(max(0, end - time.monotonic()))
"""


@contextmanager
def busy(count: int, seconds: float) -> Iterator[None]:
    """So many processes of which each uses a little CPU and memory all the time, so that each one's stat is another every second."""
    process = subprocess.Popen([sys.executable, "-S", "-E", "-c", BUSY, str(count), str(seconds)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        yield
    finally:
        process.kill()
        process.wait(timeout=10)
