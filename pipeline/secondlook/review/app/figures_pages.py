"""Figures pages: how far is the work, do people and model agree, what shows across cases? Counted once a minute.

On a large desk that takes long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from secondlook.review.app.common import LARGEST, Who, run_of, shown
from secondlook.review.app.parts import figure_parts, pattern_part
from secondlook.review.app.security import Visitor
from secondlook.review.database import Desk
from secondlook.review.figures import count, figures
from secondlook.review.patterns import MONTH, Count, check_column, choices, patterns
from secondlook.review.record import Action, append
from secondlook.review.tables import Role, Run

router = APIRouter(default_response_class=HTMLResponse)

LASTS = timedelta(minutes=1)
"""How long what was counted is shown again."""

COUNTS = {Count.FLAGGED: "what the model flagged", Count.CONFIRMED: "what reviewers confirmed"}

Key = Annotated[int, Query(ge=1, lt=LARGEST)]
Result = TypeVar("Result")


class Kept:
    """What was counted, by what was asked: counted anew when it is too old, while others still get the old."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[Hashable, threading.Lock] = {}
        self._results: dict[Hashable, tuple[datetime, Any]] = {}

    def get(self, asked: Hashable, now: datetime, make: Callable[[], Result]) -> tuple[datetime, Result]:
        """What was counted, and when."""
        with self._lock:
            known = self._results.get(asked)
            busy = self._busy.setdefault(asked, threading.Lock())
        if known and now - known[0] < LASTS:
            return known
        if not busy.acquire(blocking=known is None):
            assert known is not None  # noqa: S101 (or it would have waited)
            return known
        try:
            with self._lock:
                known = self._results.get(asked)
            if known and now - known[0] < LASTS:  # somebody else was first
                return known
            made = make()
            with self._lock:
                self._results = {key: one for key, one in self._results.items() if now - one[0] < LASTS}
                self._results[asked] = now, made
            return now, made
        finally:
            busy.release()


@router.get("/figures")
def show_figures(request: Request, who: Who, run: Key) -> Response:
    """Figures of a queue; those of single people are for administrators, and for themselves."""
    desk, config, now = request.app.state.desk, request.app.state.config, datetime.now(UTC)
    with desk.reading() as session:
        row = run_of(session, who, run)
        at, known = request.app.state.kept.get(("figures", run), now, lambda: count(session, row, now))
    reader = None if who.person.role == Role.ADMINISTRATOR else who.person.id
    _record(desk, who, row, {"page": "figures"})
    return shown("figures.html.jinja", who, run=row, at=_moment(at), parts=figure_parts(figures(known, config, reader)))


@router.get("/patterns")
def show_patterns(
    request: Request,
    who: Who,
    run: Key,
    by: Annotated[str, Query(max_length=1000)] = MONTH,
    what: Annotated[Count, Query(alias="count")] = Count.FLAGGED,
) -> Response:
    """How often each mode is flagged, or confirmed, by a column of the input or by month."""
    desk, config, now = request.app.state.desk, request.app.state.config, datetime.now(UTC)
    with desk.reading() as session:
        row = run_of(session, who, run)
        columns = choices(session, run)
        asked = ("patterns", run, by, what)
        check_column(by, columns)
        at, found = request.app.state.kept.get(asked, now, lambda: patterns(session, row, by, what, config))
    _record(desk, who, row, {"page": "patterns", "by": by, "count": what.value})
    choice = {"columns": columns, "by": by, "counts": COUNTS, "count": what}
    part = pattern_part(found, config.suppress_below)
    return shown("patterns.html.jinja", who, run=row, at=_moment(at), part=part, **choice)


def _record(desk: Desk, who: Visitor, run: Run, detail: dict[str, str]) -> None:
    with desk.writing() as session:
        append(session, who.person.pseudonym, Action.FIGURES_SEEN, run=run.digest, detail=detail)


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
