"""What the desk's pages say, and in what pieces a narrative is shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from starlette.datastructures import QueryParams

from secondlook.config import ReviewConfig
from secondlook.page import ModeMark
from secondlook.review import accounts
from secondlook.review.app import Access, Door, create_app
from secondlook.review.app.views import PART, Asked, Marked, asked_of, number_of, parts_of, pieces_of
from secondlook.review.database import Desk
from secondlook.review.queue import Filters, Order
from secondlook.review.record import Action
from secondlook.review.tables import CaseRow, Entry, Role, Run, Status
from secondlook.schema import Evidence, Span

MARKS = {"a": ModeMark(1, 0, "Told"), "b": ModeMark(2, 1, "Unseen")}
SPANS = st.builds(lambda start, length: Span(start, start + length), st.integers(0, 60), st.integers(1, 40))
ITEMS = st.lists(st.builds(Evidence, st.sampled_from("ab"), SPANS, st.just(0.5)), max_size=6)


@given(st.text(max_size=80), ITEMS, ITEMS)
def test_pieces_tile_their_part_and_carry_what_lies_on_them(
    text: str, evidence: list[Evidence], own: list[Evidence]
) -> None:
    inside = [item for item in evidence if item.span.end <= len(text)]
    marked = [
        Marked(item.mode, item.span, 0.0, number)
        for number, item in enumerate(own, start=1)
        if item.span.end <= len(text)
    ]
    part = Span(min(3, len(text)), len(text))
    pieces = pieces_of(text, part, [*inside, *marked], MARKS)
    assert "".join(piece.before + piece.text + piece.after for piece in pieces) == text[part.start :]
    place = part.start
    for piece in pieces:
        assert piece.start == place
        assert piece.length == len(piece.before + piece.text + piece.after)
        place += piece.length
        if piece.layers:
            middle = Span(piece.start, place)
            modes = {layer.mark.title for layer in piece.layers if not layer.own}
            assert modes == {MARKS[item.mode].title for item in inside if item.span.overlap(middle)}
            assert set(piece.marks) == {item.key for item in marked if item.span.overlap(middle)}


@given(st.integers(0, 3), st.integers(0, 400), st.sampled_from(["x", "x y ", "\U0001f600\n"]))
def test_parts_tile_a_narrative_and_are_never_longer_than_a_page_holds(whole: int, rest: int, words: str) -> None:
    text = (words * PART)[: whole * PART + rest]
    parts = parts_of(text)
    assert "".join(text[part.start : part.end] for part in parts) == text
    assert all(part.end - part.start <= PART for part in parts)
    assert all(text[part.end - 1] in " \n" for part in parts[:-1] if words != "x")


def test_evidence_over_the_border_of_two_parts_is_in_both() -> None:
    text = "x" * (PART + 50)
    first, second = parts_of(text)
    item = Evidence("a", Span(PART - 10, PART + 10), 0.5)
    for part, length in ((first, 10), (second, 10)):
        shown = [piece for piece in pieces_of(text, part, [item], MARKS) if piece.layers]
        assert [(piece.length, piece.stop) for piece in shown] == [(length, True)]


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).map(str.strip).filter(bool)
FILTERS = st.builds(
    Filters, mode=st.none() | st.sampled_from(["told"]), status=st.none() | st.sampled_from(Status), reviewer=st.none() | WORDS,
    since=st.none() | st.dates(), until=st.none() | st.dates(), fields=st.lists(st.tuples(WORDS, WORDS), max_size=2, unique_by=lambda p: p[0]).map(tuple),
    text=st.none() | WORDS, audit=st.booleans(),
)  # fmt: skip


@given(FILTERS, st.sampled_from(Order))
def test_what_is_asked_for_goes_through_an_address_and_back(filters: Filters, order: Order) -> None:
    asked = Asked(filters, order)
    assert asked_of(QueryParams(asked.query.removeprefix("?"))) == asked


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "until=2026-13-01",
        "status=done",
        "order=best",
        "text=" + "x" * 301,
        "page=-1",
        "page=9999999999",
        "page=²",
    ],
)
def test_what_cannot_be_asked_for_is_said(query: str) -> None:
    params = QueryParams(query)
    with pytest.raises(HTTPException) as caught:
        asked_of(params)
        number_of(params, "page", 1)
    assert caught.value.status_code == 422
    assert query.split("=")[0] in caught.value.detail


# --- The pages themselves -----------------------------------------------------------------------------------------


@pytest.fixture
def run(sqlite_desk: Desk, run_folder: object, bundle: object, review_config: ReviewConfig, now: datetime) -> Run:
    from secondlook.review.intake import add_run

    return add_run(sqlite_desk, run_folder, bundle, review_config, now)  # type: ignore[arg-type]


@pytest.fixture
def alone(sqlite_desk: Desk, run: Run, review_config: ReviewConfig) -> TestClient:
    """Who works alone, signed in by the link."""
    door = Door()
    app = create_app(sqlite_desk, review_config, Access(door=door))
    client = TestClient(app, base_url="http://127.0.0.1")
    assert client.get(door.path()).status_code == 200
    return client


def _key(desk: Desk, case_id: str) -> int:
    with desk.reading() as session:
        return session.scalars(select(CaseRow.id).where(CaseRow.case_id == case_id)).one()


def _actions(desk: Desk) -> list[str]:
    with desk.reading() as session:
        return list(session.scalars(select(Entry.action).order_by(Entry.sequence)))


def test_the_one_queue_is_where_one_begins(alone: TestClient, run: Run) -> None:
    answer = alone.get("/")
    assert answer.url.path == f"/queues/{run.id}"
    assert 'class="case-link"' in answer.text
    assert "2 near-copies" in answer.text


def test_a_queue_and_a_case_that_were_seen_are_in_the_record(alone: TestClient, run: Run, sqlite_desk: Desk) -> None:
    alone.get(f"/queues/{run.id}?text=desk")
    alone.get(f"/cases/{_key(sqlite_desk, 'both')}")
    alone.get(f"/cases/{_key(sqlite_desk, 'both')}/print")
    assert _actions(sqlite_desk)[-4:] == [Action.QUEUE_SEEN, Action.CASE_SEEN, Action.CASE_SEEN, Action.CASE_PRINTED]


def test_the_text_alone_is_no_new_view(alone: TestClient, sqlite_desk: Desk) -> None:
    key = _key(sqlite_desk, "both")
    whole = alone.get(f"/cases/{key}").text
    before = _actions(sqlite_desk)
    text = alone.get(f"/cases/{key}/text").text
    assert _actions(sqlite_desk) == before
    narrative = re.search(r'<div id="narrative".*?</div>', text, re.S)
    assert narrative is not None
    assert narrative.group() in whole


def test_the_text_of_a_case_that_was_not_opened_is_a_view(alone: TestClient, sqlite_desk: Desk) -> None:
    before = _actions(sqlite_desk)
    alone.get(f"/cases/{_key(sqlite_desk, 'both')}/text")
    assert _actions(sqlite_desk) == [*before, Action.CASE_SEEN]


def test_hostile_texts_are_escaped_everywhere(alone: TestClient, run: Run, sqlite_desk: Desk) -> None:
    key = _key(sqlite_desk, "markup")
    for path in (
        f"/queues/{run.id}",
        f"/cases/{key}",
        f"/cases/{key}/print",
        f"/queues/{run.id}?text=%3Cscript%3Ealert(1)",
    ):
        text = alone.get(path).text
        assert "<script>alert" not in text
        assert "<b>east</b>" not in text
        assert not re.search(r"<script(?! type=\"module\" src=\"/static/)", text)
        assert " style=" not in text


def test_the_next_case_is_led_to_and_then_nothing_is_left(alone: TestClient, run: Run, sqlite_desk: Desk) -> None:
    answer = alone.get(f"/queues/{run.id}/next?mode=no_such_mode")
    assert "There is nothing left to read here for you" in answer.text
    answer = alone.get(f"/queues/{run.id}/next?field.unit=north")
    assert answer.url.path.startswith("/cases/")
    assert answer.url.params["field.unit"] == "north"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/queues/99", 404), ("/cases/99999", 404), ("/queues/0", 422), ("/cases/x", 422), ("/cases/1?at=x", 422), ("/queues/1?since=x", 422),
     ("/queues/99/next", 404), ("/cases/99999/text", 404), ("/cases/99999/print", 404), ("/queues/2147483648", 422)],
)  # fmt: skip
def test_what_is_not_there_is_said_on_a_page(alone: TestClient, path: str, status: int) -> None:
    answer = alone.get(path)
    assert answer.status_code == status
    assert "<main" in answer.text


def test_a_queue_that_is_not_assigned_is_refused(sqlite_desk: Desk, run: Run, review_config: ReviewConfig) -> None:
    with sqlite_desk.writing() as session:
        accounts.add_user(session, "ann", Role.REVIEWER, "three words together", datetime.now(UTC))
    client = TestClient(create_app(sqlite_desk, review_config, Access()), base_url="http://127.0.0.1")
    client.post("/sign-in", data={"name": "ann", "password": "three words together"})
    assert "No queue is assigned to you yet" in client.get("/").text
    key = _key(sqlite_desk, "both")
    for path in (
        f"/queues/{run.id}",
        f"/queues/{run.id}/next",
        f"/cases/{key}",
        f"/cases/{key}/text",
        f"/cases/{key}/print",
    ):
        assert client.get(path).status_code == 403, path


def test_every_page_needs_somebody(sqlite_desk: Desk, run: Run, review_config: ReviewConfig) -> None:
    client = TestClient(
        create_app(sqlite_desk, review_config, Access()), base_url="http://127.0.0.1", follow_redirects=False
    )
    for path in (
        "/",
        f"/queues/{run.id}",
        f"/queues/{run.id}/next",
        "/cases/1",
        "/cases/1/text",
        "/cases/1/print",
        "/help",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in"), path
    assert client.get("/static/queue.css").text.startswith("/*")
