"""Common: what do all routes take, look up and answer with? Visitors, keys, runs, pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from secondlook.errors import MissingError
from secondlook.review.accounts import check_access
from secondlook.review.app.rendering import page
from secondlook.review.app.security import Visitor, visitor
from secondlook.review.tables import Run

LARGEST = 1 << 31
"""Keys, versions and offsets are below this: PostgreSQL's integers go no further."""

Who = Annotated[Visitor, Depends(visitor)]


def run_of(session: Session, who: Visitor, run: int) -> Run:
    """A run that a visitor may read, by its key.

    Raises:
        MissingError: there is no such run.
        RefusedError: it is not assigned to them.
    """
    row = session.get(Run, run)
    if row is None:
        raise MissingError("there is no such queue on the desk; go back to the queues")
    check_access(who.person, run)
    return row


def shown(template: str, who: Visitor, **values: Any) -> HTMLResponse:
    """A page for a visitor."""
    return page(template, {"visitor": who, **values})
