from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from secondlook.config import ReviewConfig
from secondlook.errors import ConflictError, RefusedError
from secondlook.review.accounts import Person
from secondlook.review.assignment import arms_of, claim, is_blind, lot_of
from secondlook.review.decisions import decide, finish, release
from secondlook.review.record import Action
from secondlook.review.tables import Arm, CaseRow, Entry, Kind, Review, Role, Status, Verdict

Workplace = Any
P, U = "prompted", "unprompted"


def test_arms_are_drawn_by_the_seed_in_the_shares_asked_for() -> None:
    config = ReviewConfig(double_share=0.3, unprompted_share=0.5, seed=4)
    drawn = {f"c{number}": arms_of(config, "run", f"c{number}") for number in range(4000)}
    assert drawn == {case_id: arms_of(config, "run", case_id) for case_id in drawn}
    counted = Counter(tuple(arms) for arms in drawn.values())
    assert counted[(P,)] == pytest.approx(2800, abs=120)
    assert counted[(P, P)] == pytest.approx(600, abs=90)
    assert counted[(P, U)] == pytest.approx(300, abs=70)
    assert counted[(U, P)] == pytest.approx(300, abs=70)
    others = (ReviewConfig(double_share=0.3, seed=5), "run"), (config, "another run")
    assert all(drawn != {case_id: arms_of(*other, case_id) for case_id in drawn} for other in others)


def test_nobody_reads_twice_where_it_is_not_asked_for() -> None:
    config = ReviewConfig(double_share=0.0)
    assert {tuple(arms_of(config, "run", str(number))) for number in range(200)} == {(Arm.PROMPTED,)}


def test_lots_depend_on_the_seed_and_fit_an_integer() -> None:
    first, second = ([lot_of(ReviewConfig(seed=seed), "run", str(n)) for n in range(300)] for seed in (1, 2))
    assert first != second
    assert len(set(first)) > 295
    assert all(0 <= lot < 1 << 31 for lot in first)


def test_a_case_that_somebody_has_is_read_only_for_others(work: Workplace) -> None:
    work.add("one")
    work.hire("ann")
    work.hire("ben")
    mine = work.open("ann", "one")
    assert mine.review is not None
    assert (mine.review.kind, mine.review.arm, mine.read_only_because) == (Kind.SINGLE, Arm.PROMPTED, None)
    assert (mine.status, work.case("one").next_arm) == (Status.TAKEN, None)
    other = work.open("ben", "one")
    assert (other.review, other.read_only_because) == (None, "Somebody else has this case.")
    with pytest.raises(RefusedError, match="case one: is not yours to decide"):
        work.act(decide, "ben", "one", "leak", Verdict.REJECT, "")


def test_of_many_who_claim_at_once_exactly_one_has_the_case(work: Workplace) -> None:
    work.add("one")
    people = [work.hire(f"reader{number}") for number in range(6)]

    def try_it(person: Person) -> bool:
        return work.open(person.name, "one").review is not None

    with ThreadPoolExecutor(len(people)) as pool:
        assert sorted(pool.map(try_it, people)) == [False] * 5 + [True]
    with work.desk.reading() as session:
        assert len(session.scalars(select(Review)).all()) == 1


def test_of_many_who_claim_a_double_case_at_once_two_have_it_one_in_each_arm(work: Workplace) -> None:
    work.add("twice", U, P)
    people = [work.hire(f"reader{number}") for number in range(5)]
    with ThreadPoolExecutor(len(people)) as pool:
        opened = list(pool.map(lambda person: work.open(person.name, "twice"), people))
    assert sorted(file.review.arm for file in opened if file.review) == [P, U]


def test_the_nth_to_take_a_case_gets_its_nth_arm(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", U, P)
    for name in ("ann", "ben", "cat"):
        work.hire(name)
    arms = [file.review and file.review.arm for file in (work.open(name, "twice") for name in ("ann", "ben", "cat"))]
    assert arms == [Arm.UNPROMPTED, Arm.PROMPTED, None]
    assert work.open("cat", "twice").read_only_because == "Others have this case."


def test_a_case_left_alone_for_too_long_is_free_again_and_nothing_of_it_is_lost(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("one")
    work.hire("ann")
    work.hire("ben")
    work.open("ann", "one")
    state = work.act(decide, "ann", "one", "leak", Verdict.CONFIRM, "so it says")
    work.now += timedelta(hours=work.config.release_hours - 0.1)
    assert work.open("ben", "one").review is None
    work.now += timedelta(hours=0.2)
    assert work.open("ben", "one").review is not None
    with pytest.raises(ConflictError, match=r"left alone so long that it was released.*open the case again"):
        work.act(decide, "ann", "one", "leak", Verdict.REJECT, "", version=state.version)
    assert work.open("ann", "one").review is None
    work.act(release, "ben", "one")
    again = work.open("ann", "one").review
    assert again is not None
    assert again.decisions == {"leak": (Verdict.CONFIRM, "so it says")}
    with work.desk.reading() as session:
        released = session.scalars(select(Entry).where(Entry.action == Action.RELEASED).order_by(Entry.sequence))
        assert [(entry.actor, "r-ann" in entry.detail) for entry in released] == [("r-ben", True), ("r-ben", False)]


def test_a_finished_review_is_never_released(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("one")
    work.hire("ann")
    work.hire("ben")
    work.finish("ann", "one", leak="confirm")
    work.now += timedelta(days=365)
    assert work.open("ben", "one").review is None
    assert work.case("one").status == Status.FINISHED


def test_who_saw_the_model_is_never_given_the_arm_without_it(sqlite_work: Workplace) -> None:
    """A reviewer who gave the prompted arm back, and an administrator, who sees everything in the queue."""
    work = sqlite_work
    work.add("twice", P, U)
    for name, role in (("ann", Role.REVIEWER), ("ben", Role.REVIEWER), ("eve", Role.ADMINISTRATOR)):
        work.hire(name, role)
    work.open("ann", "twice")
    work.act(release, "ann", "twice")
    assert work.open("ben", "twice").review.arm == Arm.PROMPTED
    for name in ("ann", "eve"):
        file = work.open(name, "twice")
        assert file.review is None
        assert "has not seen what the model said" in file.read_only_because


def test_another_run_than_ones_own_is_refused(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("one")
    ann = work.hire("ann")
    stranger = Person(ann.id, ann.name, ann.pseudonym, ann.role, frozenset())
    with work.desk.writing() as session, pytest.raises(RefusedError):
        claim(session, stranger, session.get_one(CaseRow, work.keys["one"]), work.config, work.now)


def test_until_all_is_finished_the_model_is_hidden_from_whom_it_could_sway(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", P, U)
    work.add("once")
    for name, role in (
        ("ann", Role.REVIEWER),
        ("ben", Role.REVIEWER),
        ("cat", Role.REVIEWER),
        ("eve", Role.ADMINISTRATOR),
    ):
        work.hire(name, role)

    def hidden(case_id: str = "twice") -> list[str]:
        with work.desk.reading() as session:
            reviews = {review.user_id: review for review in session.scalars(select(Review))}
            return [n for n, p in work.people.items() if is_blind(work.case(case_id), reviews.get(p.id), p)]

    assert hidden() == ["ann", "ben", "cat"]
    assert hidden("once") == []
    work.open("ann", "twice")
    assert hidden() == ["ben", "cat"]
    work.finish("ben", "twice", leak="confirm", check="reject")
    assert hidden() == ["ben", "cat"]  # ben could still reopen it
    work.finish("ann", "twice", leak="confirm")
    assert hidden() == []


@pytest.mark.parametrize(
    ("prompted", "unprompted", "status"),
    [
        ({"leak": "confirm"}, {"leak": "confirm", "check": "reject"}, Status.FINISHED),
        ({"leak": "confirm", "check": "reject"}, {"leak": "confirm", "check": "reject"}, Status.FINISHED),
        ({"leak": "confirm"}, {"leak": "reject", "check": "reject"}, Status.DISPUTED),
        ({"leak": "unsure"}, {"leak": "confirm", "check": "reject"}, Status.DISPUTED),
        ({"leak": "unsure"}, {"leak": "reject", "check": "reject"}, Status.DISPUTED),
        ({"leak": "unsure"}, {"leak": "unsure", "check": "reject"}, Status.FINISHED),
        # What was not flagged and not decided on was not seen: whoever looked without the model saw it.
        ({"leak": "confirm"}, {"leak": "confirm", "check": "confirm"}, Status.DISPUTED),
    ],
)
def test_two_reviews_are_compared_mode_by_mode(
    sqlite_work: Workplace, prompted: dict[str, str], unprompted: dict[str, str], status: Status
) -> None:
    work = sqlite_work
    work.add("twice", P, U)
    work.hire("ann")
    work.hire("ben")
    work.open("ann", "twice")
    work.finish("ben", "twice", **unprompted)
    assert work.case("twice").status == Status.TAKEN
    work.finish("ann", "twice", **prompted)
    assert work.case("twice").status == status


def test_a_dispute_goes_to_an_adjudicator_who_had_no_part_in_it(work: Workplace) -> None:
    work.add("twice", P, P)
    for name, role in (
        ("ann", Role.REVIEWER),
        ("ben", Role.ADJUDICATOR),
        ("cat", Role.ADJUDICATOR),
        ("dan", Role.ADJUDICATOR),
    ):
        work.hire(name, role)
    work.finish("ann", "twice", leak="confirm")
    work.finish("ben", "twice", leak="reject")
    assert work.open("ann", "twice").others == []
    assert work.open("ben", "twice").others == []
    file = work.open("cat", "twice")
    assert file.review.kind == Kind.ADJUDICATION
    assert (file.disputed, file.to_decide) == (["leak"], ["leak"])
    assert {other.reviewer: other.state.decisions["leak"][0] for other in file.others} == {
        "r-ann": Verdict.CONFIRM,
        "r-ben": Verdict.REJECT,
    }
    assert work.open("dan", "twice").read_only_because == "Somebody is deciding this case."
    work.act(decide, "cat", "twice", "leak", Verdict.CONFIRM, "")
    work.act(finish, "cat", "twice")
    assert work.case("twice").status == Status.SETTLED


def test_who_gave_a_review_back_can_settle_the_dispute_and_begins_anew(sqlite_work: Workplace) -> None:
    work = sqlite_work
    work.add("twice", P, P)
    for name, role in (("ann", Role.REVIEWER), ("ben", Role.REVIEWER), ("cat", Role.ADJUDICATOR)):
        work.hire(name, role)
    work.open("cat", "twice")
    work.act(decide, "cat", "twice", "check", Verdict.CONFIRM, "early")
    work.act(release, "cat", "twice")
    work.finish("ann", "twice", leak="confirm")
    work.finish("ben", "twice", leak="reject")
    review = work.open("cat", "twice").review
    assert (review.kind, review.decisions, review.can_undo) == (Kind.ADJUDICATION, {}, False)
