from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from secondlook.storage import held, inventory, whole_folder, write_together

NAMES = {"manifest.json", "a"}


def test_the_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    with whole_folder(out, "kind", NAMES) as fresh:
        (fresh / "a").write_text("1")
        assert not out.exists()
    assert (out / "a").read_text() == "1"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_earlier_folder_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in ("1", "2"):
        with whole_folder(out, "kind", NAMES) as fresh:
            (fresh / "manifest.json").write_text(f'{{"format": "kind/{text}"}}')
    with pytest.raises(RuntimeError), whole_folder(out, "kind", NAMES) as fresh:
        (fresh / "manifest.json").write_text("3")
        raise RuntimeError
    assert "kind/2" in (out / "manifest.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("1")
    with pytest.raises(FileExistsError), whole_folder(tmp_path, "kind", NAMES):
        pass
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "mine", "kind", NAMES):
        pass
    assert (tmp_path / "mine").read_text() == "1"


def test_a_folder_of_another_kind_is_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out, "run", NAMES) as fresh:
        (fresh / "manifest.json").write_text('{"format": "run/1"}')
    with pytest.raises(FileExistsError), whole_folder(out, "bundle", NAMES):
        pass
    assert "run/1" in (out / "manifest.json").read_text()


def test_permissions_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o700)
    with whole_folder(out, "run", NAMES) as fresh:
        (fresh / "a").write_text("1")
    assert out.stat().st_mode & 0o777 == 0o700


def test_a_file_that_somebody_put_there_is_never_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out, "run", NAMES) as fresh:
        (fresh / "manifest.json").write_text('{"format": "run/1"}')
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"), whole_folder(out, "run", NAMES):
        pass
    assert (out / "notes.txt").read_text() == "mine"


def test_names_may_lie_in_a_folder_and_have_wildcards(tmp_path: Path) -> None:
    out, names = tmp_path / "out", {*NAMES, "pages/list-*.html"}
    with whole_folder(out, "run", names) as fresh:
        (fresh / "manifest.json").write_text('{"format": "run/1"}')
        (fresh / "pages").mkdir()
        (fresh / "pages/list-001.html").write_text("1")
    with whole_folder(out, "run", names) as fresh:
        (fresh / "manifest.json").write_text('{"format": "run/2"}')
    assert inventory(out) == ["manifest.json"]
    for other in ("pages/mine.txt", "pages/deep/list-1.html", "deep/pages/list-1.html", "empty/"):
        path = out / other
        (path if other.endswith("/") else path.parent).mkdir(parents=True)
        if not other.endswith("/"):
            path.write_text("mine")
        with pytest.raises(FileExistsError, match=other.rstrip("/")), whole_folder(out, "run", names):
            pass
        shutil.rmtree(out / other.split("/")[0])


def test_a_place_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "out"):
        with pytest.raises(BlockingIOError), held(tmp_path / "out"):
            pass
        with held(tmp_path / "other"):
            pass
    with held(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())


def test_files_are_written_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if target.name == "c":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr("secondlook.storage.os.replace", replace)
    with pytest.raises(OSError, match="No space"):
        write_together({tmp_path / "a": b"new", tmp_path / "b": b"new", tmp_path / "c": b"new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}
