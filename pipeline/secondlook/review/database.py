"""Database: where does the desk store what it holds, and is that intact? SQLite by path, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from secondlook.errors import DeskError

DEFAULT = Path("runs/desk.sqlite")
WAIT_SECONDS = 10
"""How long a write waits for another to end before it is refused."""


class Desk:
    """An open desk: sessions to read, and transactions to write.

    Args:
        engine: of the database, whose tables are as this version needs them.
        name: what messages call it; never holds a password.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self._writer = engine.execution_options(writes=True)

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
        with _plain_errors(self.name), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction: all of it is on the disk when the block has ended, or none.

        On SQLite one at a time: the others wait here.

        Raises:
            DeskError: the database cannot be written: locked for too long, full, gone.
        """
        with _plain_errors(self.name), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_desk(place: str | Path = DEFAULT, *, create: bool = False) -> Desk:
    """Open a desk and bring its tables to what this version needs.

    Args:
        place: the path of an SQLite file, or the URL of a PostgreSQL database.
        create: begin a new desk where there is none.

    Raises:
        DeskError: there is no desk there, it is of a newer version, or the database cannot be reached.
    """
    url = _url(place)
    name = url.render_as_string(hide_password=True) if url.get_backend_name() != "sqlite" else str(url.database)
    if url.get_backend_name() == "sqlite":
        file = Path(str(url.database))
        if not file.is_file() and not create:
            raise DeskError(f"{file}: there is no desk; open a run with 'secondlook review RUN', or give --desk")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise DeskError(f"{file}: cannot be written ({cause.strerror}); give --desk another place") from None
    engine = _engine(url)
    desk = Desk(engine, name)
    with _plain_errors(name), engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
    _migrate(desk, current, create)
    return desk


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
    except ArgumentError:
        raise DeskError("--desk: not an URL; give a path, or postgresql://user@host/database") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DeskError(f"--desk: '{url.get_backend_name()}' is not supported; use SQLite or PostgreSQL")
    return url.set(drivername="postgresql+pg8000") if url.drivername == "postgresql" else url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS}, pool_size=64)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url, pool_size=16, max_overflow=48, pool_pre_ping=True)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise DeskError(
            f"--desk: the driver of '{url.drivername}' is not installed: pip install 'secondlook[review]'"
        ) from None


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # or the driver would begin transactions by itself, and too late
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # One that will write takes its place at once: to upgrade a read later may fail without waiting.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _migrate(desk: Desk, current: str | None, create: bool) -> None:
    wanted = revision()
    if current == wanted:
        return
    known = {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}
    if current is not None and current not in known:
        raise DeskError(f"{desk.name}: was made by a newer version of secondlook; install that version")
    if current is None and not create:
        raise DeskError(f"{desk.name}: holds no desk; open a run with 'secondlook review RUN', or give --desk")
    config = _alembic()
    with _plain_errors(desk.name), desk._writer.begin() as connection:
        # Of two that open a new desk at once, the second finds it made.
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7362)"))
        if MigrationContext.configure(connection).get_current_revision() != wanted:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """Whatever the database says, in one line; a driver's message could quote what was to be stored."""
    try:
        yield
    except DBAPIError as cause:
        raise DeskError(f"{name}: {_why(str(cause.orig))}") from None


def _why(said: str) -> str:
    lowered = said.lower()
    for sign, why in (
        ("locked", "is locked by another program; close that, or wait, and try again"),
        ("full", "the disk is full; free some space and try again: nothing was half-written"),
        ("readonly", "cannot be written; allow it, or give --desk another place"),
        ("unable to open", "cannot be opened; check that it can be read and written"),
        ("not a database", "is not a desk, or is damaged; restore it: 'secondlook review restore'"),
        ("malformed", "is damaged; restore it from a backup: 'secondlook review restore'"),
        ("record only grows", "the record only grows: nothing in it can be changed or removed"),
        ("password authentication", "the database refused the password"),
        ("can't create a connection", "cannot be reached; is the server running?"),
        ("does not exist", "lacks a table, or the database is not there; is it a desk?"),
        ("no such table", "lacks a table; is it a desk?"),
    ):
        if sign in lowered:
            return why
    return "the database failed; see its own log"
