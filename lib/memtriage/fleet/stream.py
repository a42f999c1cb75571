"""An Icinga 2 API reply, object by object, however long it is: ``{"results":[{...},{...}]}``.

Only one object is held at a time. Shape: Icinga 2 documentation, "Icinga 2 API", "Response".
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator

from memtriage.fleet.trouble import Trouble
from memtriage.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Callable

CHUNK = 1 << 17
"""Bytes read at a time."""
MOST = 1 << 22
"""Characters of one object: a check's output and perfdata may be a MiB, its command line is in it, too."""
LONG = 2000
"""Characters of a strange reply that are looked at for secrets, before some are shown."""
_START = re.compile(r'\s*\{\s*"results"\s*:\s*\[')
_NEXT = re.compile(r"\s*(,?)\s*")
_END = re.compile(r"\s*\}\s*\Z")


def _integer(digits: str) -> float:
    """Python takes a time that grows with the square of the digits, or refuses; no counter has so many."""
    return int(digits) if len(digits) < 20 else float(digits)


_parse = json.JSONDecoder(parse_int=_integer, parse_constant=lambda word: None).raw_decode


def results(read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    """The objects in the order they come. ``read(n)`` gives up to ``n`` bytes, none at the end.

    Raises :class:`~memtriage.fleet.trouble.Trouble` where the reply is something else, ends in the middle, or holds an object above
    :data:`MOST`; the objects before that have been given by then.
    """
    window = _Window(read)
    _begin(window)
    first = True
    while True:
        gap = _NEXT.match(window.text, window.place)
        assert gap is not None  # it matches nothing, too
        if gap.end() == len(window.text):
            window.more()
            continue
        letter = window.text[gap.end()]
        if letter == "]" and not gap.group(1):
            window.place = gap.end() + 1
            break
        if bool(gap.group(1)) is first or letter != "{":
            raise _strange(window.text[window.place :])
        window.place, first = gap.start(), False
        yield _object(window, gap.end() - gap.start())
    while not window.ended and len(window.text) - window.place < 200:
        window.more()
    if not _END.match(window.text, window.place):
        raise _strange(window.text[window.place :]) if window.text[window.place :].strip() else _cut()


class _Window:
    """The part of the reply that is being looked at."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text, self.place, self.ended = "", 0, False

    def more(self, least: int = 1) -> None:
        """At least so many characters more, unless the reply ends. Raises :class:`Trouble` where it had ended before."""
        if self.ended:
            raise _cut()
        parts, got, self.place = [self.text[self.place :]], 0, 0
        while got < least and not self.ended:
            data = self.read(CHUNK)
            self.ended = not data
            parts.append(self.decoder.decode(data, final=self.ended))
            got += len(parts[-1])
        self.text = "".join(parts)


def _begin(window: _Window) -> None:
    while True:
        found = _START.match(window.text)
        if found:
            window.place = found.end()
            return
        so_far = "".join(window.text.split())
        if not '{"results":['.startswith(so_far) or len(window.text) > 200:
            raise _strange(window.text)
        window.more()


def _object(window: _Window, ahead: int) -> dict[str, Any]:
    """The object ``ahead`` characters on, of which not all need be there yet."""
    while True:
        try:
            value, after = _parse(window.text, window.place + ahead)
        except RecursionError:
            raise Trouble("the reply is nested too deeply") from None
        except json.JSONDecodeError:
            left = len(window.text) - window.place
            if left > MOST:
                raise Trouble(f"the reply holds an object that is no JSON, or is longer than {MOST >> 20} MiB") from None
            # As much again as there is, so that a long object is not begun anew with every piece of it.
            window.more(left)
            continue
        window.place = after
        found: dict[str, Any] = value
        return found


def _cut() -> Trouble:
    return Trouble("the reply ends in the middle: the server or the network gave up")


def _strange(text: str) -> Trouble:
    return Trouble("the reply is none of an Icinga 2 API: ", text[:LONG])
