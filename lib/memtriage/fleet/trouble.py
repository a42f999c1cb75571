"""The one kind of failure of this room."""

from __future__ import annotations

QUOTED = 120
"""Characters of a quotation."""


class Trouble(Exception):
    """The fleet cannot be asked, or what came back cannot be used; the text says why and what to do."""

    def __init__(self, text: str, quoted: str = "") -> None:
        """``quoted``: what the other side said, which ends the text; whole, since a secret in it must be found before it is cut."""
        super().__init__(text + quoted[:QUOTED])
        self.text, self.quoted = text, quoted

    def without(self, *secrets: str) -> Trouble:
        """The same, in which the other side repeats none of these."""
        quoted = self.quoted
        for secret in secrets:
            quoted = quoted.replace(secret, "...")
        return Trouble(self.text, quoted)
