"""How a monitoring engine turns results into pages: a problem is hard after so many in a row; it, each change and its end page."""

from __future__ import annotations

from memtriage.record import NamedTuple

OK = 0


class Page(NamedTuple):
    """A notification."""

    at: float
    state: int
    """0 is a recovery."""


class Engine:
    """The rules Nagios and Icinga share. There are no reminders, and a time without results changes nothing."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        self.pages: list[Page] = []
        self._hard = OK
        self._tries = 0

    def feed(self, at: float, state: int) -> None:
        """The next result."""
        if state == OK:
            self._tries = 0
            if self._hard != OK:
                self.pages.append(Page(at, OK))
            self._hard = OK
            return
        self._tries += 1
        if self._tries >= self.attempts and state != self._hard:
            self._hard = state
            self.pages.append(Page(at, state))


class Lead(NamedTuple):
    """What pages there were before a kill: the first of the alarm that stood then, its first CRITICAL, else the first page after it."""

    warned: Page | None
    critical: Page | None
    after: Page | None


def lead(pages: list[Page], at: float) -> Lead:
    """UNKNOWN is no alarm: it says nothing of memory."""
    warned = critical = after = None
    for page in pages:
        if page.at > at:
            if page.state in (1, 2):
                after = page
                break
            continue
        if page.state == OK:
            warned = critical = None
        elif page.state in (1, 2):
            warned = warned or page
            critical = critical or (page if page.state == 2 else None)
    return Lead(warned, critical, None if warned else after)
