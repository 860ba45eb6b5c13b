from __future__ import annotations

from datetime import datetime
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secondlook.review import search
from secondlook.review.database import Desk
from secondlook.review.tables import CaseRow, Run


def _cases(desk: Desk, texts: list[str], now: datetime) -> None:
    """A run of cases that are found by these texts."""
    with desk.writing() as session:
        run = Run(
            **dict.fromkeys(("name", "folder", "bundle_name", "bundle_digest", "config_digest", "cases_digest"), ""),
            digest="d",
            codebook={},
            thresholds={},
            cases=len(texts),
            added_at=now,
        )
        session.add(run)
        session.flush()
        for rank, _ in enumerate(texts, 1):
            empty = dict.fromkeys(("digest", "explanation", "file", "narrative"), "")
            numbers = dict.fromkeys(("priority", "uncertainty", "inclusion_probability"), 0.0)
            case = CaseRow(id=rank, run_id=run.id, case_id=f"c{rank}", rank=rank, row=1, **empty, **numbers)
            case.received, case.audit_stratum, case.original_id, case.drawn_for_audit = None, None, None, False
            case.details, case.arms = {}, ["prompted"]
            session.add(case)
        session.flush()
        search.add_to_index(session, list(enumerate(texts, 1)))


def _found(desk: Desk, question: str) -> list[int]:
    with desk.reading() as session:
        matching = search.matching(session, question)
        return [] if matching is None else sorted(session.scalars(matching))


TEXTS = [
    "The desk sergeant rang him; nobody went.",
    "Sgt. O'Neill e-mailed ann@example.com on 01/02/2026 from 07700-900123.",
    "Zoë naïvely said: \U0001f600 \u05e9\u05dc\u05d5\u05dd\0 STRASSE",
    "Her unit_number was north-east 3rd",
]


FOUND = {
    "nobody went": [1],
    "went nobody": [1],
    "serg": [1],
    "ergeant": [],
    "nobody neill": [],
    "example": [2],
    "900123": [2],
    "02/2026": [2],
    "zoe": [3],
    "ZOË": [3],
    "straße": [3],
    "\u05e9\u05dc\u05d5\u05dd": [3],
    "number east": [4],
    "north-east": [4],
    "unit_number": [4],
    '" OR 1=1 --': [],
    "se* NEAR(a)": [],
    "\U0001f600 ' \" & | ! ( ) : * \0": [],
    "": [],
}
"""Questions, and which of the texts they find."""


def test_cases_are_found_by_their_words(desk: Desk, now: datetime) -> None:
    _cases(desk, TEXTS, now)
    assert {question: _found(desk, question) for question in FOUND} == FOUND


def test_a_question_without_a_word_is_none(sqlite_desk: Desk) -> None:
    with sqlite_desk.reading() as session:
        assert search.matching(session, "?! \U0001f600") is None


def test_words_beyond_the_most_are_left_out(desk: Desk, now: datetime) -> None:
    _cases(desk, ["one " * 3], now)
    assert _found(desk, "one " * search.MOST_WORDS + "missing") == [1]
    assert _found(desk, "one " * (search.MOST_WORDS - 1) + "missing") == []


def test_a_case_of_a_million_different_words_is_indexed_as_far_as_it_goes(desk: Desk, now: datetime) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    hostile = " ".join("-".join(parts) for parts in product(letters, letters, letters, letters[:8]))
    longest = "x" * 3_000_000
    _cases(desk, ["first " + hostile, "second " + longest, "third \U00020000 " + "\u4e00" * 1_000_000], now)
    assert _found(desk, "first") == [1]
    assert _found(desk, "second") == [2]
    assert _found(desk, "third") == [3]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text(max_size=40))
def test_no_question_is_an_error(desk: Desk, question: str) -> None:
    _found(desk, question)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_text_is_found_by_its_own_words(text: str) -> None:
    assert search.words_of(text) == search.words_of(" ".join(search.words_of(text)))
