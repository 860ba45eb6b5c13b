"""Figures: how far is the work, and how well do people and model agree? Counted by the database; no case is loaded.

Reviewers see figures of all and of themselves; figures of other people are for administrators. Agreement on fewer
than ``suppress_below`` cases would tell a reviewer what the other one decided, and is kept from them, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Subquery, case, func, null, select
from sqlalchemy.orm import Session

from secondlook.config import ReviewConfig
from secondlook.review.agreement import (
    Agreement,
    ArmsCompared,
    ReadTwice,
    by_arm,
    by_mode,
    by_pair,
    by_reviewer,
    read_twice,
)
from secondlook.review.assignment import DONE
from secondlook.review.estimates import Figure, share, unknown
from secondlook.review.missed import Audit, audit
from secondlook.review.tables import CaseRow, Kind, Review, Run, ScoreRow, Status, User, Verdict
from secondlook.review.verdicts import (
    IS_READ,
    Decided,
    count_decided,
    counted,
    day_of,
    is_finished,
    mode_titles,
    with_status,
)

DAYS = 14
"""How many days the pace is told of, today included."""


@dataclass(frozen=True, slots=True)
class Left:
    """How many cases are how far; ``copies`` are read with the cases that they copy, and not among the others."""

    finished: int
    settled: int
    disputed: int
    taken: int
    open: int
    copies: int

    @property
    def done(self) -> int:
        """Cases that need no more reading."""
        return self.finished + self.settled

    @property
    def undone(self) -> int:
        """Cases that do."""
        return self.disputed + self.taken + self.open


@dataclass(frozen=True, slots=True)
class Pace:
    """Cases done on each of the last days, the oldest first, by the day (UTC) of their last review.

    ``a_day`` is over the days on which something was done, ``days_left`` how many more such days the rest takes.
    """

    days: tuple[tuple[date, int], ...]
    a_day: Figure
    days_left: Figure


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds on a case: quartiles over finished reviews, adjudications apart."""

    reviews: int
    lower: float
    median: float
    upper: float


@dataclass(frozen=True, slots=True)
class FlagPrecision:
    """What reviewers decided on a mode's flags.

    ``flagged`` are all of the run, ``disputed`` those that two reviewers disagree about. The share is that of those
    confirmed among confirmed and rejected. ``unflagged`` counts cases in which the mode was confirmed without a flag.
    """

    title: str
    flagged: int
    confirmed: int
    rejected: int
    unsure: int
    disputed: int
    share: Figure
    unflagged: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of a run. Times are those of ``everybody``, None where nothing is finished, and of people by name."""

    left: Left
    pace: Pace
    everybody: Times | None
    times: tuple[tuple[str, Times], ...]
    flags: tuple[FlagPrecision, ...]
    modes: tuple[Agreement, ...]
    reviewers: tuple[Agreement, ...]
    pairs: tuple[Agreement, ...]
    arms: tuple[ArmsCompared, ...]
    audit: Audit


@dataclass(frozen=True, slots=True)
class Counted:
    """What the database counted of a run, for all readers alike; ``times`` are by account, ``None`` for all.

    ``names`` are what administrators call the accounts.
    """

    titles: Mapping[str, str]
    names: Mapping[int, str]
    left: Left
    pace: Pace
    times: Mapping[int | None, Times]
    flags: tuple[FlagPrecision, ...]
    twice: tuple[ReadTwice, ...]
    audit: Audit


def count(session: Session, run: Run, now: datetime) -> Counted:
    """Count all that figures of a run rest on.

    Args:
        session: any.
        run: of which.
        now: aware; the pace is that of the days before it.
    """
    titles, left = mode_titles(run), _left(session, run)
    decided = count_decided(session, run.id)
    users = session.execute(select(User.id, User.name, User.pseudonym))
    return Counted(
        titles=titles,
        names={user: f"{name} ({pseudonym})" for user, name, pseudonym in users},
        left=left,
        pace=_pace(session, run.id, left, now),
        times=_times(session, run.id),
        flags=tuple(_flags(session, run.id, titles, decided)),
        twice=tuple(read_twice(session, run.id)),
        audit=audit(session, run.id, titles, decided),
    )


def figures(known: Counted, config: ReviewConfig, reader: int | None) -> Figures:
    """The figures that a reader may see.

    Args:
        known: what :func:`count` gave.
        config: its ``suppress_below`` counts for readers other than administrators.
        reader: the account that figures of single people are of; None for an administrator, who sees those of all.
    """
    names = known.names if reader is None else {reader: "you"}
    fewest = 1 if reader is None else config.suppress_below
    own = [(names[user], times) for user, times in known.times.items() if user is not None and user in names]
    return Figures(
        left=known.left,
        pace=known.pace,
        everybody=known.times.get(None),
        times=tuple(sorted(own, key=lambda one: one[0])),
        flags=known.flags,
        modes=tuple(by_mode(known.twice, known.titles, fewest)),
        reviewers=tuple(by_reviewer(known.twice, names.get, fewest)),
        pairs=tuple(by_pair(known.twice, names.get)) if reader is None else (),
        arms=tuple(by_arm(known.twice, known.titles, fewest)),
        audit=known.audit,
    )


def _left(session: Session, run: Run) -> Left:
    statement = select(CaseRow.status, func.count()).where(CaseRow.run_id == run.id, IS_READ).group_by(CaseRow.status)
    counts = counted(session, statement)
    own = {status.value: counts.get(status, 0) for status in Status}
    return Left(**own, copies=run.cases - sum(own.values()))


def _pace(session: Session, run_id: int, left: Left, now: datetime) -> Pace:
    first = (now - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    last = (
        select(day_of(func.max(Review.finished_at)).label("day"))
        .where(Review.run_id == run_id, Review.finished_at >= first, is_finished(Review))
        .where(Review.case_id.in_(with_status(run_id, DONE)))
        .group_by(Review.case_id)
        .subquery()
    )
    counts = counted(session, select(last.c.day, func.count()).group_by(last.c.day))
    dates = [(first + timedelta(days=number)).date() for number in range(DAYS)]
    days = tuple((one, counts.get(one.isoformat(), 0)) for one in dates)
    worked = [count for _, count in days if count]
    if not worked:
        nothing = unknown(f"no case was done in the last {DAYS} days")
        return Pace(days, nothing, nothing)
    a_day = sum(worked) / len(worked)
    return Pace(days, Figure(a_day), Figure(left.undone / a_day))


def _times(session: Session, run_id: int) -> dict[int | None, Times]:
    counts = (Review.run_id == run_id, is_finished(Review), Review.kind != Kind.ADJUDICATION)
    every = select(null().label("whose"), Review.seconds).where(*counts).subquery()
    own = select(Review.user_id.label("whose"), Review.seconds).where(*counts).subquery()
    return {whose: times for source in (every, own) for whose, times in _quartiles(session, source)}


def _quartiles(session: Session, times: Subquery) -> Iterable[tuple[int | None, Times]]:
    """Of each: how many, and the smallest times that a quarter, a half and three quarters do not exceed."""
    place = func.row_number().over(partition_by=times.c.whose, order_by=times.c.seconds).label("place")
    every = func.count().over(partition_by=times.c.whose).label("every")
    ranked = select(times.c.whose, times.c.seconds, place, every).subquery()
    at = [
        # Whole-number division rounds down: the place is that of k * n / 4, rounded up.
        func.max(case((ranked.c.place == (quarter * ranked.c.every + 3) // 4, ranked.c.seconds)))
        for quarter in (1, 2, 3)
    ]
    statement = select(ranked.c.whose, func.max(ranked.c.every), *at).group_by(ranked.c.whose)
    for whose, reviews, lower, median, upper in session.execute(statement):
        yield whose, Times(reviews, lower, median, upper)


def _flags(
    session: Session, run_id: int, titles: Mapping[str, str], decided: Iterable[Decided]
) -> Iterable[FlagPrecision]:
    read = select(CaseRow.id).where(CaseRow.run_id == run_id, IS_READ)
    every = counted(
        session,
        select(ScoreRow.mode, func.count())
        .where(ScoreRow.run_id == run_id, ScoreRow.mode.in_(titles), ScoreRow.flag.is_(True))
        .where(ScoreRow.case_id.in_(read))
        .group_by(ScoreRow.mode),
    )
    counts: Counter[tuple[str, bool, Verdict | None]] = Counter()
    for own in decided:
        counts[own.mode, own.flag, own.verdict] += own.cases
    for mode, title in titles.items():
        flagged = every.get(mode, 0)
        confirmed, rejected = counts[mode, True, Verdict.CONFIRM], counts[mode, True, Verdict.REJECT]
        why = "no flag of this mode was confirmed or rejected yet" if flagged else "no case is flagged for this mode"
        yield FlagPrecision(
            title=title,
            flagged=flagged,
            confirmed=confirmed,
            rejected=rejected,
            unsure=counts[mode, True, Verdict.UNSURE],
            disputed=counts[mode, True, None],
            share=share(confirmed, confirmed + rejected, why),
            unflagged=counts[mode, False, Verdict.CONFIRM],
        )
