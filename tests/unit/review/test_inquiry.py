from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from secondlook.bundle import Bundle
from secondlook.cli import app
from secondlook.config import ReviewConfig
from secondlook.errors import MissingError
from secondlook.review import casefile, decisions
from secondlook.review.accounts import Person, person
from secondlook.review.database import Desk
from secondlook.review.inquiry import History, Verification, history, on_that_day, verify
from secondlook.review.intake import add_run
from secondlook.review.tables import CaseRow, Review, Role, Run, User, Verdict

MakeUser = Callable[..., User]
CONFIG = ReviewConfig(double_share=0.0)


def _verify(desk: Desk, expected: str | None = None) -> Verification:
    with desk.reading() as session:
        return verify(session, expected)


def _history(desk: Desk, case_id: str) -> History:
    with desk.reading() as session:
        return history(session, case_id)


def _tamper(desk: Desk, *statements: str) -> None:
    """Change what is stored as whoever owns the database could."""
    own = [f"DROP TRIGGER record_no_{verb}" for verb in ("update", "delete")]
    with desk.engine.begin() as connection:
        for statement in [*(own if desk.is_sqlite else ["SET LOCAL session_replication_role = replica"]), *statements]:
            connection.execute(text(statement))


@pytest.fixture
def reviewer(desk: Desk, added: Run, make_user: MakeUser) -> Person:
    with desk.writing() as session:
        return person(session, make_user(session, "ann", Role.REVIEWER, added).id)


@pytest.fixture
def reviewed(desk: Desk, reviewer: Person, now: datetime) -> int:
    """A case that somebody opened, decided, marked, noted, undid and finished; its key."""
    with desk.reading() as session:
        key = session.scalars(select(CaseRow.id).where(CaseRow.case_id == "both")).one()
    with desk.writing() as session:
        file = casefile.open_case(session, reviewer, key, CONFIG, now)
        assert file.review is not None
        state = file.review

    def step(change: Callable[..., decisions.ReviewState], *said: object) -> None:
        nonlocal state
        with desk.writing() as session:
            state = change(session, reviewer, key, *said, state.version, CONFIG, now)

    step(decisions.decide, "told_suspect", Verdict.REJECT, "")
    step(decisions.decide, "told_suspect", Verdict.CONFIRM, "the clerk says so")
    step(decisions.decide, "nobody_went", Verdict.UNSURE, "unclear")
    step(decisions.mark, "nobody_went", 4, 12)
    step(decisions.mark, "told_suspect", 20, 30)
    step(decisions.unmark, state.marks[0].id)
    step(decisions.undo)
    step(decisions.note, "look again")
    step(decisions.note, "look again at the clerk")
    step(decisions.undo)
    step(decisions.finish)
    return key


def test_a_desk_that_was_not_tampered_with_holds(desk: Desk, reviewed: int, added: Run) -> None:
    found = _verify(desk)
    assert found.problems == []
    assert (found.runs, found.cases, found.reviews) == (1, 14, 1)
    assert found.entries > 10
    assert _verify(desk, found.head).problems == []


def test_a_review_that_was_released_and_taken_again_holds(
    desk: Desk, reviewer: Person, added: Run, now: datetime
) -> None:
    with desk.writing() as session:
        key = session.scalars(select(CaseRow.id).where(CaseRow.case_id == "told-2")).one()
        state = casefile.open_case(session, reviewer, key, CONFIG, now).review
        assert state is not None
        state = decisions.decide(
            session, reviewer, key, "told_suspect", Verdict.CONFIRM, "", state.version, CONFIG, now
        )
        decisions.release(session, reviewer, key, state.version, CONFIG, now)
    assert _verify(desk).problems == []
    with desk.writing() as session:
        casefile.open_case(session, reviewer, key, CONFIG, now + timedelta(hours=1))
    assert _verify(desk).problems == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE scores SET score = 0.01 WHERE case_id = {key}", "case 'both': its text, scores or place"),
        ("UPDATE cases SET narrative = 'x' WHERE id = {key}", "case 'both': its text, scores or place"),
        ("UPDATE cases SET details = '[' WHERE id = {key}", "case 'both': its text, scores or place"),
        ("UPDATE cases SET digest = 'x' WHERE id = {key}", "case 'both': its text, scores or place"),
        ("UPDATE runs SET thresholds = '{{}}'", "run 'run': its row is not what the record says"),
        ("UPDATE runs SET cases_digest = 'x'", "run 'run': its row is not what the record says"),
        ("UPDATE runs SET digest = 'x'", "the record does not say that it was added"),
        ("UPDATE decisions SET verdict = 'confirm'", "case 'both': the review by r-ann is not what"),
        ("UPDATE decisions SET reason = ''", "case 'both': the review by r-ann is not what"),
        ("DELETE FROM decisions WHERE mode = 'nobody_went'", "case 'both': the review by r-ann is not what"),
        ('UPDATE marks SET "end" = 13', "case 'both': the review by r-ann is not what"),
        ("UPDATE reviews SET note = 'x'", "case 'both': the review by r-ann is not what"),
        ("UPDATE reviews SET finished_at = NULL", "case 'both': the review by r-ann is not what"),
        ("UPDATE reviews SET arm = 'unprompted'", "case 'both': the review by r-ann is not what"),
        ("UPDATE reviews SET kind = 'adjudication'", "case 'both': the review by r-ann is not what"),
        ("UPDATE cases SET status = 'settled' WHERE id = {key}", "case 'both': its status is not what its reviews say"),
        ("UPDATE cases SET status = 'finished'", "case 'told-2': its status is not what its reviews say"),
        ("UPDATE record SET detail = '{{}}' WHERE sequence = 3", "record, entry 3: was changed"),
        ("DELETE FROM record WHERE sequence > 5", "record, entry 6: is missing: the record's end was cut off"),
    ],
)
def test_what_was_tampered_with_is_named(desk: Desk, reviewed: int, statement: str, said: str) -> None:
    if "'['" in statement and not desk.is_sqlite:
        statement = statement.replace("'['", "'[]'")  # PostgreSQL stores valid JSON only
    _tamper(desk, statement.format(key=reviewed))
    found = _verify(desk)
    assert said in "\n".join(found.problems)
    assert "secondlook review restore" in found.problems[0]


def test_a_case_that_was_taken_away_is_missed(desk: Desk, added: Run) -> None:
    with desk.reading() as session:
        key = session.scalars(select(CaseRow.id).where(CaseRow.case_id == "plain-4")).one()
    tables = ["scores", "evidence", "fields", *([] if desk.is_sqlite else ["case_text"])]
    _tamper(
        desk, *(f"DELETE FROM {table} WHERE case_id = {key}" for table in tables), f"DELETE FROM cases WHERE id = {key}"
    )
    assert "its cases are not those that were added" in "\n".join(_verify(desk).problems)


def test_a_review_that_was_taken_away_is_missed(desk: Desk, reviewed: int) -> None:
    _tamper(desk, *(f"DELETE FROM {table}" for table in ("decisions", "marks", "steps", "reviews")))
    assert "the review by r-ann is not what the record says" in "\n".join(_verify(desk).problems)


def test_a_record_that_was_made_to_fit_is_found_by_a_hash_kept_elsewhere(desk: Desk, reviewed: int) -> None:
    kept = _verify(desk).head
    with desk.reading() as session:
        fifth = session.execute(text("SELECT hash FROM record WHERE sequence = 5")).scalar_one()
    _tamper(
        desk,
        "DELETE FROM record WHERE sequence > 5",
        f"UPDATE record_head SET sequence = 5, hash = '{fifth}'",
        *(f"DELETE FROM {table}" for table in ("decisions", "marks", "steps")),
    )
    assert "no entry has the hash that was expected" in _verify(desk, kept).problems[0]


def test_a_case_knows_who_saw_it_and_what_was_decided(desk: Desk, reviewed: int, now: datetime) -> None:
    found = _history(desk, "both")
    assert [(event.actor, event.what) for event in found.seen] == [("r-ann", "the model's word was shown")]
    assert [(event.action, event.what) for event in found.work] == [
        ("decided", "told_suspect: reject"),
        ("decided", "told_suspect: confirm (the clerk says so)"),
        ("decided", "nobody_went: unsure (unclear)"),
        ("marked", "nobody_went, characters 4 to 12"),
        ("marked", "told_suspect, characters 20 to 30"),
        ("unmarked", "nobody_went, characters 4 to 12"),
        ("undone", "unmarked, so that again: 2 passages marked"),
        ("noted", "a note of 10 characters"),
        ("noted", "a note of 23 characters"),
        ("undone", "noted, so that again: a note of 10 characters"),
        ("finished", "finished"),
    ]


def test_a_redacted_history_keeps_what_was_decided_and_no_personal_data(
    desk: Desk, reviewed: int, reviewer: Person, now: datetime
) -> None:
    with desk.writing() as session:
        case = session.get_one(CaseRow, reviewed)
        case.details = {"clerk": "Mary Penrose"}
        state = decisions.reopen(session, reviewer, reviewed, _version(session, reviewed), CONFIG, now)
        why = "Penrose rang him on 020 7946 0123"
        decisions.decide(session, reviewer, reviewed, "nobody_went", Verdict.REJECT, why, state.version, CONFIG, now)
    with desk.reading() as session:
        found = history(session, "both", ReviewConfig(party_columns=("clerk",)))
    assert found.case_id == "[CASE]"
    assert found.work[-1].what == "nobody_went: reject ([PERSON 1] rang him on [PHONE 1])"
    assert [event.action for event in found.work] == [event.action for event in _history(desk, "both").work]


def _version(session: Session, case: int) -> int:
    return session.scalars(select(Review.version).where(Review.case_id == case)).one()


def test_why_a_case_was_not_flagged_on_a_day_is_answered(
    desk: Desk, added: Run, run_folder: Path, bundle: Bundle, now: datetime
) -> None:
    found = _history(desk, "plain-1")
    day = now.date()
    why = on_that_day(found, day)
    score = {said.mode: said.score for said in found.told[0].said}
    assert len(why) == 2
    assert (
        f"'told suspect' was not flagged: its score {score['told_suspect']:.3f} lay below the operating point" in why[0]
    )
    assert "Run 'run' of 2026-03-02, bundle 'tiny'" in why[0]
    assert on_that_day(found, day - timedelta(days=1)) == [
        "No run that was on the desk on 2026-03-01 has case 'plain-1'; the first that does, 'run', was added on 2026-03-02."
    ]
    flagged = on_that_day(_history(desk, "told-2"), day)
    assert "'told suspect' was flagged: its score" in flagged[0]
    assert "reached the operating point" in flagged[0]


def test_without_a_bundle_the_answer_says_what_is_not_known(desk: Desk, run_folder: Path, now: datetime) -> None:
    add_run(desk, run_folder, None, CONFIG, now)
    why = on_that_day(_history(desk, "plain-1"), date(2030, 1, 1))
    assert "the operating point is not known" in why[0]


def test_a_copy_says_with_what_it_is_read(desk: Desk, added: Run, now: datetime) -> None:
    assert "it was read with case 'told-1'" in on_that_day(_history(desk, "copy-1"), now.date())[-1]


def test_a_case_that_nobody_knows_is_said_to_be_missing(desk: Desk, added: Run) -> None:
    with pytest.raises(MissingError, match="case 'nobody': no run on this desk has it"):
        _history(desk, "nobody")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["review", *map(str, arguments)], catch_exceptions=True)


def test_the_audit_is_a_command(desk: Desk, desk_place: Path | str, reviewed: int) -> None:
    done = _run("audit", "--desk", desk_place)
    assert done.exit_code == 0, done.output
    assert "1 run, 14 cases, 1 review: all as recorded" in done.output
    head = _verify(desk).head
    assert head in done.output
    assert _run("audit", "--desk", desk_place, "--expect", head).exit_code == 0
    assert _run("audit", "--desk", desk_place, "--expect", "0" * 63 + "1").exit_code == 1
    _tamper(desk, "UPDATE decisions SET verdict = 'reject'")
    done = _run("audit", "--desk", desk_place)
    assert done.exit_code == 1
    assert "case 'both': the review by r-ann is not what the record says" in done.output
    assert "is not what it was" in done.output


def test_the_audit_tells_a_case(desk: Desk, desk_place: Path | str, reviewed: int) -> None:
    done = _run("audit", "--desk", desk_place, "--case", "both", "--on", "2026-03-05")
    assert done.exit_code == 0, done.output
    assert "'told suspect' was flagged: its score" in done.output
    assert "r-ann  case seen  (run): the model's word was shown" in done.output
    assert "r-ann  decided  (run): told_suspect: confirm (the clerk says so)" in done.output
    assert "The clerk told him everything" not in done.output  # no narrative


def test_a_day_without_a_case_is_no_question(sqlite_desk: Desk, sqlite_desk_path: Path) -> None:
    done = _run("audit", "--desk", sqlite_desk_path, "--on", "2026-03-05")
    assert "ask about one case" in str(done.exception)
