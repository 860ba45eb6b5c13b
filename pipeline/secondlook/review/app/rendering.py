"""Rendering: how does what the desk knows become a page? By templates that escape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader

from secondlook.page import asset, percent
from secondlook.page import environment as queue_environment

QUEUE_STYLE = "queue.css"

TITLES = {
    400: "That cannot be answered",
    401: "Sign in again",
    403: "That is not allowed",
    404: "That is not here",
    405: "That cannot be done here",
    409: "Something has changed",
    413: "That is too large",
    422: "Something is missing",
    503: "The desk cannot be read or written now",
}


@cache
def environment() -> Environment:
    """The desk's templates: they escape what they are given, and know the filters of the queue page."""
    queue = queue_environment()
    desk = queue.overlay(loader=ChoiceLoader([PackageLoader("secondlook.review.app"), PackageLoader("secondlook")]))
    desk.filters = {**queue.filters, "percent": percent}
    desk.globals = {**queue.globals, "static": static}
    return desk


@cache
def static(name: str) -> str:
    """The address of a static file; it names the file's version, so that browsers may keep it."""
    content = queue_style() if name == QUEUE_STYLE else (files("secondlook.review.app") / "static" / name).read_bytes()
    return f"/static/{name}?v={sha256(content).hexdigest()[:12]}"


def queue_style() -> bytes:
    """The style of the queue page: its palette and its lines are the desk's, too."""
    return asset(QUEUE_STYLE).encode()


def page(
    template: str, values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A page of the desk.

    Args:
        template: its name in ``templates``.
        values: what it shows; ``visitor``, which every page needs, is None where nobody has signed in.
        status: of the answer.
        headers: of the answer.
    """
    text = environment().get_template(template).render({"visitor": None, **values})
    return HTMLResponse(text, status, headers)


def problem(request: Request, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A calm page, or JSON for what asked for it, that says what went wrong and what to do."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": message}, status, headers)
    title = TITLES.get(status, "Something went wrong")
    return page("error.html.jinja", {"title": title, "message": message}, status, headers)
