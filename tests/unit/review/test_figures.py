"""How far the work is, and how well people and model agree."""

from dataclasses import fields, is_dataclass
from datetime import timedelta
from math import isnan

import pytest

from secondlook.config import ReviewConfig
from secondlook.review.figures import count, figures

CONFIG = ReviewConfig(suppress_below=5)
P, U = "prompted", "unprompted"


@pytest.fixture
def made(hand_made):
    return hand_made()


def _figures(made, now, reader=None):
    with made.desk.reading() as session:
        return figures(count(session, made.run, now), CONFIG, reader)


def _of(figures_, title):
    return next(figure for figure in figures_ if figure.title == title)


def _named(agreements, name):
    return next(agreement for agreement in agreements if agreement.name == name)


def test_a_desk_on_which_nothing_happened_says_why_there_are_no_figures(made, now):
    made.case(flags={"leak"})
    shown = _figures(made.save(), now)
    assert shown.left.undone == 1
    assert shown.everybody is None
    assert shown.pace.a_day.why == "no case was done in the last 14 days"
    assert _of(shown.flags, "Leak").share.why == "no flag of this mode was confirmed or rejected yet"
    assert _of(shown.flags, "Absent").share.why == "no case is flagged for this mode"
    assert shown.modes[0].share.why == shown.modes[0].alpha.why == "no case was read twice yet"
    assert shown.arms[0].difference.why == "no flagged case was read both with and without the flags yet"
    assert shown.audit.modes[0].estimate.why.startswith("no audit was drawn")


def test_no_figure_is_ever_nan(made, now):
    for place in range(30):
        case = made.case(flags={"leak"}, drawn=(1, 0.5))
        made.review(case, {"leak": "confirm"}, by="ann", kind="double")
        made.review(case, {"leak": "confirm"}, by="ben", kind="double", arm=U if place % 2 else P)
    for reader in (None, made.user("ann")):
        assert not [number for number in _numbers(_figures(made.save(), now, reader)) if isnan(number)]


def _numbers(thing):
    if is_dataclass(thing):
        thing = [getattr(thing, field.name) for field in fields(thing)]
    if isinstance(thing, (list, tuple)):
        return [number for one in thing for number in _numbers(one)]
    return [thing] if isinstance(thing, (int, float)) else []


def test_what_is_left_counts_cases_and_copies_apart(made, now):
    first = made.case()
    made.case(original=first)
    made.review(first, {})
    made.case(status="taken")
    made.case(status="disputed")
    left = _figures(made.save(), now).left
    assert (left.finished, left.taken, left.disputed, left.open, left.copies) == (1, 1, 1, 0, 1)
    assert (left.done, left.undone) == (1, 2)


def test_the_pace_is_that_of_the_days_on_which_cases_were_done(made, now):
    for ago in (1, 1, 1, 3, 40):
        made.review(made.case(), {}, at=now - timedelta(days=ago))
    made.case()
    made.case()
    pace = _figures(made.save(), now).pace
    assert [count for _, count in pace.days][-4:] == [1, 0, 3, 0]
    assert pace.days[-1][0] == now.date()
    assert pace.a_day.value == 2
    assert pace.days_left.value == 1


def test_a_case_read_twice_is_done_on_the_day_of_its_last_review(made, now):
    case = made.case()
    made.review(case, {}, by="ann", kind="double", at=now - timedelta(days=2))
    made.review(case, {}, by="ben", kind="double", at=now)
    assert [count for _, count in _figures(made.save(), now).pace.days][-3:] == [0, 0, 1]


def test_times_are_quartiles_and_those_of_others_are_for_administrators(made, now):
    for seconds in (10, 20, 30, 40, 50):
        made.review(made.case(), {}, by="ann", seconds=seconds)
    made.review(made.case(), {}, by="ben", seconds=400)
    shown = _figures(made.save(), now)
    assert (shown.everybody.reviews, shown.everybody.median) == (6, 30)
    assert [name for name, _ in shown.times] == ["ann (r-ann)", "ben (r-ben)"]
    assert [(own.lower, own.median, own.upper) for _, own in shown.times] == [(20, 30, 40), (400, 400, 400)]
    assert [(name, own.median) for name, own in _figures(made, now, made.user("ben")).times] == [("you", 400)]


def test_precision_is_of_what_was_confirmed_or_rejected_of_the_flags(made, now):
    for verdict in ["confirm"] * 3 + ["reject"] + ["unsure"] * 2:
        made.review(made.case(flags={"leak"}), {"leak": verdict})
    made.case(flags={"leak"})
    made.review(made.case(), {"leak": "confirm"})
    flag = _of(_figures(made.save(), now).flags, "Leak")
    assert (flag.flagged, flag.confirmed, flag.rejected, flag.unsure, flag.unflagged) == (7, 3, 1, 2, 1)
    assert flag.share.value == 0.75
    assert flag.share.low < 0.75 < flag.share.high


def test_what_two_disagree_about_counts_when_it_is_settled(made, now):
    case = made.case(flags={"leak"})
    made.review(case, {"leak": "confirm"}, by="ann", kind="double")
    made.review(case, {"leak": "reject"}, by="ben", kind="double", status="disputed")
    flag = _of(_figures(made.save(), now).flags, "Leak")
    assert (flag.confirmed, flag.rejected, flag.disputed) == (0, 0, 1)
    made.review(case, {"leak": "reject"}, by="cleo", kind="adjudication", status="settled")
    flag = _of(_figures(made.save(), now).flags, "Leak")
    assert (flag.confirmed, flag.rejected, flag.disputed) == (0, 1, 0)


def test_reviews_that_are_not_finished_or_were_released_do_not_count(made, now):
    made.review(made.case(flags={"leak"}), {"leak": "confirm"}, finished=False, status="taken")
    made.review(made.case(flags={"leak"}), {"leak": "confirm"}, released=True, status="open")
    shown = _figures(made.save(), now)
    assert _of(shown.flags, "Leak").confirmed == 0
    assert shown.everybody is None


def test_of_two_readers_one_who_left_an_unflagged_mode_alone_rejects_it(made, now):
    """As the desk does when it says that a case is disputed."""
    case = made.case()
    made.review(case, {}, by="ann", kind="double")
    made.review(case, {"leak": "confirm", "check": "reject"}, by="ben", kind="double", arm=U, status="disputed")
    shown = _figures(made.save(), now)
    assert (_named(shown.modes, "Leak").compared, _named(shown.modes, "Leak").same) == (1, 0)
    assert (_named(shown.modes, "Check").compared, _named(shown.modes, "Check").same) == (1, 1)
    assert _of(shown.flags, "Leak").unflagged == 0


def test_a_passage_marked_without_a_verdict_confirms(made, now):
    made.review(made.case(), {}, marks=["leak", "leak"])
    assert _of(_figures(made.save(), now).flags, "Leak").unflagged == 1


def _read_twice(made, pairs, arms=(P, P), by=("ann", "ben"), flags=("leak",)):
    for one, other in pairs:
        case = made.case(flags=set(flags))
        made.review(case, {"leak": one}, by=by[0], kind="double", arm=arms[0])
        made.review(case, {"leak": other}, by=by[1], kind="double", arm=arms[1])


def test_agreement_is_told_by_mode_reviewer_and_pair(made, now):
    _read_twice(made, [("confirm", "confirm")] * 6 + [("confirm", "reject")] * 2)
    _read_twice(made, [("reject", "reject")] * 4, by=("ann", "cleo"))
    shown = _figures(made.save(), now)
    leak = _named(shown.modes, "Leak")
    assert (leak.compared, leak.same) == (12, 10)
    assert 0 < leak.alpha.value < leak.share.value
    assert leak.alpha.why == "no interval: fewer than 20 cases"
    assert {own.name: own.compared for own in shown.reviewers} == {
        "ann (r-ann)": 36,
        "ben (r-ben)": 24,
        "cleo (r-cleo)": 12,
    }
    assert [pair.name for pair in shown.pairs] == ["ann (r-ann) and ben (r-ben)", "ann (r-ann) and cleo (r-cleo)"]
    assert [pair.same for pair in shown.pairs] == [22, 12]


def test_a_reviewer_sees_their_own_agreement_and_none_on_few_cases(made, now):
    _read_twice(made, [("confirm", "reject")] * 4)
    reader = made.user("ben")
    shown = _figures(made.save(), now, reader)
    assert shown.pairs == ()
    assert [own.name for own in shown.reviewers] == ["you"]
    assert all(own.share.value is None and "kept back" in own.share.why for own in (*shown.reviewers, shown.modes[0]))
    _read_twice(made, [("confirm", "confirm")])
    assert _figures(made.save(), now, reader).modes[0].share.value == pytest.approx(0.2)


def test_what_the_models_word_does_is_told_on_the_same_flagged_cases(made, now):
    _read_twice(made, [("confirm", "confirm")] * 10 + [("confirm", "reject")] * 5, arms=(P, U))
    _read_twice(made, [("reject", "confirm")] * 1 + [("reject", "unsure")] * 4, arms=(U, P))
    _read_twice(made, [("reject", "reject")] * 9)  # both saw the flags
    _read_twice(made, [("confirm", "reject")] * 9, arms=(P, U), flags=())
    arms = _of(_figures(made.save(), now).arms, "Leak")
    assert (arms.cases, arms.prompted, arms.unprompted) == (20, 16, 10)
    assert arms.difference.value == pytest.approx(0.3)
    assert 0 < arms.difference.low < 0.3 < arms.difference.high


def test_what_the_audit_finds_stands_for_what_nobody_reads(made, now):
    """Two strata of 200 and 20 cases, of which 20 and 10 are drawn; all but two are read."""
    for place in range(20):
        made.review(made.case(drawn=(1, 0.1)), {"leak": "confirm"} if place < 2 else {})
    for place in range(10):
        case = made.case(drawn=(2, 0.5))
        if place < 8:
            made.review(case, {"leak": "confirm"} if place < 4 else {"leak": "unsure"} if place == 4 else {})
    for _ in range(3):
        made.review(made.case(), {"leak": "confirm"})  # found, but not by the audit
    audit = _figures(made.save(), now).audit
    assert (audit.population, audit.drawn, audit.read) == (220, 30, 28)
    leak = _of(audit.modes, "Leak")
    assert (leak.found, leak.unsure) == (6, 1)
    assert leak.estimate.value == pytest.approx(2 / 20 * 200 + 4 / 8 * 20)
    assert 6 <= leak.estimate.low < 30 < leak.estimate.high < 220
    none = _of(audit.modes, "Check")
    assert none.estimate.value == 0
    assert none.estimate.high > 10


def test_a_flagged_case_of_the_audit_is_no_miss(made, now):
    for _ in range(25):
        made.review(made.case(flags={"leak"}, drawn=(1, 0.5)), {"leak": "confirm"})
    leak = _of(_figures(made.save(), now).audit.modes, "Leak")
    assert (leak.found, leak.estimate.value) == (0, 0)


@pytest.mark.parametrize(
    ("read", "unread", "why"),
    [
        (0, 5, "no case of the audit was read yet"),
        (3, 5, "too few to say: 3 of the 8 drawn were read, and 20 are needed"),
    ],
)
def test_an_audit_of_which_little_was_read_says_so(made, now, read, unread, why):
    for _ in range(read):
        made.review(made.case(drawn=(1, 0.2)), {})
    for _ in range(unread):
        made.case(drawn=(1, 0.2))
    assert _of(_figures(made.save(), now).audit.modes, "Leak").estimate.why == why


def test_a_band_of_which_nothing_was_read_is_named(made, now):
    for _ in range(20):
        made.review(made.case(drawn=(1, 0.2)), {})
    made.case(drawn=(2, 0.2))
    estimate = _of(_figures(made.save(), now).audit.modes, "Leak").estimate
    assert estimate.why == "too few to say: of 1 of the 2 bands of priority nothing was read yet"


def test_figures_are_of_one_run(made, hand_made, now):
    made.review(made.case(flags={"leak"}), {"leak": "confirm"})
    made.save()
    other = hand_made()
    other.case(flags={"leak"})
    shown = _figures(other.save(), now)
    assert shown.left.done == 0
    assert _of(shown.flags, "Leak").flagged == 1
    assert _of(shown.flags, "Leak").confirmed == 0
