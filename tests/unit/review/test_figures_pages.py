"""The pages of figures and patterns, as a browser gets them."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from secondlook.config import ReviewConfig
from secondlook.review.accounts import Person
from secondlook.review.app import create_app
from secondlook.review.app.figures_pages import Kept
from secondlook.review.app.pictures import Number, Row, picture
from secondlook.review.app.security import Access, Visitor, visitor
from secondlook.review.record import Action
from secondlook.review.tables import Entry, Role

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>{{ 7 * 7 }}\u202e"


@pytest.fixture
def made(hand_made):
    """Thirty cases of two units, some of them read twice, one by a reviewer who sees no flags."""
    made = hand_made()
    for place in range(30):
        unit = HOSTILE if place < 12 else "south"
        case = made.case(flags={"leak"} if place % 2 else (), fields={"unit": unit}, month=1, drawn=(1, 0.5))
        if place < 24:
            made.review(case, {"leak": "confirm"}, by="ann", kind="double")
            made.review(case, {"leak": "confirm" if place % 3 else "reject"}, by="ben", kind="double", arm="unprompted")
    return made.save()


@pytest.fixture
def desk_place(sqlite_desk_path):
    """The pages do not depend on the database."""
    return sqlite_desk_path


@pytest.fixture
def visit(made):
    """Get a page as somebody: ``visit("/figures", "ann")``; ``boss`` is an administrator."""
    app = create_app(made.desk, ReviewConfig(), Access())

    def get(path, who="boss", runs=(made.run.id,)):
        role = Role.ADMINISTRATOR if who == "boss" else Role.REVIEWER
        key = made.user(who) if who in ("ann", "ben") else 1
        person = Person(key, who, f"r-{who}", role, None if who == "boss" else frozenset(runs))
        app.dependency_overrides[visitor] = lambda: Visitor(person, "secret")
        return TestClient(app, base_url="http://127.0.0.1").get(path)

    return get


def _paths(made):
    return [
        f"/figures?run={made.run.id}",
        *(
            f"/patterns?run={made.run.id}&by={by}&count={count}"
            for by in ("unit", "month received")
            for count in ("flagged", "confirmed")
        ),
    ]


def test_pages_need_neither_script_nor_style_of_their_own(made, visit):
    for path in _paths(made):
        answer = visit(path)
        assert answer.status_code == 200
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\bsrc=)|\son\w+=|NaN|nan%|\bNone\b", answer.text)


def test_pictures_are_well_formed_and_say_what_they_show(made, visit):
    for path in _paths(made):
        drawn = re.findall(r"<svg class=\"picture\".*?</svg>", visit(path).text, re.DOTALL)
        assert drawn
        for one in drawn:
            svg = ElementTree.fromstring(one)
            ids = {element.get("id") for element in svg if element.get("id")}
            assert svg.get("role") == "img"
            assert set(svg.get("aria-labelledby").split()) == ids
            assert all(element.text for element in svg if element.tag in ("title", "desc"))


def test_ids_on_a_page_are_unique(made, visit):
    for path in _paths(made):
        ids = re.findall(r"\sid=\"([^\"]+)\"", visit(path).text)
        assert len(ids) == len(set(ids))


def test_a_hostile_value_is_text(made, visit):
    page = visit(f"/patterns?run={made.run.id}&by=unit").text
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}" in page


def test_a_hostile_column_name_is_text(hand_made, made, visit):
    other = hand_made()
    other.case(fields={HOSTILE: "x"})
    other.save()
    page = visit(f"/patterns?run={other.run.id}").text
    assert "<script>alert" not in page
    assert "fewer than 5 cases" in page


def test_a_reviewer_sees_nobody_elses_name(made, visit):
    assert "r-ben" in visit(f"/figures?run={made.run.id}").text
    page = visit(f"/figures?run={made.run.id}", "ann").text
    assert "r-ben" not in page
    assert ">you<" in page


def test_who_may_not_read_the_queue_sees_no_figures(made, visit):
    for path in _paths(made):
        assert visit(path, "ann", runs=()).status_code == 403


@pytest.mark.parametrize("query", ["run=99999999", "run=0", "run=x", "run=99999999999999999999", ""])
def test_a_queue_that_is_not_there_is_said_plainly(visit, query):
    for page in ("figures", "patterns"):
        answer = visit(f"/{page}?{query}")
        assert answer.status_code in (404, 422)
        assert "Traceback" not in answer.text


def test_an_unknown_column_is_not_counted_by(made, visit):
    answer = visit(f"/patterns?run={made.run.id}&by=unti")
    assert answer.status_code == 404
    assert "did you mean" in answer.text


def test_what_was_seen_is_on_the_record(made, visit):
    visit(f"/figures?run={made.run.id}", "ann")
    visit(f"/patterns?run={made.run.id}&by=unit", "ben")
    with made.desk.reading() as session:
        seen = session.scalars(select(Entry).where(Entry.action == Action.FIGURES_SEEN).order_by(Entry.sequence)).all()
    assert [(entry.actor, entry.run) for entry in seen] == [("r-ann", made.run.digest), ("r-ben", made.run.digest)]
    assert json.loads(seen[1].detail) == {"page": "patterns", "by": "unit", "count": "flagged"}


def test_a_desk_without_decisions_says_why(hand_made, made, visit):
    other = hand_made()
    other.case(flags={"leak"})
    other.save()
    page = visit(f"/figures?run={other.run.id}").text
    for why in (
        "No case was finished yet",
        "No case was read twice yet",
        "No audit was drawn",
        "confirmed or rejected yet",
    ):
        assert why in page


def test_what_was_counted_is_shown_again_for_a_minute():
    kept, made = Kept(), []

    def make():
        made.append(1)
        return len(made)

    assert kept.get("a", NOW, make) == (NOW, 1)
    assert kept.get("a", NOW + timedelta(seconds=59), make) == (NOW, 1)
    assert kept.get("b", NOW, make)[1] == 2
    assert kept.get("a", NOW + timedelta(seconds=61), make)[1] == 3


def test_a_count_that_fails_is_tried_again():
    kept = Kept()
    with pytest.raises(ZeroDivisionError):
        kept.get("a", NOW, lambda: 1 // 0)
    assert kept.get("a", NOW, lambda: 1) == (NOW, 1)


def test_while_one_counts_anew_others_get_what_was_counted_before():
    kept, begun, go_on = Kept(), threading.Event(), threading.Event()
    kept.get("a", NOW, lambda: "old")
    later = NOW + timedelta(minutes=2)

    def slowly():
        begun.set()
        assert go_on.wait(10)
        return "new"

    counting = threading.Thread(target=kept.get, args=("a", later, slowly))
    counting.start()
    assert begun.wait(10)
    assert kept.get("a", later, lambda: "never") == (NOW, "old")
    go_on.set()
    counting.join()
    assert kept.get("a", later, lambda: "never") == (later, "new")


def test_what_is_beyond_the_axis_is_drawn_at_its_end():
    drawn = picture("t", [Row("a", "1", [Number("dot", 1.4, -0.5, 2.0)])], most=1)
    shape = drawn.rows[0].shapes[0]
    assert float(shape.low) == float(shape.start)
    assert float(shape.high) == float(shape.x) <= 480


def test_nothing_known_is_not_drawn():
    assert picture("t", [Row("a", "no case was read twice yet")]) is None
