"""Inquiry: who saw a case, what did the model say then, and does all of that still hold: what the record can answer.

The record's chain is checked from end to end; the digest of every case is computed again from its row and compared with
what the record says was added; and what reviewers decided is worked out again from the record, entry by entry. So a
change behind the desk's back is found wherever it was made, unless whoever made it wrote the whole record anew: against
that, keep the last hash elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from rich.progress import Progress
from sqlalchemy import select
from sqlalchemy.orm import Session

from secondlook.config import ReviewConfig
from secondlook.errors import MissingError
from secondlook.review.assignment import reviews_of, status_of
from secondlook.review.intake import case_digests, sealed
from secondlook.review.record import Action, first_break, head_of, storable, together
from secondlook.review.tables import CaseRow, Decision, Entry, Mark, Review, Run, ScoreRow, Status, User

RESTORE = "restore the desk from a backup: 'secondlook review restore'"
MOST_PROBLEMS = 100
"""So many are named; where more is wrong, they say enough."""

_ROWS = 250
_LOOKS = (Action.CASE_SEEN, Action.CASE_PRINTED)
_WORK = (
    *(Action.DECIDED, Action.MARKED, Action.UNMARKED, Action.NOTED, Action.UNDONE),
    *(Action.FINISHED, Action.REOPENED, Action.RELEASED),
)
_NO_NOTE = hashlib.sha256(b"").hexdigest()


UNNAMED = "[CASE]"
"""Stands for the id of a case in what is redacted."""


@dataclass(frozen=True)
class Verification:
    """What was checked, and what does not fit: nothing of that, if all is well. ``head`` is the record's last hash."""

    entries: int
    head: str
    runs: int
    cases: int
    reviews: int
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a case: who did what when, in which run, and the rest in words.

    ``at`` is as the record has it, in UTC.
    """

    at: str
    actor: str
    action: str
    run: str
    what: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the model said of a case and a mode; ``threshold`` is the operating point, None where it is not known."""

    mode: str
    title: str
    score: float
    low: float
    high: float
    flag: bool
    threshold: float | None

    def __str__(self) -> str:
        flagged = "was flagged" if self.flag else "was not flagged"
        if self.threshold is None:
            return (
                f"'{self.title}' {flagged}: its score was {self.score:.3f}; the operating point is not known, "
                "for the bundle was not at hand when the run was added"
            )
        score, threshold = _apart(self.score, self.threshold)
        lay = "reached" if self.flag else "lay below"
        return f"'{self.title}' {flagged}: its score {score} {lay} the operating point {threshold}"


@dataclass(frozen=True)
class Told:
    """A case as one run has it. ``copy_of`` is the case that it is read with."""

    run: str
    digest: str
    bundle: str
    bundle_digest: str
    added_at: datetime
    rank: int
    status: str
    copy_of: str | None
    said: Sequence[Said]


@dataclass(frozen=True)
class History:
    """All that the desk knows of a case: its runs by the moment they were added, who looked, what was decided."""

    case_id: str
    told: Sequence[Told]
    seen: Sequence[Event]
    work: Sequence[Event]


def verify(session: Session, expected: str | None = None, progress: Progress | None = None) -> Verification:
    """Check all that the desk holds against its record.

    Args:
        session: of :meth:`secondlook.review.database.Desk.reading`, so that all is as at one moment.
        expected: a hash of the record that was kept elsewhere.
        progress: where to say how far it is.
    """
    found = _Findings()
    if broken := first_break(session, expected):
        found.add(f"record, entry {broken.sequence}: {broken.what}; {RESTORE}")
        entries, head = broken.sequence - 1, ""
    else:
        entries, head = head_of(session)
    runs = session.scalars(select(Run).order_by(Run.id)).all()
    _check_runs(session, runs, found)
    task = progress.add_task("checking cases", total=sum(run.cases for run in runs)) if progress else None
    for run in runs:
        for cases in _check_cases(session, run, found):
            if progress and task is not None:
                progress.advance(task, cases)
    return Verification(entries, head, len(runs), found.cases, found.reviews, found.problems)


def history(session: Session, case_id: str, redact: ReviewConfig | None = None) -> History:
    """What happened to a case.

    Args:
        session: any.
        case_id: the input's.
        redact: take personal data out of the reviewers' words, and the id; says which columns name the parties.

    Raises:
        DeskError: the extra that redaction needs is not installed.
        MissingError: no run on the desk has it, and the record does not know it either.
    """
    case_id = storable(case_id)
    runs = session.scalars(select(Run).order_by(Run.added_at, Run.id)).all()
    told = [one for run in runs if (one := _told(session, run, case_id))]
    names = {run.digest: run.name for run in runs}
    entries = session.scalars(select(Entry).where(Entry.case_id == case_id).order_by(Entry.sequence)).all()
    if not told and not entries:
        raise MissingError(f"case '{case_id}': no run on this desk has it; give the id as the input has it")
    events = [Event(e.at, e.actor, e.action, names.get(e.run or "", ""), _in_words(e)) for e in entries]
    seen = [event for event in events if event.action in _LOOKS]
    found = History(case_id, told, seen, [event for event in events if event not in seen])
    return found if redact is None else _redacted(session, found, redact)


def _redacted(session: Session, found: History, config: ReviewConfig) -> History:
    from secondlook.review.redaction import Redactor  # not needed by those who do not redact

    parties: dict[str, str] = {}
    for details in session.scalars(select(CaseRow.details).where(CaseRow.case_id == found.case_id)):
        for name in details.keys() & set(config.party_columns):
            parties[name] = f"{parties.get(name, '')};{details[name]}"
    said = Redactor.for_case(parties, config).redact_many([event.what for event in found.work])
    work = [replace(event, what=one.text) for event, one in zip(found.work, said, strict=True)]
    return replace(found, case_id=UNNAMED, work=work)


def on_that_day(found: History, day: date) -> list[str]:
    """Why a case was flagged or not: a sentence for every mode of every run that was on the desk on a day (UTC)."""
    there = [told for told in found.told if told.added_at.date() <= day]
    if not there:
        later = (
            f"; the first that does, '{found.told[0].run}', was added on {_day(found.told[0])}" if found.told else ""
        )
        return [f"No run that was on the desk on {day} has case '{found.case_id}'{later}."]
    sentences: list[str] = []
    for told in there:
        run = f"Run '{told.run}' of {_day(told)}, bundle '{told.bundle}' ({told.bundle_digest[:12]})"
        sentences += (f"{run}: {said}." for said in told.said)
        if told.copy_of is not None:
            sentences.append(f"{run}: it was read with case '{told.copy_of}', which it copies.")
    return sentences


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    cases: int = 0
    reviews: int = 0

    def add(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def _check_runs(session: Session, runs: Sequence[Run], found: _Findings) -> None:
    """Whether the desk has the runs that the record says were added, as they were then."""
    added = {
        entry.run: _detail(entry)
        for entry in session.scalars(select(Entry).where(Entry.action == Action.RUN_ADDED).order_by(Entry.sequence))
    }
    for run in runs:
        if run.digest not in added:
            found.add(f"run '{run.name}': the record does not say that it was added; {RESTORE}")
        elif added[run.digest] != sealed(run):
            found.add(f"run '{run.name}': its row is not what the record says was added; {RESTORE}")
    for digest in sorted({str(digest) for digest in added} - {run.digest for run in runs}):
        found.add(f"run '{added[digest].get('name', digest)}': was added, and is gone; {RESTORE}")


def _check_cases(session: Session, run: Run, found: _Findings) -> Iterator[int]:
    """Check the cases of a run and the reviews of each; yields how many were looked at, again and again."""
    digests: list[str] = []
    before, last = len(found.problems), -1
    at = select(CaseRow).where(CaseRow.run_id == run.id).order_by(CaseRow.rank).limit(_ROWS)
    while cases := session.scalars(at.where(CaseRow.rank > last)).all():
        last = cases[-1].rank
        for case, digest in zip(cases, _digests(session, cases), strict=True):
            if digest != case.digest:
                found.add(
                    f"run '{run.name}', case '{case.case_id}': its text, scores or place are not those that were "
                    f"added; {RESTORE}"
                )
        digests += (case.digest for case in cases)
        _check_reviews(session, run, cases, found)
        found.cases += len(cases)
        session.expunge_all()
        yield len(cases)
    if _together(digests) != run.cases_digest and len(found.problems) == before:
        found.add(f"run '{run.name}': its cases are not those that were added; {RESTORE}")


def _digests(session: Session, cases: Sequence[CaseRow]) -> Iterator[str | None]:
    """The digests of cases; None where what is stored cannot even be read."""
    try:
        yield from list(case_digests(session, cases))
    except (ValueError, TypeError, KeyError):
        if len(cases) == 1:
            yield None
        else:
            for case in cases:
                yield from _digests(session, [case])


def _together(digests: Sequence[str]) -> str | None:
    try:
        return together(digests)
    except ValueError:
        return None


@dataclass
class _State:
    """What a review holds, as the record or as its rows have it."""

    kind: str | None = None
    arm: str | None = None
    decisions: dict[str, tuple[str, str]] = field(default_factory=dict)
    marks: list[tuple[str, int, int]] = field(default_factory=list)
    note: str = _NO_NOTE
    finished: bool = False
    released: bool = False
    worked: bool = False

    def same(self, other: _State) -> bool:
        """Whether both say the same."""
        mine, others = (
            (state.kind, state.arm, state.decisions, sorted(state.marks), state.note, state.finished, state.released)
            for state in (self, other)
        )
        return mine == others


def _check_reviews(session: Session, run: Run, cases: Sequence[CaseRow], found: _Findings) -> None:
    """Whether the reviews of some cases are what their entries in the record amount to."""
    stored = _stored_reviews(session, [case.id for case in cases])
    names = {storable(case.case_id): case.id for case in cases}
    told: dict[tuple[int, str], _State] = {}
    entries = select(Entry).where(
        Entry.case_id.in_(names), Entry.run == run.digest, Entry.action.in_([*_WORK, Action.CASE_SEEN])
    )
    for entry in session.scalars(entries.order_by(Entry.sequence)):
        detail = _detail(entry)
        whose = str(detail.get("reviewer") or entry.actor)
        state = told.setdefault((names[str(entry.case_id)], whose), _State())
        with suppress(KeyError, TypeError, ValueError):  # an entry that makes no sense: then the state will not fit
            _apply(state, entry.action, detail)
    ids = {case.id: case.case_id for case in cases}
    for key, whose in sorted(stored.keys() | {place for place, state in told.items() if state.worked}):
        now, then = stored.get((key, whose)), told.get((key, whose), _State())
        if now is None or not now.same(then):
            found.add(
                f"run '{run.name}', case '{ids[key]}': the review by {whose} is not what the record says; {RESTORE}"
            )
    found.reviews += len(stored)
    begun = {key for key, _ in stored}
    for case in cases:
        if case.status != (status_of(session, case, reviews_of(session, case.id)) if case.id in begun else Status.OPEN):
            found.add(f"run '{run.name}', case '{case.case_id}': its status is not what its reviews say; {RESTORE}")


def _stored_reviews(session: Session, keys: Sequence[int]) -> dict[tuple[int, str], _State]:
    """The reviews of some cases as their rows have them, by case and reviewer."""
    rows = session.execute(
        select(Review, User.pseudonym).join(User, User.id == Review.user_id).where(Review.case_id.in_(keys))
    ).all()
    states = {
        review.id: _State(
            kind=review.kind,
            arm=review.arm,
            note=hashlib.sha256(review.note.encode("utf-8", "replace")).hexdigest(),
            finished=review.finished_at is not None,
            released=review.released_at is not None,
        )
        for review, _ in rows
    }
    for decision in session.scalars(select(Decision).where(Decision.review_id.in_(states))):
        states[decision.review_id].decisions[decision.mode] = decision.verdict, decision.reason
    for mark in session.scalars(select(Mark).where(Mark.review_id.in_(states))):
        states[mark.review_id].marks.append((mark.mode, mark.start, mark.end))
    return {(review.case_id, pseudonym): states[review.id] for review, pseudonym in rows}


def _apply(state: _State, action: str, detail: dict[str, Any]) -> None:
    """What an entry made of a review."""
    if (kind := detail.get("kind")) is not None:
        if state.kind not in (None, kind):  # begun anew as another kind: nothing of before counts
            state.__init__()  # type: ignore[misc]
        if action == Action.CASE_SEEN and (state.kind is None or state.released):  # what was shown when it was taken
            state.arm = detail["shown"]
        state.kind = kind
    if action == Action.CASE_SEEN:
        if kind is not None and state.released:  # taken again
            state.released = state.finished = False
        return
    state.worked = True
    said = detail.get("what") if action == Action.UNDONE else action
    if said == Action.DECIDED:
        state.decisions.pop(detail["mode"], None)
        if detail.get("verdict"):
            state.decisions[detail["mode"]] = detail["verdict"], detail.get("reason", "")
    elif said == Action.NOTED:
        state.note = detail["sha256"]
    elif "marks" in detail:
        state.marks = [(mode, start, end) for mode, start, end in detail["marks"]]
    elif said == Action.MARKED:
        state.marks.append((detail["mode"], detail["start"], detail["end"]))
    elif said == Action.UNMARKED:
        gone = (detail["mode"], detail["start"], detail["end"])
        state.marks = [mark for mark in state.marks if mark != gone]
    elif said in (Action.FINISHED, Action.REOPENED):
        state.finished = said == Action.FINISHED
    elif said == Action.RELEASED:
        state.released = True


def _told(session: Session, run: Run, case_id: str) -> Told | None:
    case = session.scalars(select(CaseRow).where(CaseRow.run_id == run.id, CaseRow.case_id == case_id)).one_or_none()
    if case is None:
        return None
    original = None if case.original_id is None else session.get(CaseRow, case.original_id)
    scores = {score.mode: score for score in session.scalars(select(ScoreRow).where(ScoreRow.case_id == case.id))}
    return Told(
        run=run.name,
        digest=run.digest,
        bundle=run.bundle_name,
        bundle_digest=run.bundle_digest,
        added_at=run.added_at,
        rank=case.rank,
        status=case.status,
        copy_of=None if original is None else original.case_id,
        said=[
            Said(
                mode["id"],
                mode["title"],
                score.score,
                score.low,
                score.high,
                score.flag,
                run.thresholds.get(score.mode),
            )
            for mode in run.codebook["modes"]
            if (score := scores.get(mode["id"]))
        ],
    )


def _day(told: Told) -> date:
    return told.added_at.date()


def _detail(entry: Entry) -> dict[str, Any]:
    try:
        said = json.loads(entry.detail)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _in_words(entry: Entry) -> str:
    """What an entry's detail says."""
    said = _detail(entry)
    if entry.action in _LOOKS:
        shown = {"prompted": "the model's word was shown", "unprompted": "the model's word was hidden"}
        others = f"; beside the reviews by {', '.join(said['others'])}" if said.get("others") else ""
        return shown.get(said.get("shown", ""), "") + others
    mode = str(said.get("mode", ""))
    if "verdict" in said:
        reason = f" ({said['reason']})" if said.get("reason") else ""
        what = f"{mode}: {said['verdict'] or 'no verdict'}{reason}"
    elif "start" in said:
        what = f"{mode}, characters {said['start']} to {said['end']}"
    elif "marks" in said:
        what = f"{len(said['marks'])} passages marked"
    elif "sha256" in said:
        what = f"a note of {said.get('length')} characters"
    else:
        what = " ".join(str(said[name]) for name in ("status", "reviewer", "why") if name in said)
    undone = f"{said.get('what')}, so that again: " if entry.action == Action.UNDONE else ""
    return undone + what


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with so many digits that they can be told apart, if they differ.

    >>> _apart(0.4996, 0.5), _apart(0.5, 0.5)
    (('0.4996', '0.5000'), ('0.500', '0.500'))
    """
    digits = next((d for d in range(3, 17) if f"{one:.{d}f}" != f"{other:.{d}f}"), 3)
    return f"{one:.{digits}f}", f"{other:.{digits}f}"
