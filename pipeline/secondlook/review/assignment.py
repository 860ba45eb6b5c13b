"""Assignment: who reads which case, what of the model do they see, and how far is it? Drawn by lot, kept by rule.

A case has one review, or two that do not see each other; where those differ on a mode, a third person decides between
them. A review that is left alone for too long, or released, makes room for another reader.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from secondlook.config import ReviewConfig
from secondlook.review.accounts import Person, check_access
from secondlook.review.record import Action, append
from secondlook.review.tables import (
    Arm,
    CaseRow,
    Decision,
    Kind,
    Mark,
    Review,
    Role,
    Run,
    Status,
    Step,
    User,
    Verdict,
)

UNFINISHED = (Status.OPEN, Status.TAKEN)
"""Of a case whose reviews are not all there yet."""

DONE = (Status.FINISHED, Status.SETTLED)
"""Of a case that nobody needs to read again."""

_PLACES = 1 << 31
"""So many places :func:`lot_of` may draw: PostgreSQL's integers go no further."""


def arms_of(config: ReviewConfig, run_digest: str, case_id: str) -> list[Arm]:
    """What the reviewers of a case see, one after the other: one, or two where it is read twice.

    The same seed, run and case always give the same.
    """
    twice, blind, first = (_share(config.seed, purpose, run_digest, case_id) for purpose in ("twice", "blind", "first"))
    if twice >= config.double_share:
        return [Arm.PROMPTED]
    if blind >= config.unprompted_share:
        return [Arm.PROMPTED, Arm.PROMPTED]
    return [Arm.PROMPTED, Arm.UNPROMPTED] if first < 0.5 else [Arm.UNPROMPTED, Arm.PROMPTED]


def lot_of(config: ReviewConfig, run_digest: str, case_id: str) -> int:
    """A case's place where cases are drawn by lot: the same for the same seed, run and case."""
    return int(_share(config.seed, "lot", run_digest, case_id) * _PLACES)


def _share(seed: int, purpose: str, run_digest: str, case_id: str) -> float:
    """A number from 0 to 1, 1 excluded, that looks as if it were drawn."""
    said = "\0".join((str(seed), purpose, run_digest, case_id)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(said).digest()[:6], "big") / (1 << 48)


def claim(session: Session, person: Person, case: CaseRow, config: ReviewConfig, now: datetime) -> Review | None:
    """A person's review of a case, begun if they may have one; None where they may only read it.

    Of two who ask at once, one is first: the case is held until the transaction ends. Reviews by others that were
    left alone for too long are released.

    Raises:
        RefusedError: the run is not assigned to them.
    """
    check_access(person, case.run_id)
    hold(session, case)
    reviews = reviews_of(session, case.id)
    _release_stale(session, case, reviews, person, config, now)
    mine = next((review for review in reviews if review.user_id == person.id), None)
    if mine and mine.released_at is None:
        return mine
    place = _place_for(session, person, case, mine, reviews)
    if place is None:
        return None
    kind, arm = place
    if mine is None:
        mine = Review(
            case_id=case.id, run_id=case.run_id, user_id=person.id, note="", version=1, seconds=0.0, opened_at=now
        )
        session.add(mine)
    else:
        mine.version += 1
        if kind != mine.kind:
            _begin_anew(session, mine)
    mine.kind, mine.arm, mine.touched_at, mine.finished_at, mine.released_at = kind, arm, now, None, None
    session.flush()
    settle(session, case)
    return mine


def hold(session: Session, case: CaseRow) -> None:
    """Keep everybody else from changing a case, and its reviews from coming or going, until the transaction ends."""
    session.refresh(case, ["status", "next_arm"], with_for_update=True)


def reviews_of(session: Session, case_pk: int) -> list[Review]:
    """A case's reviews as they are now, the earliest first, released ones among them."""
    chosen = select(Review).where(Review.case_id == case_pk).order_by(Review.id)
    return list(session.scalars(chosen.execution_options(populate_existing=True)))


def review_by(session: Session, person: Person, case_pk: int) -> Review | None:
    """A person's own review of a case as it is now, released or not; None if they have none."""
    chosen = select(Review).where(Review.case_id == case_pk, Review.user_id == person.id)
    return session.scalars(chosen.execution_options(populate_existing=True)).one_or_none()


def is_blind(case: CaseRow, review: Review | None, person: Person) -> bool:
    """Whether what the model said of a case must be hidden from a person.

    It is hidden from whoever reviews without it, and from everybody who might still be given that review, until all
    reviews of the case are finished. Administrators see it, and are never given that review.

    Args:
        case: the case; of a copy, ask for its original, too.
        review: the person's own review of it, released or not; None if they have none.
        person: who looks.
    """
    if not case.unprompted or case.status not in UNFINISHED:
        return False
    if review is not None:
        return review.arm == Arm.UNPROMPTED
    return person.role != Role.ADMINISTRATOR


def settle(session: Session, case: CaseRow) -> None:
    """Bring a case's status, and what the next to take it sees, to what its reviews say."""
    reviews = reviews_of(session, case.id)
    arms, readers = _arms(case), _readers(reviews)
    free = list(arms)
    for review in readers:
        if review.arm in free:
            free.remove(Arm(review.arm))
    case.next_arm = free[0] if len(readers) < len(arms) and free else None
    case.status = status_of(session, case, reviews)
    session.flush()


def status_of(session: Session, case: CaseRow, reviews: list[Review]) -> Status:
    """How far a case is, by all its reviews."""
    readers = _readers(reviews)
    if sum(review.finished_at is not None for review in readers) < len(_arms(case)):
        return Status.TAKEN if readers else Status.OPEN
    if not disputed_modes(session, case.id):
        return Status.FINISHED
    judges = [review for review in reviews if review.kind == Kind.ADJUDICATION and review.released_at is None]
    return Status.SETTLED if any(review.finished_at for review in judges) else Status.DISPUTED


def _readers(reviews: Iterable[Review]) -> list[Review]:
    return [review for review in reviews if review.kind != Kind.ADJUDICATION and review.released_at is None]


def disputed_modes(session: Session, case_pk: int) -> list[str]:
    """The modes on which the finished reviews of a case differ, in their alphabetical order; adjudication aside."""
    finished = [
        review.id
        for review in reviews_of(session, case_pk)
        if review.kind != Kind.ADJUDICATION and review.finished_at and review.released_at is None
    ]
    if len(finished) < 2:
        return []
    said = verdicts_of(session, finished)
    modes = {mode for verdicts in said.values() for mode in verdicts}
    return sorted(mode for mode in modes if len({said[key].get(mode, Verdict.REJECT) for key in finished}) > 1)


def verdicts_of(session: Session, review_ids: Iterable[int]) -> Mapping[int, Mapping[str, Verdict]]:
    """What finished reviews say, by review and mode.

    Who read prompted need not decide on a mode that was not flagged: it then holds if they marked a passage for it,
    and is not listed otherwise, which says that they saw nothing of it.
    """
    keys = list(review_ids)
    said: dict[int, dict[str, Verdict]] = defaultdict(dict)
    for review_id, mode in session.execute(select(Mark.review_id, Mark.mode).where(Mark.review_id.in_(keys))):
        said[review_id][mode] = Verdict.CONFIRM
    decided = select(Decision.review_id, Decision.mode, Decision.verdict).where(Decision.review_id.in_(keys))
    for review_id, mode, verdict in session.execute(decided):
        said[review_id][mode] = Verdict(verdict)
    return said


def _arms(case: CaseRow) -> list[Arm]:
    return [Arm(arm) for arm in case.arms] if case.original_id is None else [Arm.PROMPTED]


def _place_for(
    session: Session, person: Person, case: CaseRow, mine: Review | None, reviews: list[Review]
) -> tuple[Kind, Arm] | None:
    if case.status == Status.DISPUTED:
        judged = any(review.kind == Kind.ADJUDICATION and review.released_at is None for review in reviews)
        may = person.role in (Role.ADJUDICATOR, Role.ADMINISTRATOR) and not judged
        return (Kind.ADJUDICATION, Arm.PROMPTED) if may else None
    if case.next_arm is None or _original_is_blind(session, person, case):
        return None
    # Whoever saw what the model said cannot be the one who does not see it.
    saw = person.role == Role.ADMINISTRATOR or (mine is not None and mine.arm == Arm.PROMPTED)
    if case.next_arm == Arm.UNPROMPTED and saw:
        return None
    return Kind.SINGLE if len(_arms(case)) == 1 else Kind.DOUBLE, Arm(case.next_arm)


def _original_is_blind(session: Session, person: Person, case: CaseRow) -> bool:
    """What the model said of a copy says what it said of the original."""
    original = session.get(CaseRow, case.original_id) if case.original_id is not None else None
    return original is not None and is_blind(original, review_by(session, person, original.id), person)


def _release_stale(
    session: Session, case: CaseRow, reviews: list[Review], person: Person, config: ReviewConfig, now: datetime
) -> None:
    latest = now - timedelta(hours=config.release_hours)
    stale = [
        review
        for review in reviews
        if not (review.finished_at or review.released_at or review.user_id == person.id) and review.touched_at < latest
    ]
    for review in stale:
        review.released_at = now
        review.version += 1
        pseudonym = session.scalars(select(User.pseudonym).where(User.id == review.user_id)).one()
        append(
            session,
            person.pseudonym,
            Action.RELEASED,
            run=session.scalars(select(Run.digest).where(Run.id == case.run_id)).one(),
            case_id=case.case_id,
            detail={"review": review.id, "reviewer": pseudonym, "version": review.version, "why": "left alone"},
        )
    if stale:
        settle(session, case)


def _begin_anew(session: Session, review: Review) -> None:
    """What was begun as another kind of review does not count for this one; the record keeps it."""
    for table in (Decision, Mark, Step):
        session.execute(delete(table).where(table.review_id == review.id))
    review.note, review.seconds = "", 0.0
