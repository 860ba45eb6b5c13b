"""Case file: what is there to see of one case? What must be hidden from a person is not in theirs at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from secondlook.config import ReviewConfig
from secondlook.review.accounts import Person
from secondlook.review.assignment import DONE, UNFINISHED, claim, disputed_modes, is_blind, review_by, reviews_of
from secondlook.review.decisions import ReviewState, can_reopen, case_of, modes_to_decide, state_of
from secondlook.review.record import Action, append
from secondlook.review.tables import Arm, CaseRow, EvidenceRow, Kind, Review, Role, Run, ScoreRow, Status, User
from secondlook.schema import Evidence, Span


@dataclass(frozen=True, slots=True)
class ModeView:
    """A failure mode, as the codebook of the run has it."""

    id: str
    title: str
    definition: str
    severity: float


@dataclass(frozen=True, slots=True)
class ScoreView:
    """What the model said of a mode: a probability with its interval, and whether it reaches the operating point."""

    score: float
    low: float
    high: float
    flag: bool
    threshold: float | None


@dataclass(frozen=True, slots=True)
class OtherReview:
    """A review by somebody else, by pseudonym."""

    reviewer: str
    state: ReviewState


@dataclass(frozen=True, slots=True)
class CaseFile:
    """All that a person may see of a case.

    ``details`` are the input's own columns, ``copies`` and ``original`` key and id of near-duplicates. Where
    ``blind``, nothing of the model is here: no priority, no explanation, no scores, no evidence, nor that the case was
    drawn for the audit. ``review`` is the person's own; where they have none, ``read_only_because`` says why.
    ``to_decide`` are the modes that it needs a verdict on, ``disputed`` those on which two reviews differ, shown to
    whoever may see them: ``others`` are the reviews by others, for those who decide between them and, once all is
    finished, for administrators.
    """

    id: int
    run_id: int
    run_name: str
    case_id: str
    rank: int
    priority: float | None
    explanation: str
    received: datetime | None
    narrative: str
    details: Mapping[str, Any]
    modes: list[ModeView]
    scores: Mapping[str, ScoreView]
    evidence: list[Evidence]
    copies: list[tuple[int, str]]
    original: tuple[int, str] | None
    drawn_for_audit: bool
    status: Status
    review: ReviewState | None
    read_only_because: str | None
    can_reopen: bool
    blind: bool
    to_decide: list[str]
    disputed: list[str]
    others: list[OtherReview]


def open_case(session: Session, person: Person, case_pk: int, config: ReviewConfig, now: datetime) -> CaseFile:
    """Open a case: it is the person's from now on, if it is free, and the record says that they saw it, and how.

    Args:
        session: of :meth:`secondlook.review.database.Desk.writing`.
        person: who opens it.
        case_pk: its key on the desk.
        config: choices of the desk.
        now: the moment, from which the time on the case is counted.

    Raises:
        DeskError: there is no such case.
        RefusedError: its run is not assigned to them.
    """
    case = case_of(session, person, case_pk)
    review = claim(session, person, case, config, now)
    if review is not None and review.finished_at is None:
        review.touched_at = now
    file = case_file(session, person, case, review)
    record_seen(session, person, file)
    return file


def record_seen(session: Session, person: Person, file: CaseFile) -> None:
    """Put it into the record that a person saw a case, and what of the model's word they were shown."""
    run = session.get_one(Run, file.run_id)
    append(session, person.pseudonym, Action.CASE_SEEN, run=run.digest, case_id=file.case_id, detail=_shown(file))


def case_file(session: Session, person: Person, case: CaseRow, review: Review | None) -> CaseFile:
    """What a person sees of a case.

    Args:
        session: any.
        person: who looks.
        case: the case.
        review: what :func:`secondlook.review.assignment.claim` gave.
    """
    run = session.get_one(Run, case.run_id)
    original = None if case.original_id is None else session.get_one(CaseRow, case.original_id)
    blind = any(_is_blind(session, person, one) for one in (case, original) if one is not None)
    others = _others(session, person, case)
    judges = bool(others) or (review is not None and review.kind == Kind.ADJUDICATION)
    copies = select(CaseRow.id, CaseRow.case_id).where(CaseRow.original_id == case.id).order_by(CaseRow.rank)
    return CaseFile(
        id=case.id,
        run_id=case.run_id,
        run_name=run.name,
        case_id=case.case_id,
        rank=case.rank,
        priority=None if blind else case.priority,
        explanation="" if blind else case.explanation,
        received=case.received,
        narrative=case.narrative,
        details=case.details,
        modes=[ModeView(mode["id"], mode["title"], mode["definition"], mode["severity"]) for mode in _modes(run)],
        scores={} if blind else _scores(session, case, run),
        evidence=[] if blind else _evidence(session, case),
        copies=[(key, case_id) for key, case_id in session.execute(copies).tuples()],
        original=None if original is None else (original.id, original.case_id),
        drawn_for_audit=case.drawn_for_audit and not blind,
        status=Status(case.status),
        review=None if review is None else state_of(session, review),
        read_only_because=None if review is not None else _why_not(session, case, blind),
        can_reopen=review is not None and can_reopen(case, review),
        blind=blind,
        to_decide=[] if review is None else modes_to_decide(session, case, review),
        disputed=disputed_modes(session, case.id) if judges else [],
        others=others,
    )


def _modes(run: Run) -> list[dict[str, Any]]:
    modes: list[dict[str, Any]] = run.codebook["modes"]
    return modes


def _is_blind(session: Session, person: Person, case: CaseRow) -> bool:
    return is_blind(case, review_by(session, person, case.id), person)


def _scores(session: Session, case: CaseRow, run: Run) -> dict[str, ScoreView]:
    rows = {row.mode: row for row in session.scalars(select(ScoreRow).where(ScoreRow.case_id == case.id))}
    return {
        mode: ScoreView(rows[mode].score, rows[mode].low, rows[mode].high, rows[mode].flag, run.thresholds.get(mode))
        for mode in (mode["id"] for mode in _modes(run))
        if mode in rows
    }


def _evidence(session: Session, case: CaseRow) -> list[Evidence]:
    rows = session.scalars(select(EvidenceRow).where(EvidenceRow.case_id == case.id).order_by(EvidenceRow.id))
    return [Evidence(row.mode, Span(row.start, row.end), row.share) for row in rows]


def _others(session: Session, person: Person, case: CaseRow) -> list[OtherReview]:
    """The finished reviews by others, once none of them can be swayed by what they say."""
    if case.status in UNFINISHED or person.role == Role.REVIEWER:
        return []
    reviews = [review for review in reviews_of(session, case.id) if review.finished_at and not review.released_at]
    is_reader = any(review.user_id == person.id and review.kind != Kind.ADJUDICATION for review in reviews)
    disputed = case.status in (Status.DISPUTED, Status.SETTLED)
    if person.role != Role.ADMINISTRATOR and (is_reader or not disputed):
        return []
    names = select(User.id, User.pseudonym).where(User.id.in_([review.user_id for review in reviews]))
    called = dict(session.execute(names).tuples().all())
    return [
        OtherReview(called[review.user_id], state_of(session, review))
        for review in reviews
        if review.user_id != person.id
    ]


def _why_not(session: Session, case: CaseRow, blind: bool) -> str:
    """Why whoever has no review of a case may only read it."""
    if case.status in DONE:
        return "This case is finished."
    active = [review for review in reviews_of(session, case.id) if review.released_at is None]
    if case.status == Status.DISPUTED:
        judged = any(review.kind == Kind.ADJUDICATION for review in active)
        return "Somebody is deciding this case." if judged else "This case is with those who decide between reviewers."
    if case.next_arm == Arm.UNPROMPTED:
        return "This case is kept for somebody who has not seen what the model said of it."
    if case.original_id is not None and blind:
        return "This case copies one that is still being read without the model's word."
    return "Others have this case." if len(active) > 1 else "Somebody else has this case."


def _shown(file: CaseFile) -> dict[str, Any]:
    """For the record: what of the model's word was shown, and as what the person came."""
    review = file.review
    arm = Arm.UNPROMPTED if file.blind else Arm.PROMPTED
    said: dict[str, Any] = {"shown": arm, "kind": None if review is None else review.kind}
    if review is not None:
        said["version"] = review.version
    if file.others:
        said["others"] = [other.reviewer for other in file.others]
    return said
