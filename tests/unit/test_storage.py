from __future__ import annotations

from pathlib import Path

import pytest

from secondlook.storage import whole_folder


def test_the_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    with whole_folder(out, "done") as fresh:
        (fresh / "a").write_text("1")
        assert not out.exists()
    assert (out / "a").read_text() == "1"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_earlier_folder_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in ("1", "2"):
        with whole_folder(out, "done") as fresh:
            (fresh / "done").write_text(text)
    with pytest.raises(RuntimeError), whole_folder(out, "done") as fresh:
        (fresh / "done").write_text("3")
        raise RuntimeError
    assert (out / "done").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("1")
    with pytest.raises(FileExistsError), whole_folder(tmp_path, "done"):
        pass
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "mine", "done"):
        pass
    assert (tmp_path / "mine").read_text() == "1"
