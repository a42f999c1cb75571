"""What a person at a terminal sees while something takes its time."""

from __future__ import annotations

import sys
import time
from typing import Callable


class Screen:
    """Lines for a person: a progress line that is overwritten on a terminal, only the lines that stay elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.drawn = 0.0

    def say(self, text: str) -> None:
        sys.stdout.write(("\r\x1b[K" if self.live else "") + text + "\n")
        sys.stdout.flush()

    def progress(self, text: Callable[[], str]) -> None:
        now = time.monotonic()
        if self.live and now - self.drawn > 0.25:
            self.drawn = now
            sys.stdout.write("\r\x1b[K" + text()[:110])
            sys.stdout.flush()
