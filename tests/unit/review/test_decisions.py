from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from secondlook.config import ReviewConfig
from secondlook.errors import ConflictError, DeskError, RefusedError
from secondlook.review.decisions import (
    LONGEST_NOTE,
    LONGEST_REASON,
    MarkView,
    ReviewState,
    decide,
    finish,
    mark,
    note,
    release,
    reopen,
    undo,
    unmark,
)
from secondlook.review.record import Action, first_break
from secondlook.review.tables import Entry, Mark, Role, Run, Status, Verdict

Workplace = Any
P, U = "prompted", "unprompted"
CONFIRM, REJECT, UNSURE = Verdict.CONFIRM, Verdict.REJECT, Verdict.UNSURE


@pytest.fixture
def ann(sqlite_work: Workplace) -> Workplace:
    """Ann has opened a case."""
    sqlite_work.add("one", narrative="\U0001f600 He was told. \r\n Then he rang.")
    sqlite_work.hire("ann")
    sqlite_work.open("ann", "one")
    return sqlite_work


def told(state: ReviewState) -> tuple[object, ...]:
    return dict(state.decisions), [(m.mode, m.start, m.end) for m in state.marks], state.note


def entries(work: Workplace, action: Action) -> list[dict[str, Any]]:
    with work.desk.reading() as session:
        found = session.scalars(select(Entry).where(Entry.action == action).order_by(Entry.sequence))
        return [json.loads(entry.detail) for entry in found]


def test_a_decision_is_kept_changed_and_taken_back(work: Workplace) -> None:
    work.add("one")
    work.hire("ann")
    opened = work.open("ann", "one").review
    first = work.act(decide, "ann", "one", "leak", CONFIRM, "he knew her name")
    assert first.decisions == {"leak": (CONFIRM, "he knew her name")}
    assert first.version == opened.version + 1
    assert work.act(decide, "ann", "one", "leak", UNSURE, "").decisions == {"leak": (UNSURE, "")}
    assert work.act(decide, "ann", "one", "leak", None, "").decisions == {}
    assert work.open("ann", "one").review.decisions == {}


def test_deciding_the_same_again_changes_nothing(ann: Workplace) -> None:
    first = ann.act(decide, "ann", "one", "leak", CONFIRM, "as before")
    assert ann.act(decide, "ann", "one", "leak", CONFIRM, "as before") == first
    assert len(entries(ann, Action.DECIDED)) == 1


@pytest.mark.parametrize(
    "action",
    [
        lambda work, version: work.act(decide, "ann", "one", "leak", REJECT, "", version=version),
        lambda work, version: work.act(mark, "ann", "one", "leak", 2, 4, version=version),
        lambda work, version: work.act(unmark, "ann", "one", 1, version=version),
        lambda work, version: work.act(note, "ann", "one", "late", version=version),
        lambda work, version: work.act(undo, "ann", "one", version=version),
        lambda work, version: work.act(finish, "ann", "one", version=version),
        lambda work, version: work.act(release, "ann", "one", version=version),
        lambda work, version: work.act(reopen, "ann", "one", version=version),
    ],
)
def test_whoever_saw_an_older_version_overwrites_nothing(ann: Workplace, action: Any) -> None:
    seen = ann.open("ann", "one").review.version
    ann.act(mark, "ann", "one", "leak", 5, 8)
    now = ann.act(decide, "ann", "one", "leak", CONFIRM, "")
    with pytest.raises(ConflictError, match="case one: your review was changed in another window; nothing of this was"):
        action(ann, seen)
    assert ann.open("ann", "one").review == now


def test_of_two_windows_that_save_at_once_one_is_told_of_the_other(work: Workplace) -> None:
    work.add("one")
    work.hire("ann")
    version = work.open("ann", "one").review.version

    def save(number: int) -> bool:
        try:
            work.act(note, "ann", "one", f"from window {number}", version=version)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(5) as pool:
        saved = list(pool.map(save, range(5)))
    assert sorted(saved) == [False] * 4 + [True]
    assert work.open("ann", "one").review.note == f"from window {saved.index(True)}"
    assert len(entries(work, Action.NOTED)) == 1
    with work.desk.reading() as session:
        assert first_break(session) is None


def test_a_mark_is_the_text_that_was_selected(ann: Workplace) -> None:
    text = ann.open("ann", "one").narrative
    start = text.index("Then")
    (made,) = ann.act(mark, "ann", "one", "check", start, start + 4).marks
    assert text[made.start : made.end] == "Then"
    assert made == MarkView(made.id, "check", start, start + 4)
    assert ann.act(unmark, "ann", "one", made.id).marks == ()


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (-1, 3, "outside the narrative"),
        (3, 3, "outside the narrative"),
        (5, 2, "outside the narrative"),
        (0, 33, "outside the narrative"),
        (1 << 70, 1 << 71, "outside the narrative"),
        (14, 18, "only white space"),
    ],
)
def test_a_mark_that_is_no_passage_is_refused(ann: Workplace, start: int, end: int, why: str) -> None:
    assert len(ann.open("ann", "one").narrative) == 31
    with pytest.raises(DeskError, match=why):
        ann.act(mark, "ann", "one", "leak", start, end)


def test_a_passage_is_marked_once_for_a_mode(ann: Workplace) -> None:
    ann.act(mark, "ann", "one", "leak", 2, 4)
    with pytest.raises(DeskError, match="marked for 'leak' already"):
        ann.act(mark, "ann", "one", "leak", 2, 4)
    assert len(ann.act(mark, "ann", "one", "check", 2, 4).marks) == 2


@pytest.mark.parametrize("mark_id", [0, 99, 1 << 80])
def test_a_mark_that_is_not_there_cannot_be_taken_away(ann: Workplace, mark_id: int) -> None:
    with pytest.raises(DeskError, match="your review has no such mark"):
        ann.act(unmark, "ann", "one", mark_id)


def test_a_mark_of_somebody_else_cannot_be_taken_away(ann: Workplace) -> None:
    ann.add("two")
    ann.hire("ben")
    ann.open("ben", "two")
    (theirs,) = ann.act(mark, "ben", "two", "leak", 0, 2).marks
    with pytest.raises(DeskError, match="your review has no such mark"):
        ann.act(unmark, "ann", "one", theirs.id)
    assert ann.open("ben", "two").review.marks == (theirs,)


odd_text = st.text(
    st.sampled_from("a \r\n\t\U0001f600\U0001f469\u200d\u0301\u05e9\u05dc\u202e\u2066\0\u2028"), min_size=1
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=odd_text, data=st.data())
def test_any_span_of_any_text_is_stored_as_it_was_selected(sqlite_work: Workplace, text: str, data: Any) -> None:
    work = sqlite_work
    if not work.people:
        work.hire("ann")
    name = f"case {len(work.keys)}"
    work.add(name, narrative=text)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    assert work.open("ann", name).narrative == text
    if text[start:end].isspace():
        with pytest.raises(DeskError, match="only white space"):
            work.act(mark, "ann", name, "leak", start, end)
        return
    work.act(mark, "ann", name, "leak", start, end)
    again = work.open("ann", name)
    (kept,) = again.review.marks
    assert again.narrative[kept.start : kept.end] == text[start:end]


def test_a_note_is_kept_to_the_last_character(work: Workplace) -> None:
    work.add("one")
    work.hire("ann")
    work.open("ann", "one")
    text = "\U0001f600 \u05e9\u05dc\u05d5\u05dd \u202e\r\n <b>'; DROP TABLE reviews; --"
    work.act(note, "ann", "one", text)
    assert work.open("ann", "one").review.note == text


@pytest.mark.parametrize("bad", ["a\0b", "half \ud83d of a pair", "\udc00"])
def test_what_cannot_be_stored_is_refused(ann: Workplace, bad: str) -> None:
    with pytest.raises(DeskError, match="the note: holds a character that cannot be stored"):
        ann.act(note, "ann", "one", bad)
    with pytest.raises(DeskError, match="the reason: holds a character that cannot be stored"):
        ann.act(decide, "ann", "one", "leak", CONFIRM, bad)


def test_reasons_and_notes_have_a_limit(ann: Workplace) -> None:
    ann.act(note, "ann", "one", "x" * LONGEST_NOTE)
    ann.act(decide, "ann", "one", "leak", CONFIRM, "x" * LONGEST_REASON)
    with pytest.raises(DeskError, match="20,001 characters, and 20,000 is the most"):
        ann.act(note, "ann", "one", "x" * (LONGEST_NOTE + 1))
    with pytest.raises(DeskError, match="2,001 characters, and 2,000 is the most"):
        ann.act(decide, "ann", "one", "leak", REJECT, "x" * (LONGEST_REASON + 1))


def test_an_unknown_mode_is_named_with_what_may_be_meant(ann: Workplace) -> None:
    with pytest.raises(DeskError, match=r"there is no mode 'leek' \(did you mean 'leak'\?\)"):
        ann.act(decide, "ann", "one", "leek", CONFIRM, "")
    with pytest.raises(DeskError, match="there is no mode") as raised:
        ann.act(mark, "ann", "one", "\ud800", 2, 4)
    str(raised.value).encode()


def test_every_step_is_undone_one_by_one(ann: Workplace) -> None:
    states = [ann.open("ann", "one").review]

    def did(action: Any, *given: Any) -> None:
        states.append(ann.act(action, "ann", "one", *given))

    did(decide, "leak", CONFIRM, "first")
    did(mark, "check", 2, 4)
    did(note, "a note")
    did(unmark, states[-1].marks[0].id)
    did(decide, "leak", REJECT, "second")
    did(mark, "leak", 5, 8)
    did(note, "")
    did(decide, "leak", None, "")
    expected = [told(state) for state in states]
    back = []
    while ann.open("ann", "one").review.can_undo:
        back.append(told(ann.act(undo, "ann", "one")))
    assert back == expected[-2::-1]
    with pytest.raises(DeskError, match="there is nothing to undo"):
        ann.act(undo, "ann", "one")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("decide"), st.sampled_from(["leak", "check"]), st.sampled_from([*Verdict, None])),
        st.tuples(st.just("mark"), st.sampled_from(["leak", "check"]), st.integers(2, 8)),
        st.tuples(st.just("unmark"), st.integers(0, 3)),
        st.tuples(st.just("note"), st.sampled_from(["", "a", "b"])),
        st.tuples(st.just("undo")),
    ),
    max_size=12,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_undo_is_exact_whatever_was_done(sqlite_work: Workplace, steps: list[tuple[Any, ...]]) -> None:
    """A model of the desk: a list of states, of which undo takes the last away."""
    work = sqlite_work
    if not work.people:
        work.hire("ann")
    name = f"case {len(work.keys)}"
    work.add(name)
    state = work.open("ann", name).review
    history = [told(state)]
    for what, *how in steps:
        try:
            if what == "decide":
                state = work.act(decide, "ann", name, *how, "why" if how[1] else "")
            elif what == "mark":
                state = work.act(mark, "ann", name, how[0], 0, how[1])
            elif what == "unmark":
                state = work.act(unmark, "ann", name, state.marks[how[0]].id if how[0] < len(state.marks) else 0)
            elif what == "note":
                state = work.act(note, "ann", name, *how)
            else:
                state = work.act(undo, "ann", name)
                history.pop()
                assert told(state) == history[-1]
                continue
        except DeskError:
            continue
        if told(state) != history[-1]:
            history.append(told(state))
    assert state.can_undo == (len(history) > 1)


def test_a_prompted_review_needs_a_verdict_on_every_flagged_mode(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("one", flags=("leak", "check"))
    work.hire("ann")
    work.open("ann", "one")
    with pytest.raises(DeskError, match="case one: still to decide: leak, check"):
        work.act(finish, "ann", "one")
    work.act(decide, "ann", "one", "leak", UNSURE, "")
    with pytest.raises(DeskError, match="still to decide: check"):
        work.act(finish, "ann", "one")
    work.act(decide, "ann", "one", "check", REJECT, "")
    assert work.act(finish, "ann", "one").finished
    assert work.case("one").status == Status.FINISHED


def test_an_unprompted_review_needs_a_verdict_on_every_mode(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", U, P)
    work.hire("ann")
    work.open("ann", "twice")
    work.act(decide, "ann", "twice", "leak", CONFIRM, "")
    with pytest.raises(DeskError, match="still to decide: check"):
        work.act(finish, "ann", "twice")


def test_an_adjudicator_decides_on_what_is_in_dispute_alone(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", P, P, flags=("leak", "check"))
    for name, role in (("ann", Role.REVIEWER), ("ben", Role.REVIEWER), ("cat", Role.ADJUDICATOR)):
        work.hire(name, role)
    work.finish("ann", "twice", leak="confirm", check="confirm")
    work.finish("ben", "twice", leak="confirm", check="unsure")
    work.open("cat", "twice")
    with pytest.raises(DeskError, match="'leak' is not in dispute; to decide are: check"):
        work.act(decide, "cat", "twice", "leak", REJECT, "")
    with pytest.raises(DeskError, match="still to decide: check"):
        work.act(finish, "cat", "twice")
    work.act(decide, "cat", "twice", "check", CONFIRM, "")
    work.act(finish, "cat", "twice")
    assert work.case("twice").status == Status.SETTLED
    work.act(reopen, "cat", "twice")
    assert work.case("twice").status == Status.DISPUTED


def test_a_finished_review_is_changed_only_once_it_is_reopened(ann: Workplace) -> None:
    ann.act(mark, "ann", "one", "leak", 2, 4)
    ann.finish("ann", "one", leak="confirm")
    with pytest.raises(DeskError, match="is finished; reopen it to change it"):
        ann.act(note, "ann", "one", "more")
    assert not ann.open("ann", "one").review.can_undo
    assert ann.open("ann", "one").can_reopen
    state = ann.act(reopen, "ann", "one")
    assert (state.finished, ann.case("one").status) == (False, Status.TAKEN)
    assert ann.act(undo, "ann", "one").decisions == {}
    with pytest.raises(DeskError, match="is not finished"):
        ann.act(reopen, "ann", "one")


@pytest.mark.parametrize("second", ["confirm", "reject"])
def test_a_review_that_was_compared_with_another_stays_as_it_is(sqlite_work: Workplace, second: str) -> None:
    work = sqlite_work
    work.add("twice", U, P)
    work.hire("ann")
    work.hire("ben")
    work.finish("ann", "twice", leak="confirm", check="reject")
    work.act(reopen, "ann", "twice")
    work.act(finish, "ann", "twice")
    work.finish("ben", "twice", leak=second)
    assert not work.open("ann", "twice").can_reopen
    with pytest.raises(RefusedError, match="cannot be reopened"):
        work.act(reopen, "ann", "twice")


def test_time_is_counted_from_action_to_action_but_no_long_pause(ann: Workplace) -> None:
    ann.now += timedelta(hours=5)
    ann.open("ann", "one")  # opening begins anew
    ann.now += timedelta(seconds=20)
    assert ann.act(decide, "ann", "one", "leak", CONFIRM, "").seconds == 20
    ann.now += timedelta(minutes=40)
    assert ann.act(note, "ann", "one", "back").seconds == 20 + ann.config.longest_pause_seconds
    ann.now -= timedelta(minutes=1)  # a clock that was set back takes no time away
    assert ann.act(note, "ann", "one", "again").seconds == 20 + ann.config.longest_pause_seconds


def test_the_time_between_finishing_and_reopening_is_not_counted(ann: Workplace) -> None:
    before = ann.finish("ann", "one", leak="confirm").seconds
    ann.now += timedelta(seconds=100)
    assert ann.act(reopen, "ann", "one").seconds == before


def test_every_action_is_in_the_record_with_what_was_shown_and_no_text_of_the_note(work: Workplace) -> None:
    work.add("one", narrative="The narrative itself.")
    work.hire("ann")
    work.open("ann", "one")
    work.act(decide, "ann", "one", "leak", CONFIRM, "for this reason")
    (made,) = work.act(mark, "ann", "one", "leak", 4, 13).marks
    work.act(unmark, "ann", "one", made.id)
    work.act(note, "ann", "one", "a private note")
    work.act(undo, "ann", "one")
    work.act(finish, "ann", "one")
    work.act(reopen, "ann", "one")
    last = work.act(release, "ann", "one")
    assert last.version == 9
    (decided,) = entries(work, Action.DECIDED)
    assert {name: decided[name] for name in ("mode", "verdict", "reason", "version", "kind", "arm")} == {
        "mode": "leak",
        "verdict": "confirm",
        "reason": "for this reason",
        "version": 2,
        "kind": "single",
        "arm": "prompted",
    }
    (noted,) = entries(work, Action.NOTED)
    assert (noted["length"], noted["sha256"]) == (14, sha256(b"a private note").hexdigest())
    (undone,) = entries(work, Action.UNDONE)
    assert (undone["what"], undone["length"]) == ("noted", 0)
    assert [len(entries(work, a)) for a in (Action.MARKED, Action.UNMARKED, Action.FINISHED, Action.REOPENED)] == [
        1
    ] * 4
    with work.desk.reading() as session:
        everything = " ".join(session.scalars(select(Entry.detail)))
        assert "private" not in everything
        assert "narrative" not in everything.lower()
        assert set(session.scalars(select(Entry.run))) == {session.scalars(select(Run.digest)).one()}
        assert first_break(session) is None


def test_an_action_that_fails_leaves_neither_change_nor_entry(ann: Workplace) -> None:
    with pytest.raises(ZeroDivisionError), ann.desk.writing() as session:
        state = mark(session, ann.people["ann"], ann.keys["one"], "leak", 2, 4, 1, ann.config, ann.now)
        state.version / 0
    assert entries(ann, Action.MARKED) == []
    with ann.desk.reading() as session:
        assert session.scalars(select(Mark)).all() == []


def test_a_review_can_be_given_back_and_gone_on_with(ann: Workplace) -> None:
    ann.act(note, "ann", "one", "so far")
    ann.act(release, "ann", "one")
    assert ann.case("one").status == Status.OPEN
    with pytest.raises(RefusedError, match="you no longer have this case; open it again to go on"):
        ann.act(note, "ann", "one", "more")
    assert ann.open("ann", "one").review.note == "so far"


def test_a_run_from_intake_is_worked_through_to_the_end(added: Run, desk: Any, now: datetime, make_user: Any) -> None:
    """What intake makes is what these work on."""
    from secondlook.review.accounts import Person
    from secondlook.review.casefile import open_case
    from secondlook.review.queue import Filters, Order, next_case, progress

    config, seen = ReviewConfig(), []
    with desk.writing() as session:
        user = make_user(session, "ann", Role.REVIEWER, added)
    ann = Person(user.id, "ann", user.pseudonym, Role.REVIEWER, frozenset([added.id]))
    while True:
        with desk.writing() as session:
            key = next_case(session, ann, added.id, Filters(), Order.RANK, config, now)
            if key is None:
                break
            file = open_case(session, ann, key, config, now)
            seen.append(file.rank)
            state = file.review
            assert state is not None
            for mode in file.to_decide:
                state = decide(session, ann, key, mode, REJECT, "", state.version, config, now)
            finish(session, ann, key, state.version, config, now)
    assert seen == sorted(seen)
    with desk.reading() as session:
        done = progress(session, ann, added.id, now)
    assert (done.total, done.finished, done.left, done.mine_today) == (12, 12, 0, 12)
