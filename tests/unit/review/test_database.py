from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text

from secondlook.errors import DeskError, UnavailableError
from secondlook.review import database
from secondlook.review.database import Desk, open_desk, revision
from secondlook.review.tables import Base, Role, User

MakeUser = Callable[..., User]


def test_the_migrations_make_the_tables_that_the_package_declares(desk: Desk) -> None:
    with desk.engine.connect() as connection:
        options = {"compare_type": False, "include_name": lambda name, kind, _: not str(name).startswith("case_text")}
        context = MigrationContext.configure(connection, opts=options)
        different = [found for found in compare_metadata(context, Base.metadata) if "case_text" not in repr(found)]
    assert different == []


def test_a_transaction_is_kept_whole_or_not_at_all(desk: Desk, make_user: MakeUser) -> None:
    with desk.writing() as session:
        make_user(session, "ann")
    with pytest.raises(ZeroDivisionError), desk.writing() as session:
        make_user(session, "ben")
        1 / 0  # noqa: B018
    with desk.reading() as session:
        assert session.scalars(select(User.name)).all() == ["ann"]


def test_moments_keep_their_zone_and_odd_texts_their_characters(desk: Desk, make_user: MakeUser) -> None:
    moment = datetime(2026, 3, 2, 9, 30, 15, 123456, tzinfo=UTC)
    with desk.writing() as session:
        make_user(session, "\U0001f600 '; DROP TABLE users; --\0").created_at = moment
    with desk.reading() as session:
        user = session.scalars(select(User)).one()
    assert user.created_at == moment
    assert user.name == "\U0001f600 '; DROP TABLE users; --\u2400"


def test_an_opened_desk_is_found_again(desk: Desk, desk_place: Path | str, make_user: MakeUser) -> None:
    with desk.writing() as session:
        make_user(session, "ann", Role.ADMINISTRATOR)
    again = open_desk(desk_place)
    with again.reading() as session:
        assert session.scalars(select(User.role)).all() == [Role.ADMINISTRATOR]
    again.close()


def test_a_desk_of_a_newer_version_is_refused(desk: Desk, desk_place: Path | str) -> None:
    with desk.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DeskError, match="newer version of secondlook"):
        open_desk(desk_place)


def test_a_sqlite_desk_writes_through_to_the_disk(sqlite_desk: Desk) -> None:
    with sqlite_desk.reading() as session:
        said = {name: session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
    assert said == {"journal_mode": "wal", "synchronous": 2}


def test_no_desk_is_made_unless_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DeskError, match="there is no desk; open a run with 'secondlook review RUN'"):
        open_desk(tmp_path / "desk.sqlite")
    assert list(tmp_path.iterdir()) == []
    open_desk(tmp_path / "new" / "desk.sqlite", create=True).close()
    assert (tmp_path / "new" / "desk.sqlite").is_file()


def test_what_is_no_desk_is_left_as_it_is(tmp_path: Path) -> None:
    text_file = tmp_path / "notes.txt"
    text_file.write_text("not a database, but what somebody wrote down " * 100)
    before = text_file.read_bytes()
    with pytest.raises(DeskError, match="is not a desk, or is damaged"):
        open_desk(text_file)
    assert text_file.read_bytes() == before


def test_another_programs_database_is_not_taken_over(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE users (id INTEGER)")
    connection.commit()
    connection.close()
    with pytest.raises(DeskError, match="holds no desk"):
        open_desk(other)
    with pytest.raises(DeskError, match="holds another program's tables"):
        open_desk(other, create=True)
    connection = sqlite3.connect(other)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("users",)]
    connection.close()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("mysql://a@b/c", "'mysql' is not supported"),
        ("postgresql://a:b:c/d", "not a URL"),
        ("postgresql://host/d", "no user"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused(place: str, said: str) -> None:
    with pytest.raises(DeskError, match=said):
        open_desk(place)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(DeskError, match="cannot be reached") as caught:
        open_desk("postgresql://ann:secret@127.0.0.1:1/desk")
    assert "secret" not in str(caught.value)


def test_a_database_that_is_not_there_is_said_so(postgres: Callable[[str], str]) -> None:
    with pytest.raises(DeskError, match="is not there"):
        open_desk(postgres("nowhere"))


def test_a_locked_desk_waits_and_then_says_so(
    sqlite_desk_path: Path, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.1)
    desk = open_desk(sqlite_desk_path)
    other = sqlite3.connect(sqlite_desk_path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DeskError, match="is locked by another program"), desk.writing() as session:
        make_user(session, "ann")
    with desk.reading() as session:  # readers are not kept waiting
        assert session.scalars(select(User)).all() == []
    other.rollback()
    other.close()
    with desk.writing() as session:
        make_user(session, "ann")
    desk.close()


def test_a_full_disk_loses_nothing_that_was_written(sqlite_desk: Desk, make_user: MakeUser) -> None:
    with sqlite_desk.writing() as session:
        make_user(session, "ann")
        pages = session.execute(text("PRAGMA page_count")).scalar()
    with pytest.raises(DeskError, match="the disk is full; free some space"), sqlite_desk.writing() as session:
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
        for number in range(2000):
            make_user(session, f"{number}-" + "n" * 100)
    with sqlite_desk.writing() as session:
        assert session.scalars(select(User.name)).all() == ["ann"]
        session.execute(text("PRAGMA max_page_count = 1000000"))
        make_user(session, "ben")


def test_a_damaged_desk_is_said_to_be_so(sqlite_desk_path: Path, make_user: MakeUser) -> None:
    desk = open_desk(sqlite_desk_path)
    with desk.writing() as session:
        for number in range(500):
            make_user(session, f"{number}-" + "n" * 100)
    desk.close()
    content = bytearray(sqlite_desk_path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    sqlite_desk_path.write_bytes(content)
    with pytest.raises(DeskError, match="restore it"):
        desk = open_desk(sqlite_desk_path)
        with desk.reading() as session:
            session.scalars(select(User)).all()


def test_the_newest_revision_is_known(sqlite_desk_path: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copy(sqlite_desk_path, tmp_path / "copy.sqlite"))
    connection = sqlite3.connect(copied)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(revision(),)]
    connection.close()


def test_a_message_never_quotes_what_was_to_be_stored(desk: Desk, make_user: MakeUser) -> None:
    with desk.writing() as session:
        make_user(session, "Mrs Example")
    with pytest.raises(DeskError) as caught, desk.writing() as session:
        make_user(session, "Mrs Example")
    assert "Example" not in str(caught.value)


def test_a_write_waits_for_this_process_s_other_one_and_then_says_so(
    sqlite_desk: Desk, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.05)
    with sqlite_desk.writing() as session:
        make_user(session, "ann")
        with pytest.raises(UnavailableError, match="wait, and try again"), sqlite_desk.writing():
            pass
    with sqlite_desk.writing() as session:
        make_user(session, "ben")
    with sqlite_desk.reading() as session:
        assert session.scalars(select(User.name).order_by(User.name)).all() == ["ann", "ben"]


def test_a_connection_that_is_reset_is_an_error_that_is_told(sqlite_desk: Desk) -> None:
    with pytest.raises(UnavailableError, match="connection to it was lost"), sqlite_desk.reading():
        raise ConnectionResetError(104, "Connection reset by peer")


def test_a_broken_connection_leaves_no_statement_in_the_log(
    postgres_desk_url: str, make_user: MakeUser, caplog: pytest.LogCaptureFixture
) -> None:
    opened = open_desk(postgres_desk_url)
    with pytest.raises(DeskError), opened.writing() as session:
        session.connection().connection.dbapi_connection._usock.shutdown(2)  # as when the server is gone
        make_user(session, "somebody whom nobody is to know")
    opened.close()
    assert caplog.text == ""
