"""Accounts: who may do what at the desk, and who is that? Passwords, sessions, queues.

Passwords are kept as argon2id hashes, tokens of sessions as their SHA-256 only. Hashing takes time on purpose, and no
transaction waits for it: on SQLite everybody else would wait too.
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from secondlook.config import ReviewConfig
from secondlook.errors import DeskError, MissingError, RefusedError
from secondlook.review.database import Desk
from secondlook.review.record import SYSTEM, Action, append
from secondlook.review.tables import QueueAccess, Role, Run, SignIn, SignInFailure, User

MINIMUM_PASSWORD = 12
LONGEST_PASSWORD = 1024
LONGEST_NAME = 64
SHORTEST_DIGEST = 6
"""Digits by which a run may be named."""

SINGLE_USER = "single user"
"""The account of whoever works alone, without a password, on the machine itself."""

TOUCH = timedelta(minutes=1)
"""A session's last request is written down at most so often: a page that is only read should not have to write."""

WRONG = "The name or the password is not right."

# As OWASP's Password Storage Cheat Sheet has Argon2id: an office that signs in at nine must not stop those at work.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_AT_ONCE = threading.BoundedSemaphore(2)  # nor may many sign-ins at once take all cores and much memory


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account. ``run_ids`` are the queues they may read; None: all of them."""

    id: int
    name: str
    pseudonym: str
    role: Role
    run_ids: frozenset[int] | None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session of a browser: the secret in its cookie, the secret in its forms, and whose it is."""

    token: str
    csrf: str
    person: Person


def add_user(session: Session, name: str, role: Role, password: str | None, now: datetime) -> Person:
    """Add an account; without a password nobody signs in to it.

    Raises:
        DeskError: the name is taken or cannot be one, or the password is too weak.
    """
    name = normalise_name(name)
    if name == SINGLE_USER:
        raise DeskError(f"'{SINGLE_USER}' is the account of whoever works without one; take another name")
    return _person(session, _add(session, name, role, password, now))


def set_password(session: Session, name: str, password: str) -> None:
    """Give an account another password; its sessions end, and failed sign-ins to it are forgotten.

    Raises:
        MissingError: there is no such account.
        DeskError: the password is too weak.
    """
    user = _user(session, name)
    user.password_hash = _hash(user.name, password)
    _end_sessions(session, user)
    session.execute(delete(SignInFailure).where(SignInFailure.name == _tried(user.name)))
    append(session, SYSTEM, Action.USER_CHANGED, detail={"user": user.pseudonym, "what": "password"})


def disable_user(session: Session, name: str, now: datetime) -> None:
    """Close an account: its sessions end and nobody signs in to it; what it decided stays.

    Raises:
        MissingError: there is no such account.
    """
    user = _user(session, name)
    user.disabled_at = user.disabled_at or now
    _end_sessions(session, user)
    append(session, SYSTEM, Action.USER_CHANGED, detail={"user": user.pseudonym, "what": "disabled"})


def list_users(session: Session) -> list[Person]:
    """Every account by name, disabled ones included."""
    queues: dict[int, set[int]] = {}
    for user_id, run_id in session.execute(select(QueueAccess.user_id, QueueAccess.run_id)):
        queues.setdefault(user_id, set()).add(run_id)
    users = session.scalars(select(User).order_by(User.name))
    return [_as_person(user, frozenset(queues.get(user.id, ()))) for user in users]


def has_accounts(session: Session) -> bool:
    """Whether anybody can sign in with a password."""
    with_password = select(User.id).where(User.password_hash.is_not(None), User.disabled_at.is_(None))
    return session.scalar(with_password.limit(1)) is not None


def assign_queue(session: Session, run_id: int, name: str, actor: str) -> None:
    """Let somebody read a run's cases.

    Args:
        session: of :meth:`secondlook.review.database.Desk.writing`.
        run_id: the run's key on the desk.
        name: of the account.
        actor: the pseudonym of who assigns, or :data:`secondlook.review.record.SYSTEM`.

    Raises:
        MissingError: there is no such account or run.
    """
    user, run = _user(session, name), session.get(Run, run_id)
    if run is None:
        raise MissingError("there is no such queue on this desk")
    if session.get(QueueAccess, (run_id, user.id)) is None:
        session.add(QueueAccess(run_id=run_id, user_id=user.id))
        append(session, actor, Action.QUEUE_ASSIGNED, run=run.digest, detail={"to": user.pseudonym})


def run_named(session: Session, name: str) -> Run:
    """The run that a command means: by its name, its folder, or the beginning of its digest.

    Raises:
        MissingError: none is called so.
        DeskError: several are.
    """
    called = [Run.name == name, Run.folder == name, Run.folder == str(Path(name).absolute())]
    if len(name) >= SHORTEST_DIGEST:
        called.append(Run.digest.startswith(name, autoescape=True))
    found = session.scalars(select(Run).where(or_(*called))).all()
    if not found:
        names = ", ".join(sorted(session.scalars(select(Run.name).distinct().limit(10)))) or "none"
        raise MissingError(f"'{name}': no such queue on this desk; there are: {names}")
    if len(found) > 1:
        digests = ", ".join(sorted(run.digest[:12] for run in found))
        raise DeskError(f"'{name}': several queues are called so; say which by its digest: {digests}")
    return found[0]


def run_names(session: Session) -> dict[int, str]:
    """What the runs on the desk are called, by their key."""
    return {run.id: run.name for run in session.execute(select(Run.id, Run.name))}


def person(session: Session, user_id: int) -> Person:
    """Whose account that is.

    Raises:
        MissingError: there is no such account.
    """
    user = session.get(User, user_id)
    if user is None:
        raise MissingError("there is no such account")
    return _person(session, user)


def check_access(person: Person, run_id: int) -> None:
    """See that somebody may read a run's cases.

    Raises:
        RefusedError: it was not assigned to them.
    """
    if person.run_ids is not None and run_id not in person.run_ids:
        raise RefusedError("This queue is not assigned to you; an administrator can assign it.")


def sign_in(desk: Desk, name: str, password: str, address: str, config: ReviewConfig, now: datetime) -> SignedIn:
    """Open a session for whoever knows the password.

    An attempt counts as failed before the password is looked at, so that many at once are throttled too. A name that
    nobody has takes as long as one with another password.

    Args:
        desk: where; transactions of its own, so that a failure is written down although it raises.
        name: as typed.
        password: as typed.
        address: of the browser.
        config: how many failures are too many.
        now: the time.

    Raises:
        RefusedError: wrong, or too many failures before it.
    """
    return _open_with(desk, name, password, address, config, now)


def change_password(
    desk: Desk, who: Person, current: str, wanted: str, address: str, config: ReviewConfig, now: datetime
) -> SignedIn:
    """Take another password, knowing the one before; every session ends, and a new one is opened.

    Raises:
        RefusedError: the current one is wrong, or there were too many failures before.
        DeskError: the new one is too weak.
    """
    new_hash = _hash(who.name, wanted)
    return _open_with(desk, who.name, current, address, config, now, new_hash)


def enter(desk: Desk, config: ReviewConfig, now: datetime) -> SignedIn:
    """Open a session for whoever works alone; their account is made at the first time."""
    with desk.writing() as session:
        user = session.scalar(select(User).where(User.name == SINGLE_USER))
        user = user or _add(session, SINGLE_USER, Role.ADMINISTRATOR, None, now)
        append(session, user.pseudonym, Action.SIGNED_IN, detail={"by": "one-time link"})
        return _open(session, user, config, now)


def leave(desk: Desk) -> None:
    """End the sessions of whoever worked alone, now that there are accounts."""
    with desk.writing() as session:
        user = session.scalar(select(User).where(User.name == SINGLE_USER))
        if user is not None:
            _end_sessions(session, user)


def signed_in(desk: Desk, token: str, config: ReviewConfig, now: datetime) -> SignedIn | None:
    """Whose session a cookie's token opens; None if it is none, or has ended."""
    with desk.reading() as session:
        found = _session_of(session, token)
        if found is None:
            return None
        entry, user = found
        idle = now - entry.seen_at
        if user.disabled_at is not None or now >= entry.ends_at or idle >= timedelta(minutes=config.idle_minutes):
            return None
        signed = SignedIn(token, entry.csrf, _person(session, user))
    if idle >= TOUCH:
        with desk.writing() as session:
            session.execute(update(SignIn).where(SignIn.token_hash == _digest(token)).values(seen_at=now))
    return signed


def sign_out(session: Session, token: str) -> None:
    """End a session; one that has ended already stays so."""
    found = _session_of(session, token)
    if found is not None:
        entry, user = found
        session.delete(entry)
        append(session, user.pseudonym, Action.SIGNED_OUT)


def normalise_name(name: str) -> str:
    """A name as it is stored: small letters, and no two that merely look different to a computer.

    >>> normalise_name("  Ａnna ")
    'anna'

    Raises:
        DeskError: it is empty, too long, or holds what cannot be printed.
    """
    plain = _plain(name)
    if not plain or len(plain) > LONGEST_NAME or not plain.isprintable():
        raise DeskError(f"a name has 1 to {LONGEST_NAME} characters that can be printed")
    return plain


def _add(session: Session, name: str, role: Role, password: str | None, now: datetime) -> User:
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise DeskError(f"'{name}': there is such an account already; take another name")
    hashed = None if password is None else _hash(name, password)
    user = User(name=name, pseudonym=_pseudonym(session), role=role, password_hash=hashed, created_at=now)
    session.add(user)
    session.flush()
    append(session, SYSTEM, Action.USER_ADDED, detail={"user": user.pseudonym, "role": role})
    return user


def _pseudonym(session: Session) -> str:
    """A pseudonym that nobody has, and that says nothing of a name: ``r-7f3a``."""
    taken = set(session.scalars(select(User.pseudonym)))
    length = 4 if len(taken) < 10_000 else 8
    while (pseudonym := f"r-{secrets.token_hex(length // 2)}") in taken:
        pass
    return pseudonym


def _user(session: Session, name: str) -> User:
    user = session.scalar(select(User).where(User.name == normalise_name(name)))
    if user is None:
        raise MissingError(f"'{name}': there is no such account; 'secondlook review user list' shows them")
    return user


def _person(session: Session, user: User) -> Person:
    assigned = (
        ()
        if user.role == Role.ADMINISTRATOR
        else session.scalars(select(QueueAccess.run_id).where(QueueAccess.user_id == user.id))
    )
    return _as_person(user, frozenset(assigned))


def _as_person(user: User, run_ids: frozenset[int]) -> Person:
    role = Role(user.role)
    readable = None if role is Role.ADMINISTRATOR else run_ids
    return Person(user.id, user.name, user.pseudonym, role, readable, user.disabled_at is not None)


def _open_with(
    desk: Desk,
    name: str,
    password: str,
    address: str,
    config: ReviewConfig,
    now: datetime,
    new_hash: str | None = None,
) -> SignedIn:
    with desk.writing() as session:
        known = _attempt(session, name, address, config, now)
    right, better = _verify(known, password)
    with desk.writing() as session:
        user = session.get(User, known.id) if right and known is not None else None
        # Between the two transactions the account may have been closed, or its password changed.
        if user is not None and user.disabled_at is None and known and user.password_hash == known.password_hash:
            return _accept(session, user, address, config, now, new_hash, better)
        append(session, known.pseudonym if known else SYSTEM, Action.SIGN_IN_FAILED, detail={"address": address})
    raise RefusedError(WRONG)


def _attempt(session: Session, name: str, address: str, config: ReviewConfig, now: datetime) -> User | None:
    """Count an attempt, refuse it if there were too many, and find the account that it is for."""
    since = now - timedelta(minutes=config.sign_in_minutes)
    session.execute(delete(SignInFailure).where(SignInFailure.at < since))
    for same, most in (
        (SignInFailure.name == _tried(name), config.sign_in_attempts),
        (SignInFailure.address == address, config.address_attempts),
    ):
        if (session.scalar(select(func.count()).where(same)) or 0) >= most:
            raise RefusedError(
                f"Too many sign-ins failed; wait {config.sign_in_minutes} minutes, or ask an administrator."
            )
    session.add(SignInFailure(name=_tried(name), address=address, at=now))
    return session.scalar(select(User).where(User.name == _plain(name)))


def _accept(
    session: Session,
    user: User,
    address: str,
    config: ReviewConfig,
    now: datetime,
    new_hash: str | None,
    better: str | None,
) -> SignedIn:
    # Only what this person mistyped here: others' attempts at the name, and this address's at other names, still count.
    mistyped = delete(SignInFailure).where(SignInFailure.name == _tried(user.name), SignInFailure.address == address)
    session.execute(mistyped)
    user.password_hash = new_hash or better or user.password_hash
    if new_hash is not None:
        _end_sessions(session, user)
        append(session, user.pseudonym, Action.USER_CHANGED, detail={"user": user.pseudonym, "what": "password"})
    append(session, user.pseudonym, Action.SIGNED_IN, detail={"address": address})
    return _open(session, user, config, now)


def _open(session: Session, user: User, config: ReviewConfig, now: datetime) -> SignedIn:
    idle = now - timedelta(minutes=config.idle_minutes)
    session.execute(delete(SignIn).where(or_(SignIn.ends_at <= now, SignIn.seen_at <= idle)))
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    ends_at = now + timedelta(hours=config.session_hours)
    session.add(
        SignIn(token_hash=_digest(token), user_id=user.id, csrf=csrf, created_at=now, seen_at=now, ends_at=ends_at)
    )
    return SignedIn(token, csrf, _person(session, user))


def _end_sessions(session: Session, user: User) -> None:
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))


def _session_of(session: Session, token: str) -> tuple[SignIn, User] | None:
    with_user = select(SignIn, User).join(User, User.id == SignIn.user_id)
    found = session.execute(with_user.where(SignIn.token_hash == _digest(token))).one_or_none()
    return None if found is None else (found[0], found[1])


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold().encode("utf-8", "replace").decode()


def _tried(name: str) -> str:
    """What is kept of a name that was tried: people type passwords into the wrong field."""
    return _digest(_plain(name))


def _secret(password: str) -> bytes:
    # One keyboard's é is one code point, another's is two.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _hash(name: str, password: str) -> str:
    if not MINIMUM_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise DeskError(
            f"a password has at least {MINIMUM_PASSWORD} characters, and at most {LONGEST_PASSWORD:,}; "
            "a few words make a good one"
        )
    if _plain(password) == name:
        raise DeskError("a password must not be the name")
    with _AT_ONCE:
        return _HASHER.hash(_secret(password))


def _verify(user: User | None, password: str) -> tuple[bool, str | None]:
    """Whether a password is the account's; and its hash made anew where today's parameters are others."""
    usable = user is not None and user.password_hash is not None and user.disabled_at is None
    stored = user.password_hash if usable and user else None
    secret, nobodys = _secret(password[: LONGEST_PASSWORD + 1]), _nobodys_hash()
    with _AT_ONCE:
        try:
            _HASHER.verify(stored or nobodys, secret)
        except (VerificationError, InvalidHashError):
            return False, None
        if stored is None:
            return False, None
        return True, _HASHER.hash(secret) if _HASHER.check_needs_rehash(stored) else None


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash(secrets.token_bytes(32))
