"""What holds for every request at the desk, and how people come in and leave."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import pytest
from argon2 import PasswordHasher
from fastapi import APIRouter, Depends, FastAPI, Form, Request
from fastapi.testclient import TestClient

from secondlook.config import ReviewConfig
from secondlook.errors import ConflictError, DeskError, MissingError, RefusedError, UnavailableError
from secondlook.review import accounts
from secondlook.review.app import Access, Door, create_app
from secondlook.review.app.security import LARGEST_BODY, Visitor, check_csrf, visitor
from secondlook.review.database import Desk
from secondlook.review.tables import Role

PASSWORD = "three words together"
NARRATIVE = "She rang the desk twice"
CONFIG = ReviewConfig(sign_in_attempts=3, address_attempts=3)
HERE = "http://127.0.0.1"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    accounts._nobodys_hash.cache_clear()
    yield
    accounts._nobodys_hash.cache_clear()


def _probe(desk: Desk) -> APIRouter:
    """Routes that do what a page's might: answer, and fail in every way."""
    router = APIRouter(dependencies=[Depends(visitor), Depends(check_csrf)])
    failures = {
        "refused": RefusedError("Not yours."),
        "conflict": ConflictError("It has changed."),
        "missing": MissingError("No such case."),
        "unfit": DeskError("A mode is missing."),
        "locked": UnavailableError(f"{desk.name}: is locked by another program"),
        "broken": ValueError(NARRATIVE),
    }

    @router.get("/probe")
    @router.get("/api/probe")
    def who(visitor: Annotated[Visitor, Depends(visitor)]) -> dict[str, str]:
        return {"name": visitor.person.name}

    @router.post("/api/probe/{how}")
    @router.get("/probe/{how}")
    def fail(how: str) -> None:
        raise failures[how]

    @router.post("/api/echo")
    async def length(request: Request) -> int:
        return len(await request.body())

    @router.post("/form")
    def form(note: Annotated[str, Form(max_length=30)]) -> str:
        return note

    return router


def _client(app: FastAPI, base: str = HERE) -> TestClient:
    return TestClient(app, base_url=base, follow_redirects=False)


@pytest.fixture
def app(sqlite_desk: Desk) -> FastAPI:
    with sqlite_desk.writing() as session:
        accounts.add_user(session, "ann", Role.REVIEWER, PASSWORD, datetime.now(UTC))
    app = create_app(sqlite_desk, CONFIG, Access())
    app.include_router(_probe(sqlite_desk))
    return app


@pytest.fixture
def stranger(app: FastAPI) -> TestClient:
    return _client(app)


@pytest.fixture
def ann(app: FastAPI) -> TestClient:
    client = _client(app)
    assert client.post("/sign-in", data={"name": "Ann", "password": PASSWORD}).status_code == 303
    client.headers["X-CSRF-Token"] = _csrf(client)
    return client


def _csrf(client: TestClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found
    return found.group(1)


@pytest.mark.parametrize("path", ["/sign-in", "/probe", "/probe/refused", "/nowhere", "/api/probe", "/probe/broken"])
def test_every_answer_is_guarded(ann: TestClient, path: str) -> None:
    headers = ann.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "strict-transport-security" not in headers


def test_the_cookie_is_for_this_desk_alone(app: FastAPI, stranger: TestClient, sqlite_desk: Desk) -> None:
    cookie = stranger.post("/sign-in", data={"name": "ann", "password": PASSWORD}).headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("secondlook=")
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=strict"}
    secure = _client(
        create_app(sqlite_desk, CONFIG, Access(frozenset({"desk.example"}), secure=True)), "https://desk.example"
    )
    answer = secure.post("/sign-in", data={"name": "ann", "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-secondlook=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert secure.get("/account").status_code == 200


def test_whoever_is_not_signed_in_is_led_there_and_back(stranger: TestClient) -> None:
    answer = stranger.get("/probe?page=2&mode=a")
    assert answer.status_code == 303
    form = stranger.get(answer.headers["location"])
    there = re.search(r'name="then" value="([^"]*)"', form.text)
    assert there
    wanted = there.group(1).replace("&amp;", "&")
    assert wanted == "/probe?page=2&mode=a"
    back = stranger.post("/sign-in", data={"name": "ann", "password": PASSWORD, "then": wanted})
    assert back.headers["location"] == wanted
    assert stranger.get(wanted).json() == {"name": "ann"}


def test_json_says_that_the_session_has_ended(stranger: TestClient) -> None:
    answer = stranger.get("/api/probe")
    assert answer.status_code == 401
    assert "Sign in again" in answer.json()["detail"]


@pytest.mark.parametrize(
    "then", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\r\nX: y", ""]
)
def test_signing_in_leads_nowhere_else(stranger: TestClient, then: str) -> None:
    answer = stranger.post("/sign-in", data={"name": "ann", "password": PASSWORD, "then": then})
    assert answer.headers["location"] == "/"


def test_a_failed_sign_in_says_so_and_sets_nothing(stranger: TestClient) -> None:
    wrong = stranger.post("/sign-in", data={"name": "ann", "password": "another three words"})
    unknown = stranger.post("/sign-in", data={"name": "<script>", "password": "another three words"})
    assert wrong.status_code == unknown.status_code == 403
    assert wrong.text == unknown.text
    assert "not right" in wrong.text
    assert "set-cookie" not in wrong.headers
    stranger.post("/sign-in", data={"name": "ann", "password": "another three words"})
    assert "Too many" in stranger.post("/sign-in", data={"name": "ann", "password": PASSWORD}).text


def test_signing_out_ends_the_session_not_only_the_cookie(app: FastAPI, ann: TestClient) -> None:
    token = ann.cookies["secondlook"]
    assert ann.post("/sign-out", data={"csrf": _csrf(ann)}).status_code == 303
    thief = _client(app)
    thief.cookies["secondlook"] = token
    assert thief.get("/probe").status_code == 303


def test_a_password_is_changed_by_whoever_knows_it(app: FastAPI, ann: TestClient) -> None:
    old = ann.cookies["secondlook"]
    wanted = {"current_password": PASSWORD, "new_password": "other words together", "again": "other words together"}
    assert "same way twice" in ann.post("/account", data={**wanted, "again": "x"}).text
    assert "not right" in ann.post("/account", data={**wanted, "current_password": "not that one at all"}).text
    assert "at least 12" in ann.post("/account", data={**wanted, "new_password": "short", "again": "short"}).text
    assert "was changed" in ann.post("/account", data=wanted).text
    assert ann.get("/probe").status_code == 200
    other = _client(app)
    other.cookies["secondlook"] = old
    assert other.get("/probe").status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "127.0.0.1@evil.example"])
def test_another_name_for_this_machine_is_refused(ann: TestClient, host: str) -> None:
    answer = ann.get("/probe", headers={"host": host})
    assert answer.status_code == 400
    assert '{"name"' not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8350", "localhost", "LOCALHOST:1", "[::1]:8350"])
def test_the_desks_own_names_are_answered(ann: TestClient, host: str) -> None:
    assert ann.get("/probe", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, 200),  # a form on a page without a referrer
        ({"origin": HERE}, 200),
        ({}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "https://127.0.0.1"}, 403),
        ({"origin": HERE, "sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_a_change_comes_from_the_desks_own_pages(ann: TestClient, headers: dict[str, str], status: int) -> None:
    assert ann.post("/api/echo", headers=headers).status_code == status


@pytest.mark.parametrize("token", [None, "", "x", "é"])
def test_a_change_needs_the_secret_of_the_session(ann: TestClient, token: str | None) -> None:
    right = ann.headers.pop("X-CSRF-Token")
    headers = {} if token is None else {"X-CSRF-Token": token.encode()}
    assert ann.post("/api/echo", headers=headers).status_code == 403
    assert ann.post("/form", data={"note": "n", "csrf": token or ""}).status_code == 403
    assert ann.post("/form", data={"note": "n", "csrf": right}).json() == "n"


def test_the_secret_of_another_session_does_not_fit(app: FastAPI, ann: TestClient) -> None:
    other = _client(app)
    other.post("/sign-in", data={"name": "ann", "password": PASSWORD})
    assert ann.post("/api/echo", headers={"X-CSRF-Token": _csrf(other)}).status_code == 403


def test_what_is_too_large_is_refused_declared_or_not(ann: TestClient) -> None:
    assert ann.post("/api/echo", content=b"x" * LARGEST_BODY).json() == LARGEST_BODY
    assert ann.post("/api/echo", content=b"x" * (LARGEST_BODY + 1)).status_code == 413
    in_pieces = ann.post("/api/echo", content=iter([b"x" * LARGEST_BODY, b"x"]))
    assert in_pieces.status_code == 413
    form = ann.post(
        "/form",
        content=iter([b"note=", b"x" * LARGEST_BODY]),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert form.status_code == 413


@pytest.mark.parametrize(
    ("how", "read", "change"),
    [("refused", 403, 403), ("conflict", 409, 409), ("missing", 404, 404), ("unfit", 404, 422), ("locked", 503, 503)],
)
def test_what_was_to_be_expected_is_said_calmly(ann: TestClient, how: str, read: int, change: int) -> None:
    page, json = ann.get(f"/probe/{how}"), ann.post(f"/api/probe/{how}")
    assert (page.status_code, json.status_code) == (read, change)
    assert json.json()["detail"] in page.text.replace("&#39;", "'")
    assert "Traceback" not in page.text


def test_a_locked_database_says_that_nothing_was_lost_and_not_where_it_lies(ann: TestClient, sqlite_desk: Desk) -> None:
    answer = ann.post("/api/probe/locked")
    assert "locked by another program" in answer.json()["detail"]
    assert "Nothing was lost" in answer.json()["detail"]
    assert sqlite_desk.name not in answer.text
    assert answer.headers["retry-after"]


def test_what_was_not_expected_tells_neither_page_nor_log_a_narrative(
    ann: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = ann.get("/probe/broken"), ann.post("/api/probe/broken")
    assert [answer.status_code for answer in answers] == [500, 500]
    assert "did not expect" in answers[1].json()["detail"]
    assert "ValueError" in caplog.text
    assert "test_security.py" in caplog.text
    assert NARRATIVE not in caplog.text + answers[0].text + answers[1].text


def test_what_does_not_fit_is_not_repeated(ann: TestClient) -> None:
    answer = ann.post("/form", data={"note": NARRATIVE * 2})
    assert answer.status_code == 422
    assert "note" in answer.text
    assert NARRATIVE not in answer.text


def test_there_is_no_page_that_lists_the_endpoints(ann: TestClient) -> None:
    assert {ann.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


# --- Alone, by a link ---------------------------------------------------------------------------------------------


@pytest.fixture
def printed() -> list[str]:
    return []


@pytest.fixture
def alone(sqlite_desk: Desk, printed: list[str]) -> TestClient:
    app = create_app(sqlite_desk, CONFIG, Access(door=Door(printed.append)))
    app.include_router(_probe(sqlite_desk))
    return _client(app)


def _link(client: TestClient, printed: list[str]) -> str:
    client.post("/sign-in/link")
    return printed[-1]


def test_a_link_opens_once(alone: TestClient, printed: list[str]) -> None:
    link = _link(alone, printed)
    answer = alone.get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert alone.get("/api/probe").json() == {"name": "single user"}
    other = _client(alone.app)  # type: ignore[arg-type]
    assert other.get(link).status_code == 403
    assert other.get("/probe").status_code == 303
    assert other.get(_link(other, printed)).status_code == 303


@pytest.mark.parametrize("key", ["", "x", "é"])
def test_a_guessed_link_opens_nothing_and_uses_nothing_up(alone: TestClient, printed: list[str], key: str) -> None:
    link = _link(alone, printed)
    assert alone.get("/enter", params={"key": key}).status_code == 403
    assert alone.get(link).status_code == 303


def test_a_browser_that_looks_ahead_does_not_use_the_link_up(alone: TestClient, printed: list[str]) -> None:
    link = _link(alone, printed)
    assert alone.get(link, headers={"sec-purpose": "prefetch;prerender"}).status_code == 403
    assert alone.get(link).status_code == 303


def test_a_link_is_shown_in_the_terminal_only(alone: TestClient, printed: list[str]) -> None:
    answer = alone.post("/sign-in/link")
    assert printed
    assert printed[-1].partition("=")[2] not in answer.text


def test_alone_there_are_no_passwords_and_with_accounts_no_links(alone: TestClient, stranger: TestClient) -> None:
    assert alone.post("/sign-in", data={"name": "ann", "password": PASSWORD}).status_code == 403
    assert stranger.get("/enter?key=x").status_code == 403
    assert stranger.post("/sign-in/link").status_code == 403


def test_through_a_proxy_only_what_came_by_tls_is_answered(app: FastAPI, sqlite_desk: Desk) -> None:
    app = create_app(sqlite_desk, CONFIG, Access(frozenset({"desk.example"}), secure=True))
    assert _client(app, "http://desk.example").get("/sign-in").status_code == 400
    assert _client(app, "https://desk.example").get("/sign-in").status_code == 200
