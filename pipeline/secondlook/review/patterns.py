"""Patterns: how often is each mode flagged or confirmed, by unit, officer, month or another column? Small counts apart.

What is counted rests on what was reported and flagged, or on what reviewers confirmed that a narrative reports. It is
not a finding about anybody.

A value that fewer than ``suppress_below`` cases have is not named, since its name alone says that somebody reported
about it: such cases are counted together. Of the others, a count under ``suppress_below``, 0 included, is not shown,
and neither is as much besides as keeps it from being worked out from the total of its column: complementary
suppression, as in Hundepool and others, "Statistical Disclosure Control" (2012), chapter 4. Rows have no totals: a
case may show several modes.

This keeps a table that is shown or printed from telling of single cases. It does not keep anything from those who may
open the cases; and where one column lies within another, their tables may still be subtracted from each other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, Subquery, case, func, select, true
from sqlalchemy.orm import Session

from secondlook.config import ReviewConfig
from secondlook.errors import MissingError, did_you_mean
from secondlook.review.tables import CaseRow, FieldRow, Run, ScoreRow, Verdict
from secondlook.review.verdicts import COMPLETE, IS_READ, counted, day_of, decided, mode_titles, with_status

MONTH = "month received"
"""Counts by the month in which a case was received, and not by a column."""

OTHERS = "all others, or not given"
"""Names the row of the values that are not shown for themselves, and of the cases that have none."""

MOST_VALUES = 20
"""Values of a column that are shown, those of most cases."""

MOST_MONTHS = 24
"""Months that are shown, the latest."""


class Count(StrEnum):
    """What is counted: what the model flagged, of all cases; what reviewers confirmed, of those fully read."""

    FLAGGED = "flagged"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Column:
    """Counts by row, and their total; None is what is not shown."""

    counts: tuple[int | None, ...]
    total: int | None


@dataclass(frozen=True, slots=True)
class Patterns:
    """A table: a row for a value, with how many ``cases`` have it, and a column for each of the ``modes``, by title.

    ``named`` rows are values; there may be one more, :data:`OTHERS`. Months go forward, values from most cases to
    fewest. There is no row where fewer cases than ``suppress_below`` are to be counted.
    """

    by: str
    count: Count
    named: tuple[str, ...]
    cases: tuple[int, ...]
    modes: tuple[tuple[str, Column], ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """What the rows are called."""
        return self.named + (OTHERS,) * (len(self.cases) - len(self.named))


def choices(session: Session, run_id: int) -> list[str]:
    """What a run's cases can be counted by: :data:`MONTH`, and their columns in alphabetical order."""
    names: list[str] = []
    while True:  # one look into the index for each
        after = FieldRow.name > names[-1] if names else true()
        name = session.scalar(select(func.min(FieldRow.name)).where(FieldRow.run_id == run_id, after))
        if name is None:
            return [MONTH, *names]
        names.append(name)


def check_column(by: str, known: Sequence[str]) -> None:
    """See that cases can be counted by that.

    Raises:
        MissingError: they cannot; says by what.
    """
    if by not in known:
        raise MissingError(f"cases cannot be counted by '{by}'{did_you_mean(by, known)}; choose {', '.join(known)}")


def patterns(session: Session, run: Run, by: str, count: Count, config: ReviewConfig) -> Patterns:
    """Count every mode by the values of a column.

    Args:
        session: any.
        run: of which.
        by: the name of a column, or :data:`MONTH`.
        count: what to count.
        config: its ``suppress_below``.

    Raises:
        MissingError: the run has no such column.
    """
    check_column(by, choices(session, run.id))
    below, titles = config.suppress_below, mode_titles(run)
    cases = _cases(run.id, count)
    every = session.scalar(select(func.count()).select_from(cases.subquery())) or 0
    if every < below:
        return Patterns(by, count, (), (), tuple((title, Column((), None)) for title in titles.values()))
    shown = _shown_values(session, run.id, by, cases, every, below)
    named = tuple(sorted(shown) if by == MONTH else shown)
    rest = every - sum(shown.values())
    rows = [*(shown[value] for value in named), *([rest] if rest else [])]
    found = _found(session, run.id, by, count, cases, named)
    values = (*named, None) if rest else named
    modes = tuple(
        (title, suppress([found[mode][value] for value in values], below, rows)) for mode, title in titles.items()
    )
    return Patterns(by, count, named, tuple(rows), modes)


def suppress(counts: Sequence[int], below: int, most: Sequence[int] | None = None) -> Column:
    """A column of counts, without those under ``below`` and whatever would give them away; 1 keeps nothing back.

    The smallest of the others are kept back as well, until each count that is not shown could be anything from 0 to
    ``below``, for all that the total and ``most`` say; failing that, the total.

    Args:
        counts: by row.
        below: from where on a count is shown.
        most: by row, what a count cannot exceed, and is shown beside it; at least ``below``.

    >>> suppress([40, 3, 12, 7], below=5)
    Column(counts=(40, None, 12, None), total=62)
    >>> suppress([40, 12], below=5)
    Column(counts=(40, 12), total=52)
    >>> suppress([3], below=5)
    Column(counts=(None,), total=None)
    """
    total = sum(counts)
    hidden = {row for row, count in enumerate(counts) if count < below} if below > 1 else set()
    limits = most or [total] * len(counts)
    others = {count for row, count in enumerate(counts) if row not in hidden}
    while hidden and others and not _are_safe(hidden, counts, limits, below):
        # All that are as small: which of them was taken would tell.
        smallest = min(others)
        others.remove(smallest)
        hidden |= {row for row, count in enumerate(counts) if count == smallest}
    told = not hidden or (total >= below and _are_safe(hidden, counts, limits, below))
    shown = tuple(None if row in hidden else count for row, count in enumerate(counts))
    return Column(shown, total if told else None)


def _are_safe(hidden: set[int], counts: Sequence[int], limits: Sequence[int], below: int) -> bool:
    together, room = sum(counts[row] for row in hidden), [limits[row] for row in hidden]
    could_be_none = together <= sum(room) - max(room)
    could_be_shown = together >= below and min(room) >= below
    each_is_one_short = together == len(hidden) * (below - 1)
    return could_be_none and could_be_shown and not each_is_one_short


def _cases(run_id: int, count: Count) -> Select[Any]:
    if count is Count.CONFIRMED:
        return with_status(run_id, COMPLETE)
    return select(CaseRow.id).where(CaseRow.run_id == run_id, IS_READ)


def _values(run_id: int, by: str) -> Subquery:
    """Columns ``case_id`` and ``value``."""
    if by == MONTH:
        month = day_of(CaseRow.received, length=7).label("value")
        own = (CaseRow.run_id == run_id, IS_READ, CaseRow.received.is_not(None))
        return select(CaseRow.id.label("case_id"), month).where(*own).subquery()
    return select(FieldRow.case_id, FieldRow.value).where(FieldRow.run_id == run_id, FieldRow.name == by).subquery()


def _shown_values(session: Session, run_id: int, by: str, cases: Select[Any], every: int, below: int) -> dict[str, int]:
    """The values that rows are named after, with how many cases have them; what is left are enough cases, or none."""
    values = _values(run_id, by)
    number = func.count()
    statement = (
        select(values.c.value, number)
        .where(values.c.case_id.in_(cases))
        .group_by(values.c.value)
        .having(number >= below)
    )
    if by == MONTH:
        shown = counted(session, statement.order_by(values.c.value.desc()).limit(MOST_MONTHS))
    else:
        shown = counted(session, statement.order_by(number.desc(), values.c.value).limit(MOST_VALUES))
    while shown and 0 < every - sum(shown.values()) < below:
        shown.popitem()  # the rarest, or the earliest month
    return shown


def _found(
    session: Session, run_id: int, by: str, count: Count, cases: Select[Any], named: Sequence[str]
) -> Mapping[str, Counter[str | None]]:
    """How many cases show each mode, by mode and value; None stands for all values that are not named, and for none."""
    if count is Count.CONFIRMED:
        said = decided(run_id)
        shows = select(said.c.case_id, said.c.mode).where(said.c.verdict == Verdict.CONFIRM).subquery()
    else:
        flagged = (ScoreRow.run_id == run_id, ScoreRow.flag.is_(True), ScoreRow.case_id.in_(cases))
        shows = select(ScoreRow.case_id, ScoreRow.mode).where(*flagged).subquery()
    values = _values(run_id, by)
    own = case((values.c.value.in_(named), values.c.value)).label("value")
    each = select(shows.c.mode, own).join(values, values.c.case_id == shows.c.case_id, isouter=True).subquery()
    found: dict[str, Counter[str | None]] = defaultdict(Counter)
    for mode, value, number in session.execute(select(each.c.mode, each.c.value, func.count()).group_by(*each.c)):
        found[mode][value] = number
    return found
