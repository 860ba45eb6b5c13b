from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.dates import read_date, read_dates


@pytest.mark.parametrize(
    "text",
    [
        "2026-09-14", " 2026-09-14 ", "20260914", "2026-09-14T00:00:00Z", "2026-09-14 00:00", "2026-09-14T02:00+02:00",
        "2026/09/14", "2026.9.14", "14.09.2026", "14.9.2026", "14 September 2026", "14th Sept. 2026", "14-Sep-2026",
        "September 14, 2026", "Sep 14th 2026",
    ],
)  # fmt: skip
def test_common_forms_name_one_day(text: str) -> None:
    assert read_date(text) == datetime(2026, 9, 14)


@pytest.mark.parametrize(
    "text",
    [None, "", "soon", "14/09/2026", "09-14-2026", "2026-02-30", "31.11.2026", "2026", "45912", "14 Sextember 2026",
     "2026-09-14T25:00", "0000-00-00", "٢٠٢٦-٠٩-١٤", "14 September 2026 or so", "9" * 5000, "2026-09-14\n2026-09-15"],
)  # fmt: skip
def test_what_is_no_date_or_could_be_two_is_none(text: str | None) -> None:
    assert read_date(text) is None


def test_the_order_is_taken_from_whoever_says_it() -> None:
    assert read_date("03/04/2026", "day_first") == datetime(2026, 4, 3)
    assert read_date("03/04/2026", "month_first") == datetime(2026, 3, 4)
    assert read_date("14/09/2026", "month_first") is None


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_crashes_it(text: str) -> None:
    assert read_date(text, "day_first") is None or len(text) >= 6


@settings(deadline=None)
@given(moment=st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), minutes=st.integers(-14 * 60, 14 * 60))
def test_moments_come_back_in_utc(moment: datetime, minutes: int) -> None:
    moment = moment.replace(microsecond=0)
    from datetime import timezone

    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert read_date(there.isoformat()) == moment
    assert read_dates([moment.isoformat()])[0] == np.datetime64(moment, "ms")


def test_columns_hold_not_a_time_where_there_is_none() -> None:
    assert np.isnat(read_dates(["2026-09-14", "?", None])).tolist() == [False, True, True]
    assert read_dates([]).shape == (0,)
