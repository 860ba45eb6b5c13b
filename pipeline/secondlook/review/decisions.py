"""Decisions: what did a reviewer decide, mark and note? Nothing is overwritten unseen, and every step can be undone.

Whoever changes a review says which version of it they saw; where it has changed since, nothing is written. Every change
goes into the record in the same transaction, with what its reviewer was shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from secondlook.config import ReviewConfig
from secondlook.errors import ConflictError, DeskError, RefusedError, did_you_mean
from secondlook.review.accounts import Person, check_access
from secondlook.review.assignment import UNFINISHED, disputed_modes, hold, review_by, settle
from secondlook.review.record import Action, append
from secondlook.review.tables import Arm, CaseRow, Decision, Kind, Mark, Review, Run, ScoreRow, Step, Verdict

LONGEST_REASON = 2_000
"""Code points."""

LONGEST_NOTE = 20_000
"""Code points."""

_AGAIN = "open the case again, then decide"


@dataclass(frozen=True, slots=True)
class MarkView:
    """A passage that a reviewer marked for a mode: ``narrative[start:end]``, in code points."""

    id: int
    mode: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ReviewState:
    """How far a review is. ``decisions`` are verdict and reason by mode, ``seconds`` the time spent on the case."""

    version: int
    kind: Kind
    arm: Arm
    decisions: Mapping[str, tuple[Verdict, str]]
    marks: tuple[MarkView, ...]
    note: str
    finished: bool
    can_undo: bool
    seconds: float


def state_of(session: Session, review: Review) -> ReviewState:
    """A review as it is now."""
    decided = session.scalars(select(Decision).where(Decision.review_id == review.id).order_by(Decision.mode))
    marks = session.scalars(select(Mark).where(Mark.review_id == review.id).order_by(Mark.start, Mark.end, Mark.id))
    return ReviewState(
        version=review.version,
        kind=Kind(review.kind),
        arm=Arm(review.arm),
        decisions={decision.mode: (Verdict(decision.verdict), decision.reason) for decision in decided},
        marks=tuple(MarkView(mark.id, mark.mode, mark.start, mark.end) for mark in marks),
        note=review.note,
        finished=review.finished_at is not None,
        can_undo=review.finished_at is None and _last_step(session, review) is not None,
        seconds=review.seconds,
    )


def decide(
    session: Session,
    person: Person,
    case_pk: int,
    mode: str,
    verdict: Verdict | None,
    reason: str,
    version: int,
    config: ReviewConfig,
    now: datetime,
) -> ReviewState:
    """Decide on a mode, or take the decision back with None.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case.
        DeskError: there is no such mode, an adjudication is not asked about it, or the reason cannot be stored.
    """
    work = _Work.begin(session, person, case_pk, version)
    work.check_mode(mode)
    check_text(reason, "the reason", LONGEST_REASON)
    old = _decision(session, work.review, mode)
    new = None if verdict is None else (Verdict(verdict), reason)
    if new == (None if old is None else (old.verdict, old.reason)):
        return state_of(session, work.review)
    before = {"mode": mode, "decision": None if old is None else _stored(old)}
    work.change(config, now)
    _set_decision(session, work.review, mode, None if new is None else [*new, now.isoformat()])
    work.remember(Action.DECIDED, before)
    work.record(Action.DECIDED, mode=mode, verdict=verdict, reason=reason if verdict else "")
    return state_of(session, work.review)


def mark(
    session: Session,
    person: Person,
    case_pk: int,
    mode: str,
    start: int,
    end: int,
    version: int,
    config: ReviewConfig,
    now: datetime,
) -> ReviewState:
    """Mark a passage as showing a mode: ``narrative[start:end]``, in code points.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case.
        DeskError: there is no such mode, the offsets lie outside, they hold only white space, or it is marked already.
    """
    work = _Work.begin(session, person, case_pk, version)
    work.check_mode(mode)
    _check_span(work.case.narrative, start, end)
    before = _marks(session, work.review)
    if any(known[:3] == [mode, start, end] for known in before):
        raise DeskError(f"{work.name}: characters {start} to {end} are marked for '{mode}' already")
    work.change(config, now)
    session.add(Mark(review_id=work.review.id, mode=mode, start=start, end=end, made_at=now))
    work.remember(Action.MARKED, {"marks": before})
    work.record(Action.MARKED, mode=mode, start=start, end=end)
    return state_of(session, work.review)


def unmark(
    session: Session, person: Person, case_pk: int, mark_id: int, version: int, config: ReviewConfig, now: datetime
) -> ReviewState:
    """Take a mark away.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case.
        DeskError: their review has no such mark.
    """
    work = _Work.begin(session, person, case_pk, version)
    gone = session.get(Mark, mark_id) if abs(mark_id) < 1 << 31 else None
    if gone is None or gone.review_id != work.review.id:
        raise DeskError(f"{work.name}: your review has no such mark; {_AGAIN}")
    before = _marks(session, work.review)
    work.change(config, now)
    session.delete(gone)
    work.remember(Action.UNMARKED, {"marks": before})
    work.record(Action.UNMARKED, mode=gone.mode, start=gone.start, end=gone.end)
    return state_of(session, work.review)


def note(
    session: Session, person: Person, case_pk: int, text: str, version: int, config: ReviewConfig, now: datetime
) -> ReviewState:
    """Replace the note.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case.
        DeskError: the note is too long, or holds characters that cannot be stored.
    """
    work = _Work.begin(session, person, case_pk, version)
    check_text(text, "the note", LONGEST_NOTE)
    if text == work.review.note:
        return state_of(session, work.review)
    before = {"note": work.review.note}
    work.change(config, now)
    work.review.note = text
    work.remember(Action.NOTED, before)
    work.record(Action.NOTED, **_digest_of(text))
    return state_of(session, work.review)


def undo(
    session: Session, person: Person, case_pk: int, version: int, config: ReviewConfig, now: datetime
) -> ReviewState:
    """Bring back what was before the last step that is not undone yet.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case.
        DeskError: there is nothing to undo.
    """
    work = _Work.begin(session, person, case_pk, version)
    step = _last_step(session, work.review)
    if step is None:
        raise DeskError(f"{work.name}: there is nothing to undo")
    work.change(config, now)
    before = step.before
    if "note" in before:
        work.review.note = before["note"]
    if "marks" in before:
        _set_marks(session, work.review, before["marks"])
    if "mode" in before:
        _set_decision(session, work.review, before["mode"], before["decision"])
    step.undone = True
    work.record(Action.UNDONE, **_what_is_back(step))
    return state_of(session, work.review)


def finish(
    session: Session, person: Person, case_pk: int, version: int, config: ReviewConfig, now: datetime
) -> ReviewState:
    """Say that all is decided: every flagged mode, or every mode where nothing was shown, or every disputed one.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case.
        DeskError: a verdict is missing; names the modes.
    """
    work = _Work.begin(session, person, case_pk, version)
    decided = set(session.scalars(select(Decision.mode).where(Decision.review_id == work.review.id)))
    missing = [mode for mode in modes_to_decide(session, work.case, work.review) if mode not in decided]
    if missing:
        raise DeskError(f"{work.name}: still to decide: {', '.join(missing)}")
    work.change(config, now)
    work.review.finished_at = now
    settle(session, work.case)
    work.record(Action.FINISHED, status=work.case.status, seconds=round(work.review.seconds, 1))
    return state_of(session, work.review)


def reopen(
    session: Session, person: Person, case_pk: int, version: int, config: ReviewConfig, now: datetime
) -> ReviewState:
    """Go on with a finished review.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case, or it was compared with another review or with the model.
        DeskError: it is not finished.
    """
    work = _Work.begin(session, person, case_pk, version, finished=True)
    if not can_reopen(work.case, work.review):
        raise RefusedError(
            f"{work.name}: cannot be reopened: both reviews were compared, or the model's word was shown since; "
            "tell an administrator what should change"
        )
    work.change(config, now, pause=True)
    work.review.finished_at = None
    settle(session, work.case)
    work.record(Action.REOPENED)
    return state_of(session, work.review)


def can_reopen(case: CaseRow, review: Review) -> bool:
    """Whether a finished review may be gone on with: not once it was compared, or the model's word was shown."""
    if review.finished_at is None or review.released_at is not None:
        return False
    compared = review.kind == Kind.DOUBLE or review.arm == Arm.UNPROMPTED
    return case.status in UNFINISHED or not compared


def release(
    session: Session, person: Person, case_pk: int, version: int, config: ReviewConfig, now: datetime
) -> ReviewState:
    """Leave a case to others. What was decided is kept, does not count, and is there if the case is taken again.

    Raises:
        ConflictError: the review has another version by now.
        RefusedError: the person does not have this case.
        DeskError: it is finished.
    """
    work = _Work.begin(session, person, case_pk, version)
    work.change(config, now)
    work.review.released_at = now
    settle(session, work.case)
    work.record(Action.RELEASED)
    return state_of(session, work.review)


def modes_to_decide(session: Session, case: CaseRow, review: Review) -> list[str]:
    """The modes that need a verdict before a review can be finished, in the codebook's order."""
    modes = modes_of(session, case.run_id)
    if review.kind == Kind.ADJUDICATION:
        disputed = disputed_modes(session, case.id)
        return [mode for mode in modes if mode in disputed]
    if review.arm == Arm.UNPROMPTED:
        return modes
    chosen = select(ScoreRow.mode).where(ScoreRow.case_id == case.id, ScoreRow.flag.is_(True))
    flagged = set(session.scalars(chosen))
    return [mode for mode in modes if mode in flagged]


def modes_of(session: Session, run_id: int) -> list[str]:
    """The modes of a run's codebook, in its order."""
    codebook = session.scalars(select(Run.codebook).where(Run.id == run_id)).one()
    return [mode["id"] for mode in codebook["modes"]]


def check_text(text: str, what: str, longest: int) -> None:
    """Whether a text that a reviewer wrote can be stored.

    Raises:
        DeskError: it is too long, or holds a NUL or half of a surrogate pair.
    """
    if len(text) > longest:
        raise DeskError(f"{what}: has {len(text):,} characters, and {longest:,} is the most; shorten it")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise DeskError(f"{what}: holds a character that cannot be stored (NUL or half of a pair); remove it")


@dataclass(frozen=True)
class _Work:
    """A change to a person's review of a case, from the check that they may to the record of what they did."""

    session: Session
    person: Person
    case: CaseRow
    review: Review
    run_digest: str

    @classmethod
    def begin(cls, session: Session, person: Person, case_pk: int, version: int, *, finished: bool = False) -> _Work:
        case = case_of(session, person, case_pk)
        hold(session, case)
        review = review_by(session, person, case.id)
        if review is None:
            raise RefusedError(f"{_name(case)}: is not yours to decide; open it first, or take the next one")
        digest = session.scalars(select(Run.digest).where(Run.id == case.run_id)).one()
        work = cls(session, person, case, review, digest)
        if review.version != version:
            raise work.conflict()
        if review.released_at is not None:
            raise RefusedError(f"{work.name}: you no longer have this case; open it again to go on")
        if (review.finished_at is not None) != finished:
            raise DeskError(f"{work.name}: is {'not finished' if finished else 'finished; reopen it to change it'}")
        return work

    @property
    def name(self) -> str:
        return _name(self.case)

    def conflict(self) -> ConflictError:
        if self.review.released_at is not None:
            why = "was left alone so long that it was released"
        else:
            why = "was changed in another window"
        return ConflictError(f"{self.name}: your review {why}; nothing of this was stored: {_AGAIN}")

    def change(self, config: ReviewConfig, now: datetime, *, pause: bool = False) -> None:
        """Take the next version, if nobody else has, and count the time since the last action, a pause aside."""
        since = 0.0 if pause else max(0.0, (now - self.review.touched_at).total_seconds())
        seconds = self.review.seconds + min(since, config.longest_pause_seconds)
        version = self.review.version
        changed = self.session.execute(
            update(Review)
            .where(Review.id == self.review.id, Review.version == version)
            .values(version=version + 1, touched_at=now, seconds=seconds)
            .execution_options(synchronize_session=False)
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]
            raise self.conflict()
        self.session.refresh(self.review)

    def check_mode(self, mode: str) -> None:
        modes = modes_of(self.session, self.case.run_id)
        if mode not in modes:
            raise DeskError(f"{self.name}: there is no mode {mode[:80]!a}{did_you_mean(mode, modes)}")
        if self.review.kind == Kind.ADJUDICATION and mode not in (asked := disputed_modes(self.session, self.case.id)):
            raise DeskError(f"{self.name}: '{mode}' is not in dispute; to decide are: {', '.join(asked)}")

    def remember(self, what: Action, before: dict[str, Any]) -> None:
        self.session.add(Step(review_id=self.review.id, what=what, before=before, undone=False))
        self.session.flush()

    def record(self, action: Action, **detail: Any) -> None:
        review = self.review
        said = {"review": review.id, "version": review.version, "kind": review.kind, "arm": review.arm, **detail}
        append(
            self.session,
            self.person.pseudonym,
            action,
            run=self.run_digest,
            case_id=self.case.case_id,
            detail=said,
        )


def case_of(session: Session, person: Person, case_pk: int) -> CaseRow:
    """A case that a person may read.

    Raises:
        DeskError: there is no such case.
        RefusedError: its run is not assigned to them.
    """
    case = session.get(CaseRow, case_pk) if abs(case_pk) < 1 << 31 else None
    if case is None:
        raise DeskError("there is no such case on the desk; go back to the queue")
    check_access(person, case.run_id)
    return case


def _name(case: CaseRow) -> str:
    return f"case {case.case_id}"


def _check_span(narrative: str, start: int, end: int) -> None:
    if not 0 <= start < end <= len(narrative):
        raise DeskError(
            f"characters {start} to {end} lie outside the narrative, which has {len(narrative):,}; select again"
        )
    if narrative[start:end].isspace():
        raise DeskError(f"characters {start} to {end} are only white space; select some words")


def _digest_of(text: str) -> dict[str, Any]:
    return {"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _last_step(session: Session, review: Review) -> Step | None:
    chosen = select(Step).where(Step.review_id == review.id, Step.undone.is_(False)).order_by(Step.id.desc()).limit(1)
    return session.scalars(chosen).first()


def _what_is_back(step: Step) -> dict[str, Any]:
    before = step.before
    if "note" in before:
        return {"what": step.what, **_digest_of(before["note"])}
    if "marks" in before:
        return {"what": step.what, "marks": [known[:3] for known in before["marks"]]}
    verdict, reason, _ = before["decision"] or (None, "", None)
    return {"what": step.what, "mode": before["mode"], "verdict": verdict, "reason": reason}


def _decision(session: Session, review: Review, mode: str) -> Decision | None:
    return session.get(Decision, (review.id, mode))


def _stored(decision: Decision) -> list[str]:
    return [decision.verdict, decision.reason, decision.decided_at.isoformat()]


def _set_decision(session: Session, review: Review, mode: str, wanted: list[str] | None) -> None:
    known = _decision(session, review, mode)
    if wanted is None:
        if known is not None:
            session.delete(known)
    else:
        decision = known or Decision(review_id=review.id, mode=mode)
        decision.verdict, decision.reason, decided_at = wanted
        decision.decided_at = datetime.fromisoformat(decided_at)
        session.add(decision)
    session.flush()


def _marks(session: Session, review: Review) -> list[list[Any]]:
    known = session.scalars(select(Mark).where(Mark.review_id == review.id).order_by(Mark.id))
    return [[mark.mode, mark.start, mark.end, mark.made_at.isoformat()] for mark in known]


def _set_marks(session: Session, review: Review, wanted: list[list[Any]]) -> None:
    known = {
        (mark.mode, mark.start, mark.end): mark
        for mark in session.scalars(select(Mark).where(Mark.review_id == review.id))
    }
    for mode, start, end, made_at in wanted:
        if known.pop((mode, start, end), None) is None:
            made = datetime.fromisoformat(made_at)
            session.add(Mark(review_id=review.id, mode=mode, start=start, end=end, made_at=made))
    session.execute(delete(Mark).where(Mark.id.in_([mark.id for mark in known.values()])))
    session.flush()
