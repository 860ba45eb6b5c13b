"""Whatever is sent to the JSON endpoints, fitting their description or not, is answered without a failure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from sqlalchemy import func, select

from secondlook.bundle import Bundle
from secondlook.config import ReviewConfig
from secondlook.review.app import Access, Door, create_app
from secondlook.review.app.api import router
from secondlook.review.database import Desk, open_desk
from secondlook.review.inquiry import verify
from secondlook.review.intake import add_run
from secondlook.review.tables import CaseRow, Entry

BASE = "http://127.0.0.1"
ENDPOINTS = [(next(iter(one.methods)), one.path) for one in router.routes if isinstance(one, APIRoute)]
FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Place:
    """A served desk, a case that somebody has open, and what the endpoints say of themselves."""

    desk: Desk
    app: FastAPI
    client: TestClient
    token: str
    case: int
    run: int
    mode: str
    operations: dict[tuple[str, str], Any]

    def now(self) -> dict[str, Any]:
        """What a change of the review that is open has to say so that it is carried out."""
        state = self.client.get(f"/api/cases/{self.case}").json()
        known = {"version": state["version"], "mode": self.mode}
        return known | ({"mark_id": state["marks"][-1]["id"]} if state["marks"] else {})

    def ask(self, client: TestClient, case: Any, **headers: str) -> Any:
        """Send what was generated."""
        sent = case.as_transport_kwargs(base_url=BASE)
        sent["headers"] = {**sent.get("headers", {}), **headers}
        sent["cookies"] = None
        return client.request(**{name: value for name, value in sent.items() if value is not None})


@pytest.fixture(scope="module")
def place(
    sqlite_template: Path, run_folder: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    desk = open_desk(shutil.copy(sqlite_template, tmp_path_factory.mktemp("desk") / "desk.sqlite"))
    config, door = ReviewConfig(double_share=0.0), Door()
    run = add_run(desk, run_folder, bundle, config, datetime.now(UTC))
    app = create_app(desk, config, Access(door=door))
    client = TestClient(app, base_url=BASE, raise_server_exceptions=False)
    client.get(door.path())
    token = client.get("/api/session").json()["csrf"]
    with desk.reading() as session:
        case = session.scalars(select(CaseRow.id).where(CaseRow.case_id == "emoji")).one()
    client.get(f"/cases/{case}")
    described = [found.ok() for found in schemathesis.openapi.from_dict(app.openapi()).get_all_operations()]
    operations = {(one.method.upper(), one.path): one for one in described}
    yield Place(desk, app, client, token, case, run.id, run.codebook["modes"][0]["id"], operations)
    desk.close()


def _drawn(data: st.DataObject, place: Place, endpoint: tuple[str, str], *, fits: bool) -> Any:
    """A request to an endpoint; half of those that fit are about the case that is open, as it is now."""
    operation = place.operations[endpoint]
    mode = GenerationMode.POSITIVE if fits else GenerationMode.NEGATIVE
    case = data.draw(operation.as_strategy(generation_mode=mode))
    if fits and data.draw(st.booleans()):
        here = {"case": place.case, "run": place.run}
        case.path_parameters = {name: here[name] for name in case.path_parameters or {}}
        if isinstance(case.body, dict):
            case.body |= {name: value for name, value in place.now().items() if name in case.body}
            if "end" in case.body:
                case.body["start"] %= 50
                case.body["end"] = case.body["start"] + 1 + case.body["end"] % 50
    return case


def _is_plain(answer: Any) -> bool:
    """Whether an answer that refuses says why, in a line that quotes no narrative."""
    said = answer.json()["detail"]
    return isinstance(said, str) and "Traceback" not in said and "in case " not in said


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=" ".join)
@FEW
@given(data=st.data())
def test_what_fits_the_description_is_answered_as_described(
    place: Place, endpoint: tuple[str, str], data: st.DataObject
) -> None:
    case = _drawn(data, place, endpoint, fits=True)
    answer = place.ask(place.client, case, **{"X-CSRF-Token": place.token})
    assert answer.status_code in (200, 403, 404, 409, 422), answer.text
    if answer.status_code == 200:
        place.operations[endpoint].validate_response(answer)
    else:
        assert _is_plain(answer)


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if "{" in one[1]], ids=" ".join)
@FEW
@given(data=st.data())
def test_what_does_not_fit_is_refused(place: Place, endpoint: tuple[str, str], data: st.DataObject) -> None:
    case = _drawn(data, place, endpoint, fits=False)
    answer = place.ask(place.client, case, **{"X-CSRF-Token": place.token})
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert _is_plain(answer)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=" ".join)
@FEW
@given(data=st.data())
def test_nobody_gets_anything_without_signing_in(place: Place, endpoint: tuple[str, str], data: st.DataObject) -> None:
    case = _drawn(data, place, endpoint, fits=True)
    before = _entries(place.desk)
    with_token = data.draw(st.booleans())
    stranger = TestClient(place.app, base_url=BASE, raise_server_exceptions=False)
    answer = place.ask(stranger, case, **({"X-CSRF-Token": place.token} if with_token else {}))
    assert answer.status_code == 401, answer.text
    assert _is_plain(answer)
    assert _entries(place.desk) == before


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one[0] == "POST"], ids=" ".join)
@FEW
@given(data=st.data())
def test_nothing_is_changed_without_the_secret_of_a_page(
    place: Place, endpoint: tuple[str, str], data: st.DataObject
) -> None:
    case = _drawn(data, place, endpoint, fits=True)
    before = _entries(place.desk)
    wrong = data.draw(st.sampled_from(["", "x", place.token[:-1], place.token + "\u00e9"]))
    answer = place.ask(place.client, case, **({"X-CSRF-Token": wrong.encode()} if wrong else {}))
    assert answer.status_code == 403, answer.text
    assert _entries(place.desk) == before


def test_afterwards_all_that_the_desk_holds_fits_its_record(place: Place) -> None:
    with place.desk.reading() as session:
        assert verify(session).problems == []


def _entries(desk: Desk) -> int:
    with desk.reading() as session:
        return session.scalar(select(func.count()).select_from(Entry)) or 0
