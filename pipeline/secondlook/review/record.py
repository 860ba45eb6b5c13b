"""The record: who did what, and whether any of it was altered since.

Every entry holds the hash of the one before it, and the database refuses to change or remove one. Whoever can write to
the database's files could still write a whole new chain; against that, keep the last hash elsewhere and verify against
it. The construction is that of Haber and Stornetta, "How to time-stamp a digital document" (1991), section 5.1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from secondlook.review.tables import NUL_SHOWN, Entry, Head

BEGINNING = "0" * 64
"""What the first entry has for the hash before it."""

SYSTEM = "system"
"""Who acts where nobody has signed in: the command line."""


class Action(StrEnum):
    """What can happen at a desk."""

    RUN_ADDED = "run added"
    USER_ADDED = "user added"
    USER_CHANGED = "user changed"
    QUEUE_ASSIGNED = "queue assigned"
    SIGNED_IN = "signed in"
    SIGN_IN_FAILED = "sign-in failed"
    SIGNED_OUT = "signed out"
    QUEUE_SEEN = "queue seen"
    CASE_SEEN = "case seen"
    CASE_PRINTED = "case printed"
    FIGURES_SEEN = "figures seen"
    DECIDED = "decided"
    MARKED = "marked"
    UNMARKED = "unmarked"
    NOTED = "noted"
    UNDONE = "undone"
    FINISHED = "finished"
    REOPENED = "reopened"
    RELEASED = "released"
    EXPORTED = "exported"
    BACKED_UP = "backed up"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the record is not what was written: the entry's number, and what is wrong with it."""

    sequence: int
    what: str


def append(
    session: Session,
    actor: str,
    action: Action,
    *,
    run: str | None = None,
    case_id: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> str:
    """Add an entry to the record, in the transaction of what it tells; returns its hash.

    Args:
        session: of :meth:`secondlook.review.database.Desk.writing`.
        actor: a pseudonym, or :data:`SYSTEM`.
        action: what happened.
        run: the digest of the run that it happened to.
        case_id: the input's id of the case that it happened to.
        detail: plain data; never a narrative.
    """
    head = session.scalars(select(Head).with_for_update().execution_options(populate_existing=True)).one()
    entry = Entry(
        sequence=head.sequence + 1,
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        actor=storable(actor),
        action=action,
        run=run,
        case_id=None if case_id is None else storable(case_id),
        detail=json.dumps(detail or {}, sort_keys=True, separators=(",", ":")),  # ASCII: any text can be stored
        previous=head.hash,
        hash="",
    )
    entry.hash = entry_hash(entry)
    session.add(entry)
    head.sequence, head.hash = entry.sequence, entry.hash
    session.flush()
    return entry.hash


def entry_hash(entry: Entry) -> str:
    """The SHA-256 over everything that an entry says, and the hash before it."""
    said = [entry.sequence, entry.at, entry.actor, entry.action, entry.run, entry.case_id, entry.detail, entry.previous]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def head_of(session: Session) -> tuple[int, str]:
    """How many entries the record has, and the hash of the last."""
    head = session.scalars(select(Head)).one()
    return head.sequence, head.hash


def first_break(session: Session, expected: str | None = None) -> Break | None:
    """The first place where the chain does not hold; None if it holds from end to end.

    Args:
        session: any.
        expected: a hash that was kept elsewhere, and must be in the chain.
    """
    entries = session.scalars(select(Entry).order_by(Entry.sequence).execution_options(yield_per=1000))
    found, last = False, (0, BEGINNING)
    for entry in entries:
        if broken := _broken(entry, last):
            return broken
        found |= entry.hash == expected
        last = entry.sequence, entry.hash
        session.expunge(entry)
    head = session.scalars(select(Head)).one_or_none()
    if head is None or (head.sequence, head.hash) != last:
        return Break(last[0] + 1, "is missing: the record's end was cut off, or what says where it ends was changed")
    if expected is not None and not found and expected != BEGINNING:
        return Break(last[0], "is the last, and no entry has the hash that was expected: the record is another one")
    return None


def storable(text: str) -> str:
    """A short text as the desk stores it."""
    return text.replace("\0", NUL_SHOWN)


def _broken(entry: Entry, last: tuple[int, str]) -> Break | None:
    if entry.sequence != last[0] + 1:
        return Break(last[0] + 1, "is missing")
    if entry.previous != last[1]:
        return Break(entry.sequence, "does not continue the one before it")
    if entry.hash != entry_hash(entry):
        return Break(entry.sequence, "was changed: its hash is another")
    return None


def together(digests: Iterable[str]) -> str:
    """One SHA-256 over many, in their order."""
    digest = hashlib.sha256()
    for one in digests:
        digest.update(bytes.fromhex(one))
    return digest.hexdigest()
