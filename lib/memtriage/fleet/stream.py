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
_START = re.compile(r'\s*\{\s*"results"\s*:\s*\[')
_NEXT = re.compile(r"\s*(,?)\s*")
_END = re.compile(r"\s*\}\s*\Z")


def _integer(digits: str) -> float:
    """Python takes a time that grows with the square of the digits, or refuses; no counter has so many."""
    return int(digits) if len(digits) < 20 else float(digits)


def results(read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    """The objects in the order they come. ``read(n)`` gives up to ``n`` bytes, none at the end.

    Raises :class:`~memtriage.fleet.trouble.Trouble` where the reply is something else, ends in the middle, or holds an object above
    :data:`MOST`; the objects before that have been given by then.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    parse = json.JSONDecoder(parse_int=_integer, parse_constant=lambda word: None).raw_decode
    text, place, first, ended = "", 0, True, False
    wanted = 1

    def more() -> None:
        nonlocal text, place, ended
        parts, got = [text[place:]], 0
        place = 0
        while got < wanted and not ended:
            data = read(CHUNK)
            ended = not data
            parts.append(decoder.decode(data, final=ended))
            got += len(parts[-1])
        text = "".join(parts)

    def cut() -> Trouble:
        return Trouble("the reply ends in the middle: the server or the network gave up" if text or not first else "the reply is empty")

    while True:
        found = _START.match(text)
        if found:
            place = found.end()
            break
        if ended:
            raise cut() if '{"results":['.startswith(text.strip()) else _strange(text)
        if len(text) > 200:
            raise _strange(text)
        more()
    while True:
        gap = _NEXT.match(text, place)
        assert gap is not None  # it matches nothing, too
        if gap.end() == len(text):
            if ended:
                raise cut()
            more()
            continue
        if text[gap.end()] == "]" and not gap.group(1):
            place = gap.end() + 1
            break
        if bool(gap.group(1)) is first or text[gap.end()] != "{":
            raise _strange(text[place:])
        try:
            value, after = parse(text, gap.end())
        except RecursionError:
            raise Trouble("the reply is nested too deeply") from None
        except json.JSONDecodeError:
            left = len(text) - place
            if left > MOST:
                raise Trouble(f"the reply holds an object that is no JSON, or is longer than {MOST >> 20} MiB") from None
            if ended:
                raise cut() from None
            # As much again as there is, so that a long object is not begun anew with every piece of it.
            wanted = left
            more()
            wanted = 1
            continue
        first, place = False, after
        yield value
    while not ended:
        more()
        if len(text) > 200:
            break
    if not _END.match(text, place):
        raise _strange(text[place:]) if text[place:].strip() else cut()


def _strange(text: str) -> Trouble:
    return Trouble(f"the reply is none of an Icinga 2 API: {text[:60]!r}")
