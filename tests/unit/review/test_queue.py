from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from secondlook.errors import MissingError, RefusedError
from secondlook.review import queue
from secondlook.review.accounts import Person
from secondlook.review.decisions import decide, finish, note, release
from secondlook.review.queue import Facets, Filters, Order, Progress, facets, next_case, progress, queue_page
from secondlook.review.tables import Role, Run, Status, Verdict

Workplace = Any
P, U = "prompted", "unprompted"


def page(work: Workplace, name: str, number: int = 1, size: int = 50, **filters: Any) -> queue.QueuePage:
    with work.desk.reading() as session:
        return queue_page(session, work.people[name], work.run_id, Filters(**filters), number, size)


def found(work: Workplace, name: str, **filters: Any) -> list[str]:
    return [line.case_id for line in page(work, name, **filters).lines]


def following(work: Workplace, name: str, order: Order = Order.RANK, **filters: Any) -> str | None:
    with work.desk.reading() as session:
        args = work.run_id, Filters(**filters), order, work.config, work.now
        key = next_case(session, work.people[name], *args)
    return next((case_id for case_id, known in work.keys.items() if known == key), None)


# --- Pages --------------------------------------------------------------------------------------------------------


def test_the_queue_comes_a_page_at_a_time_by_rank(work: Workplace) -> None:
    for number in range(1, 8):
        work.add(f"c{number}")
    work.hire("ann")
    first = page(work, "ann", 1, 3)
    assert ([line.rank for line in first.lines], first.total, first.page, first.pages) == ([1, 2, 3], 7, 1, 3)
    assert [line.rank for line in page(work, "ann", 3, 3).lines] == [7]
    beyond = page(work, "ann", 10**18, 3)
    assert ([line.rank for line in beyond.lines], beyond.page, beyond.total) == ([7], 3, 7)
    assert page(work, "ann", -4, 3).page == 1


def test_an_empty_queue_has_one_empty_page(sqlite_work: Workplace) -> None:
    sqlite_work.hire("ann")
    empty = page(sqlite_work, "ann", 5)
    assert (empty.lines, empty.total, empty.page, empty.pages, empty.more) == ([], 0, 1, 1, False)


def test_a_line_says_what_is_flagged_who_has_it_and_how_many_copies_come_with_it(sqlite_work: Workplace) -> None:
    work = sqlite_work
    received = datetime(2026, 1, 5, 8, tzinfo=UTC)
    first = work.add("first", flags=("leak", "check"), copies=1, received=received, drawn_for_audit=True)
    work.add("copy", original_id=first)
    work.hire("ann")
    work.hire("ben")
    work.open("ben", "first")
    (line,) = page(work, "ann").lines
    assert line == queue.Line(
        id=first, case_id="first", rank=1, priority=1.0, explanation="high", received=received,
        flags=[("check", 0.9), ("leak", 0.9)], status=Status.TAKEN, copies=1, drawn_for_audit=True,
        reviewers=["r-ben"], blind=False,
    )  # fmt: skip


def test_filters_find_what_they_ask_for(work: Workplace) -> None:
    day = datetime(2026, 1, 10, tzinfo=UTC)
    work.add("a", narrative="The sergeant rang him", received=day, fields={"unit": "north", "officer": "PC 1"})
    work.add("b", flags=("check",), received=day + timedelta(hours=23, minutes=59), fields={"unit": "south"})
    work.add("c", flags=(), received=day + timedelta(days=1), drawn_for_audit=True, fields={"unit": "north"})
    work.add("d", flags=("leak", "check"), fields={"unit": "north", "officer": "PC 2"})
    work.hire("ann")
    work.hire("ben")
    work.open("ann", "a")
    work.finish("ben", "b", check="reject")
    expected: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["a", "b", "c", "d"]),
        ({"mode": "leak"}, ["a", "d"]),
        ({"mode": "check"}, ["b", "d"]),
        ({"mode": "neither"}, []),
        ({"status": Status.OPEN}, ["c", "d"]),
        ({"status": Status.FINISHED}, ["b"]),
        ({"mode": "leak", "status": Status.OPEN}, ["d"]),
        ({"reviewer": "r-ann"}, ["a"]),
        ({"reviewer": "r-ben", "status": Status.OPEN}, []),
        ({"reviewer": "nobody"}, []),
        ({"since": date(2026, 1, 10), "until": date(2026, 1, 10)}, ["a", "b"]),
        ({"since": date(2026, 1, 11)}, ["c"]),
        ({"until": date.max}, ["a", "b", "c"]),
        ({"fields": (("unit", "north"),)}, ["a", "c", "d"]),
        ({"fields": (("unit", "north"), ("officer", "PC 2"))}, ["d"]),
        ({"fields": (("unit", "west"),)}, []),
        ({"fields": (("unit", "north"),), "mode": "leak", "status": Status.TAKEN}, ["a"]),
        ({"audit": True}, ["c"]),
        ({"text": "sergeant"}, ["a"]),
        ({"text": "told", "mode": "check"}, ["b", "d"]),
        ({"text": "told", "fields": (("unit", "north"),)}, ["c", "d"]),
        ({"text": "nowhere"}, []),
        ({"text": " c "}, ["c"]),
        ({"text": "c", "mode": "leak"}, []),
        ({"text": "?!"}, ["a", "b", "c", "d"]),
    ]
    for filters, case_ids in expected:
        result = page(work, "ann", **filters)
        assert ([line.case_id for line in result.lines], result.total) == (case_ids, len(case_ids)), filters


@pytest.mark.parametrize("odd", ["\ud800", "a\0b", "'; DROP TABLE cases; --", "%", "\u202e", "x" * 5000, '"', "*"])
def test_odd_questions_find_nothing_and_break_nothing(work: Workplace, odd: str) -> None:
    work.add("a", fields={"unit": "north"})
    work.hire("ann")
    for filters in ({"mode": odd}, {"reviewer": odd}, {"fields": ((odd, odd),)}, {"fields": (("unit", odd),)}):
        assert found(work, "ann", **filters) == []
    assert page(work, "ann", text=odd).pages == 1


def test_copies_are_read_with_their_original_and_found_by_their_id(sqlite_work: Workplace) -> None:
    work = sqlite_work
    first = work.add("first", copies=1)
    work.add("again", original_id=first)
    work.add("other")
    work.hire("ann")
    assert found(work, "ann") == ["first", "other"]
    assert found(work, "ann", text="told") == ["first", "other"]
    assert found(work, "ann", text="again") == ["again"]


def test_under_a_filter_counting_stops_somewhere_and_says_so(
    sqlite_work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = sqlite_work
    for number in range(8):
        work.add(f"c{number}", fields={"unit": "north"})
    work.hire("ann")
    monkeypatch.setattr(queue, "MOST_COUNTED", 5)
    for filters in ({"mode": "leak"}, {"fields": (("unit", "north"),)}, {"text": "told"}):
        result = page(work, "ann", 1, 2, **filters)
        assert (result.total, result.pages, result.more) == (5, 3, True), filters
    for filters in ({}, {"status": Status.OPEN}):
        result = page(work, "ann", 1, 2, **filters)
        assert (result.total, result.pages, result.more) == (8, 4, False), filters


def test_long_lists_find_the_same_as_short_ones(sqlite_work: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    work = sqlite_work
    for number in range(12):
        work.add(f"c{number}", fields={"unit": "ns"[number % 2], "month": str(number % 3)})
    work.hire("ann")
    work.finish("ann", "c4", leak="confirm")
    wanted: list[dict[str, Any]] = [
        {"fields": (("unit", "n"), ("month", "1"))},
        {"fields": (("unit", "n"),), "status": Status.OPEN},
        {"fields": (("month", "1"),), "reviewer": "r-ann"},
    ]
    short = [found(work, "ann", **filters) for filters in wanted]
    assert short == [["c4", "c10"], ["c0", "c2", "c6", "c8", "c10"], ["c4"]]
    monkeypatch.setattr(queue, "_SHORT", 0)
    assert [found(work, "ann", **filters) for filters in wanted] == short


def test_another_run_than_ones_own_is_refused(sqlite_work: Workplace) -> None:
    work = sqlite_work
    ann = work.hire("ann")
    stranger = Person(ann.id, ann.name, ann.pseudonym, ann.role, frozenset())
    with work.desk.reading() as session:
        with pytest.raises(RefusedError):
            queue_page(session, stranger, work.run_id, Filters(), 1, 50)
        with pytest.raises(RefusedError):
            progress(session, stranger, work.run_id, work.now)
        with pytest.raises(RefusedError):
            next_case(session, stranger, work.run_id, Filters(), Order.RANK, work.config, work.now)


def test_a_run_that_is_not_there_is_said_so(sqlite_work: Workplace) -> None:
    work = sqlite_work
    boss = work.hire("boss", Role.ADMINISTRATOR)
    with work.desk.reading() as session:
        for filters in (Filters(), Filters(mode="leak")):
            with pytest.raises(MissingError):
                next_case(session, boss, work.run_id + 1, filters, Order.RANK, work.config, work.now)


# --- What must not be seen ----------------------------------------------------------------------------------------


@pytest.fixture
def blind(sqlite_work: Workplace) -> Workplace:
    """One case is read twice, once without the model's word; another once."""
    work = sqlite_work
    work.add("twice", P, U, drawn_for_audit=True)
    work.add("once", drawn_for_audit=True)
    for name, role in (("ann", Role.REVIEWER), ("ben", Role.REVIEWER), ("eve", Role.ADMINISTRATOR)):
        work.hire(name, role)
    return work


def test_lines_of_blind_cases_say_nothing_of_the_model(blind: Workplace) -> None:
    line = page(blind, "ann").lines[0]
    assert (line.blind, line.flags, line.explanation, line.priority, line.drawn_for_audit) == (
        True,
        [],
        "",
        None,
        False,
    )
    seen = page(blind, "eve").lines[0]
    assert (seen.blind, seen.flags, seen.explanation, seen.drawn_for_audit) == (False, [("leak", 0.9)], "high", True)


def test_filters_do_not_tell_what_the_lines_hide(blind: Workplace) -> None:
    for filters in ({"mode": "leak"}, {"audit": True}):
        assert found(blind, "ann", **filters) == ["once"]
        assert found(blind, "eve", **filters) == ["twice", "once"]
        assert following(blind, "ann", **filters) == "once"


def test_the_prompted_reader_sees_the_line_the_other_does_not_until_both_are_finished(blind: Workplace) -> None:
    blind.open("ann", "twice")
    blind.finish("ben", "twice", leak="confirm", check="reject")
    assert [page(blind, name).lines[0].blind for name in ("ann", "ben")] == [False, True]
    blind.finish("ann", "twice", leak="confirm")
    assert [page(blind, name).lines[0].blind for name in ("ann", "ben")] == [False, False]
    assert found(blind, "ben", mode="leak") == ["twice", "once"]


def test_the_line_of_a_copy_hides_what_is_hidden_of_its_original(blind: Workplace) -> None:
    blind.add("again", original_id=blind.keys["twice"])
    (line,) = page(blind, "ann", text="again").lines
    assert (line.blind, line.flags) == (True, [])


def test_filters_do_not_tell_of_a_copy_what_is_hidden_of_its_original(blind: Workplace) -> None:
    blind.add("again", original_id=blind.keys["twice"], drawn_for_audit=True)
    for filters in ({"mode": "leak"}, {"audit": True}):
        assert found(blind, "ann", text="again", **filters) == []
        assert following(blind, "ann", text="again", **filters) is None
        assert found(blind, "eve", text="again", **filters) == ["again"]


# --- The next case ------------------------------------------------------------------------------------------------


def test_what_comes_next_is_the_first_that_is_free(work: Workplace) -> None:
    for case_id in ("a", "b", "c"):
        work.add(case_id)
    for name in ("ann", "ben"):
        work.hire(name)
    assert (following(work, "ann"), following(work, "ben")) == ("a", "a")
    work.open("ann", "a")
    assert (following(work, "ann"), following(work, "ben")) == ("a", "b")  # one's own that is begun comes first
    work.open("ben", "b")
    work.act(decide, "ann", "a", "leak", Verdict.CONFIRM, "")
    work.act(finish, "ann", "a")
    assert following(work, "ann") == "c"
    work.finish("ann", "c", leak="reject")
    assert following(work, "ann") is None


def test_a_case_that_lacks_its_second_reader_comes_to_somebody_else(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("once")
    work.add("twice", P, U)
    for name, role in (("ann", Role.REVIEWER), ("ben", Role.REVIEWER), ("eve", Role.ADMINISTRATOR)):
        work.hire(name, role)
    work.finish("ann", "twice", leak="confirm")
    work.finish("ann", "once", leak="confirm")
    assert following(work, "ann") is None
    assert following(work, "eve") is None  # who has seen what the model said
    assert following(work, "ben") == "twice"


def test_a_case_left_alone_too_long_comes_up_in_its_place(sqlite_work: Workplace) -> None:
    work = sqlite_work
    for case_id in ("a", "b", "c"):
        work.add(case_id)
    for name in ("ann", "ben"):
        work.hire(name)
    work.open("ann", "b")
    work.now += timedelta(hours=work.config.release_hours + 1)
    assert following(work, "ben") == "a"
    work.finish("ben", "a", leak="reject")
    assert following(work, "ben") == "b"
    assert work.open("ben", "b").review is not None


def test_what_one_gave_back_comes_last(sqlite_work: Workplace) -> None:
    work = sqlite_work
    for case_id in ("a", "b"):
        work.add(case_id)
    for name in ("ann", "ben"):
        work.hire(name)
    work.open("ann", "a")
    work.act(release, "ann", "a")
    assert (following(work, "ann"), following(work, "ben")) == ("b", "a")
    work.finish("ann", "b", leak="reject")
    assert following(work, "ann") == "a"


def test_disputes_come_first_to_those_who_settle_them(work: Workplace) -> None:
    work.add("a")
    work.add("twice", P, P)
    work.add("begun")
    for name, role in (
        ("ann", Role.REVIEWER),
        ("ben", Role.ADJUDICATOR),
        ("cat", Role.ADJUDICATOR),
        ("dan", Role.ADJUDICATOR),
    ):
        work.hire(name, role)
    work.finish("ann", "twice", leak="confirm")
    work.finish("ben", "twice", leak="reject")
    assert [following(work, name) for name in ("ann", "ben", "cat")] == ["a", "a", "twice"]
    work.open("cat", "twice")
    assert [following(work, name) for name in ("cat", "dan")] == ["twice", "a"]
    work.now += timedelta(hours=work.config.release_hours + 1)
    assert following(work, "dan") == "twice"


def test_copies_do_not_come_next(sqlite_work: Workplace) -> None:
    work = sqlite_work
    first = work.add("first", copies=1)
    work.add("again", original_id=first)
    work.hire("ann")
    work.finish("ann", "first", leak="reject")
    assert following(work, "ann") is None


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.RANK, ["a", "b", "c", "d"]),
        (Order.UNCERTAIN, ["c", "d", "a", "b"]),
        (Order.DIVERSE, ["b", "d", "c", "a"]),
        (Order.RANDOM, ["d", "a", "c", "b"]),
    ],
)
def test_cases_come_in_the_order_asked_for(work: Workplace, order: Order, expected: list[str]) -> None:
    for case_id, uncertainty, diversity, lot in (
        ("a", 0.3, 4, 2),
        ("b", 0.1, 1, 9),
        ("c", 0.9, 3, 3),
        ("d", 0.7, 2, 1),
    ):
        work.add(case_id, uncertainty=uncertainty, diversity=diversity, lot=lot)
    work.hire("ann")
    came = []
    while case_id := following(work, "ann", order):
        came.append(case_id)
        work.finish("ann", case_id, leak="reject")
    assert came == expected


def test_a_case_left_alone_comes_up_in_any_order(sqlite_work: Workplace) -> None:
    work = sqlite_work
    for case_id, uncertainty in (("a", 0.1), ("b", 0.9), ("c", 0.5)):
        work.add(case_id, uncertainty=uncertainty)
    for name in ("ann", "ben"):
        work.hire(name)
    work.open("ann", "b")
    assert following(work, "ben", Order.UNCERTAIN) == "c"
    work.now += timedelta(hours=work.config.release_hours + 1)
    assert following(work, "ben", Order.UNCERTAIN) == "b"


@pytest.mark.parametrize("order", list(Order))
def test_what_comes_next_keeps_to_the_filters(sqlite_work: Workplace, order: Order) -> None:
    work = sqlite_work
    work.add("a", fields={"unit": "north"})
    work.add("b", flags=("check",), fields={"unit": "south"}, received=datetime(2026, 1, 1, tzinfo=UTC))
    work.hire("ann")
    work.open("ann", "a")
    for filters in (
        {"mode": "check"},
        {"fields": (("unit", "south"),)},
        {"since": date(2025, 12, 31)},
        {"text": "b"},
        {"status": Status.OPEN},
    ):
        assert following(work, "ann", order, **filters) == "b", filters
    assert following(work, "ann", order, mode="neither") is None


# --- Progress, facets, speed --------------------------------------------------------------------------------------


def test_progress_counts_cases_and_the_reviews_of_the_day(work: Workplace) -> None:
    first = work.add("a", copies=1)
    work.add("copy", original_id=first)
    for case_id in ("b", "c"):
        work.add(case_id)
    work.add("twice", P, P)
    for name in ("ann", "ben"):
        work.hire(name)
    work.finish("ann", "a", leak="reject")
    work.now += timedelta(days=1)
    work.finish("ann", "b", leak="reject")
    work.finish("ben", "twice", leak="reject")
    with work.desk.reading() as session:
        counted = progress(session, work.people["ann"], work.run_id, work.now)
    assert counted == Progress(total=4, finished=2, left=2, mine_today=1, all_today=2)


def test_facets_list_what_a_filter_can_be_chosen_from(work: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_VALUES", 3)
    for number in range(5):
        work.add(f"c{number}", fields={"unit": "ns"[number % 2], "ref": f"R{number}", "three": f"v{number % 3}"})
    for name in ("ann", "ben"):
        work.hire(name)
    work.open("ben", "c1")
    with work.desk.reading() as session:
        offered = facets(session, work.run_id)
        assert offered == Facets(["r-ben"], {"ref": [], "three": ["v0", "v1", "v2"], "unit": ["n", "s"]})
        assert facets(session, work.run_id + 1) == Facets([], {})


def test_intake_stores_what_filters_look_at(desk: Any, added: Run, make_user: Any) -> None:
    with desk.writing() as session:
        user = make_user(session, "ann", Role.REVIEWER, added)
    ann = Person(user.id, "ann", user.pseudonym, Role.REVIEWER, frozenset([added.id]))
    with desk.reading() as session:
        lines = queue_page(session, ann, added.id, Filters(), 1, 50).lines
        for mode in ("told_suspect", "nobody_went"):
            flagged = [line.case_id for line in lines if mode in dict(line.flags)]
            by_filter = [line.case_id for line in queue_page(session, ann, added.id, Filters(mode=mode), 1, 50).lines]
            assert by_filter == flagged != []


def _plans(work: Workplace, ask: Callable[[Any], object]) -> list[str]:
    """How SQLite goes about every question asked of it."""
    asked: list[tuple[str, Any]] = []

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(work.desk.engine, "before_cursor_execute", keep)
    with work.desk.reading() as session:
        ask(session)
    event.remove(work.desk.engine, "before_cursor_execute", keep)
    plans = []
    with work.desk.engine.connect() as connection:
        for statement, parameters in asked:
            if statement.startswith(("SELECT", "WITH")):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans += [row[3] for row in plan]
    return plans


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(mode="leak", status=Status.OPEN),
        Filters(reviewer="r-ann"),
        Filters(fields=(("unit", "north"), ("month", "1"))),
        Filters(since=date(2026, 1, 1)),
        Filters(audit=True),
        Filters(text="told"),
    ],
)
def test_no_question_reads_a_table_from_end_to_end(sqlite_work: Workplace, filters: Filters) -> None:
    work = sqlite_work
    for number in range(3):
        work.add(f"c{number}", fields={"unit": "north"})
    ann = work.hire("ann", Role.ADJUDICATOR)
    work.open("ann", "c1")
    work.act(note, "ann", "c1", "begun")

    def ask(session: Any) -> None:
        queue_page(session, ann, work.run_id, filters, 1, 50)
        progress(session, ann, work.run_id, work.now)
        facets(session, work.run_id)
        for order in Order:
            next_case(session, ann, work.run_id, filters, order, work.config, work.now)

    plans = _plans(work, ask)
    assert [line for line in plans if re.match(r"SCAN (cases|scores|fields|reviews|runs)", line)] == []
    assert any("ix_cases_" in line for line in plans)
