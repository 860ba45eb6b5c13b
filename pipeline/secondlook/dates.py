"""Dates: when a case was received, as tables, forms and people write it.

Read strictly: a text is one of the forms below or no date. ``03/04/2026`` is one only where the order of day and
month is said, since half the world reads it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DateOrder = Literal["day_first", "month_first"]
Dates = NDArray[np.datetime64]

_LONGEST = 40
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sep", "sept"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}
_ISO = re.compile(r"\d{4}-?\d\d-?\d\d(?:[T ]\d\d:?\d\d.*)?", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})", re.ASCII)
_DOTS = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_SLASHES = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})", re.ASCII)
_DAY_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?[ -]([A-Za-z]+)\.?,?[ -](\d{4})", re.ASCII)
_MONTH_DAY = re.compile(r"([A-Za-z]+)\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})", re.ASCII)


def read_date(text: str | None, order: DateOrder | None = None) -> datetime | None:
    """The moment that a text names, without a zone (one that is given is reckoned to UTC); None if it names none.

    Forms: ISO 8601 (``2026-09-14``, ``20260914``, with a time and a zone or without), ``2026/09/14``,
    ``14.09.2026``, ``14 September 2026``, ``14-Sep-2026``, ``September 14, 2026``; and, where ``order`` says which
    comes first, ``14/09/2026`` and ``14-09-2026``.

    >>> str(read_date("14 Sept 2026")), str(read_date("2026-09-14T09:30:00+02:00")), read_date("03/04/2026")
    ('2026-09-14 00:00:00', '2026-09-14 07:30:00', None)
    >>> str(read_date("03/04/2026", "day_first"))
    '2026-04-03 00:00:00'
    """
    plain = (text or "").strip()
    if not plain or len(plain) > _LONGEST:
        return None
    try:
        if _ISO.fullmatch(plain):
            moment = datetime.fromisoformat(plain)
            return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        found = _year_month_day(plain, order)
        return datetime(*found) if found else None
    except (ValueError, OverflowError):  # 31 February, say
        return None


def read_dates(texts: Sequence[str | None], order: DateOrder | None = None) -> Dates:
    """The moments of many texts, to the millisecond; what is no date is not-a-time. *Shape:* ``(texts,)``."""
    known: dict[str | None, datetime | None] = {}
    for text in texts:
        if text not in known:
            known[text] = read_date(text, order)
    return np.array([known[text] for text in texts], dtype="datetime64[ms]")


def _year_month_day(text: str, order: DateOrder | None) -> tuple[int, int, int] | None:
    if found := _YEAR_FIRST.fullmatch(text):
        year, month, day = map(int, found.groups())
    elif found := _DOTS.fullmatch(text):
        day, month, year = map(int, found.groups())
    elif order and (found := _SLASHES.fullmatch(text)):
        first, second, year = map(int, found.groups())
        day, month = (first, second) if order == "day_first" else (second, first)
    elif found := _DAY_MONTH.fullmatch(text):
        day, month, year = int(found[1]), _MONTHS.get(found[2].lower(), 0), int(found[3])
    elif found := _MONTH_DAY.fullmatch(text):
        month, day, year = _MONTHS.get(found[1].lower(), 0), int(found[2]), int(found[3])
    else:
        return None
    return year, month, day
