from __future__ import annotations

import json
import zipfile
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from secondlook.readers import ReadOptions, read_cases, unpacking
from secondlook.schema import Case, Reject

DEFAULTS = ReadOptions()


def read(path: Path, options: ReadOptions = DEFAULTS) -> list[Case | Reject]:
    return list(read_cases([path], options))


def jsonl(folder: Path, *lines: str) -> list[Case | Reject]:
    path = folder / "in.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read(path)


def workbook(path: Path, **sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_jsonl_values_become_text(tmp_path: Path) -> None:
    line = '{"Case-ID": 17, "narrative": "Text", "n": [1, {"a": "é"}], "b": true, "e": "", "f": 2.0}'
    case, huge = jsonl(tmp_path, line, "", f'{{"case_id": "b", "narrative": "x", "n": {"9" * 5000}}}')
    assert isinstance(case, Case)
    assert case.case_id == "17"
    assert case.metadata == {"n": '[1, {"a": "é"}]', "b": "true", "e": None, "f": "2"}
    assert isinstance(huge, Case)
    assert (huge.row, huge.metadata["n"]) == (3, "9" * 5000)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"case_id": "a", "narrative": "secret"', "not valid JSON"),
        ('["a", "secret"]', "a list"),
        ("null", "null"),
        ('{"case_id": "a", "narrative": 5}', "the narrative is a number"),
        ('{"case_id": ["a"], "narrative": "secret"}', "the case id is a list"),
        ('{"case_id": "a", "narrative": "secret \\ud800"}', "not valid text"),
        ('{"case_id": "a", "narrative": "secret", "n": "\\udfff"}', "the field 'n'"),
        ('{"case_id": "a", "narrative": null}', "missing or empty"),
        ('{"case_id": "a", "narativ": "secret"}', "--narrative-column"),
        ("[" * 200_000, "nested too deeply"),
        ('{"case_id": "a", "narrative": "x", "n": ' + "[" * 900 + "]" * 900 + "}", ""),
    ],
)
def test_lines_that_are_no_case(tmp_path: Path, line: str, reason: str) -> None:
    item, last = jsonl(tmp_path, line, '{"case_id": "z", "narrative": "Text"}')
    assert isinstance(last, Case)
    assert last.row == 2
    if reason:
        assert isinstance(item, Reject)
        assert item.row == 1
        assert reason in item.reason
        assert "secret" not in item.reason


def test_of_duplicate_keys_the_last_wins(tmp_path: Path) -> None:
    (case,) = jsonl(tmp_path, '{"case_id": "a", "narrative": "One", "narrative": "Two"}')
    assert isinstance(case, Case)
    assert case.narrative == "Two"


def test_an_overlong_json_line_is_skipped_not_held(tmp_path: Path) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text('{"case_id": "a", "narrative": "' + "x" * 3_000_000 + '"}\n{"case_id": "b", "narrative": "y"}')
    first, second = read(path, ReadOptions(max_characters=10))
    assert (first.row, second.row) == (1, 2)
    assert isinstance(first, Reject)
    assert isinstance(second, Case)


def test_parquet_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "case_id": [1.0, 2.0, float("nan")],
            "narrative": pa.array([b"One", b"\xff\xfe", b"Three"], pa.binary()),
            "day": [date(2024, 3, 1)] * 3,
            "station": pa.array(["A", "A", None]).dictionary_encode(),
            "tags": [["x"], [], None],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    first, second, third = read(tmp_path / "in.parquet")
    assert isinstance(first, Case)
    assert (first.case_id, first.row) == ("1", 1)
    assert first.metadata == {"day": "2024-03-01", "station": "A", "tags": '["x"]'}
    assert isinstance(second, Reject)
    assert "UTF-8" in second.reason
    assert isinstance(third, Reject)
    assert "no case id" in third.reason


def test_a_parquet_text_that_is_not_utf8_spoils_its_row_only(tmp_path: Path) -> None:
    texts = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"ok"], pa.binary()).buffers())
    pq.write_table(pa.table({"case_id": ["a", "b"], "narrative": texts}), tmp_path / "in.parquet")
    first, second = read(tmp_path / "in.parquet")
    assert isinstance(first, Reject)
    assert isinstance(second, Case)


def test_a_parquet_narrative_column_of_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"case_id": ["a"], "narrative": [5]}), tmp_path / "in.parquet")
    (reject,) = read(tmp_path / "in.parquet")
    assert isinstance(reject, Reject)
    assert (reject.case_id, reject.row) == ("a", 1)


def test_xlsx_rows_values_and_sheets(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        [],
        ["Case ID", "Narrative", "When", "On"],
        [17.0, "Text", datetime(2024, 3, 1), True],
        [],
        [18, "More", datetime(2024, 3, 1, 9, 30), None, "aside"],
    ]
    path = workbook(tmp_path / "in.xlsx", Cases=rows, Notes=[["hello"]], Empty=[])
    first, second, notes, empty = read(path)
    assert isinstance(first, Case)
    assert (first.case_id, first.row, first.file) == ("17", 3, f"{path.as_posix()}#Cases")
    assert first.metadata == {"When": "2024-03-01", "On": "true"}
    assert isinstance(second, Case)
    assert second.row == 5
    assert second.metadata == {"When": "2024-03-01T09:30:00", "On": None, "column 5": "aside"}
    assert isinstance(notes, Reject)
    assert (notes.row, notes.file) == (None, f"{path.as_posix()}#Notes")
    assert "'Notes'" in notes.reason
    assert "'hello'" in notes.reason
    assert isinstance(empty, Reject)


def test_a_single_sheet_keeps_the_name_of_its_file(tmp_path: Path) -> None:
    path = workbook(tmp_path / "in.xlsx", Only=[["case_id", "narrative"], ["a", "Text"]])
    assert [item.file for item in read(path)] == [path.as_posix()]


def test_carriage_returns_as_excel_saves_them(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "in.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["case_id", "narrative"])
        sheet.write_row(1, 0, ["a", "One\r\ntwo"])
    (case,) = read(tmp_path / "in.xlsx")
    assert isinstance(case, Case)
    assert case.narrative == "One\r\ntwo"


def rewrite(path: Path, member: str, old: str, new: str) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in parts[member]
    parts[member] = parts[member].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("dimension", ["A1:XFD1048576", "A1:A1"])
def test_a_wrong_dimension_neither_hangs_nor_loses_rows(tmp_path: Path, dimension: str) -> None:
    path = workbook(tmp_path / "in.xlsx", S=[["case_id", "narrative"], ["a", "Text"]])
    rewrite(path, "xl/worksheets/sheet1.xml", 'ref="A1:B2"', f'ref="{dimension}"')
    assert [item.case_id for item in read(path)] == ["a"]


def test_a_row_number_beyond_excels_limit_ends_the_sheet(tmp_path: Path) -> None:
    path = workbook(tmp_path / "in.xlsx", S=[["case_id", "narrative"], ["a", "Text"]])
    rewrite(path, "xl/worksheets/sheet1.xml", '<row r="2"', '<row r="999999999"')
    rewrite(path, "xl/worksheets/sheet1.xml", 'r="A2"', 'r="A999999999"')
    (reject,) = read(path)
    assert isinstance(reject, Reject)
    assert "beyond 1,048,576" in reject.reason


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "in.xlsx", S=[["case_id", "narrative"], ["a", "Text"]])
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 100)
    (reject,) = read(path)
    assert isinstance(reject, Reject)
    assert "unpacks to" in reject.reason


def test_a_workbook_cut_short_is_rejected(tmp_path: Path) -> None:
    path = workbook(tmp_path / "in.xlsx", S=[["case_id", "narrative"], ["a", "Text"]])
    rewrite(path, "xl/worksheets/sheet1.xml", "</sheetData>", "<oops")
    case, reject = read(path)
    assert isinstance(case, Case)
    assert isinstance(reject, Reject)
    assert "damaged after row 2" in reject.reason


def test_json_is_what_json_writes(tmp_path: Path) -> None:
    (case,) = jsonl(tmp_path, json.dumps({"case_id": "é", "narrative": "a\u2028b😀"}))
    assert isinstance(case, Case)
    assert case.narrative == "a\u2028b😀"
