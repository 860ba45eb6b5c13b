"""Queue: what is to be read, in which order? Server-side, a page at a time.

Every question is answered from an index; nothing here looks at all cases of a large run but to count them, and what is
counted under a filter is counted up to :data:`MOST_COUNTED`. Copies do not come up by themselves: they are read with
the case that they copy, and found by their id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, asc, bindparam, desc, exists, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from secondlook.config import ReviewConfig
from secondlook.errors import MissingError
from secondlook.review.accounts import Person, check_access
from secondlook.review.assignment import DONE, UNFINISHED, is_blind
from secondlook.review.record import storable
from secondlook.review.search import matching
from secondlook.review.tables import Arm, CaseRow, FieldRow, Kind, Review, Role, Run, ScoreRow, Status, User, mode_bit

MOST_COUNTED = 5_000
"""Up to so many cases are counted under a filter, status aside; what lies beyond is reached by a narrower one."""

_SHORT = 20_000
"""A list of no more cases is read from end to end if need be; a longer one holds many of all cases."""

_FARTHEST = 1 << 31
"""No page lies further on; beyond, databases count no more."""

MOST_VALUES = 50
"""Of a field with more different values, none is offered: it is to be typed."""

MOST_FIELDS = 50
"""So many fields are offered as filters."""


class Order(StrEnum):
    """In what order cases come to a reviewer: as ranked, or what would teach the next model most."""

    RANK = "rank"
    UNCERTAIN = "uncertain"
    DIVERSE = "diverse"
    RANDOM = "random"


@dataclass(frozen=True)
class Filters:
    """Which cases are asked for; all that is given must hold.

    ``mode`` is one that was flagged, ``reviewer`` a pseudonym, ``since`` and ``until`` days on which a case was
    received, both included, ``fields`` name and value of the input's own columns, ``text`` words of the narrative or
    a case's id, ``audit`` those drawn for the audit. What would tell something of the model's word on a case from
    which it must be hidden does not find that case.
    """

    mode: str | None = None
    status: Status | None = None
    reviewer: str | None = None
    since: date | None = None
    until: date | None = None
    fields: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    audit: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A case as the queue shows it.

    ``id`` is its key on the desk, ``flags`` are the flagged modes with their scores, the highest first, ``copies`` how
    many near-duplicates are read with it, ``reviewers`` the pseudonyms of those who have it or had it to the end.
    Where ``blind``, what the model said is hidden: no priority, no explanation, no flags.
    """

    id: int
    case_id: str
    rank: int
    priority: float | None
    explanation: str
    received: datetime | None
    flags: list[tuple[str, float]]
    status: Status
    copies: int
    drawn_for_audit: bool
    reviewers: list[str]
    blind: bool


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A page of the queue. ``page`` counts from 1; ``more`` says that ``total`` is where counting stopped."""

    lines: list[Line]
    total: int
    page: int
    pages: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in cases (copies aside); what was finished today, in reviews, by days of UTC."""

    total: int
    finished: int
    left: int
    mine_today: int
    all_today: int


@dataclass(frozen=True, slots=True)
class Facets:
    """What a filter can be chosen from. A field without values has too many to list."""

    reviewers: list[str] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)


# --- A page -------------------------------------------------------------------------------------------------------


def queue_page(session: Session, person: Person, run_id: int, filters: Filters, page: int, size: int) -> QueuePage:
    """A page of a run's queue, by rank.

    Args:
        session: any.
        person: who looks.
        run_id: whose cases.
        filters: which of them.
        page: from 1; one beyond the last gives the last.
        size: cases on a page.

    Raises:
        RefusedError: the run is not assigned to them.
        MissingError: there is no such run.
    """
    check_access(person, run_id)
    question = _ask(session, person, run_id, filters)
    page = max(1, page)
    keys = _keys(session, question, page, size)
    if len(keys) < size and (keys or page == 1):  # the last page: all are counted
        total, more = (page - 1) * size + len(keys), False
    else:
        total, more = _total(session, question, filters)
    pages = max(1, -(-total // size))
    if page > pages:
        page, keys = pages, _keys(session, question, pages, size)
    return QueuePage(_lines(session, person, keys), total, page, pages, more or question.cut)


def _keys(session: Session, question: _Question, page: int, size: int) -> Sequence[int]:
    found = question.found()
    offset = min((page - 1) * size, _FARTHEST)
    return session.scalars(found.keys.order_by(found.rank).limit(size).offset(offset)).all()


def _total(session: Session, question: _Question, filters: Filters) -> tuple[int, bool]:
    """How many cases are found, and whether there are more than were counted."""
    keys = question.found().keys
    if filters == Filters(status=filters.status):
        return _count(session, keys), False
    counted = _count(session, keys.limit(MOST_COUNTED + 1))
    return min(counted, MOST_COUNTED), counted > MOST_COUNTED


def _lines(session: Session, person: Person, keys: Sequence[int]) -> list[Line]:
    cases = session.scalars(select(CaseRow).where(CaseRow.id.in_(keys)).order_by(CaseRow.rank)).all()
    flags = _flags(session, keys)
    reviews = _reviews(session, [*keys, *(case.original_id for case in cases if case.original_id is not None)])
    lines = []
    for case in cases:
        has = [pseudonym for review, pseudonym in reviews[case.id] if review.released_at is None]
        blind = _is_blind(session, person, case, reviews)
        lines.append(
            Line(
                id=case.id,
                case_id=case.case_id,
                rank=case.rank,
                priority=None if blind else case.priority,
                explanation="" if blind else case.explanation,
                received=case.received,
                flags=[] if blind else flags[case.id],
                status=Status(case.status),
                copies=case.copies,
                drawn_for_audit=case.drawn_for_audit and not blind,
                reviewers=has,
                blind=blind,
            )
        )
    return lines


def _flags(session: Session, keys: Sequence[int]) -> Mapping[int, list[tuple[str, float]]]:
    chosen = select(ScoreRow.case_id, ScoreRow.mode, ScoreRow.score).where(
        ScoreRow.case_id.in_(keys), ScoreRow.flag.is_(True)
    )
    flags: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for key, mode, score in sorted(session.execute(chosen).tuples(), key=lambda row: (-row[2], row[1])):
        flags[key].append((mode, score))
    return flags


def _reviews(session: Session, keys: Sequence[int]) -> Mapping[int, list[tuple[Review, str]]]:
    chosen = select(Review, User.pseudonym).join(User, User.id == Review.user_id).where(Review.case_id.in_(keys))
    reviews: dict[int, list[tuple[Review, str]]] = defaultdict(list)
    for review, pseudonym in session.execute(chosen.order_by(Review.id)).tuples():
        reviews[review.case_id].append((review, pseudonym))
    return reviews


def _is_blind(session: Session, person: Person, case: CaseRow, reviews: Mapping[int, list[tuple[Review, str]]]) -> bool:
    mine = next((review for review, _ in reviews[case.id] if review.user_id == person.id), None)
    if is_blind(case, mine, person):
        return True
    original = None if case.original_id is None else session.get(CaseRow, case.original_id)
    return original is not None and _is_blind(session, person, original, reviews)


# --- Filters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _List:
    """Cases by their keys: those that somebody reviewed, or whose field has a value; ``size`` is counted to a limit."""

    table: Any
    key: ColumnElement[int]
    wanted: ColumnElement[bool]
    size: int


@dataclass(frozen=True)
class _Found:
    """The keys of cases, and what puts them into the order of their ranks: the rank, or the key that grows with it."""

    keys: Select[Any]
    rank: ColumnElement[int]


@dataclass(frozen=True)
class _Question:
    """What filters ask for: of the case's own row, and of lists, the shortest first.

    ``cut`` says that its words are held by more than the :data:`MOST_COUNTED` cases that are looked through.
    """

    keys: Select[Any]
    lists: list[_List]
    cut: bool

    def found(self, *, by_list: bool = True) -> _Found:
        """The cases, looked up from the shortest list if that is short and ``by_list``, otherwise read by rank."""
        first = self.lists[0] if by_list and self.lists and self.lists[0].size <= _SHORT else None
        keys = self.keys
        for other in self.lists:
            if other is not first:
                keys = keys.where(exists().where(other.key == CaseRow.id, other.wanted))
        if first is None:
            return _Found(keys, CaseRow.rank.expression)
        return _Found(keys.join(first.table, first.key == CaseRow.id).where(first.wanted), first.key)


def _ask(
    session: Session, person: Person, run_id: int, filters: Filters, *conditions: ColumnElement[bool]
) -> _Question:
    run = session.get(Run, run_id)
    if run is None:
        raise MissingError("there is no such queue on the desk; go back to the queues")
    keys = select(CaseRow.id).where(CaseRow.run_id == run_id, *_of_the_case(run, filters), *conditions)
    exact = _by_id(session, run_id, filters.text)
    if filters.mode is not None or filters.audit:
        keys = keys.where(_not_hidden(person), _original_not_hidden(person) if exact is not None else true())
    keys = keys.where(CaseRow.original_id.is_(None) if exact is None else CaseRow.id == exact)
    words = _of_words(session, keys, filters.text) if exact is None else None
    if words is not None:
        keys = keys.where(_among(words))
    return _Question(keys, _lists(session, run_id, filters), words is not None and len(words) == MOST_COUNTED)


def _among(keys: Sequence[int]) -> ColumnElement[bool]:
    """Whether a case is one of some; they are written out, as no database takes so many parameters."""
    return CaseRow.id.in_(bindparam("among", keys, expanding=True, literal_execute=True, unique=True))


def _count(session: Session, keys: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(keys.subquery())) or 0


def _of_the_case(run: Run, filters: Filters) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if filters.mode is not None:
        wanted.append(CaseRow.flagged.bitwise_and(mode_bit(run.codebook, filters.mode)) != 0)
    if filters.status is not None:
        wanted.append(CaseRow.status == filters.status)
    if filters.since is not None:
        wanted.append(CaseRow.received >= _midnight(filters.since))
    if filters.until is not None:
        wanted.append(CaseRow.received < _midnight(filters.until, days=1))
    if filters.audit:
        wanted.append(CaseRow.drawn_for_audit.is_(True))
    return wanted


def _not_hidden(person: Person) -> ColumnElement[bool]:
    if person.role == Role.ADMINISTRATOR:
        return true()
    return or_(CaseRow.unprompted.is_(False), CaseRow.status.not_in(UNFINISHED))


def _original_not_hidden(person: Person) -> ColumnElement[bool]:
    """What the model said of a copy says what it said of the original; only by its id is a copy found."""
    if person.role == Role.ADMINISTRATOR:
        return true()
    original = aliased(CaseRow)
    hidden = and_(original.unprompted.is_(True), original.status.in_(UNFINISHED))
    return ~exists().where(original.id == CaseRow.original_id, hidden).correlate(CaseRow)


def _by_id(session: Session, run_id: int, text: str | None) -> int | None:
    if text is None:
        return None
    return session.scalar(select(CaseRow.id).where(CaseRow.run_id == run_id, CaseRow.case_id == _clean(text.strip())))


def _of_words(session: Session, keys: Select[Any], text: str | None) -> Sequence[int] | None:
    """The first cases that hold the words of a text, from the first to the last of ``keys``; None if it has no word."""
    chosen = None if text is None else matching(session, text)
    if chosen is None:
        return None
    first, last = (session.scalar(keys.order_by(way(CaseRow.rank)).limit(1)) for way in (asc, desc))
    if first is None or last is None:
        return []
    key = chosen.selected_columns[0]
    held: Select[Any] = chosen.where(key >= first, key <= last).order_by(key).limit(MOST_COUNTED)
    return session.scalars(held).all()


def _lists(session: Session, run_id: int, filters: Filters) -> list[_List]:
    """What is looked up elsewhere than in the case's own row, the shortest list first."""
    lists: list[tuple[Any, ColumnElement[int], ColumnElement[bool]]] = []
    if filters.reviewer is not None:
        user = select(User.id).where(User.pseudonym == _clean(filters.reviewer)).scalar_subquery()
        wanted = and_(Review.run_id == run_id, Review.user_id == user, Review.released_at.is_(None))
        lists.append((Review, Review.case_id.expression, wanted))
    for name, value in filters.fields:
        row = aliased(FieldRow)
        wanted = and_(row.run_id == run_id, row.name == _clean(name), row.value == _clean(value))
        lists.append((row, row.case_id.expression, wanted))
    sized = (_List(*known, _count(session, select(known[1]).where(known[2]).limit(_SHORT + 1))) for known in lists)
    return sorted(sized, key=lambda known: known.size)


def _clean(text: str) -> str:
    """A text that any database takes; one that holds half of a surrogate pair is found nowhere."""
    return storable(text.encode("utf-8", "replace").decode())


def _midnight(day: date, days: int = 0) -> datetime:
    """The beginning of a day of UTC, or of one that many days later; never beyond what a date can say."""
    return datetime.combine(date.fromordinal(min(day.toordinal() + days, date.max.toordinal())), time(), UTC)


# --- The next case ------------------------------------------------------------------------------------------------


def next_case(
    session: Session, person: Person, run_id: int, filters: Filters, order: Order, config: ReviewConfig, now: datetime
) -> int | None:
    """The key of the case that a person should read next; None if nothing is left for them.

    What they have begun comes first, then, for those who decide between others, what is disputed, then what is free,
    in the order asked for: nobody's cases, those that lack a second reader, those that somebody left alone for too
    long. What they gave back themselves comes last. Two who ask at once may be told the same case: who opens it first
    has it.

    Raises:
        RefusedError: the run is not assigned to them.
        MissingError: there is no such run.
    """
    check_access(person, run_id)
    latest = now - timedelta(hours=config.release_hours)
    unfinished = CaseRow.status.not_in(DONE)
    question = _ask(session, person, run_id, filters, unfinished)
    return (
        _begun(session, person, run_id, question)
        or _disputed(session, person, question, latest)
        or _free(session, person, run_id, question, order, latest)
        or _free(session, person, run_id, question, order, latest, given_back=True)
    )


_UNDERWAY = (Review.finished_at.is_(None), Review.released_at.is_(None))
_MOST_LEFT = 1_000
"""So many reviews that were left alone are looked at."""


def _begun(session: Session, person: Person, run_id: int, question: _Question) -> int | None:
    mine = select(Review.case_id).where(Review.run_id == run_id, Review.user_id == person.id, *_UNDERWAY)
    keys = session.scalars(mine).all()
    if not keys:
        return None
    return _first(session, question.found(by_list=False).keys.where(_among(keys)).order_by(CaseRow.rank))


def _disputed(session: Session, person: Person, question: _Question, latest: datetime) -> int | None:
    if person.role == Role.REVIEWER:
        return None
    found = question.found()
    judged = exists().where(Review.case_id == CaseRow.id, *_UNDERWAY, Review.touched_at >= latest).correlate(CaseRow)
    free = found.keys.where(CaseRow.status == Status.DISPUTED, ~_mine(person, Review.released_at.is_(None)), ~judged)
    return _first(session, free.order_by(found.rank))


def _first(session: Session, keys: Select[Any]) -> int | None:
    key: int | None = session.scalar(keys.limit(1))
    return key


def _mine(person: Person, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    # Without this, a filter by reviewer, which looks into the reviews, too, would be taken for the same row.
    return exists().where(Review.case_id == CaseRow.id, Review.user_id == person.id, *conditions).correlate(CaseRow)


def _free(
    session: Session,
    person: Person,
    run_id: int,
    question: _Question,
    order: Order,
    latest: datetime,
    *,
    given_back: bool = False,
) -> int | None:
    """The first of what nobody has, or lacks a second reader, or was left alone since before ``latest``."""
    if order != Order.RANK:
        some = _free(session, person, run_id, question, Order.RANK, latest, given_back=given_back)
        if some is None:  # found out quicker by rank, where an index has all that filters look at
            return None
    found = question.found(by_list=order == Order.RANK)
    columns, falling = _order(order, found)
    direction = desc if falling else asc
    arms = (Arm.PROMPTED,) if person.role == Role.ADMINISTRATOR else tuple(Arm)
    theirs = ~_mine(person)
    if given_back:  # whoever saw what the model said cannot be the one who does not see it
        as_before = or_(CaseRow.next_arm == Arm.PROMPTED, Review.arm == CaseRow.next_arm)
        theirs = _mine(person, Review.released_at.is_not(None), as_before)
    asked = found.keys.add_columns(*columns).where(theirs).order_by(*map(direction, columns)).limit(1)
    ways = [asked.where(CaseRow.next_arm.is_not(None), CaseRow.next_arm.in_(arms))]
    if left := _left_alone(session, run_id, arms, latest):
        ways.append(asked.where(CaseRow.next_arm.is_(None), _among(left)))
    firsts = [row for row in (session.execute(way).first() for way in ways) if row is not None]
    firsts.sort(key=lambda row: tuple(row[1:]), reverse=falling)
    return firsts[0][0] if firsts else None


def _left_alone(session: Session, run_id: int, arms: Sequence[Arm], latest: datetime) -> Sequence[int]:
    left = select(Review.case_id).where(Review.run_id == run_id, *_UNDERWAY, Review.touched_at < latest)
    of_readers = left.where(Review.kind != Kind.ADJUDICATION, Review.arm.in_(arms))
    return session.scalars(of_readers.order_by(Review.touched_at).limit(_MOST_LEFT)).all()


def _order(order: Order, found: _Found) -> tuple[list[ColumnElement[Any]], bool]:
    """The columns to order by, and whether the highest come first."""
    if order == Order.RANK:
        return [found.rank], False
    first = {Order.UNCERTAIN: CaseRow.uncertainty, Order.DIVERSE: CaseRow.diversity, Order.RANDOM: CaseRow.lot}[order]
    return [first.expression, CaseRow.rank.expression], order == Order.UNCERTAIN


# --- How far, and what to choose from -----------------------------------------------------------------------------


def progress(session: Session, person: Person, run_id: int, now: datetime) -> Progress:
    """How far a run is.

    Raises:
        RefusedError: the run is not assigned to them.
    """
    check_access(person, run_id)
    cases = select(func.count()).where(CaseRow.run_id == run_id, CaseRow.original_id.is_(None))
    total = session.scalar(cases) or 0
    finished = session.scalar(cases.where(CaseRow.status.in_(DONE))) or 0
    midnight = _midnight(now.astimezone(UTC).date())
    today = select(func.count()).where(
        Review.run_id == run_id, Review.finished_at >= midnight, Review.finished_at < midnight + timedelta(days=1)
    )
    return Progress(
        total=total,
        finished=finished,
        left=total - finished,
        mine_today=session.scalar(today.where(Review.user_id == person.id)) or 0,
        all_today=session.scalar(today) or 0,
    )


def facets(session: Session, run_id: int) -> Facets:
    """Whose reviews and which values of which fields a filter can ask for."""
    reads = exists().where(Review.run_id == run_id, Review.user_id == User.id)
    reviewers = session.scalars(select(User.pseudonym).where(reads).order_by(User.pseudonym)).all()
    names = _different(session, FieldRow.name, MOST_FIELDS, FieldRow.run_id == run_id)
    fields = {}
    for name in names:
        values = _different(session, FieldRow.value, MOST_VALUES + 1, FieldRow.run_id == run_id, FieldRow.name == name)
        fields[name] = values if len(values) <= MOST_VALUES else []
    return Facets(list(reviewers), fields)


def _different(
    session: Session, column: InstrumentedAttribute[str], most: int, *conditions: ColumnElement[bool]
) -> list[str]:
    """The first different values of a column, each found by one step along its index."""
    steps = select(func.min(column).label("value")).where(*conditions).cte("steps", recursive=True)
    later = select(func.min(column)).where(*conditions, column > steps.c.value).scalar_subquery()
    steps = steps.union_all(select(later).where(steps.c.value.is_not(None)))
    found = session.scalars(select(steps.c.value).limit(most))
    return [value for value in found if value is not None]
