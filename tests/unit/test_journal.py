from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from secondlook.errors import RunError
from secondlook.journal import Journal, open_journal, restore_earlier

KEY = {"inputs": {"a.csv": "1"}, "config": {"page_cases": 5}, "versions": {"numpy": "2"}}


def _table(value: int) -> pa.Table:
    return pa.table({"value": [value]})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def _begun(out: Path) -> Journal:
    """Work of two shards."""
    journal = open_journal(out, KEY, resume=False, overwrite=False)
    for number in range(2):
        journal.commit(number, f"items {number}", 10 + number, _table(number))
    return journal


def test_shards_are_found_by_their_items_and_read_in_order(out: Path) -> None:
    _begun(out)
    journal = open_journal(out, KEY, resume=True, overwrite=False)
    assert journal.cases() == 21
    assert [journal.find(number, f"items {number}") for number in (0, 1, 2)] == [10, 11, None]
    journal.commit(2, "items 2", 1, _table(2))
    assert [shard["value"].to_pylist() for shard in journal.shards()] == [[0], [1], [2]]
    assert [path.name for path in out.parent.iterdir()] == [".run.unfinished"]


def test_a_shard_of_other_items_is_not_taken(out: Path) -> None:
    _begun(out)
    journal = open_journal(out, KEY, resume=True, overwrite=False)
    assert journal.find(0, "other items") is None
    journal.commit(0, "other items", 1, _table(7))
    assert len(list(journal.folder.glob("shard-00000-*"))) == 1


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "missing"])
def test_a_damaged_shard_is_not_taken(out: Path, damage: str) -> None:
    path = next(_begun(out).folder.glob("shard-00001-*"))
    content = path.read_bytes()
    changed = content[:40] + bytes([content[40] ^ 1]) + content[41:]
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-1], "changed": changed, "emptied": b""}[damage])
    journal = open_journal(out, KEY, resume=True, overwrite=False)
    assert journal.find(0, "items 0") == 10
    assert journal.find(1, "items 1") is None


def test_a_shard_that_is_damaged_later_is_named(out: Path) -> None:
    journal = _begun(out)
    path = next(journal.folder.glob("shard-00001-*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="run the same command with --resume"):
        list(journal.shards())


def test_work_that_was_left_is_neither_begun_afresh_nor_gone_on_with_unasked(out: Path) -> None:
    _begun(out)
    with pytest.raises(RunError, match="stopped when 21 cases were done; add --resume to go on, --overwrite"):
        open_journal(out, KEY, resume=False, overwrite=False)
    assert open_journal(out, KEY, resume=True, overwrite=True).find(0, "items 0") == 10
    assert open_journal(out, KEY, resume=False, overwrite=True).empty


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"inputs": {"a.csv": "2", "b.csv": "1"}}, r"of other inputs \(a.csv, b.csv\); give --overwrite"),
        ({"config": {"page_cases": 6}, "versions": {}}, r"of other config \(page_cases\), versions \(numpy\)"),
    ],
)
def test_work_on_something_else_is_refused_and_what_differs_is_named(
    out: Path, change: dict[str, object], named: str
) -> None:
    _begun(out)
    for resume in (True, False):
        with pytest.raises(RunError, match=named):
            open_journal(out, KEY | change, resume=resume, overwrite=False)
    with pytest.raises(RunError, match=named):
        open_journal(out, KEY | change, resume=True, overwrite=True)
    assert open_journal(out, KEY | change, resume=False, overwrite=True).empty


def test_what_was_left_before_the_first_shard_is_no_work(out: Path) -> None:
    open_journal(out, KEY, resume=False, overwrite=False)
    assert open_journal(out, KEY, resume=False, overwrite=False).empty
    (out.with_name(".run.unfinished") / "journal.json").write_text("{")
    assert open_journal(out, KEY | {"inputs": {}}, resume=True, overwrite=False).empty


def test_files_of_others_are_never_removed(out: Path) -> None:
    folder = out.with_name(".run.unfinished")
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"thesis\.txt"):
        open_journal(out, KEY, resume=False, overwrite=True)
    assert (folder / "thesis.txt").exists()


def test_an_earlier_run_stays_until_the_new_one_is_whole(out: Path) -> None:
    out.mkdir(mode=0o750)
    (out / "a").write_text("earlier")
    journal = _begun(out)
    with pytest.raises(RuntimeError), journal.whole_run() as fresh:
        (fresh / "a").write_text("half")
        raise RuntimeError
    assert (out / "a").read_text() == "earlier"
    with journal.whole_run() as fresh:
        (fresh / "a").write_text("new")
    assert (out / "a").read_text() == "new"
    assert out.stat().st_mode & 0o777 == 0o750
    journal.remove()
    assert [path.name for path in out.parent.iterdir()] == ["run"]


def test_an_earlier_run_is_put_back_after_a_kill_between_two_moves(out: Path) -> None:
    journal = _begun(out)
    out.mkdir()
    (out / "a").write_text("earlier")
    out.rename(journal.folder / "earlier")
    restore_earlier(out)
    assert (out / "a").read_text() == "earlier"
    restore_earlier(out)


def test_narratives_are_kept_from_others_while_they_wait(out: Path) -> None:
    assert _begun(out).folder.stat().st_mode & 0o077 == 0


def test_an_earlier_run_that_was_not_removed_to_its_end_is_removed(out: Path) -> None:
    """A kill came when the new run was in its place already."""
    journal = _begun(out)
    (journal.folder / "earlier").mkdir()
    (journal.folder / "earlier/a").write_text("earlier")
    out.mkdir()
    (out / "a").write_text("new")
    restore_earlier(out)
    with journal.whole_run() as fresh:
        (fresh / "a").write_text("newer")
    assert (out / "a").read_text() == "newer"
