"""Backup: how is a desk copied and brought back? A backup is itself a desk: an SQLite file, wherever the desk lives.

So one of a PostgreSQL desk can be opened and audited by itself, and be brought back to either database. What is written
takes its place whole or not at all, and a desk that a restored one replaces is kept aside.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, inspect, select, text
from sqlalchemy.orm import Session

from secondlook.errors import DeskError
from secondlook.review import record, search
from secondlook.review.database import (
    Desk,
    Lock,
    align_keys,
    connect,
    file_of,
    hold,
    insert_rows,
    make_tables,
    open_desk,
    open_to_look,
    plain_errors,
)
from secondlook.review.intake import words_of_case
from secondlook.review.record import Action, first_break, head_of
from secondlook.review.tables import Base, CaseRow, Head, SignIn, SignInFailure
from secondlook.storage import file_digest, to_disk

_ROWS = 250
_BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite puts beside a database while it is open."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A desk that was copied: how many entries its record has, and the last one's hash.

    ``digest`` is the SHA-256 of the backup's file, ``earlier`` where the desk is kept that a restored one replaced.
    """

    entries: int
    head: str
    digest: str
    earlier: str | None = None


def backup(desk: Desk, path: Path) -> Copied:
    """Copy a desk to a new file, as it is at one moment, while it is in use; the desk's record then says so.

    Raises:
        DeskError: the file is there already, cannot be written, or the desk is damaged; nothing is left behind.
    """
    if path.exists():
        raise DeskError(f"{path}: is there already; give the backup a name of its own")
    with _fresh_file(path) as fresh:
        if desk.is_sqlite:
            _copy_file(Path(str(desk.engine.url.database)), fresh)
        else:
            _copy_to_file(desk, fresh)
        entries, head = check(fresh, desk.name)
        os.replace(fresh, path)
    copied = Copied(entries, head, file_digest(path))
    with desk.writing() as session:
        detail = {"entries": entries, "head": head, "sha256": copied.digest}
        record.append(session, record.SYSTEM, Action.BACKED_UP, detail=detail)
    return copied


def restore(path: Path, place: str | Path, *, overwrite: bool = False) -> Copied:
    """Bring a desk back from a backup. Everybody signs in anew; a desk that it replaces is kept aside.

    Args:
        path: the backup, which is checked before anything is replaced, and is not changed.
        place: where to: the path of an SQLite file, or the URL of a PostgreSQL database.
        overwrite: replace the desk that is there.

    Raises:
        DeskError: the backup is damaged or of a newer version, there is a desk already, or somebody works at it.
    """
    if not path.is_file():
        raise DeskError(f"{path}: there is no such backup")
    check(path, str(path))
    if (file := file_of(place)) is not None:
        return _restore_file(path, file, overwrite)
    with connect(place) as target:
        return _restore_rows(path, target, overwrite)


def check(path: Path, name: str) -> tuple[int, str]:
    """Check a desk's file from its pages to its record; returns the number of entries, and the hash of the last.

    Raises:
        DeskError: it is no desk, is damaged, was tampered with, or was made by a newer version.
    """
    with open_to_look(path) as desk, plain_errors(name), desk.reading() as session:
        if session.execute(text("PRAGMA integrity_check(1)")).scalar() != "ok":
            raise DeskError(f"{name}: is damaged; use another backup")
        if broken := first_break(session):
            raise DeskError(
                f"{name}: the record does not hold, entry {broken.sequence} {broken.what}; use another backup"
            )
        return head_of(session)


def _restore_file(path: Path, place: Path, overwrite: bool) -> Copied:
    there = place.is_file() and place.stat().st_size > 0
    if there and not overwrite:
        raise DeskError(f"{place}: there is a desk already; give --overwrite to replace it: it is kept aside")
    if there and place.samefile(path):
        raise DeskError(f"{path}: is the desk itself; give the file that 'secondlook review backup' wrote")
    aside = place.with_name(f"{place.stem}.before-{_moment()}{place.suffix}")
    with _fresh_file(place) as fresh:
        _copy_file(path, fresh)
        with open_desk(fresh) as restored, restored.writing() as session:
            copied = _restored(session, path, _head_of_file(place) if there else None, str(aside) if there else None)
        _close_file(fresh)
        if there:
            _take_out_of_use(place)
            _move(place, aside)
        try:
            os.replace(fresh, place)
        except OSError:
            if there:
                _move(aside, place)
            raise
    return copied


def _restore_rows(path: Path, target: Desk, overwrite: bool) -> Copied:
    """Fill a PostgreSQL database from a backup, in one transaction; an earlier desk gets a schema of its own."""
    with TemporaryDirectory(dir=path.resolve().parent, prefix=".restore-") as folder:
        fresh = Path(folder) / "desk.sqlite"
        _copy_file(path, fresh)
        with open_desk(fresh) as source, source.reading() as read, target.writing() as session:
            connection = session.connection()
            for lock in Lock:
                hold(connection, lock)
            aside, earlier = None, None
            if inspect(connection).get_table_names():
                if not overwrite:
                    raise DeskError(
                        f"{target.name}: holds tables; give --overwrite to replace them: they are kept aside"
                    )
                aside, earlier = f"before_{_moment()}", _head_of_tables(session)
                schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
                connection.execute(text(f"ALTER SCHEMA {schema} RENAME TO {aside}"))
                connection.execute(text(f"CREATE SCHEMA {schema}"))
            make_tables(connection)
            _copy_rows(read, session)
            return _restored(session, path, earlier, aside)


def _restored(session: Session, path: Path, earlier: tuple[int, str] | None, aside: str | None) -> Copied:
    """Write down on a restored desk where it comes from, and what it replaced."""
    session.execute(delete(SignIn))
    digest = file_digest(path)
    replaced = None if earlier is None else {"entries": earlier[0], "head": earlier[1]}
    detail = {"sha256": digest, "head": head_of(session)[1], "replaced": replaced}
    record.append(session, record.SYSTEM, Action.RESTORED, detail=detail)
    return Copied(*head_of(session), digest, aside)


def _copy_file(source: Path, fresh: Path) -> None:
    """Copy an SQLite desk as it is at one moment; whoever writes to it meanwhile is not kept waiting."""
    with plain_errors(str(source)), closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(fresh),))


def _copy_to_file(desk: Desk, fresh: Path) -> None:
    with desk.reading() as read, open_desk(fresh, create=True) as target, target.writing() as session:
        _copy_rows(read, session)
    _close_file(fresh)


def _copy_rows(read: Session, session: Session) -> None:
    """Copy every row of a desk to one that is empty, never all at once; who is signed in stays behind."""
    session.execute(delete(Head))
    for table in Base.metadata.sorted_tables:
        if table.name in (SignIn.__tablename__, SignInFailure.__tablename__):
            continue
        key = list(table.primary_key)
        rows = read.execute(select(table).order_by(*key).execution_options(yield_per=_ROWS)).mappings()
        for part in rows.partitions(_ROWS):
            insert_rows(session, table, [dict(row) for row in part])
            if table.name == CaseRow.__tablename__:
                search.add_to_index(session, [(row["id"], _words(row)) for row in part])
        if "id" in table.c:
            align_keys(session, table)


def _words(row: Any) -> str:
    return words_of_case(row["case_id"], row["narrative"], row["details"])


@contextmanager
def _fresh_file(place: Path) -> Iterator[Path]:
    """A file beside a place to write into, that only its owner may read; gone afterwards unless it was moved there."""
    fresh = place.with_name(f".{place.name}-{uuid4().hex[:8]}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh.touch(mode=0o600)
        yield fresh
        to_disk(place)
        to_disk(place.parent)
    except OSError as cause:
        raise DeskError(
            f"{place}: cannot be written ({cause.strerror}); free some space, or give another place"
        ) from None
    finally:
        for suffix in ("", *_BESIDE):
            with suppress(OSError):
                Path(f"{fresh}{suffix}").unlink()


def _close_file(file: Path) -> None:
    """Leave nothing of a database beside its file."""
    with plain_errors(str(file)), closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _take_out_of_use(place: Path) -> None:
    """Make sure that nobody has a desk open, and that all of it is in its one file; a damaged one is as it is."""
    try:
        with closing(sqlite3.connect(place, timeout=0)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as cause:
        if "locked" in str(cause):
            raise DeskError(f"{place}: is in use; stop 'secondlook review' there, and try again") from None
    except sqlite3.DatabaseError:
        pass


def _move(file: Path, to: Path) -> None:
    for suffix in ("", *_BESIDE):
        with suppress(FileNotFoundError):
            os.replace(f"{file}{suffix}", f"{to}{suffix}")


def _head_of_file(file: Path) -> tuple[int, str] | None:
    """How far the record of an earlier desk went; None where it cannot be read any more."""
    with suppress(DeskError), open_to_look(file) as desk, desk.reading() as session:
        return _head_of_tables(session)
    return None


def _head_of_tables(session: Session) -> tuple[int, str] | None:
    if "record_head" not in inspect(session.connection()).get_table_names():
        return None
    head = session.scalars(select(Head)).one_or_none()
    return None if head is None else (head.sequence, head.hash)


def _moment() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S").lower()
