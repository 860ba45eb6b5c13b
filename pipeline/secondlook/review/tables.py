"""Tables: what the desk stores.

A desk holds runs; a run has cases with what the model said of them; a case has reviews; a review has decisions, marks
and a note. What was done is also in the record, which only grows (:mod:`secondlook.review.record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NUL_SHOWN = "\u2400"
"""Stands for NUL in short texts, which PostgreSQL cannot store. Narratives keep theirs."""


class Role(StrEnum):
    """What an account may do; each may also do what those before it may."""

    REVIEWER = "reviewer"
    ADJUDICATOR = "adjudicator"
    ADMINISTRATOR = "administrator"


class Status(StrEnum):
    """How far a case is: nobody has it, somebody has it, it is decided, two disagree, that was settled."""

    OPEN = "open"
    TAKEN = "taken"
    FINISHED = "finished"
    DISPUTED = "disputed"
    SETTLED = "settled"


class Kind(StrEnum):
    """What a review is for: the only one of its case, one of two that do not see each other, or between two."""

    SINGLE = "single"
    DOUBLE = "double"
    ADJUDICATION = "adjudication"


class Arm(StrEnum):
    """Whether the reviewer sees what the model said."""

    PROMPTED = "prompted"
    UNPROMPTED = "unprompted"


class Verdict(StrEnum):
    """Whether a mode holds, flagged or not: it does, it does not, it cannot be told."""

    CONFIRM = "confirm"
    REJECT = "reject"
    UNSURE = "unsure"


class Moment(TypeDecorator[datetime]):
    """A moment in UTC; SQLite would forget the zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC without a zone."""
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back, with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


class ExactText(TypeDecorator[str]):
    """A text to the last code point, NUL included: its UTF-8."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Text to bytes."""
        return None if value is None else value.encode("utf-8")

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        """Bytes to text; what was tampered with is shown as well as it goes."""
        if value is None or isinstance(value, str):
            return value
        return bytes(value).decode("utf-8", "replace")


class ShortText(TypeDecorator[str]):
    """A text in which NUL is shown as a sign."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Without NUL."""
        return None if value is None else value.replace("\0", NUL_SHOWN)


class Base(DeclarativeBase):
    """Everything the desk stores."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: ShortText, datetime: Moment, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class User(Base):
    """An account. ``pseudonym`` is what records and exports call it; without a password nobody signs in to it."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    password_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class SignIn(Base):
    """A session of a browser. The cookie's token is stored as its SHA-256 only; ``one_time`` is that of a link."""

    __tablename__ = "sign_ins"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    csrf: Mapped[str]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime]


class SignInFailure(Base):
    """A sign-in that failed, for throttling; by the name that was tried and the address that it came from."""

    __tablename__ = "sign_in_failures"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]


class Run(Base):
    """A run on the desk. ``codebook`` is the bundle's, ``thresholds`` its operating points by mode, if it was there.

    ``digest`` is the SHA-256 of the run's manifest, ``cases_digest`` that over all its cases' digests in rank order.
    """

    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    cases_digest: Mapped[str]
    name: Mapped[str]
    folder: Mapped[str]
    bundle_name: Mapped[str]
    bundle_digest: Mapped[str]
    config_digest: Mapped[str]
    codebook: Mapped[dict[str, Any]]
    thresholds: Mapped[dict[str, Any]]
    cases: Mapped[int]
    added_at: Mapped[datetime]


class QueueAccess(Base):
    """Who may read a run's cases; administrators may read all."""

    __tablename__ = "queue_access"
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)


_LOOKED_AT = ("status", "next_arm", "unprompted", "flagged", "drawn_for_audit", "received", "original_id")
"""What filters look at: with it in an index, no row is fetched for a case that a filter does not let through."""


def _index(name: str, *columns: str, where: str) -> Index:
    """An index over some of the cases only."""
    condition = text(where)
    return Index(f"ix_cases_{name}", "run_id", *columns, sqlite_where=condition, postgresql_where=condition)


_READ = "original_id IS NULL"
_FREE = "original_id IS NULL AND next_arm IS NOT NULL"


def mode_bit(codebook: Mapping[str, Any], mode: str) -> int:
    """The bit that stands for a mode in ``flagged`` of a case; 0 if the run's codebook lacks it.

    >>> mode_bit({"modes": [{"id": "a"}, {"id": "b"}]}, "b")
    2
    """
    return next((1 << place for place, known in enumerate(codebook["modes"]) if known["id"] == mode), 0)


def _arms(context: ExecutionContext) -> list[Any]:
    given = context.get_current_parameters()  # type: ignore[attr-defined]
    return given["arms"] if given.get("original_id") is None else [Arm.PROMPTED]


def _first_arm(context: ExecutionContext) -> Any:
    return _arms(context)[0]


def _has_unprompted(context: ExecutionContext) -> bool:
    return Arm.UNPROMPTED in _arms(context)


class CaseRow(Base):
    """A case of a run, with its place in the queue.

    ``digest`` is the SHA-256 of all that the run says of the case. ``original_id`` is the case that this one copies:
    a copy is read with it. ``arms`` are what the reviewers see, one after the other, so that their number is how many
    reviews the case is to have; ``unprompted`` says that one of them does not see what the model said. ``next_arm``
    is what the next to take the case sees, None where nobody may take it now: it changes with the case's reviews,
    as ``status`` does. A copy has one review, prompted. ``uncertainty`` is 1 where a score is on its operating point,
    and 0 far from it; ``diversity`` and ``lot`` are places in two other orders: one in which few cases show much of
    the variety, one drawn by lot. ``flagged`` are the flagged modes again, as bits (:func:`mode_bit`), for filters.

    Keys grow with the rank within a run, so that what is found by key is found in order. What is long stands last:
    SQLite would read it to reach what stands behind.
    """

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("run_id", "case_id"),
        UniqueConstraint("run_id", "rank"),
        _index("reading", "rank", *_LOOKED_AT, where=_READ),
        _index("status", "status", "rank", *_LOOKED_AT[1:], where=_READ),
        _index("free", "rank", *_LOOKED_AT, where=_FREE),
        _index("uncertain", "uncertainty", "rank", where=_FREE),
        _index("diverse", "diversity", "rank", where=_FREE),
        _index("lot", "lot", "rank", where=_FREE),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    case_id: Mapped[str]
    digest: Mapped[str]
    rank: Mapped[int]
    priority: Mapped[float]
    uncertainty: Mapped[float]
    explanation: Mapped[str]
    received: Mapped[datetime | None]
    original_id: Mapped[int | None] = mapped_column(ForeignKey("cases.id"), index=True)
    copies: Mapped[int] = mapped_column(default=0)
    flagged: Mapped[int] = mapped_column(BigInteger, default=0)
    drawn_for_audit: Mapped[bool]
    audit_stratum: Mapped[int | None]
    inclusion_probability: Mapped[float]
    file: Mapped[str]
    row: Mapped[int]
    arms: Mapped[list[Any]]
    status: Mapped[str] = mapped_column(default=Status.OPEN)
    unprompted: Mapped[bool] = mapped_column(default=_has_unprompted)
    next_arm: Mapped[str | None] = mapped_column(default=_first_arm)
    diversity: Mapped[int] = mapped_column(default=0)
    lot: Mapped[int] = mapped_column(default=0)
    narrative: Mapped[str] = mapped_column(ExactText, deferred=True)
    details: Mapped[dict[str, Any]] = mapped_column(deferred=True)


class ScoreRow(Base):
    """What the model said of one mode of a case. ``run_id`` and ``rank`` are the case's, for quick counts."""

    __tablename__ = "scores"
    __table_args__ = (Index("ix_scores_run_id_mode_flag_rank", "run_id", "mode", "flag", "rank"),)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int]
    rank: Mapped[int]
    score: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    flag: Mapped[bool]


class EvidenceRow(Base):
    """A passage that carries a mode's score: offsets in code points, and its share from 0 to 1."""

    __tablename__ = "evidence"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    mode: Mapped[str]
    start: Mapped[int]
    end: Mapped[int]
    share: Mapped[float]


class FieldRow(Base):
    """A value of the input's own columns, cut to what a filter needs; ``details`` of a case has all, uncut."""

    __tablename__ = "fields"
    __table_args__ = (Index("ix_fields_run_id_name_value_case_id", "run_id", "name", "value", "case_id"),)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int]
    value: Mapped[str]


_UNDERWAY = text("finished_at IS NULL AND released_at IS NULL")


class Review(Base):
    """One reviewer's work on one case. ``version`` grows with every change: who writes says which one they saw.

    ``seconds`` adds up the time between one action and the next, each counted up to a limit. A review that was
    released does not count; nothing in it is lost, and its reviewer goes on with it if they take the case again.
    """

    __tablename__ = "reviews"
    __table_args__ = (
        UniqueConstraint("case_id", "user_id"),
        Index("ix_reviews_run_id_user_id_case_id", "run_id", "user_id", "case_id"),
        Index("ix_reviews_run_id_finished_at_user_id", "run_id", "finished_at", "user_id"),
        Index("ix_reviews_unfinished", "run_id", "touched_at", sqlite_where=_UNDERWAY, postgresql_where=_UNDERWAY),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    kind: Mapped[str]
    arm: Mapped[str]
    note: Mapped[str] = mapped_column(default="")
    version: Mapped[int] = mapped_column(default=1)
    opened_at: Mapped[datetime]
    touched_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    seconds: Mapped[float] = mapped_column(default=0.0)


class Decision(Base):
    """A reviewer's verdict on one mode of a case, and why."""

    __tablename__ = "decisions"
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"), primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    decided_at: Mapped[datetime]


class Mark(Base):
    """A passage that a reviewer marked as showing a mode. Offsets in code points."""

    __tablename__ = "marks"
    id: Mapped[int] = mapped_column(primary_key=True)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"), index=True)
    mode: Mapped[str]
    start: Mapped[int]
    end: Mapped[int]
    made_at: Mapped[datetime]


class Step(Base):
    """A change to a review that can be undone: ``before`` is what it replaced."""

    __tablename__ = "steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"), index=True)
    what: Mapped[str]
    before: Mapped[dict[str, Any]]
    undone: Mapped[bool] = mapped_column(default=False)


class Entry(Base):
    """A line of the record; the database refuses to change or remove one. ``detail`` is canonical JSON."""

    __tablename__ = "record"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str]
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(index=True)
    run: Mapped[str | None]
    case_id: Mapped[str | None] = mapped_column(index=True)
    detail: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]


class Head(Base):
    """The end of the record: one row. Whoever appends holds it, so that the chain has no fork."""

    __tablename__ = "record_head"
    id: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    hash: Mapped[str]
