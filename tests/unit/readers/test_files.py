from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secondlook.errors import InputError
from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import Case, Reject

TABLE = "case_id,narrative\n{},Text\n"


def test_folders_are_walked_in_order_and_nothing_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "inbox"
    (root / "b").mkdir(parents=True)
    (root / "b" / "z.csv").write_text(TABLE.format("z"))
    (root / "a.csv").write_text(TABLE.format("a"))
    (root / "c.pages").write_text("x")
    (root / "d.csv").symlink_to(root / "a.csv")
    (root / "e").symlink_to(root / "b")
    items = list(read_cases([root]))
    names = [item.file.removeprefix(f"{root.as_posix()}/") for item in items]
    assert names == ["a.csv", "b/z.csv", "c.pages", "d.csv", "e"]
    assert [isinstance(item, Case) for item in items] == [True, True, False, False, False]
    reasons = [item.reason for item in items if isinstance(item, Reject)]
    assert "not a kind of file that is read here (reads: .csv" in reasons[0]
    assert all("symbolic link" in reason for reason in reasons[1:])


def test_an_empty_folder_is_one_reject(tmp_path: Path) -> None:
    (tmp_path / "nothing" / "within").mkdir(parents=True)
    (reject,) = read_cases([tmp_path / "nothing"])
    assert isinstance(reject, Reject)
    assert reject.row is None


def test_inputs_that_cannot_be_meant_raise_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to read"):
        read_cases([])
    with pytest.raises(InputError, match=r"gone\.csv: does not exist"):
        read_cases([tmp_path / "gone.csv"])


def test_relative_paths_stay_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(TABLE.format("a"))
    assert [item.file for item in read_cases([Path("in.csv")])] == ["in.csv"]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "encrypted or old .xls"),
        ("a.xlsx", TABLE.encode(), "plain text"),
        ("a.xlsx", b"PK\x03\x04 and no more", "a zip archive"),
        ("a.parquet", TABLE.encode(), "plain text"),
        ("a.parquet", b"PAR1" + b"x" * 40 + b"PAR1", "damaged"),
        ("a.csv", b"PK\x03\x04 and no more", "a zip archive"),
        ("a.csv", b"%PDF-1.7\n", "a PDF"),
        ("a.txt", bytes(range(32)) * 9 + bytes(90), "binary data"),
        ("a.csv", b"", "empty"),
        ("a.jsonl", b"", "empty"),
    ],
)
def test_content_that_is_not_what_the_name_says(tmp_path: Path, name: str, content: bytes, part: str) -> None:
    (tmp_path / name).write_bytes(content)
    (reject,) = read_cases([tmp_path / name])
    assert isinstance(reject, Reject)
    assert reject.row is None
    assert part in reject.reason


def test_a_parquet_file_named_csv_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"case_id": ["a"], "narrative": ["Text"]}), tmp_path / "a.csv")
    (reject,) = read_cases([tmp_path / "a.csv"])
    assert isinstance(reject, Reject)
    assert "rename it to .parquet" in reject.reason


def test_a_text_file_is_one_case_as_decoded(tmp_path: Path) -> None:
    (tmp_path / "PC 17.txt").write_bytes("\ufeffOne\r\ntwo\rthree\n\ufeff".encode())
    (case,) = read_cases([tmp_path / "PC 17.txt"])
    assert isinstance(case, Case)
    assert (case.case_id, case.narrative, case.row) == ("PC 17", "One\r\ntwo\rthree\n\ufeff", 1)


def test_a_text_file_that_is_empty_or_too_long_is_a_row_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "b.txt").write_bytes(b"x" * 101)
    items = list(read_cases([tmp_path], ReadOptions(max_characters=100)))
    assert [(item.row, item.case_id, isinstance(item, Reject)) for item in items] == [
        (1, "a", True),
        (1, "b", True),
    ]


def test_duplicates_are_found_across_files_and_the_first_is_kept(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text(TABLE.format("a"))
    (tmp_path / "2.csv").write_text(TABLE.format(" a "))
    first, second = read_cases([tmp_path / "1.csv", tmp_path / "2.csv"])
    assert isinstance(first, Case)
    assert isinstance(second, Reject)
    assert f"first seen at {tmp_path.as_posix()}/1.csv:2" in second.reason


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    (reject,) = read_cases([tmp_path / "a.csv"])
    assert isinstance(reject, Reject)


def test_control_characters_in_a_file_name_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a\rb\n.csv").write_text(TABLE.format("a"))
    (item,) = read_cases([tmp_path])
    assert item.file == f"{tmp_path.as_posix()}/a\\rb\\n.csv"
    with pytest.raises(InputError, match=r"gone\\r\.csv"):
        read_cases([tmp_path / "gone\r.csv"])


def test_a_file_name_that_is_not_unicode_can_be_written_out(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_text("Text")
    (reject,) = read_cases([path])
    assert isinstance(reject, Reject)
    assert (reject.file + (reject.case_id or "")).encode()
