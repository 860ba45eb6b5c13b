from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from secondlook.errors import DeskError
from secondlook.review import record
from secondlook.review.database import Desk
from secondlook.review.record import Action
from secondlook.review.tables import Entry


def _fill(desk: Desk, entries: int = 5) -> list[str]:
    with desk.writing() as session:
        return [
            record.append(session, f"r-{number}", Action.CASE_SEEN, run="d" * 64, case_id=f"c{number}")
            for number in range(1, entries + 1)
        ]


def _tamper(desk: Desk, *statements: str) -> None:
    """Change what is stored as whoever owns the database could."""
    own = [f"DROP TRIGGER record_no_{verb}" for verb in ("update", "delete")]
    with desk.engine.begin() as connection:
        for statement in [*(own if desk.is_sqlite else ["SET LOCAL session_replication_role = replica"]), *statements]:
            connection.execute(text(statement))


def _first_break(desk: Desk, expected: str | None = None) -> record.Break | None:
    with desk.reading() as session:
        return record.first_break(session, expected)


def test_an_empty_record_holds(desk: Desk) -> None:
    assert _first_break(desk) is None
    assert _first_break(desk, record.BEGINNING) is None


def test_entries_hold_what_was_said_and_the_hash_before_them(desk: Desk) -> None:
    with desk.writing() as session:
        first = record.append(session, "a\0b", Action.EXPORTED, case_id="c\0", detail={"b": 1, "a": "\U0001f600"})
        second = record.append(session, record.SYSTEM, Action.FIGURES_SEEN)
    with desk.reading() as session:
        one, two = session.scalars(select(Entry).order_by(Entry.sequence)).all()
        assert record.head_of(session) == (2, second)
    assert (one.previous, two.previous) == (record.BEGINNING, first)
    assert (one.actor, one.case_id) == ("a\u2400b", "c\u2400")
    assert json.loads(one.detail) == {"a": "\U0001f600", "b": 1}
    assert one.detail.isascii()
    assert _first_break(desk) is None


def test_an_entry_is_gone_with_its_transaction(desk: Desk) -> None:
    _fill(desk)
    with pytest.raises(ZeroDivisionError), desk.writing() as session:
        record.append(session, "r-9", Action.EXPORTED)
        1 / 0  # noqa: B018
    with desk.reading() as session:
        assert record.head_of(session)[0] == 5
    assert _first_break(desk) is None


@pytest.mark.parametrize(
    "statement", ["UPDATE record SET actor = 'x'", "DELETE FROM record WHERE sequence = 5", "TRUNCATE record"]
)
def test_the_database_itself_refuses_to_change_the_record(desk: Desk, statement: str) -> None:
    if statement.startswith("TRUNCATE") and desk.is_sqlite:
        statement = "DELETE FROM record"  # which has no other way
    _fill(desk)
    with pytest.raises(DeskError, match="the record only grows"), desk.writing() as session:
        session.execute(text(statement))
    assert _first_break(desk) is None


@pytest.mark.parametrize(
    ("statements", "sequence", "what"),
    [
        (["UPDATE record SET actor = 'x' WHERE sequence = 3"], 3, "was changed"),
        (["UPDATE record SET detail = '{}' || ' ' WHERE sequence = 2"], 2, "was changed"),
        (["UPDATE record SET at = '2020' WHERE sequence = 1"], 1, "was changed"),
        (["UPDATE record SET run = NULL WHERE sequence = 4"], 4, "was changed"),
        (["UPDATE record SET case_id = 'c9' WHERE sequence = 5"], 5, "was changed"),
        (["DELETE FROM record WHERE sequence = 3"], 3, "is missing"),
        (["DELETE FROM record WHERE sequence = 1"], 1, "is missing"),
        (["DELETE FROM record WHERE sequence >= 4"], 4, "is missing: the record's end was cut off"),
        (["DELETE FROM record"], 1, "is missing: the record's end was cut off"),
        (["DELETE FROM record_head"], 6, "is missing"),
        (["UPDATE record_head SET sequence = 7"], 6, "is missing"),
    ],
)
def test_the_first_broken_link_is_named(desk: Desk, statements: list[str], sequence: int, what: str) -> None:
    _fill(desk)
    _tamper(desk, *statements)
    found = _first_break(desk)
    assert found is not None
    assert found.sequence == sequence
    assert what in found.what


def test_an_entry_with_a_hash_of_its_own_does_not_continue(desk: Desk) -> None:
    _fill(desk)
    with desk.reading() as session:
        entry = session.scalars(select(Entry).where(Entry.sequence == 3)).one()
        entry.actor = "x"
        forged = record.entry_hash(entry)
        session.expunge(entry)
    _tamper(desk, f"UPDATE record SET actor = 'x', hash = '{forged}' WHERE sequence = 3")
    assert _first_break(desk) == record.Break(4, "does not continue the one before it")


def test_a_hash_that_was_kept_elsewhere_finds_a_record_that_was_written_anew(desk: Desk) -> None:
    hashes = _fill(desk)
    assert _first_break(desk, hashes[2]) is None
    _tamper(
        desk,
        "DELETE FROM record WHERE sequence >= 4",
        f"UPDATE record_head SET sequence = 3, hash = '{hashes[2]}'",
    )
    assert _first_break(desk) is None  # cut off and made to fit: nothing in the database can tell
    found = _first_break(desk, hashes[4])
    assert found is not None
    assert "no entry has the hash that was expected" in found.what


def test_many_at_once_make_one_chain(desk: Desk) -> None:
    def append(number: int) -> None:
        with desk.writing() as session:
            record.append(session, f"r-{number}", Action.CASE_SEEN)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(40)))
    with desk.reading() as session:
        assert record.head_of(session)[0] == 40
    assert _first_break(desk) is None


def test_a_reader_sees_one_moment(desk: Desk) -> None:
    _fill(desk, 2)
    with desk.reading() as session:
        assert record.head_of(session)[0] == 2
        _fill(desk, 1)
        session.expire_all()
        assert record.head_of(session)[0] == 2
    with desk.reading() as session:
        assert record.head_of(session)[0] == 3


def test_together_depends_on_every_digest_and_their_order() -> None:
    one, two = "a" * 64, "b" * 64
    assert len({record.together(order) for order in ([one, two], [two, one], [one], [])}) == 4
