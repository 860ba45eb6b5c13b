"""The API: what does a case's page ask of the desk while somebody works on it? JSON, checked and limited.

Every change says which version of the review it was made on; where that is no longer the review's, the answer is 409
and nothing is written. A change goes with the header ``X-CSRF-Token``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from secondlook.errors import MissingError
from secondlook.review import decisions
from secondlook.review.app.common import LARGEST, Who
from secondlook.review.app.security import Visitor
from secondlook.review.assignment import review_by
from secondlook.review.decisions import LONGEST_NOTE, LONGEST_REASON, ReviewState
from secondlook.review.queue import Filters, Order, next_case
from secondlook.review.tables import Status, Verdict

router = APIRouter(prefix="/api")

Key = Annotated[int, Path(ge=1, lt=LARGEST)]
Place = Annotated[int, Field(ge=0, lt=LARGEST)]
Mode = Annotated[str, Field(min_length=1, max_length=63)]
Word = Annotated[str, Field(max_length=300)]


class Change(BaseModel):
    """Any change: the version of the review that it was made on."""

    model_config = ConfigDict(extra="forbid")
    version: Annotated[int, Field(ge=1, lt=LARGEST)]


class Decide(Change):
    """A verdict on a mode; none takes it back."""

    mode: Mode
    verdict: Verdict | None
    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""


class MarkPassage(Change):
    """A passage that shows a mode: offsets in code points, the end excluded."""

    mode: Mode
    start: Place
    end: Place


class Unmark(Change):
    """A mark to take away."""

    mark_id: Annotated[int, Field(ge=1, lt=LARGEST)]


class Note(Change):
    """The whole note."""

    text: Annotated[str, Field(max_length=LONGEST_NOTE)]


class Next(BaseModel):
    """Which cases are asked for, and in what order the next one comes."""

    model_config = ConfigDict(extra="forbid")
    mode: Mode | None = None
    status: Status | None = None
    reviewer: Word | None = None
    since: date | None = None
    until: date | None = None
    fields: Annotated[tuple[tuple[Word, Word], ...], Field(max_length=20)] = ()
    text: Word | None = None
    audit: bool = False
    order: Order = Order.RANK


class DecisionAnswer(BaseModel):
    """A verdict and why."""

    verdict: Verdict
    reason: str


class MarkAnswer(BaseModel):
    """A marked passage."""

    id: int
    mode: str
    start: int
    end: int


class StateAnswer(BaseModel):
    """A review as it is now."""

    version: int
    decisions: dict[str, DecisionAnswer]
    marks: list[MarkAnswer]
    note: str
    finished: bool
    can_undo: bool
    seconds: float


class SessionAnswer(BaseModel):
    """Who is signed in, and the secret that goes with every change."""

    pseudonym: str
    csrf: str


class NextAnswer(BaseModel):
    """The key of the next case to read; none where nothing is left."""

    case: int | None


@router.get("/session")
def session(who: Who) -> SessionAnswer:
    """Who is signed in: asked by a page whose session ended while it was open."""
    return SessionAnswer(pseudonym=who.person.pseudonym, csrf=who.csrf)


@router.get("/cases/{case}")
def current(request: Request, who: Who, case: Key) -> StateAnswer:
    """The person's review of a case as it is now."""
    with request.app.state.desk.reading() as reading:
        row = decisions.case_of(reading, who.person, case)
        review = review_by(reading, who.person, row.id)
        if review is None:
            raise MissingError("you have no review of this case; open it first")
        return _answer(decisions.state_of(reading, review))


@router.post("/cases/{case}/decide")
def decide(request: Request, who: Who, case: Key, change: Decide) -> StateAnswer:
    """Decide on a mode, or take the verdict back."""
    return _changed(request, who, case, change, decisions.decide, change.mode, change.verdict, change.reason)


@router.post("/cases/{case}/mark")
def mark(request: Request, who: Who, case: Key, change: MarkPassage) -> StateAnswer:
    """Mark a passage."""
    return _changed(request, who, case, change, decisions.mark, change.mode, change.start, change.end)


@router.post("/cases/{case}/unmark")
def unmark(request: Request, who: Who, case: Key, change: Unmark) -> StateAnswer:
    """Take a mark away."""
    return _changed(request, who, case, change, decisions.unmark, change.mark_id)


@router.post("/cases/{case}/note")
def note(request: Request, who: Who, case: Key, change: Note) -> StateAnswer:
    """Replace the note."""
    return _changed(request, who, case, change, decisions.note, change.text)


@router.post("/cases/{case}/undo")
def undo(request: Request, who: Who, case: Key, change: Change) -> StateAnswer:
    """Undo the last step."""
    return _changed(request, who, case, change, decisions.undo)


@router.post("/cases/{case}/finish")
def finish(request: Request, who: Who, case: Key, change: Change) -> StateAnswer:
    """Say that all is decided."""
    return _changed(request, who, case, change, decisions.finish)


@router.post("/cases/{case}/reopen")
def reopen(request: Request, who: Who, case: Key, change: Change) -> StateAnswer:
    """Go on with a finished review."""
    return _changed(request, who, case, change, decisions.reopen)


@router.post("/cases/{case}/release")
def release(request: Request, who: Who, case: Key, change: Change) -> StateAnswer:
    """Leave the case to others."""
    return _changed(request, who, case, change, decisions.release)


@router.post("/queues/{run}/next")
def following(request: Request, who: Who, run: Key, asked: Next) -> NextAnswer:
    """The next case to read."""
    filters = Filters(**{name: value for name, value in asked if name != "order"})
    state = request.app.state
    with state.desk.writing() as writing:
        found = next_case(writing, who.person, run, filters, asked.order, state.config, datetime.now(UTC))
    return NextAnswer(case=found)


def _changed(
    request: Request, who: Visitor, case: int, change: Change, act: Callable[..., ReviewState], *what: Any
) -> StateAnswer:
    """Make a change, and answer once it is on the disk."""
    state = request.app.state
    with state.desk.writing() as writing:
        done = act(writing, who.person, case, *what, change.version, state.config, datetime.now(UTC))
    return _answer(done)


def _answer(state: ReviewState) -> StateAnswer:
    return StateAnswer(
        version=state.version,
        decisions={
            mode: DecisionAnswer(verdict=verdict, reason=reason) for mode, (verdict, reason) in state.decisions.items()
        },
        marks=[MarkAnswer(id=one.id, mode=one.mode, start=one.start, end=one.end) for one in state.marks],
        note=state.note,
        finished=state.finished,
        can_undo=state.can_undo,
        seconds=round(state.seconds, 1),
    )
