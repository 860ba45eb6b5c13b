"""Pages: what is there to read and to decide? As a browser shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from secondlook.review.app.common import LARGEST, Who, run_of, shown
from secondlook.review.app.security import Visitor
from secondlook.review.app.views import (
    CASE_KEYS,
    QUEUE_KEYS,
    CaseView,
    QueueLine,
    asked_of,
    case_view,
    number_of,
    queue_view,
)
from secondlook.review.assignment import review_by
from secondlook.review.casefile import case_file, open_case, record_seen
from secondlook.review.decisions import case_of
from secondlook.review.queue import facets, next_case, progress, queue_page
from secondlook.review.record import Action, append
from secondlook.review.tables import Run

router = APIRouter(default_response_class=HTMLResponse)

Key = Annotated[int, Path(ge=1, lt=LARGEST)]

NOTHING_LEFT = "There is nothing left to read here for you. Finished cases are in the list below."


@router.get("/")
def queues(request: Request, who: Who) -> Response:
    """The queues that a person may read; where it is one, that one."""
    now = datetime.now(UTC)
    with request.app.state.desk.reading() as reading:
        runs = _runs(reading, who)
        if len(runs) == 1:
            return RedirectResponse(f"/queues/{runs[0].id}", 303)
        lines = [QueueLine(run, progress(reading, who.person, run.id, now)) for run in runs]
    return shown("queues.html.jinja", who, queues=lines)


@router.get("/queues/{run}")
def queue(request: Request, who: Who, run: Key) -> Response:
    """A page of a queue."""
    state, params = request.app.state, request.query_params
    asked, number = asked_of(params, state.order), number_of(params, "page", 1)
    now = datetime.now(UTC)
    with state.desk.reading() as reading:
        row = run_of(reading, who, run)
        found = queue_page(reading, who.person, run, asked.filters, number, state.config.page_cases)
        view = queue_view(row, asked, found, progress(reading, who.person, run, now), facets(reading, run))
    with state.desk.writing() as writing:
        detail = {"page": found.page, "asked": asked.query.removeprefix("?")}
        append(writing, who.person.pseudonym, Action.QUEUE_SEEN, run=row.digest, detail=detail)
    notice = NOTHING_LEFT if "done" in params else ""
    return shown("queue.html.jinja", who, view=view, keys=QUEUE_KEYS, notice=notice)


@router.get("/queues/{run}/next")
def following(request: Request, who: Who, run: Key) -> Response:
    """Lead to the next case to read, or back to the queue where none is left."""
    state, params = request.app.state, request.query_params
    asked = asked_of(params, state.order)
    with state.desk.writing() as writing:
        found = next_case(writing, who.person, run, asked.filters, asked.order, state.config, datetime.now(UTC))
    if found is not None:
        return RedirectResponse(f"/cases/{found}{asked.query}", 303)
    return RedirectResponse(f"/queues/{run}{asked.query}{'&' if asked.query else '?'}done=1", 303)


@router.get("/cases/{case}")
def case(request: Request, who: Who, case: Key) -> Response:
    """A case, to read and to decide; opening it takes it, where it is free."""
    return shown("case.html.jinja", who, view=_opened(request, who, case), keys=CASE_KEYS)


@router.get("/cases/{case}/text")
def text(request: Request, who: Who, case: Key) -> Response:
    """A part of the narrative with evidence and marks as they are now, without the page around it."""
    params, desk = request.query_params, request.app.state.desk
    with desk.reading() as reading:
        row = case_of(reading, who.person, case)
        mine = review_by(reading, who.person, row.id)
        review = mine if mine and mine.released_at is None else None
        file = case_file(reading, who.person, row, review)
    if review is None or review.finished_at is not None:  # of one underway, the record has that it was opened
        with desk.writing() as writing:
            record_seen(writing, who.person, file)
    return shown("text.html.jinja", who, view=case_view(file, asked_of(params), number_of(params, "at", 0)))


@router.get("/cases/{case}/print")
def to_print(request: Request, who: Who, case: Key) -> Response:
    """A case for paper."""
    view = _opened(request, who, case, Action.CASE_PRINTED)
    return shown("print.html.jinja", who, view=view, now=datetime.now(UTC))


@router.get("/help")
def guide(who: Who) -> Response:
    """How to read and decide."""
    return shown("help.html.jinja", who, case_keys=CASE_KEYS, queue_keys=QUEUE_KEYS)


def _opened(request: Request, who: Visitor, case: int, also: Action | None = None) -> CaseView:
    state, params = request.app.state, request.query_params
    asked = asked_of(params, state.order)
    at = number_of(params, "at", 0) if params.get("at") else None
    with state.desk.writing() as writing:
        file = open_case(writing, who.person, case, state.config, datetime.now(UTC))
        if also is not None:
            run = run_of(writing, who, file.run_id)
            append(writing, who.person.pseudonym, also, run=run.digest, case_id=file.case_id)
    return case_view(file, asked, at, "/print" if also == Action.CASE_PRINTED else "")


def _runs(session: Session, who: Visitor) -> list[Run]:
    chosen = select(Run).order_by(Run.added_at.desc(), Run.id.desc())
    if who.person.run_ids is not None:
        chosen = chosen.where(Run.id.in_(who.person.run_ids))
    return list(session.scalars(chosen))
