"""Verdicts: what was decided of every case? As selections, for the database to count.

A near-copy is read with the case that it copies, and does not count beside it. A mode that was not flagged, and on
which a reviewer who saw the flags neither decided nor marked a passage, was read and not found: that is to reject it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    SQLColumnExpression,
    Subquery,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from secondlook.review.assignment import DONE
from secondlook.review.tables import CaseRow, Decision, Kind, Mark, Review, Run, ScoreRow, Status, Verdict

COMPLETE = (*DONE, Status.DISPUTED)
"""All reviews that the case was to have are finished."""

IS_READ = CaseRow.original_id.is_(None)
"""That a case is read for itself, and not as the copy of another."""

CONFIRMED, REJECTED = literal(Verdict.CONFIRM.value), literal(Verdict.REJECT.value)


def is_finished(review: type[Review]) -> ColumnElement[bool]:
    """That a review is finished and counts."""
    return and_(review.finished_at.is_not(None), review.released_at.is_(None))


def with_status(run_id: int, statuses: tuple[Status, ...]) -> Select[Any]:
    """The keys of a run's cases, copies apart, that are so far; from an index alone."""
    return select(CaseRow.id).where(CaseRow.run_id == run_id, IS_READ, CaseRow.status.in_(statuses))


def decided(run_id: int) -> Subquery:
    """What was decided of the cases whose reviews are complete: columns ``case_id``, ``mode``, ``verdict``.

    An adjudicator's verdict stands; without one, what all reviewers say; NULL where they disagree. A mode on which
    none of them decided has no row: it was not flagged, and not found.
    """
    said = _said(run_id)
    own = case((said.c.kind != Kind.ADJUDICATION, said.c.verdict))
    settled = func.max(case((said.c.kind == Kind.ADJUDICATION, said.c.verdict)))
    # Of two, one may have left the mode alone, which is to reject it.
    all_said = func.count(own) == case((func.max(said.c.kind) == Kind.SINGLE, 1), else_=2)
    same = and_(func.min(own) == func.max(own), or_(all_said, func.min(own) == Verdict.REJECT))
    return (
        select(said.c.case_id, said.c.mode, func.coalesce(settled, case((same, func.min(own)))).label("verdict"))
        .group_by(said.c.case_id, said.c.mode)
        .subquery("decided")
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """How many cases have this verdict on a mode; ``verdict`` is None where two disagree.

    ``stratum`` is that of the audit, for cases that were ``drawn`` for it.
    """

    mode: str
    flag: bool
    verdict: Verdict | None
    drawn: bool
    stratum: int | None
    cases: int


def count_decided(session: Session, run_id: int) -> list[Decided]:
    """What was decided of a run's cases, counted. A mode on which nobody decided is not among it."""
    said = decided(run_id)
    stratum = case((CaseRow.drawn_for_audit.is_(True), CaseRow.audit_stratum)).label("stratum")
    by = (said.c.mode, ScoreRow.flag, said.c.verdict, CaseRow.drawn_for_audit, stratum)
    statement = (
        select(*by, func.count())
        .join(ScoreRow, and_(ScoreRow.case_id == said.c.case_id, ScoreRow.mode == said.c.mode))
        .join(CaseRow, CaseRow.id == said.c.case_id)
        .group_by(*by)
    )
    return [
        Decided(mode, flag, Verdict(verdict) if verdict else None, drawn, of, cases)
        for mode, flag, verdict, drawn, of, cases in session.execute(statement)
    ]


def verdict_of(review: type[Review]) -> ColumnElement[str]:
    """What a finished review says of the mode of a score."""
    said = select(Decision.verdict).where(Decision.review_id == review.id, Decision.mode == ScoreRow.mode)
    marked = exists().where(Mark.review_id == review.id, Mark.mode == ScoreRow.mode)
    return func.coalesce(said.scalar_subquery(), case((marked, CONFIRMED), else_=REJECTED))


def day_of(moment: SQLColumnExpression[Any], length: int = 10) -> ColumnElement[str]:
    """The day of a moment as ``2026-03-14``, or its month with a ``length`` of 7; the same on every database."""
    return func.substr(cast(moment, Text), 1, length)


def counted(session: Session, statement: Executable) -> dict[Any, int]:
    """What a statement counts in its second column, by its first."""
    return {row[0]: row[1] for row in session.execute(statement)}


def mode_titles(run: Run) -> dict[str, str]:
    """The titles of a run's modes by their ids, in the codebook's order."""
    return {mode["id"]: mode["title"] for mode in run.codebook["modes"]}


def _said(run_id: int) -> Subquery:
    """What each finished review of a complete case says: its decisions, and modes that it only marked passages for."""
    counts = (Review.run_id == run_id, is_finished(Review), Review.case_id.in_(with_status(run_id, COMPLETE)))
    decisions = (
        select(Review.case_id, Review.kind, Decision.mode, Decision.verdict)
        .join(Decision, Decision.review_id == Review.id)
        .where(*counts)
    )
    has_verdict = exists().where(Decision.review_id == Mark.review_id, Decision.mode == Mark.mode)
    marked = (
        select(Review.case_id, Review.kind, Mark.mode, CONFIRMED.label("verdict"))
        .join(Mark, Mark.review_id == Review.id)
        .where(*counts, ~has_verdict)
        .group_by(Review.id, Review.case_id, Review.kind, Mark.mode)
    )
    return union_all(decisions, marked).subquery("said")
