"""Agreement: do two who read the same case say the same, and does the model's word move them? Of blind double reviews.

Chance is corrected for by Krippendorff's alpha, as in :mod:`secondlook.agreement`: reviewers change from case to
case, and it takes them for interchangeable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, aliased

from secondlook.review.estimates import Counts, Figure, alpha_figure, paired_difference, share, unknown
from secondlook.review.tables import Arm, Kind, Review, ScoreRow, Verdict
from secondlook.review.verdicts import COMPLETE, is_finished, verdict_of, with_status

MOST_PAIRS = 20
"""Pairs of reviewers that are listed, those with most to compare."""

_VERDICTS = tuple(Verdict)

Names = Callable[[int], str | None]
"""What to call an account; None where it is not to be named."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two who read the same case without seeing each other's decision said the same.

    ``name`` is a mode, a reviewer or a pair; ``compared`` counts cases, each once for every mode of those asked for.
    """

    name: str
    compared: int
    same: int
    share: Figure
    alpha: Figure


@dataclass(frozen=True, slots=True)
class ArmsCompared:
    """How often a flag is confirmed by one who sees it, and by one who reads the same case without: the model's pull.

    ``difference`` is how much more often the one who sees it does.
    """

    title: str
    cases: int
    prompted: int
    unprompted: int
    difference: Figure


@dataclass(frozen=True, slots=True)
class ReadTwice:
    """How many cases two reviewers read, each for themselves, with these verdicts on a mode that was flagged or not."""

    users: tuple[int, int]
    mode: str
    verdicts: tuple[Verdict, Verdict]
    arms: tuple[str, str]
    flag: bool
    cases: int


def read_twice(session: Session, run_id: int) -> list[ReadTwice]:
    """All double reviews of a run that are complete, counted."""
    one, other = aliased(Review), aliased(Review)
    twice = (
        select(
            one.user_id.label("one"),
            other.user_id.label("other"),
            ScoreRow.mode,
            verdict_of(one).label("said"),
            verdict_of(other).label("answered"),
            one.arm.label("arm"),
            other.arm.label("other_arm"),
            ScoreRow.flag,
        )
        .select_from(one)
        .join(other, and_(other.case_id == one.case_id, other.user_id > one.user_id))
        .join(ScoreRow, ScoreRow.case_id == one.case_id)
        .where(one.run_id == run_id, one.kind == Kind.DOUBLE, other.kind == Kind.DOUBLE)
        .where(is_finished(one), is_finished(other), one.case_id.in_(with_status(run_id, COMPLETE)))
        .subquery()
    )
    counts: Iterable[Any] = session.execute(select(*twice.c, func.count()).group_by(*twice.c))
    return [
        ReadTwice((first, second), mode, (Verdict(said), Verdict(answered)), (arm, other_arm), flag, cases)
        for first, second, mode, said, answered, arm, other_arm, flag, cases in counts
    ]


def by_mode(twice: Sequence[ReadTwice], titles: Mapping[str, str], fewest: int) -> Iterable[Agreement]:
    """Agreement on every mode; kept back where fewer than ``fewest`` cases would tell what one other decided."""
    for mode, title in titles.items():
        yield _agreement(title, [own for own in twice if own.mode == mode], fewest, interval=True)


def by_reviewer(twice: Sequence[ReadTwice], names: Names, fewest: int) -> Iterable[Agreement]:
    """Agreement of each reviewer who is named with all others, over all modes."""
    readers: dict[str, list[ReadTwice]] = defaultdict(list)
    for own in twice:
        for name in filter(None, map(names, own.users)):
            readers[name].append(own)
    for name, owns in sorted(readers.items()):
        yield _agreement(name, owns, fewest)


def by_pair(twice: Sequence[ReadTwice], names: Names) -> list[Agreement]:
    """Agreement of pairs of reviewers, over all modes; :data:`MOST_PAIRS` of them."""
    pairs: dict[tuple[int, int], list[ReadTwice]] = defaultdict(list)
    for own in twice:
        pairs[own.users].append(own)
    most = sorted(pairs.items(), key=lambda pair: (-sum(own.cases for own in pair[1]), pair[0]))[:MOST_PAIRS]
    return [_agreement(" and ".join(str(names(user)) for user in users), owns, 1) for users, owns in most]


def by_arm(twice: Sequence[ReadTwice], titles: Mapping[str, str], fewest: int) -> Iterable[ArmsCompared]:
    """What seeing the flags does, for every mode, on flagged cases that one read with them and one without."""
    for mode, title in titles.items():
        counts = dict.fromkeys([(True, True), (True, False), (False, True), (False, False)], 0)
        for own in twice:
            if own.mode == mode and own.flag and set(own.arms) == set(Arm):
                said = dict(zip(own.arms, own.verdicts, strict=True))
                counts[said[Arm.PROMPTED] == Verdict.CONFIRM, said[Arm.UNPROMPTED] == Verdict.CONFIRM] += own.cases
        both, prompted, unprompted, neither = counts.values()
        yield _arms_compared(title, both, prompted, unprompted, neither, fewest)


def _arms_compared(title: str, both: int, prompted: int, unprompted: int, neither: int, fewest: int) -> ArmsCompared:
    cases = both + prompted + unprompted + neither
    if 0 < cases < fewest:
        return ArmsCompared(title, cases, 0, 0, unknown(_kept_back(fewest)))
    why = "no flagged case was read both with and without the flags yet"
    difference = paired_difference(both, prompted, unprompted, neither, why)
    return ArmsCompared(title, cases, both + prompted, both + unprompted, difference)


def _agreement(name: str, twice: Sequence[ReadTwice], fewest: int, *, interval: bool = False) -> Agreement:
    tables = _tables(twice)
    compared = int(tables.sum())
    if 0 < tables.sum(axis=(1, 2)).max(initial=0) < fewest:
        why = _kept_back(fewest)
        return Agreement(name, compared, 0, unknown(why), unknown(why))
    same = int(np.trace(tables, axis1=-2, axis2=-1).sum())
    agreed = share(same, compared, "no case was read twice yet")
    return Agreement(name, compared, same, agreed, alpha_figure(tables, interval=interval))


def _kept_back(fewest: int) -> str:
    return f"kept back: fewer than {fewest} cases were read twice"


def _tables(twice: Sequence[ReadTwice]) -> Counts:
    """*Shape:* ``(modes, verdicts, verdicts)``."""
    modes = sorted({own.mode for own in twice})
    tables = np.zeros((len(modes), len(_VERDICTS), len(_VERDICTS)), np.int64)
    for own in twice:
        one, other = (_VERDICTS.index(verdict) for verdict in own.verdicts)
        tables[modes.index(own.mode), one, other] += own.cases
    return tables
