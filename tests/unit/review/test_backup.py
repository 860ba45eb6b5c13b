from __future__ import annotations

import json
import os
import resource
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from typer.testing import CliRunner, Result

from secondlook.cli import app
from secondlook.config import ReviewConfig
from secondlook.errors import DeskError
from secondlook.review import record, search
from secondlook.review.backup import backup, check, restore
from secondlook.review.database import Desk, open_desk
from secondlook.review.inquiry import verify
from secondlook.review.intake import add_run
from secondlook.review.record import Action
from secondlook.review.tables import Base, CaseRow, Entry, Role, Run, SignIn, User

MakeUser = Callable[..., User]


def _rows(desk: Desk) -> dict[str, list[tuple[object, ...]]]:
    """All that a desk holds, but its record and who is signed in."""
    with desk.reading() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
            if table.name not in ("record", "record_head", "sign_ins")
        }


def _entries(desk: Desk) -> list[Entry]:
    with desk.reading() as session:
        return list(session.scalars(select(Entry).order_by(Entry.sequence)))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def saved(desk: Desk, added: Run, make_user: MakeUser, tmp_path: Path) -> Path:
    """A backup of a desk with a run and an account that is signed in."""
    with desk.writing() as session:
        user = make_user(session, "ann", Role.REVIEWER, added)
        moments = dict.fromkeys(("created_at", "seen_at", "ends_at"), user.created_at)
        session.add(SignIn(token_hash="t", user_id=user.id, csrf="c", **moments))
    backup(desk, tmp_path / "saved" / "desk.backup")
    return tmp_path / "saved" / "desk.backup"


def test_a_backup_is_a_desk_that_holds_the_same(desk: Desk, saved: Path) -> None:
    assert _names(saved.parent) == ["desk.backup"]
    with open_desk(saved) as copied:
        assert _rows(copied) == _rows(desk)
        with copied.reading() as session:
            assert verify(session).problems == []
            matching = search.matching(session, "nobody went")
            assert matching is not None
            assert len(session.scalars(matching).all()) >= 3


def test_a_backup_can_be_read_by_its_owner_alone(desk: Desk, saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600


def test_the_record_says_that_a_backup_was_made(desk: Desk, saved: Path) -> None:
    last = _entries(desk)[-1]
    assert last.action == Action.BACKED_UP
    assert json.loads(last.detail) == {
        "entries": 1,
        "head": last.previous,
        "sha256": json.loads(last.detail)["sha256"],
    }


def test_a_backup_takes_no_other_files_place(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DeskError, match="is there already; give the backup a name of its own"):
        backup(desk, tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_backup_that_cannot_be_written_leaves_nothing_behind(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeskError, match="cannot be written"):
        backup(desk, tmp_path / "file" / "desk.backup")
    assert [entry.action for entry in _entries(desk)] == []


def test_a_desk_that_is_written_to_meanwhile_is_copied_as_at_one_moment(desk: Desk, added: Run, tmp_path: Path) -> None:
    def append(number: int) -> None:
        with desk.writing() as session:
            record.append(session, f"r-{number}", Action.CASE_SEEN)

    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(append, number) for number in range(30)]
        copied = backup(desk, tmp_path / "desk.backup")
        for one in pending:
            one.result()
    entries, head = check(tmp_path / "desk.backup", "backup")
    assert (entries, head) == (copied.entries, copied.head)
    with desk.reading() as session:
        assert record.first_break(session, head) is None
        assert record.head_of(session)[0] == 32


def test_a_tampered_desk_is_not_saved_as_if_it_were_whole(sqlite_desk: Desk, tmp_path: Path) -> None:
    with sqlite_desk.writing() as session:
        record.append(session, "r-1", Action.EXPORTED)
    with sqlite_desk.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER record_no_update"))
        connection.execute(text("UPDATE record SET actor = 'r-2'"))
    with pytest.raises(DeskError, match="the record does not hold, entry 1 was changed"):
        backup(sqlite_desk, tmp_path / "desk.backup")
    assert not (tmp_path / "desk.backup").exists()


@pytest.fixture
def other_place(request: pytest.FixtureRequest, desk: Desk, tmp_path: Path) -> Path | str:
    """A place of the same kind as the desk's, with another desk."""
    if desk.is_sqlite:
        place = tmp_path / "other" / "desk.sqlite"
        open_desk(place, create=True).close()
        return place
    url = request.getfixturevalue("another_postgres_desk_url")
    assert isinstance(url, str)
    return url


def test_a_desk_is_brought_back_to_where_there_is_none(desk: Desk, saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()
    place = tmp_path / "new" / "desk.sqlite"
    copied = restore(saved, place)
    assert copied.earlier is None
    assert _names(place.parent) == ["desk.sqlite"]
    with open_desk(place) as restored:
        assert _rows(restored) == _rows(desk)
        last = _entries(restored)[-1]
        with restored.reading() as session:
            assert verify(session, copied.head).problems == []
            assert session.scalar(select(func.count()).select_from(SignIn)) == 0
    assert (last.action, last.hash) == (Action.RESTORED, copied.head)
    assert saved.read_bytes() == before


def test_a_desk_that_is_there_stays_unless_it_is_to_be_replaced(
    desk: Desk, saved: Path, other_place: Path | str
) -> None:
    with pytest.raises(DeskError, match="give --overwrite to replace"):
        restore(saved, other_place)
    with open_desk(other_place) as other:
        assert _rows(other)["runs"] == []


def test_a_desk_that_is_replaced_is_kept_aside(desk: Desk, saved: Path, other_place: Path | str) -> None:
    with open_desk(other_place) as other, other.writing() as session:
        kept = record.append(session, "r-1", Action.EXPORTED)
    copied = restore(saved, other_place, overwrite=True)
    with open_desk(other_place) as restored:
        assert _rows(restored) == _rows(desk)
        assert json.loads(_entries(restored)[-1].detail)["replaced"] == {"entries": 1, "head": kept}
        assert copied.earlier is not None
        if isinstance(other_place, str):
            with restored.reading() as session:
                found = session.execute(text(f"SELECT hash FROM {copied.earlier}.record")).scalars().all()
            assert found == [kept]
        else:
            with open_desk(copied.earlier) as earlier:
                assert [entry.hash for entry in _entries(earlier)] == [kept]
        with restored.reading() as session:
            assert verify(session).problems == []
        with restored.writing() as session:  # keys go on where they were
            user = User(name="ben", pseudonym="r-ben", role=Role.REVIEWER, password_hash=None, disabled_at=None)
            user.created_at = session.scalars(select(Run.added_at)).one()
            session.add(user)


def test_a_desk_moves_from_one_database_to_the_other(
    desk: Desk, saved: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue("postgres_desk_url") if desk.is_sqlite else tmp_path / "moved.sqlite"
    restore(saved, place, overwrite=True)
    with open_desk(place) as moved:
        assert _rows(moved) == _rows(desk)
        with moved.reading() as session:
            assert verify(session).problems == []
            matching = search.matching(session, "told-3")
            assert matching is not None
            found = session.scalars(select(CaseRow.case_id).where(CaseRow.id.in_(matching))).all()
            assert found == ["told-3"]


def test_a_desk_in_use_is_not_replaced(sqlite_desk: Desk, sqlite_desk_path: Path, tmp_path: Path) -> None:
    backup(sqlite_desk, tmp_path / "desk.backup")
    with pytest.raises(DeskError, match="is in use; stop 'secondlook review' there"):
        restore(tmp_path / "desk.backup", sqlite_desk_path, overwrite=True)
    with sqlite_desk.writing() as session:
        record.append(session, "r-1", Action.EXPORTED)
    assert len(_entries(sqlite_desk)) == 2


def test_a_damaged_desk_is_replaced_and_kept(sqlite_desk: Desk, sqlite_desk_path: Path, tmp_path: Path) -> None:
    backup(sqlite_desk, tmp_path / "desk.backup")
    sqlite_desk.close()
    sqlite_desk_path.write_bytes(b"what is left of it" * 1000)
    copied = restore(tmp_path / "desk.backup", sqlite_desk_path, overwrite=True)
    assert copied.earlier is not None
    assert Path(copied.earlier).read_bytes() == b"what is left of it" * 1000
    with open_desk(sqlite_desk_path) as restored:
        assert [entry.action for entry in _entries(restored)] == [Action.RESTORED]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 12 * 4096] = bytes(9 * 4096)
    path.write_bytes(content)


def _change(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.executescript(f"DROP TRIGGER record_no_update; DROP TRIGGER record_no_delete; {statement};")
        connection.close()

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "there is no such backup"),
        (lambda path: path.write_text("no desk" * 1000), "is not a desk, or is damaged"),
        (lambda path: path.write_bytes(b""), "holds no desk"),
        (_cut, "damaged"),
        (_overwrite_pages, "damaged"),
        (_change("UPDATE record SET actor = 'x' WHERE sequence = 1"), "the record does not hold, entry 1 was changed"),
        (_change("DELETE FROM record WHERE sequence = 2"), "the record does not hold, entry 2 is missing"),
        (_change("UPDATE alembic_version SET version_num = '9'"), "newer version of secondlook; install that version"),
    ],
)
def test_a_backup_that_is_not_whole_replaces_nothing(
    sqlite_desk: Desk, sqlite_desk_path: Path, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    with sqlite_desk.writing() as session:
        for number in range(2):
            record.append(session, f"r-{number}", Action.EXPORTED)
    saved = tmp_path / "saved" / "desk.backup"
    backup(sqlite_desk, saved)
    sqlite_desk.close()
    damage(saved)
    before = sqlite_desk_path.read_bytes()
    with pytest.raises(DeskError, match=said):
        restore(saved, sqlite_desk_path, overwrite=True)
    assert sqlite_desk_path.read_bytes() == before
    assert all(name == "desk.backup" for name in _names(saved.parent))


def test_the_desk_itself_is_no_backup(sqlite_desk: Desk, sqlite_desk_path: Path) -> None:
    sqlite_desk.close()
    with pytest.raises(DeskError, match="is the desk itself"):
        restore(sqlite_desk_path, sqlite_desk_path, overwrite=True)


def test_a_full_disk_leaves_the_earlier_desk(
    sqlite_desk: Desk, sqlite_desk_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(sqlite_desk, tmp_path / "desk.backup")
    sqlite_desk.close()

    replace = os.replace

    def no_room(file: str | Path, to: str | Path) -> None:
        """The earlier desk can be moved, and back; the new one cannot take its place."""
        if Path(file).name.startswith("."):
            raise OSError(28, "No space left on device")
        replace(file, to)

    monkeypatch.setattr("secondlook.review.backup.os.replace", no_room)
    with pytest.raises(DeskError, match="No space left on device"):
        restore(tmp_path / "desk.backup", sqlite_desk_path, overwrite=True)
    monkeypatch.undo()
    assert _names(tmp_path) == ["desk.backup", "desk.sqlite"]
    with open_desk(sqlite_desk_path) as same:
        assert [entry.action for entry in _entries(same)] == [Action.BACKED_UP]


def test_a_backup_that_finds_no_room_says_so(
    sqlite_desk: Desk, run_folder: Path, now: datetime, tmp_path: Path
) -> None:
    add_run(sqlite_desk, run_folder, None, ReviewConfig(), now)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, usual[1]))
    try:
        with pytest.raises(DeskError, match="disk failed, or is full"):
            backup(sqlite_desk, tmp_path / "small" / "desk.backup")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert _names(tmp_path / "small") == []
    assert [entry.action for entry in _entries(sqlite_desk)] == [Action.RUN_ADDED]


def test_backup_and_restore_are_commands(sqlite_desk: Desk, sqlite_desk_path: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["review", *map(str, arguments)])

    saved = tmp_path / "desk.backup"
    done = run("backup", saved, "--desk", sqlite_desk_path)
    assert done.exit_code == 0, done.output
    assert "0 entries in its record" in done.output
    sqlite_desk.close()
    assert "give --overwrite" in str(run("restore", saved, "--desk", sqlite_desk_path).exception)
    done = run("restore", saved, "--desk", sqlite_desk_path, "--overwrite")
    assert done.exit_code == 0, done.output
    assert "The desk that was there is kept: " in done.output
