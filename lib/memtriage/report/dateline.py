"""What date(1) prints, in whatever language, as seconds since 1970.

With glibc's locales and coreutils 9 these come out for the same moment: ``Tue May 12 03:04:05 CEST 2026`` (C), ``Tue May 12 03:04:05
AM CEST 2026`` (en_US), ``Di 12. Mai 03:04:05 CEST 2026``, ``mar. 12 mai 2026 03:04:05 CEST``, ``2026年  5月 12日 火曜日 03:04:05
CEST``, ``ti 12.5.2026 03.04.05 +0200``. So: a time of day, a year, a month by name or number, a day; the weekday is passed over.
"""

from __future__ import annotations

import datetime
import re
import unicodedata

_TIME = re.compile(r"(?<![\d.:])(\d{1,2})(?:([:.時时시])\s?)(\d\d)(?:[:.分분]\s?)(\d\d)(?:[.,]\d+)?(?![\d.]*\d)[秒초]?\s*"
                   r"(?:\b([apπμ])\.?\s?[mμ]\b\.?)?", re.IGNORECASE)
_ISO = re.compile(r"(?<!\d)(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,]\d+)?\s*(Z|[+-]\d\d:?\d\d)?(?!\d)")
_EPOCH = re.compile(r"\s*@?(\d{9,10})(?:\.\d+)?\s*$")
_YEAR = re.compile(r"(?<!\d)(19[7-9]\d|20\d\d)(?!\d)")
_OFFSET = re.compile(r"(?<![\d:])([+-])(\d\d)(?::?(\d\d))?(?!\d)")
_NUMBER = re.compile(r"(?<!\d)(\d{1,2})(?!\d)")
_WORD = re.compile(r"[^\W\d_]+")
_ZONES = {"utc": 0, "gmt": 0, "z": 0, "wet": 0, "west": 1, "cet": 1, "cest": 2, "mez": 1, "mesz": 2, "eet": 2, "eest": 3, "msk": 3,
          "jst": 9, "kst": 9, "est": -5, "edt": -4, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "aest": 10, "aedt": 11,
          "nzst": 12, "nzdt": 13}
"""Hours east. What means several zones (CST, IST, BST) is read as the zone of this machine, as is what is not here."""
_NAMES = (
    "jan ene gen ian sty led янв січ oca tam ιαν",  # noqa: RUF001 - Greek, like the others below
    "feb fev fvr lut uno фев лют sub hel φεβ",
    "mar mrt maa brez мар берез μαρ",
    "apr avr abr апр kwi dub квi квіт nis huh απρ",
    "may mai maj mag mei kve mag мая май трав tou μαι",
    "jun juin giu iun cze cerven cervna июн черв haz kes ιουν",  # noqa: RUF001
    "jul juil lug iul lip cervence июл лип tem hei ιουλ",
    "aug aou ago sie srp авг серп agu elo αυγ",  # noqa: RUF001
    "sep set wrz zari сен верес eyl syy szept σεπ",
    "oct okt out ott paz rij окт жовт eki lok οκτ",
    "nov noi lis listop ноя лист kas νοε",
    "dec dez dic des gru pros дек груд ara jou δεκ",
)
"""Beginnings of the months' names in some thirty languages, January first."""


def _plain(text: str) -> str:
    """Small letters without accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter))


_MONTHS = {_plain(name): month for month, names in enumerate(_NAMES, 1) for name in names.split()}


def parse(line: bytes, last: float | None = None) -> float | None:
    """``None`` where it is no date. Without a zone that is known it is the local time of this machine; of the hour that comes twice at the
    end of summer time the second, if the first would be before ``last``."""
    if len(line) > 200 or not line.strip():
        return None
    text = line.decode("utf-8", "replace")
    epoch = _EPOCH.match(text)
    if epoch is not None:
        return float(text.strip().lstrip("@"))
    iso = _ISO.search(text)
    if iso is not None:
        numbers = [int(iso[at]) for at in range(1, 7)]
        return _seconds(numbers, None if iso[7] is None else _offset(iso[7]) if iso[7] != "Z" else 0.0, last)
    time = _TIME.search(text)
    year = _YEAR.search(text)
    if time is None or year is None or (year.start() < time.end() and year.end() > time.start()):
        return None
    hour = int(time[1])
    if time[5]:
        hour = hour % 12 + (12 if time[5].lower() in "pμ" else 0)
    before, after = text[: time.start()], text[time.end():]
    day = _day(before + " " + re.sub(r"[+-]\d\d(:?\d\d)?(?!\d)", " ", after), year[1])
    if day is None:
        return None
    return _seconds([int(year[1]), *day, hour, int(time[3]), int(time[4])], _zone(after), last)


def _day(text: str, year: str) -> tuple[int, int] | None:
    """Month and day of what is left of a line without its time."""
    named = [month for word in _WORD.findall(text) if (month := _month(word)) is not None]
    places = list(_NUMBER.finditer(text))
    numbers = [int(found[1]) for found in places]
    if len(numbers) >= 2:
        month, day = numbers[:2] if text.find(year) < places[0].start() or "/" in text else numbers[1::-1]
        return month, day
    # The weekday may be spelt as a month (mar. is Tuesday in French): the month stands behind it.
    return (named[-1], numbers[0]) if named and numbers else None


def _month(word: str) -> int | None:
    plain = _plain(word)
    for size in range(min(len(plain), 8), 2, -1):
        if plain[:size] in _MONTHS:
            return _MONTHS[plain[:size]]
    return None


def _zone(text: str) -> float | None:
    found = _OFFSET.search(text)
    if found is not None:
        return _offset(found[0])
    for word in re.findall(r"[A-Za-z]+", text):
        if word.lower() in _ZONES:
            return _ZONES[word.lower()] * 3600.0
    return None


def _offset(text: str) -> float:
    found = _OFFSET.match(text)
    assert found is not None
    return (1 if found[1] == "+" else -1) * (int(found[2]) * 3600.0 + int(found[3] or 0) * 60.0)


def _seconds(numbers: list[int], offset: float | None, last: float | None) -> float | None:
    try:
        year, month, day, hour, minute, within = numbers
        moment = datetime.datetime(year, month, day, hour, minute, min(within, 59))  # 60 is a leap second
        if offset is None:
            first, second = moment.timestamp(), moment.replace(fold=1).timestamp()
            return second if last is not None and first < last <= second else first
        return moment.replace(tzinfo=datetime.timezone.utc).timestamp() - offset
    except (ValueError, OverflowError, OSError):
        return None
