"""Answers to errors: what is a browser told when something cannot be done? What to do next."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from secondlook.errors import (
    ConflictError,
    DeskError,
    MissingError,
    RefusedError,
    SecondLookError,
    UnavailableError,
)
from secondlook.review.app.rendering import problem
from secondlook.review.app.security import SAFE_METHODS, SignInNeededError
from secondlook.review.app.sign_in import then_query
from secondlook.review.database import Desk


def answer_errors(app: FastAPI) -> None:
    """Have an app answer every error that is to be expected with a page, or JSON, that says what to do."""
    for kind in (SecondLookError, HTTPException, RequestValidationError, SignInNeededError):
        app.add_exception_handler(kind, _answer)


def _answer(request: Request, error: Exception) -> Response:
    """What a browser is told of an error that was to be expected."""
    if isinstance(error, SignInNeededError):
        then = "" if error.then == "/" else f"?{then_query(error.then)}"
        return RedirectResponse(f"/sign-in{then}", 303)
    if isinstance(error, HTTPException):
        said = error.detail if error.status_code != 404 or error.detail != "Not Found" else "There is no such page."
        return problem(request, error.status_code, said, error.headers)
    if isinstance(error, RequestValidationError):
        return problem(request, 422, _unfit(error))
    headers = {"Retry-After": "5"} if isinstance(error, UnavailableError) else None
    return problem(request, _status(request, error), _said(request, error), headers)


def _status(request: Request, error: Exception) -> int:
    for kind, status in ((RefusedError, 403), (ConflictError, 409), (MissingError, 404), (UnavailableError, 503)):
        if isinstance(error, kind):
            return status
    # What only reads asked for something that is not there; what changes gave something that does not fit.
    if isinstance(error, DeskError):
        return 404 if request.method in SAFE_METHODS else 422
    return 422


def _said(request: Request, error: Exception) -> str:
    if not isinstance(error, UnavailableError):
        return str(error)
    desk = cast(Desk, request.app.state.desk)
    why = str(error).removeprefix(f"{desk.name}: ")  # where the desk lies is nothing for a browser
    return f"The desk's database: {why}. Nothing was lost: what was saved before is safe, and this was not done."


def _unfit(error: RequestValidationError) -> str:
    """What does not fit, and where; never what was sent."""
    return "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
