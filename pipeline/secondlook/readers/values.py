"""Values of typed formats as text."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time


def as_text(value: object) -> str | None:
    """A value as a person would write it; None where there is none.

    >>> as_text(17.0), as_text(True), as_text(datetime(2024, 3, 1, 9, 30)), as_text(["a", None])
    ('17', 'true', '2024-03-01T09:30:00', '["a", null]')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _number(value: float) -> str | None:
    """Spreadsheets and data frames store whole numbers as floats, and missing ones as NaN."""
    if math.isnan(value):
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
