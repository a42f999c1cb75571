"""Sizes, rates and time spans as a person types them: ``512MiB``, ``64MiB/h``, ``10m``; and prime numbers of MiB."""

from __future__ import annotations

import re

MIB = 1024 * 1024
SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(B|KiB|MiB|GiB|TiB)", re.ASCII)
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)", re.ASCII)


def size(text: str) -> int:
    """Bytes, at least 1. The unit must be written. Raises ``ValueError`` with a sentence for the user."""
    match = _SIZE.fullmatch(text)
    found = int(float(match.group(1)) * SIZES[match.group(2)]) if match else 0
    if found < 1:
        raise ValueError(f"'{text}' is no size such as 512MiB or 1.5GiB (units: {', '.join(SIZES)})")
    return found


def rate(text: str) -> float:
    """Bytes a second, above 0, from a size a second, minute, hour or day. Raises ``ValueError``."""
    amount, slash, unit = text.rpartition("/")
    try:
        if slash and unit in TIMES:
            return size(amount) / TIMES[unit]
    except ValueError:
        pass
    raise ValueError(f"'{text}' is no rate such as 1MiB/s or 64MiB/h")


def seconds(text: str, longest: float = 7 * 86400) -> float:
    """Seconds, above 0 and at most ``longest``; ``s m h d`` may follow. Raises ``ValueError``."""
    match = _TIME.fullmatch(text)
    found = float(match.group(1)) * TIMES[match.group(2) or "s"] if match else 0.0
    if not 0 < found <= longest:
        raise ValueError(f"'{text}' is no time span such as 90, 10m or 4h, of at most {longest / 86400:g} days")
    return found


def prime(number: int) -> bool:
    """Whether ``number`` is a prime. Meant for small ones."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def prime_mib(most: int) -> int | None:
    """The largest prime number of MiB within ``most`` bytes, in bytes; ``None`` below 2 MiB."""
    return next((count * MIB for count in range(most // MIB, 1, -1) if prime(count)), None)
