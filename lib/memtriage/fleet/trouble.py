"""The one kind of failure of this room."""

from __future__ import annotations


class Trouble(Exception):
    """The fleet cannot be asked, or what came back cannot be used; the text says why and what to do."""
