"""Security: whose request is this, and may it do that? Sessions, secrets in forms, and headers.

Whatever came from elsewhere is refused before anything is looked up: another host name, another site, too much at once.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, HTTPException, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secondlook.errors import RefusedError
from secondlook.review import accounts
from secondlook.review.accounts import Person, SignedIn
from secondlook.review.app.rendering import problem

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

LARGEST_BODY = 1_000_000
"""Bytes of a request: a note is far shorter."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}

NOT_FROM_HERE = "This did not come from a page of this desk, or from one of an earlier sign-in. Load the page again."

_log = logging.getLogger("secondlook.review")


class Door:
    """The one-time link of whoever works alone: its key opens once, then there is another.

    Args:
        tell: takes the link's path, and shows it to nobody but who started the desk.
    """

    def __init__(self, tell: Callable[[str], None] = lambda path: None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._key: str | None = None

    def announce(self) -> None:
        """Tell whoever started the desk the link's path."""
        self._tell(self.path())

    def path(self) -> str:
        """The link's path and query; the same until it was used."""
        with self._lock:
            self._key = self._key or secrets.token_urlsafe(32)
            return f"/enter?key={self._key}"

    def spend(self, key: str) -> bool:
        """Whether that is the key, which is then used up."""
        with self._lock:
            right = self._key is not None and hmac.compare_digest(_bytes(self._key), _bytes(key))
            self._key = None if right else self._key
            return right


@dataclass(frozen=True, slots=True)
class Access:
    """How people come in.

    Attributes:
        names: the host names under which the desk is served, without a port; others are refused, so that a page
            elsewhere cannot reach the desk by pointing its own name at this machine.
        secure: whether browsers speak TLS, with the desk itself or with a proxy before it.
        door: where somebody works alone; None where there are accounts.
    """

    names: frozenset[str] = LOOPBACK
    secure: bool = False
    door: Door | None = None

    @property
    def cookie(self) -> str:
        """The cookie's name; with this prefix browsers hold it to this host and to TLS."""
        return "__Host-secondlook" if self.secure else "secondlook"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, and the secret that the forms of their pages hold."""

    person: Person
    csrf: str


class SignInNeededError(Exception):
    """Nobody is signed in; ``then`` is the page to go to afterwards."""

    def __init__(self, then: str) -> None:
        super().__init__(then)
        self.then = then


def current(request: Request) -> SignedIn | None:
    """The session that a request's cookie opens, if it does."""
    token = request.cookies.get(request.app.state.access.cookie)
    if not token:
        return None
    return accounts.signed_in(request.app.state.desk, token, request.app.state.config, datetime.now(UTC))


def visitor(request: Request) -> Visitor:
    """Who asks; a dependency of every page but those for signing in.

    Raises:
        HTTPException: 401, for JSON, where nobody is signed in.
        SignInNeededError: for a page, likewise; it leads there.
    """
    signed = current(request)
    if signed is not None:
        return Visitor(signed.person, signed.csrf)
    if is_api(request.scope):
        raise HTTPException(401, "The session has ended. Sign in again; what was saved before is safe.")
    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    raise SignInNeededError(there if request.method in SAFE_METHODS else "/")


async def check_csrf(request: Request, visitor: Annotated[Visitor, Depends(visitor)]) -> None:
    """See that a change was asked for by one of the desk's own pages; a dependency of every route.

    The secret is in the header ``X-CSRF-Token`` or, in a form, in the field ``csrf``.

    Raises:
        RefusedError: it is missing, or another.
    """
    if request.method in SAFE_METHODS:
        return
    given: object = request.headers.get("x-csrf-token")
    if given is None and is_form(request):
        given = (await request.form()).get("csrf")
    if not isinstance(given, str) or not hmac.compare_digest(_bytes(given), _bytes(visitor.csrf)):
        raise RefusedError(NOT_FROM_HERE)


def set_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser the token of its session."""
    access: Access = request.app.state.access
    response.set_cookie(access.cookie, token, path="/", secure=access.secure, httponly=True, samesite="strict")


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else "unknown"


def local_path(path: str) -> str:
    """A path to go to that leads nowhere else than to this desk.

    >>> local_path("/runs/1?page=2"), local_path("//elsewhere.example"), local_path("https://elsewhere.example")
    ('/runs/1?page=2', '/', '/')
    """
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return quote(path, safe="/?=&%+,:;@~!$'()*") if plain else "/"


def is_api(scope: Scope) -> bool:
    """Whether a request is for JSON."""
    return str(scope["path"]).startswith("/api/")


def is_form(request: Request) -> bool:
    """Whether a request is what a browser sends of a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("application/x-www-form-urlencoded", "multipart/form-data")


class Guard:
    """What holds for every request and every answer, whatever the page."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._complete(scope, MutableHeaders(scope=message))
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await problem(Request(scope), *refusal)(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, _limited(receive), send_guarded)
        except Exception as error:
            _note(scope, error)
            if started:
                raise RuntimeError("an answer was cut short; its reason is in the line above") from None
            message = "Something went wrong that the desk did not expect. What was saved before is safe; try again."
            await problem(Request(scope), 500, message)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if _host_name(headers.get("host", "")) not in self.access.names:
            return 400, "This desk is not served under that name; whoever started it can add it with --name."
        if self.access.secure and scope["scheme"] != "https":
            return 400, "This desk is served over HTTPS only, by the proxy before it."
        if scope["method"] not in SAFE_METHODS and _from_elsewhere(headers, scope):
            return 403, NOT_FROM_HERE
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return 400, "The length of the request cannot be read."
        if int(length[:18]) > LARGEST_BODY:
            return 413, _TOO_LARGE
        return None

    def _complete(self, scope: Scope, headers: MutableHeaders) -> None:
        headers.update(HEADERS)
        if self.access.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        headers["Cache-Control"] = _caching(scope)


_TOO_LARGE = "That is larger than the desk takes (1 MB). Nothing was changed."


def _caching(scope: Scope) -> str:
    if not str(scope["path"]).startswith("/static/"):
        return "no-store"
    # A style or a script whose address names its version never changes.
    return "public, max-age=31536000, immutable" if b"v=" in scope["query_string"] else "no-cache"


def _from_elsewhere(headers: Headers, scope: Scope) -> bool:
    """Whether a browser says that another site asks. Without a referrer, a form's own origin is 'null'."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return True
    if origin is None or (origin == "null" and site is not None):
        return False
    return origin.lower() != f"{scope['scheme']}://{headers.get('host', '')}".lower()


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def receive_limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return receive_limited


def _note(scope: Scope, error: Exception) -> None:
    # Neither the message nor the path: one could quote a narrative, the other says which case it was.
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "nowhere"
    route = getattr(scope.get("route"), "path", "?")
    _log.error("%s %s: %s at %s", scope["method"], route, type(error).__name__, where)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
