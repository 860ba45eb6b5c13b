from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from secondlook.errors import DeskError, RefusedError
from secondlook.review.accounts import Person
from secondlook.review.casefile import ScoreView, open_case
from secondlook.review.decisions import release
from secondlook.review.record import Action
from secondlook.review.tables import Entry, Role, Run
from secondlook.schema import Evidence, Span

Workplace = Any
P, U = "prompted", "unprompted"


def test_a_case_file_has_what_the_run_says_of_the_case(work: Workplace) -> None:
    narrative = "\U0001f600 \u05e9\u05dc\u05d5\u05dd\0\r\n He was told."
    work.add("one", narrative=narrative, details={"unit": "north"}, drawn_for_audit=True)
    work.hire("ann")
    file = work.open("ann", "one")
    assert (file.case_id, file.rank, file.priority, file.explanation) == ("one", 1, 1.0, "high")
    assert (file.narrative, file.details, file.drawn_for_audit, file.blind) == (
        narrative,
        {"unit": "north"},
        True,
        False,
    )
    assert [mode.id for mode in file.modes] == ["leak", "check"]
    assert file.scores == {"leak": ScoreView(0.9, 0.9, 0.9, True, 0.5), "check": ScoreView(0.1, 0.1, 0.1, False, None)}
    assert file.evidence == [Evidence("leak", Span(0, 2), 1.0)]
    assert file.to_decide == ["leak"]


def test_in_the_unprompted_arm_nothing_of_the_model_is_in_the_file(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", U, P, drawn_for_audit=True)
    work.hire("ann")
    file = work.open("ann", "twice")
    assert file.blind
    assert (file.scores, file.evidence, file.explanation, file.priority) == ({}, [], "", None)
    assert not file.drawn_for_audit
    assert file.to_decide == ["leak", "check"]


def test_who_only_looks_on_sees_no_more_than_who_might_still_be_asked(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", U, P)
    for name, role in (
        ("ann", Role.REVIEWER),
        ("ben", Role.REVIEWER),
        ("cat", Role.ADJUDICATOR),
        ("eve", Role.ADMINISTRATOR),
    ):
        work.hire(name, role)
    work.open("ann", "twice")
    assert work.open("ben", "twice").scores != {}  # his arm is prompted
    assert work.open("cat", "twice").scores == {}
    assert work.open("eve", "twice").scores != {}


def test_every_look_is_recorded_with_what_was_shown(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", P, U)
    for name in ("ann", "ben", "cat"):
        work.hire(name)
        work.open(name, "twice")
    with work.desk.reading() as session:
        entries = session.scalars(select(Entry).where(Entry.action == Action.CASE_SEEN).order_by(Entry.sequence)).all()
        digest = session.scalars(select(Run.digest)).one()
    assert [(entry.actor, json.loads(entry.detail)["shown"]) for entry in entries] == [
        ("r-ann", P),
        ("r-ben", U),
        ("r-cat", U),
    ]
    assert [json.loads(entry.detail)["kind"] for entry in entries] == ["double", "double", None]
    assert {(entry.run, entry.case_id) for entry in entries} == {(digest, "twice")}


def test_copies_are_listed_and_can_be_opened(sqlite_work: Workplace) -> None:
    work = sqlite_work
    first = work.add("first", copies=1)
    copy = work.add("copy", original_id=first)
    work.hire("ann")
    assert work.open("ann", "first").copies == [(copy, "copy")]
    file = work.open("ann", "copy")
    assert (file.original, file.copies) == ((first, "first"), [])
    assert file.review is not None


def test_a_copy_does_not_tell_what_is_hidden_of_its_original(sqlite_work: Workplace) -> None:
    work = sqlite_work
    first = work.add("first", U, P, copies=1)
    work.add("copy", original_id=first)
    work.hire("ann")
    work.hire("ben")
    file = work.open("ann", "copy")
    assert (file.blind, file.scores, file.review) == (True, {}, None)
    assert "copies one that is still being read" in str(file.read_only_because)
    work.finish("ann", "first", leak="confirm", check="reject")
    work.finish("ben", "first", leak="confirm")
    assert work.open("ann", "copy").scores != {}


def test_administrators_see_the_reviews_of_others_once_they_are_all_there(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", P, P)
    for name, role in (
        ("ann", Role.REVIEWER),
        ("ben", Role.REVIEWER),
        ("cat", Role.ADJUDICATOR),
        ("eve", Role.ADMINISTRATOR),
    ):
        work.hire(name, role)
    work.finish("ann", "twice", leak="confirm")
    work.open("ben", "twice")
    assert work.open("eve", "twice").others == []
    work.finish("ben", "twice", leak="confirm")
    assert [other.reviewer for other in work.open("eve", "twice").others] == ["r-ann", "r-ben"]
    assert work.open("cat", "twice").others == []
    assert work.open("ann", "twice").others == []


def test_a_case_given_back_is_the_next_readers(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("one")
    work.hire("ann")
    work.hire("ben")
    work.open("ann", "one")
    work.act(release, "ann", "one")
    assert work.open("ben", "one").review is not None


@pytest.mark.parametrize("key", [0, -1, 999_999, 1 << 40])
def test_a_case_that_is_not_there_is_said_so(work: Workplace, key: int) -> None:
    ann = work.hire("ann")
    with work.desk.writing() as session, pytest.raises(DeskError, match="no such case on the desk"):
        open_case(session, ann, key, work.config, work.now)


def test_a_case_of_another_queue_is_refused_and_not_recorded_as_seen(sqlite_work: Workplace) -> None:
    work = sqlite_work
    key = work.add("one")
    ann = work.hire("ann")
    stranger = Person(ann.id, ann.name, ann.pseudonym, ann.role, frozenset())
    with pytest.raises(RefusedError), work.desk.writing() as session:
        open_case(session, stranger, key, work.config, work.now)
    with work.desk.reading() as session:
        assert session.scalars(select(Entry).where(Entry.action == Action.CASE_SEEN)).all() == []
