"""Results on their way: a bounded queue and the thread that empties it, so that no check ever waits for a network."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Callable, Protocol

from memtriage.passive import Failed, Rejected, Result

MOST = 200
"""Results kept while nobody takes them: state changes, since of one service's equal states only the newest is kept."""
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between attempts, one after the other; while memory is short no longer than :data:`HURRY_S`."""
HURRY_S = 2.0
LONGEST_S = 20.0
"""For one delivery, however busy the server seems."""


class Delivery(Protocol):
    """A way to an engine. ``idle_s`` is how long its connection lives unasked, 0 where none is kept."""

    idle_s: float

    def ping(self) -> None:
        """Opens what can be opened before it is needed. Raises ``Failed``."""

    def send(self, result: Result) -> None:
        """Raises ``Failed`` where it can be tried again, ``Rejected`` where not."""

    def close(self) -> None: ...

    def abort(self) -> None:
        """From another thread: whatever is waited for has taken too long and is to fail."""


class Outbox:
    """``say`` is told each problem once, and when it is over."""

    def __init__(self, delivery: Delivery, say: Callable[[str], None]) -> None:
        self.delivery = delivery
        self.say = say
        self.hurry = False
        """Memory is short: keep the connection open, and do not wait long between attempts."""
        self.lost = 0
        self.sent = 0
        self._waiting: list[Result] = []
        self._news = threading.Condition()
        self._problem = ""
        self._rejected: set[str] = set()
        self._stopping = False
        self._began = 0.0
        """Monotonic time at which the present delivery began, 0 between two."""

    def put(self, result: Result) -> None:
        """Takes a result in. Where too many wait, the oldest goes that is not its service's last word."""
        with self._news:
            waiting = self._waiting
            mine = [place for place, one in enumerate(waiting) if one.service == result.service]
            if mine and waiting[mine[-1]].state == result.state:
                del waiting[mine[-1]]
            waiting.append(result)
            if len(waiting) > MOST:
                newest = {one.service: place for place, one in enumerate(waiting)}
                del waiting[next((place for place, one in enumerate(waiting) if newest[one.service] != place), 0)]
                self.lost += 1
            self._news.notify()

    def waiting(self) -> int:
        with self._news:
            return len(self._waiting)

    def wake(self) -> None:
        with self._news:
            self._news.notify()

    def watch(self) -> None:
        """Asked now and then by another thread."""
        began = self._began
        if began and time.monotonic() - began > LONGEST_S:
            self.delivery.abort()

    def stop(self) -> None:
        """What waits is tried once more, then the thread ends."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """The thread's work, until :meth:`stop`."""
        attempt = 0
        while True:
            if attempt:
                self._pause(attempt)
            else:
                with self._news:
                    if not self._waiting and not self._stopping:
                        self._news.wait(self.delivery.idle_s if self.hurry and self.delivery.idle_s else None)
            try:
                self._empty()
                attempt = 0
            except Failed as failure:
                attempt += 1
                self._trouble(str(failure))
            except Exception as error:  # whatever it is, this thread must not end
                attempt += 1
                self._trouble(f"{type(error).__name__}: {error}")
            if self._stopping:
                self.delivery.close()
                return

    def _pause(self, attempt: int) -> None:
        """A new result does not shorten it: the server is not to be asked in a circle."""
        end = time.monotonic() + PAUSES_S[min(attempt, len(PAUSES_S)) - 1]
        while (left := end - time.monotonic()) > 0 and not self._stopping:
            if self.hurry:
                left = min(left, HURRY_S)
                end = min(end, time.monotonic() + left)
            time.sleep(min(left, 0.25))

    def _empty(self) -> None:
        with self._news:
            result = self._waiting[0] if self._waiting else None
        if result is None and self.hurry:
            with self._limited():
                self.delivery.ping()
        while result is not None:
            try:
                with self._limited():
                    self.delivery.send(result)
                self.sent += 1
                self._rejected.discard(result.service)
            except Rejected as why:
                if result.service not in self._rejected:
                    self._rejected.add(result.service)
                    self.say(str(why))
            with self._news:
                if self._waiting and self._waiting[0] is result:
                    del self._waiting[0]
                result = self._waiting[0] if self._waiting else None
        if self._problem:
            self._problem = ""
            self.say("results are delivered again")

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._began = 0.0

    def _trouble(self, text: str) -> None:
        if text != self._problem:
            self._problem = text
            self.say(f"results wait: {text}")
