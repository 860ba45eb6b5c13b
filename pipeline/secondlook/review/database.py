"""Database: where does the desk store what it holds, and is that intact? SQLite by path, PostgreSQL by URL."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Dialect,
    Engine,
    Table,
    TypeDecorator,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from secondlook.errors import DeskError, UnavailableError

DEFAULT = Path("runs/desk.sqlite")
WAIT_SECONDS = 10
"""How long a write waits for another to end before it is refused."""

_PART = 8_000_000
"""Characters of JSON in one statement: PostgreSQL takes no more than a gigabyte at once."""

LOST = "the connection to it was lost; is the server running? Try again"


class Lock(IntEnum):
    """What one writer holds alone until its transaction ends. On SQLite all are one, and held by whoever writes."""

    MIGRATION = 7362
    WORK = 7363
    INTAKE = 7364


class Desk:
    """An open desk: sessions to read, and transactions to write.

    Args:
        engine: of the database, whose tables are as this version needs them.
        name: what messages call it; never holds a password.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self._reader = engine.execution_options(reads=True)
        self._writer = engine.execution_options(writes=True)
        self._turn = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        """Whether the desk is one file."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session in which everything is seen as at one moment, and nothing is written.

        Raises:
            DeskError: the database cannot be read.
        """
        with plain_errors(self.name), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self, lock: Lock = Lock.WORK) -> Iterator[Session]:
        """A transaction: all of it is on the disk when the block has ended, or none.

        One at a time, so that what it has read nobody changes meanwhile: the others wait here.

        Args:
            lock: on PostgreSQL those with another lock go on beside this one.

        Raises:
            DeskError: the database cannot be written: locked for too long, full, gone.
        """
        with (
            self._waiting(),
            plain_errors(self.name),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            if not self.is_sqlite:
                hold(session.connection(), lock)
            yield session

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait for this process's other writes to SQLite, which itself only looks now and then whether it is free."""
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError(f"{self.name}: others have been writing for long; wait, and try again")
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_desk(place: str | Path = DEFAULT, *, create: bool = False) -> Desk:
    """Open a desk and bring its tables to what this version needs.

    Args:
        place: the path of an SQLite file, or the URL of a PostgreSQL database.
        create: begin a new desk where there is none.

    Raises:
        DeskError: there is no desk there, it is of a newer version, or the database cannot be reached.
    """
    desk = connect(place, create=create)
    try:
        _migrate(desk, create)
    except BaseException:
        desk.close()
        raise
    return desk


def open_to_look(file: Path) -> Desk:
    """Open an SQLite desk to look at it only: not a byte of it changes. Its tables may be those of an older version.

    Raises:
        DeskError: it is no desk, or one of a newer version.
    """
    desk = Desk(create_engine(f"sqlite:///file:{quote(str(file.resolve()))}?mode=ro&uri=true"), str(file))
    try:
        with plain_errors(desk.name), desk.engine.connect() as connection:
            _is_current(desk, connection, create=False)
    except BaseException:
        desk.close()
        raise
    return desk


def file_of(place: str | Path) -> Path | None:
    """The file of an SQLite desk, whether it is there or not; None for a PostgreSQL database."""
    url = _url(place)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def connect(place: str | Path, *, create: bool = False) -> Desk:
    """A desk as it is found, if there is one: its tables may be missing, or another version's.

    Raises:
        DeskError: there is no such file, or the place cannot be one.
    """
    url, file = _url(place), file_of(place)
    name = url.render_as_string(hide_password=True) if file is None else str(file)
    if file is not None:
        if not file.is_file() and not create:
            raise DeskError(f"{file}: there is no desk; open a run with 'secondlook review RUN', or give --desk")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)  # what people reported is nobody else's to read
        except OSError as cause:
            raise DeskError(f"{file}: cannot be written ({cause.strerror}); give --desk another place") from None
    return Desk(_engine(url), name)


def revision() -> str:
    """The revision of the tables that this version needs."""
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    assert head is not None  # noqa: S101 (the package has revisions)
    return head


def _url(place: str | Path) -> URL:
    text_ = str(place)
    if "://" not in text_:
        return URL.create("sqlite", database=text_)
    try:
        url = make_url(text_)
    except (ArgumentError, ValueError):
        raise DeskError("--desk: not a URL; give a path, or postgresql://user@host/database") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DeskError(f"--desk: '{url.get_backend_name()}' is not supported; use SQLite or PostgreSQL")
    if url.get_backend_name() == "postgresql" and not (url.username and url.database):
        raise DeskError("--desk: names no user or no database; give postgresql://user@host/database")
    return url.set(drivername="postgresql+pg8000") if url.drivername == "postgresql" else url


def _engine(url: URL) -> Engine:
    # Of a connection that breaks, a log of its statements would quote what was to be stored; who asked is told.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS}, pool_size=64, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = create_engine(url, pool_size=16, max_overflow=48, pool_pre_ping=True, hide_parameters=True)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise DeskError(
            f"--desk: the driver of '{url.drivername}' is not installed: pip install 'secondlook[review]'"
        ) from None
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # or the driver would begin transactions by itself, and too late
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # One that will write takes its place at once: to upgrade a read later may fail without waiting.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("reads", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def hold(connection: Connection, lock: Lock) -> None:
    """Wait for a lock of PostgreSQL, and hold it until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": int(lock)})


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _migrate(desk: Desk, create: bool) -> None:
    """Bring the tables to this version's; what is no desk, or a newer one, is left as it is."""
    with plain_errors(desk.name), desk.engine.connect() as connection:
        if _is_current(desk, connection, create):
            return
    with plain_errors(desk.name), desk._writer.begin() as connection:
        # Of two that open a new desk at once, the second finds it made.
        if connection.dialect.name == "postgresql":
            hold(connection, Lock.MIGRATION)
        if not _is_current(desk, connection, create):
            make_tables(connection)


def make_tables(connection: Connection) -> None:
    """Make the tables that this version needs, or change an older version's, within a transaction."""
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _is_current(desk: Desk, connection: Connection, create: bool) -> bool:
    """Whether the tables are this version's; DeskError where they are not, and must not be made so."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None and not create:
        raise DeskError(f"{desk.name}: holds no desk; open a run with 'secondlook review RUN', or give --desk")
    if found is None and inspect(connection).get_table_names():
        raise DeskError(f"{desk.name}: holds another program's tables; give --desk another place")
    known = {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}
    if found is not None and found not in known:
        raise DeskError(f"{desk.name}: was made by a newer version of secondlook; install that version")
    return found == revision()


def is_sqlite(session: Session) -> bool:
    """Whether a session is one of an SQLite desk."""
    return session.get_bind().dialect.name == "sqlite"


def insert_rows(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows quickly, on either database; all have the same columns.

    PostgreSQL gets them as one piece of JSON: its driver would send them one by one, and read a statement of thousands
    of values character by character.
    """
    if not rows:
        return
    if is_sqlite(session):
        session.execute(insert(table), rows)
        return
    columns, dialect = [table.c[name] for name in rows[0]], session.get_bind().dialect
    names = ", ".join(f'"{column.name}"' for column in columns)
    kinds = ", ".join(f'"{c.name}" {"text" if _is_json(c) else c.type.compile(dialect)}' for c in columns)
    values = ", ".join(f'"{c.name}"::json' if _is_json(c) else f'"{c.name}"' for c in columns)
    statement = text(
        f"INSERT INTO {table.name} ({names}) SELECT {values} "  # noqa: S608 (names of our own tables)
        f"FROM json_to_recordset(CAST(:rows AS json)) AS given ({kinds})"
    )
    told = ({column.name: _for_json(column, row[column.name], dialect) for column in columns} for row in rows)
    for part in _parts(json.dumps(row, default=datetime.isoformat) for row in told):
        session.execute(statement, {"rows": f"[{','.join(part)}]"})


def align_keys(session: Session, table: Table) -> None:
    """Let a table's next key be one more than its largest, after rows that came with keys of their own."""
    if not is_sqlite(session):
        sequence = func.pg_get_serial_sequence(table.name, "id")
        largest = select(func.coalesce(func.max(table.c.id), 1)).scalar_subquery()
        session.execute(select(func.setval(sequence, largest)))


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)


def _for_json(column: Column[Any], value: Any, dialect: Dialect) -> Any:
    """A value as PostgreSQL reads it out of JSON."""
    if isinstance(column.type, TypeDecorator):
        value = column.type.process_bind_param(value, dialect)
    if _is_json(column):  # as text: PostgreSQL would not take a NUL within
        return json.dumps(value)
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value


def _parts(rows: Iterable[str]) -> Iterator[list[str]]:
    """Rows in parts of about :data:`_PART` characters."""
    part, size = [], 0
    for row in rows:
        part.append(row)
        size += len(row)
        if size > _PART:
            yield part
            part, size = [], 0
    if part:
        yield part


@contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """Whatever the database says, in one line; a driver's message could quote what was to be stored."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as cause:
        raise UnavailableError(f"{name}: {why(getattr(cause, 'orig', cause))}") from None
    except ConnectionError:  # PostgreSQL's driver lets some of these through as they are
        raise UnavailableError(f"{name}: {LOST}") from None


def why(cause: BaseException | None) -> str:
    """What a driver's error means, and what to do about it; never what it quotes."""
    lowered = _said(cause).lower()
    for sign, meaning in (
        ("locked", "is locked by another program; close that, or wait, and try again"),
        ("is full", "the disk is full; free some space and try again: nothing was half-written"),
        ("no space left", "the disk is full; free some space and try again: nothing was half-written"),
        ("disk i/o error", "the disk failed, or is full; see to it and try again: nothing was half-written"),
        ("deadlock", "two changes waited for each other; try again"),
        ("readonly", "cannot be written; allow it, or give --desk another place"),
        ("unable to open", "cannot be opened; check that it can be read and written"),
        ("not a database", "is not a desk, or is damaged; restore it: 'secondlook review restore'"),
        ("malformed", "is damaged; restore it from a backup: 'secondlook review restore'"),
        ("record only grows", "the record only grows: nothing in it can be changed or removed"),
        ("password authentication", "the database refused the password"),
        ("can't create a connection", "cannot be reached; is the server running?"),
        ("network error", LOST),
        ("does not exist", "lacks a table, or the database is not there; is it a desk?"),
        ("no such table", "lacks a table; is it a desk?"),
    ):
        if sign in lowered:
            return meaning
    return "the database failed; see its own log"


def _said(cause: BaseException | None) -> str:
    """A driver's own words. The server's may lie behind those of a connection that it closed."""
    first = ""
    while cause is not None:
        said = cause.args[0] if cause.args else ""
        if isinstance(said, dict):  # of a server's error: M is its message, other fields quote what was to be stored
            return str(said.get("M", ""))
        first, cause = first or str(said), cause.__context__
    return first
