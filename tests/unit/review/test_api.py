"""What a case's page may ask of the desk while somebody works on it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from secondlook.config import ReviewConfig
from secondlook.review.app import Access, Door, create_app
from secondlook.review.database import Desk
from secondlook.review.tables import CaseRow, Run


class Working:
    """Somebody at the API: who they are, and the case they have open."""

    def __init__(self, desk: Desk, run: Run, config: ReviewConfig) -> None:
        door = Door()
        self.client = TestClient(create_app(desk, config, Access(door=door)), base_url="http://127.0.0.1")
        self.client.get(door.path())
        self.headers = {"X-CSRF-Token": self.client.get("/api/session").json()["csrf"]}
        with desk.reading() as session:
            chosen = select(CaseRow.id, CaseRow.narrative).where(CaseRow.run_id == run.id, CaseRow.case_id == "emoji")
            self.case, self.narrative = session.execute(chosen).tuples().one()
        self.client.get(f"/cases/{self.case}")

    def post(self, what: str, case: int | None = None, **body: Any) -> Any:
        path = f"/api/cases/{case or self.case}/{what}"
        return self.client.post(path, json=body, headers=self.headers)


@pytest.fixture
def run(sqlite_desk: Desk, run_folder: object, bundle: object, review_config: ReviewConfig, now: datetime) -> Run:
    from secondlook.review.intake import add_run

    return add_run(sqlite_desk, run_folder, bundle, review_config, now)  # type: ignore[arg-type]


@pytest.fixture
def working(sqlite_desk: Desk, run: Run, review_config: ReviewConfig) -> Working:
    return Working(sqlite_desk, run, review_config)


@pytest.fixture
def mode(run: Run) -> str:
    return str(run.codebook["modes"][0]["id"])


def test_a_case_from_the_first_verdict_to_the_next_case(working: Working, run: Run) -> None:
    modes = [mode["id"] for mode in run.codebook["modes"]]
    version = working.client.get(f"/api/cases/{working.case}").json()["version"]
    for mode in modes:
        state = working.post("decide", mode=mode, verdict="confirm", reason="because", version=version).json()
        version = state["version"]
    assert state["decisions"] == {mode: {"verdict": "confirm", "reason": "because"} for mode in modes}
    start = working.narrative.index("The")
    state = working.post("mark", mode=modes[0], start=start, end=start + 3, version=version).json()
    (mark,) = state["marks"]
    assert (mark["start"], mark["end"]) == (start, start + 3)
    state = working.post("note", text="\U0001f600 שלום", version=state["version"]).json()
    state = working.post("undo", version=state["version"]).json()
    assert state["note"] == ""
    state = working.post("unmark", mark_id=mark["id"], version=state["version"]).json()
    assert state["marks"] == []
    state = working.post("finish", version=state["version"]).json()
    assert state["finished"]
    assert working.client.get(f"/api/cases/{working.case}").json() == state
    answer = working.client.post(f"/api/queues/{run.id}/next", json={"order": "rank"}, headers=working.headers)
    assert answer.json()["case"] not in (None, working.case)


def test_a_version_that_is_past_changes_nothing(working: Working, mode: str) -> None:
    before = working.client.get(f"/api/cases/{working.case}").json()
    working.post("note", text="first", version=before["version"])
    answer = working.post("decide", mode=mode, verdict="reject", version=before["version"])
    assert answer.status_code == 409
    after = working.client.get(f"/api/cases/{working.case}").json()
    assert (after["note"], after["decisions"]) == ("first", {})


def test_without_the_token_nothing_is_changed(working: Working, mode: str) -> None:
    for headers in ({}, {"X-CSRF-Token": "x" * 40}):
        answer = working.client.post(
            f"/api/cases/{working.case}/decide",
            json={"mode": mode, "verdict": "confirm", "version": 1},
            headers=headers,
        )
        assert answer.status_code == 403
    assert working.client.get(f"/api/cases/{working.case}").json()["decisions"] == {}


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("decide", {"mode": "no_such_mode", "verdict": "confirm"}, 422),
        ("decide", {"mode": "MODE", "verdict": "maybe"}, 422),
        ("decide", {"mode": "MODE", "verdict": "confirm", "reason": "x" * 2001}, 422),
        ("decide", {"mode": "MODE", "verdict": "confirm", "reason": "a\0b"}, 422),
        ("decide", {"mode": "MODE", "verdict": "confirm", "surprise": 1}, 422),
        ("mark", {"mode": "MODE", "start": 5, "end": 5}, 422),
        ("mark", {"mode": "MODE", "start": 0, "end": 10**6}, 422),
        ("mark", {"mode": "MODE", "start": -1, "end": 3}, 422),
        ("mark", {"mode": "MODE", "start": 0, "end": 2**40}, 422),
        ("unmark", {"mark_id": 12345}, 422),
        ("note", {"text": "x" * 20_001}, 422),
        ("undo", {}, 422),
        ("reopen", {}, 422),
        ("undo", {"version": "one"}, 422),
        ("undo", {"version": 2**31}, 422),
    ],
)
def test_what_does_not_fit_is_refused_and_not_quoted(
    working: Working, mode: str, what: str, body: dict[str, Any], status: int
) -> None:
    sent = {"version": 1} | {key: mode if value == "MODE" else value for key, value in body.items()}
    answer = working.post(what, **sent)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    assert "xxxx" not in answer.text
    state = working.client.get(f"/api/cases/{working.case}").json()
    assert (state["version"], state["decisions"], state["marks"], state["note"]) == (1, {}, [], "")


def test_a_case_that_is_not_there_or_not_opened(working: Working, sqlite_desk: Desk) -> None:
    assert working.client.get("/api/cases/99999").status_code == 404
    with sqlite_desk.reading() as session:
        other = session.scalars(select(CaseRow.id).where(CaseRow.case_id == "told-1")).one()
    assert working.client.get(f"/api/cases/{other}").status_code == 404
    assert working.post("undo", case=other, version=1).status_code == 403


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["mode", "version", "start", "end", "text", "order"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["decide", "mark", "unmark", "note", "undo", "finish", "reopen", "release"]), JSON)
def test_no_body_makes_the_desk_fail(working: Working, what: str, body: Any) -> None:
    answer = working.client.post(f"/api/cases/{working.case}/{what}", json=body, headers=working.headers)
    assert answer.status_code < 500


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_request_that_the_description_allows_makes_the_desk_fail(working: Working, data: st.DataObject) -> None:
    schema = schemathesis.openapi.from_dict(cast(FastAPI, working.client.app).openapi())
    operations = [found.ok() for found in schema.get_all_operations() if found.ok().path.startswith("/api/")]
    case = data.draw(data.draw(st.sampled_from(operations)).as_strategy())
    request = case.as_transport_kwargs(base_url="http://127.0.0.1")
    path = request["url"].removeprefix("http://127.0.0.1")
    answer = working.client.request(request["method"], path, json=request.get("json"), headers=working.headers)
    assert answer.status_code < 500
