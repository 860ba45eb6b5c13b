"""Missed: how many cases that nobody would read hold a mode all the same? By the random audit.

Each drawn case stands for the others of its stratum: those with about the same priority. What was drawn and not read
yet is taken to be like what was; read the whole audit, and nothing is taken for granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from secondlook.review.estimates import Figure, stratified_total, unknown
from secondlook.review.tables import CaseRow, Verdict
from secondlook.review.verdicts import COMPLETE, IS_READ, Decided, counted

FEWEST_READ = 20
"""Cases of the audit that must have been read before anything is estimated."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What the audit says of one mode: cases read that hold it without being flagged, and how many of all may.

    ``unsure`` are those read where it could not be told; the estimate does not count them.
    """

    title: str
    found: int
    unsure: int
    estimate: Figure


@dataclass(frozen=True, slots=True)
class Audit:
    """The random audit: how many cases nobody would read, how many of them were drawn, and of those read."""

    population: int
    drawn: int
    read: int
    modes: tuple[Missed, ...]


@dataclass(frozen=True, slots=True)
class Stratum:
    """A part of the cases that nobody would read: how many there are, were drawn and were read."""

    number: int | None
    size: int
    drawn: int
    read: int


def audit(session: Session, run_id: int, titles: Mapping[str, str], decided: Iterable[Decided]) -> Audit:
    """What a run's audit found, for every mode; ``decided`` is all that was decided of the run's cases."""
    strata = _strata(session, run_id)
    unflagged = [own for own in decided if own.drawn and not own.flag]
    return Audit(
        population=sum(stratum.size for stratum in strata),
        drawn=sum(stratum.drawn for stratum in strata),
        read=sum(stratum.read for stratum in strata),
        modes=tuple(
            _missed(title, strata, [own for own in unflagged if own.mode == mode]) for mode, title in titles.items()
        ),
    )


def _strata(session: Session, run_id: int) -> list[Stratum]:
    drawn = (CaseRow.run_id == run_id, IS_READ, CaseRow.drawn_for_audit.is_(True))
    number = CaseRow.audit_stratum
    read = counted(session, select(number, func.count()).where(*drawn, CaseRow.status.in_(COMPLETE)).group_by(number))
    every = (
        select(number, func.count(), func.min(CaseRow.inclusion_probability))
        .where(*drawn)
        .group_by(number)
        .order_by(number)
    )
    return [
        Stratum(stratum, round(count / probability), count, read.get(stratum, 0))
        for stratum, count, probability in session.execute(every)
    ]


def _missed(title: str, strata: list[Stratum], unflagged: list[Decided]) -> Missed:
    found = {own.stratum: own.cases for own in unflagged if own.verdict is Verdict.CONFIRM}
    why = _too_few(strata)
    counts = [(found.get(stratum.number, 0), stratum.read, stratum.size) for stratum in strata]
    return Missed(
        title=title,
        found=sum(found.values()),
        unsure=sum(own.cases for own in unflagged if own.verdict is Verdict.UNSURE),
        estimate=unknown(why) if why else stratified_total(counts),
    )


def _too_few(strata: list[Stratum]) -> str:
    drawn, read = sum(stratum.drawn for stratum in strata), sum(stratum.read for stratum in strata)
    if not drawn:
        return "no audit was drawn: score with 'audit' set to draw one"
    if not read:
        return "no case of the audit was read yet"
    if read < FEWEST_READ:
        return f"too few to say: {read} of the {drawn} drawn were read, and {FEWEST_READ} are needed"
    unread = sum(not stratum.read for stratum in strata)
    return f"too few to say: of {unread} of the {len(strata)} bands of priority nothing was read yet" if unread else ""
