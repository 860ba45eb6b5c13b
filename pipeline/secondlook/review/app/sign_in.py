"""Sign-in: how do people come in, change their password and leave? By password, or by link."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from secondlook.errors import DeskError, RefusedError, UnavailableError
from secondlook.review import accounts
from secondlook.review.app.rendering import page
from secondlook.review.app.security import (
    Access,
    Visitor,
    address_of,
    check_csrf,
    current,
    local_path,
    set_cookie,
    visitor,
)

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

NO_LINK = "That link was used already, or is not the newest one. Each works once."


@router.get("/sign-in")
def show(request: Request, then: str = "/") -> Response:
    """The form to sign in with; who works alone is told where the link is."""
    if current(request) is not None:
        return RedirectResponse(local_path(then), 303)
    return _form(request, then)


@router.post("/sign-in")
def sign_in(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    then: Annotated[str, Form()] = "/",
) -> Response:
    """Sign in, and go on to the page that was asked for."""
    state = request.app.state
    if state.access.door is not None:
        raise RefusedError("Here somebody works alone, by the link in the terminal; there are no accounts.")
    try:
        signed = accounts.sign_in(state.desk, name, password, address_of(request), state.config, datetime.now(UTC))
    except RefusedError as refused:
        return _form(request, then, str(refused), 403)
    response = RedirectResponse(local_path(then), 303)
    set_cookie(request, response, signed.token)
    return response


@router.get("/enter")
def enter(request: Request, key: str = "") -> Response:
    """Come in by the one-time link."""
    state = request.app.state
    access: Access = state.access
    # A browser may fetch a link before anybody follows it; that must not use it up.
    looked_ahead = "prefetch" in request.headers.get("sec-purpose", "")
    if access.door is None or looked_ahead or not access.door.spend(key):
        return _form(request, "/", NO_LINK, 403)
    response = RedirectResponse("/", 303)
    set_cookie(request, response, accounts.enter(state.desk, state.config, datetime.now(UTC)).token)
    return response


@router.post("/sign-in/link")
def new_link(request: Request) -> Response:
    """Print the link into the terminal once more: a new one, if that was used."""
    access: Access = request.app.state.access
    if access.door is None:
        raise RefusedError("Here people sign in with their name and password.")
    access.door.announce()
    return _form(request, "/", "The link is in the terminal now.")


@router.post("/sign-out", dependencies=[Depends(check_csrf)])
def sign_out(request: Request) -> Response:
    """End the session."""
    state = request.app.state
    with state.desk.writing() as session:
        accounts.sign_out(session, request.cookies.get(state.access.cookie, ""))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(state.access.cookie, secure=state.access.secure, httponly=True, samesite="strict")
    return response


@router.get("/account")
def account(request: Request, visitor: Annotated[Visitor, Depends(visitor)]) -> Response:
    """Who one is here, and the form for another password."""
    return _account(request, visitor)


@router.post("/account", dependencies=[Depends(check_csrf)])
def change_password(
    request: Request,
    visitor: Annotated[Visitor, Depends(visitor)],
    current_password: Annotated[str, Form()] = "",
    new_password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    """Take another password; other browsers are signed out."""
    state = request.app.state
    if state.access.door is not None:
        raise RefusedError("Who works alone has no password.")
    if new_password != again:
        return _account(request, visitor, "The new password was not typed the same way twice.", 422)
    who, now = visitor.person, datetime.now(UTC)
    try:
        signed = accounts.change_password(
            state.desk, who, current_password, new_password, address_of(request), state.config, now
        )
    except UnavailableError:
        raise
    except DeskError as error:
        return _account(request, visitor, str(error), 403 if isinstance(error, RefusedError) else 422)
    response = _account(request, Visitor(signed.person, signed.csrf), "The password was changed.")
    set_cookie(request, response, signed.token)
    return response


def then_query(path: str) -> str:
    """The part of a query that says where to go after signing in."""
    return f"then={quote(path, safe='/')}"


def _form(request: Request, then: str, message: str = "", status: int = 200) -> Response:
    alone = request.app.state.access.door is not None
    values = {"alone": alone, "then": local_path(then), "message": message, "failed": status >= 400}
    return page("sign_in.html.jinja", values, status)


def _account(request: Request, visitor: Visitor, message: str = "", status: int = 200) -> Response:
    values = {
        "visitor": visitor,
        "alone": request.app.state.access.door is not None,
        "minimum": accounts.MINIMUM_PASSWORD,
        "config": request.app.state.config,
        "message": message,
        "failed": status >= 400,
    }
    return page("account.html.jinja", values, status)
