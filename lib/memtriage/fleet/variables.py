"""Host variables as flat pairs.

``{"os": {"kernel": "6.1"}, "roles": ["web", "db"]}`` becomes ``os.kernel=6.1``, ``roles[web]=yes``, ``roles[db]=yes``.
"""

from __future__ import annotations

import re
import sys

from memtriage.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

MOST = 400
"""Pairs of one host."""
LONGEST = 120
"""Characters of a key or a value; what is longer is text, not a property."""
DEEP = 5
SECRET = re.compile(r"pass|pwd|secret|token|credential|community|private|(?<![a-z])keys?(?![a-z])|(?:api|access|auth|license|ssh)key",
                    re.IGNORECASE)
"""Keys whose values are never shown unless asked for by name."""
TOLD = re.compile(r"(?:pass\w*|pwd|secret|token|credentials?|community|key)[ \t]*[=:]|://[^/@\s]*:[^/@\s]*@|-----BEGIN ", re.IGNORECASE)
"""Values that hold a secret whatever their key: options of commands, addresses with a password."""


def flat(tree: Any, asked: frozenset[str] = frozenset()) -> dict[str, str]:
    """At most :data:`MOST` pairs. Numbers and booleans become text, ``null`` and what is too long or too deep is left out."""
    found: dict[str, str] = {}
    if isinstance(tree, dict):
        _add(found, "", tree, asked, DEEP)
    return found


def _add(found: dict[str, str], key: str, value: Any, asked: frozenset[str], deep: int) -> None:
    if len(found) >= MOST or len(key) > LONGEST:
        return
    if isinstance(value, dict):
        for name, below in value.items() if deep else ():
            _add(found, f"{key}.{name}" if key else str(name), below, asked, deep - 1)
        return
    if SECRET.search(key) and key not in asked:
        return
    if isinstance(value, list):
        for member in value:
            text = _text(member)
            if text and (key in asked or not TOLD.search(text)):
                _put(found, f"{key}[{text}]", "yes")
        return
    text = _text(value)
    if text and (key in asked or not TOLD.search(text)):
        _put(found, key, text)


def _put(found: dict[str, str], key: str, text: str) -> None:
    if len(found) < MOST and len(key) <= LONGEST:
        # Thousands of hosts have the same keys and values: one copy of each.
        found[sys.intern(key)] = sys.intern(text)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "%.10g" % value
    if isinstance(value, (str, int)):
        text = str(value).strip()
        return text if len(text) <= LONGEST else None
    return None
