"""Patterns across cases, without small counts."""

from collections import defaultdict
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.config import ReviewConfig
from secondlook.errors import MissingError
from secondlook.review.patterns import MONTH, MOST_VALUES, OTHERS, Count, choices, patterns, suppress

CONFIG = ReviewConfig(suppress_below=5)
BELOW = st.integers(2, 6)


@st.composite
def tables(draw):
    """Cases by row, each row with enough of them, and how many of those show a mode."""
    below = draw(BELOW)
    cases = draw(st.lists(st.integers(below, 40), min_size=1, max_size=8))
    return below, cases, [draw(st.integers(0, most)) for most in cases]


@given(tables())
def test_no_suppressed_count_can_be_worked_out_by_subtraction(table):
    below, cases, counts = table
    column = suppress(counts, below, cases)
    hidden = [row for row, count in enumerate(column.counts) if count is None]
    if column.total is None:
        return
    left = column.total - sum(count for count in column.counts if count is not None)
    for row in hidden:
        others = sum(cases[other] for other in hidden if other != row)
        assert max(0, left - others) == 0  # it may be nothing,
        assert min(cases[row], left) >= below  # and it may be enough to be shown


@given(tables())
def test_small_counts_are_hidden_and_nothing_else_without_need(table):
    below, cases, counts = table
    column = suppress(counts, below, cases)
    assert all(shown in (None, count) for shown, count in zip(column.counts, counts, strict=True))
    assert all(shown is None or shown >= below for shown in column.counts)
    assert column.total is None or column.total >= below
    if min(counts) >= below:
        assert column.counts == tuple(counts)
        assert column.total == sum(counts)


@pytest.mark.parametrize(("rows", "below", "most"), [(2, 3, 9), (3, 3, 6), (3, 2, 4)])
def test_not_even_who_knows_the_rule_can_tell_a_suppressed_count(rows, below, most):
    """Of all tables that would be shown alike, no two suppressed cells are the same in each."""
    alike = defaultdict(list)
    for cases in product(range(below, most + 1), repeat=rows):
        for counts in product(*(range(case + 1) for case in cases)):
            alike[cases, suppress(counts, below, cases)].append(counts)
    for (_, column), candidates in alike.items():
        for row in range(rows):
            assert column.counts[row] is not None or len({counts[row] for counts in candidates}) > 1


def test_with_a_limit_of_one_everything_is_shown():
    assert suppress([0, 3, 1], 1).counts == (0, 3, 1)


@pytest.fixture
def units(hand_made):
    """Flags by unit: north 12 cases, 6 leaked; south 9, 2 leaked; east 7, 5 leaked; west 2; 3 without a unit."""
    made = hand_made()
    for unit, number, leaked in (("north", 12, 6), ("south", 9, 2), ("east", 7, 5), ("west", 2, 2), (None, 3, 0)):
        for place in range(number):
            made.case(
                flags={"leak"} if place < leaked else (), fields={"unit": unit} if unit else {}, month=1 + place % 2
            )
    return made.save()


def _by(made, by, count=Count.FLAGGED, config=CONFIG):
    with made.desk.reading() as session:
        return patterns(session, made.run, by, count, config)


def test_values_are_counted_the_frequent_first_and_the_rare_together(units):
    shown = _by(units, "unit")
    assert shown.rows == ("north", "south", "east", OTHERS)
    assert shown.cases == (12, 9, 7, 5)
    leaks = dict(shown.modes)["Leak"]
    assert leaks.counts == (6, None, None, None)  # 2 and 2 are too few; 5 would tell them
    assert leaks.total == 15


def test_a_mode_that_is_nowhere_flagged_tells_nothing(units):
    column = dict(_by(units, "unit").modes)["Absent"]
    assert column.counts == (None, None, None, None)
    assert column.total is None


def test_months_go_forward(units):
    shown = _by(units, MONTH)
    assert shown.rows == ("2026-01", "2026-02")
    assert sum(shown.cases) == 33


def test_near_copies_count_with_their_original(hand_made):
    made = hand_made()
    original, *_ = [made.case(flags={"leak"}, fields={"unit": "north"}) for _ in range(6)]
    for _ in range(4):
        made.case(flags={"leak"}, fields={"unit": "north"}, original=original)
    shown = _by(made.save(), "unit")
    assert shown.cases == (6,)
    assert dict(shown.modes)["Leak"].counts == (6,)


def test_confirmed_are_of_cases_that_were_read(units):
    for place in range(8):
        case = units.case(flags={"leak"}, fields={"unit": "north"})
        units.review(case, {"leak": "confirm" if place < 6 else "reject"})
    shown = _by(units.save(), "unit", Count.CONFIRMED)
    assert shown.rows == ("north",)
    assert shown.cases == (8,)
    assert dict(shown.modes)["Leak"].counts == (6,)


def test_where_few_cases_were_read_nothing_is_shown(units):
    shown = _by(units, "unit", Count.CONFIRMED)
    assert shown.rows == ()
    assert all(column.total is None for _, column in shown.modes)


def test_a_column_with_many_values_is_cut(hand_made):
    made = hand_made()
    for officer in range(MOST_VALUES + 3):
        for _ in range(2):
            made.case(fields={"officer": f"PC {officer:03d}"})
    shown = _by(made.save(), "officer", config=ReviewConfig(suppress_below=2))
    assert len(shown.named) == MOST_VALUES
    assert shown.cases[-1] == 6


def test_an_unknown_column_is_named_with_those_there_are(units):
    with pytest.raises(MissingError, match=r"by 'unti' \(did you mean 'unit'\?\); choose month received, unit"):
        _by(units, "unti")


def test_the_choices_a_run_are_its_own(units, hand_made):
    other = hand_made()
    other.case(fields={"force": "met", "area": "x"})
    other.save()
    with units.desk.reading() as session:
        assert choices(session, units.run.id) == [MONTH, "unit"]
        assert choices(session, other.run.id) == [MONTH, "area", "force"]
