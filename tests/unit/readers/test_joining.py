"""Rows that follow one another with the same id are one case, where that is asked for; every row is accounted for."""

from __future__ import annotations

import csv
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.readers import _READERS, ReadOptions, read_cases
from secondlook.readers.checks import is_blank
from secondlook.readers.joining import join_rows
from secondlook.readers.rows import Problem, Row
from secondlook.schema import Case, Reject

Table = list[tuple[str, str, str]]

HEADER = ("case_id", "narrative", "unit")
JOINED = ReadOptions(join_rows=True)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\t\n,\"'; "), max_size=20)


def _csv(path: Path, rows: Table) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])


def _jsonl(path: Path, rows: Table) -> None:
    path.write_text("".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in rows))


def _parquet(path: Path, rows: Table) -> None:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(3)]
    pq.write_table(pa.table(columns, names=list(HEADER)), path)


def _xlsx(path: Path, rows: Table) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [HEADER, *rows]:
        sheet.append([cell.replace("=", "") for cell in row])
    book.save(path)


WRITERS: dict[str, Callable[[Path, Table], None]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".xlsx": _xlsx,
}


def _read(path: Path, rows: Table, options: ReadOptions = JOINED) -> list[Case | Reject]:
    WRITERS[path.suffix](path, rows)
    return list(read_cases([path], options))


def _one(items: list[Case | Reject]) -> Case:
    (case,) = items
    assert isinstance(case, Case)
    return case


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_rows_in_succession_with_one_id_are_one_case(suffix: str, tmp_path: Path) -> None:
    rows = [("A", "One. ", "north"), ("A", "Two.", "south"), ("B", "Three.", ""), ("A ", "Four.", "")]
    first, second, apart = _read(tmp_path / f"in{suffix}", rows)
    assert isinstance(first, Case)
    assert isinstance(second, Case)
    assert (first.case_id, first.narrative, first.rows) == ("A", "One. \n\nTwo.", 2)
    assert (second.case_id, second.narrative, second.rows, second.row) == ("B", "Three.", 1, first.row + 2)
    assert isinstance(apart, Reject)
    assert (apart.row, apart.case_id, apart.rows) == (first.row + 3, "A", 1)
    assert "sort the table by the id so that its rows follow one another, or give each case" in apart.reason


def test_without_the_choice_a_row_is_a_case(tmp_path: Path) -> None:
    first, second = _read(tmp_path / "in.csv", [("A", "One.", ""), ("A", "Two.", "")], ReadOptions())
    assert isinstance(first, Case)
    assert isinstance(second, Reject)
    assert "duplicate" in second.reason
    assert "sort" not in second.reason


def test_a_column_has_the_different_values_of_its_rows_in_their_order(tmp_path: Path) -> None:
    lines = [
        {"case_id": "A", "narrative": "One.", "unit": None, "kind": "x"},
        {"case_id": "A", "narrative": "Two.", "unit": "north", "kind": "y", "late": ""},
        {"case_id": "A", "narrative": "Three.", "unit": "north", "kind": "x", "later": "z"},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    case = _one(list(read_cases([path], JOINED)))
    assert case.metadata == {"unit": "north", "kind": "x; y", "late": None, "later": "z"}


def test_a_row_without_text_adds_no_text_and_is_counted(tmp_path: Path) -> None:
    case = _one(
        _read(tmp_path / "in.csv", [("A", "", "a"), ("A", "One.", ""), ("A", " \u200b", "b"), ("A", "Two.", "")])
    )
    assert (case.narrative, case.row, case.rows, case.metadata) == ("One.\n\nTwo.", 2, 4, {"unit": "a; b"})


def test_a_case_without_any_text_is_rejected_as_one(tmp_path: Path) -> None:
    (item,) = _read(tmp_path / "in.csv", [("A", "", ""), ("A", " ", "")])
    assert isinstance(item, Reject)
    assert (item.row, item.rows) == (2, 2)
    assert "missing or empty" in item.reason


def test_the_same_id_in_another_table_is_another_case(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        _csv(tmp_path / name, [("A", "One.", ""), ("A", "Two.", "")])
    case, reject = read_cases([tmp_path / "a.csv", tmp_path / "b.csv"], JOINED)
    assert isinstance(case, Case)
    assert isinstance(reject, Reject)
    assert (case.rows, reject.rows) == (2, 2)
    assert "duplicate" in reject.reason
    assert "sort" not in reject.reason


def test_a_case_ends_with_its_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook(write_only=True)
    for title in ("one", "two"):
        sheet = book.create_sheet(title)
        sheet.append(HEADER)
        sheet.append(("A", f"In {title}.", ""))
        sheet.append(("B" if title == "two" else "A", "More.", ""))
    book.save(tmp_path / "in.xlsx")
    first, second, third = read_cases([tmp_path / "in.xlsx"], JOINED)
    assert isinstance(first, Case)
    assert first.narrative == "In one.\n\nMore."
    assert isinstance(second, Reject)
    assert second.file.endswith("#two")
    assert (third.case_id, third.rows) == ("B", 1)


def test_a_table_in_an_archive_is_joined_and_its_texts_are_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("a.csv", "case_id,narrative\nA,One.\nA,Two.\n")
        archive.writestr("b.txt", "Three.")
        archive.writestr("c.txt", "Four.")
    items = list(read_cases([tmp_path / "in.zip"], JOINED))
    assert [(item.case_id, item.rows) for item in items] == [("A", 2), ("b", 1), ("c", 1)]
    assert all(isinstance(item, Case) for item in items)


@pytest.mark.parametrize(
    ("content", "number", "reason"),
    [
        (b'{"case_id": "A", "narrative": 7}', 2, "the narrative is a number"),
        (b'{"case_id": "A", "narrative": ', 2, "not valid JSON"),
        (b'{"case_id": "", "narrative": "Lost."}', 2, "there is no case id"),
        (b'{"case_id": "A", "narrative": "\\u0000\\u0000\\u0000\\u0000 binary"}', 2, "binary data"),
        (b'{"case_id": "A", "narrative": "Bad \\ud83d text"}', 2, "not valid text"),
        (b'{"case_id": "A", "narrative": "Text.", "unit": "\\udc80"}', 2, "the field 'unit' is not valid text"),
        (b'{"case_id": "Z\\u0007", "narrative": "Text."}', 2, "control characters"),
    ],
)
def test_a_row_that_is_rejected_by_itself_is_in_no_case_and_ends_none(
    tmp_path: Path, content: bytes, number: int, reason: str
) -> None:
    good = b'{"case_id": "A", "narrative": "%s"}'
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([good % b"One.", content, good % b"Two."]))
    items = list(read_cases([tmp_path / "in.jsonl"], JOINED))
    (reject,) = [item for item in items if isinstance(item, Reject)]
    (case,) = [item for item in items if isinstance(item, Case)]
    assert (reject.row, reject.rows) == (number, 1)
    assert reason in reject.reason
    assert (case.narrative, case.row, case.rows) == ("One.\n\nTwo.", 1, 2)


def test_a_stray_nul_in_every_row_is_no_binary_data(tmp_path: Path) -> None:
    rows = [("A", f"The text of row {number}, with what an export leaves.\0", "") for number in range(9)]
    assert _one(_read(tmp_path / "in.jsonl", rows)).rows == 9


def test_a_quote_left_open_keeps_the_rows_before_it(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('case_id,narrative\nA,One.\nA,Two.\nA,"Three.\nB,Four.\n')
    problem, case = read_cases([tmp_path / "in.csv"], JOINED)
    assert isinstance(problem, Reject)
    assert problem.rest_unread
    assert isinstance(case, Case)
    assert (case.narrative, case.rows) == ("One.\n\nTwo.", 2)


def test_a_file_that_breaks_off_keeps_what_was_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(path: Path, options: ReadOptions) -> Iterator[Row | Problem]:
        yield Row(2, "A", "One.", {})
        yield Row(3, "A", "Two.", {})
        raise OSError(5, "Input/output error")

    monkeypatch.setitem(_READERS, ".csv", broken)
    (tmp_path / "in.csv").write_text("case_id,narrative\n")
    case, problem = read_cases([tmp_path / "in.csv"], JOINED)
    assert isinstance(case, Case)
    assert case.narrative == "One.\n\nTwo."
    assert isinstance(problem, Reject)
    assert problem.rest_unread


@pytest.mark.parametrize(("last", "scored"), [("xxx", True), ("xxxx", False)])
def test_a_case_over_the_limit_is_rejected_as_one(tmp_path: Path, last: str, scored: bool) -> None:
    rows = [("A", "xxxxx", ""), ("A", " ", ""), ("A", last, ""), ("A", "", ""), ("B", "Text.", "")]
    first, second = _read(tmp_path / "in.csv", rows, ReadOptions(max_characters=10, join_rows=True))
    assert isinstance(first, Case) is scored
    assert (first.row, first.case_id, first.rows) == (2, "A", 4)
    if isinstance(first, Reject):
        assert "the narrative that its rows make together has more than the 10 characters" in first.reason
    assert isinstance(second, Case)


def test_a_first_row_over_the_limit_takes_its_case_with_it(tmp_path: Path) -> None:
    rows = [("A", "x" * 11, ""), ("A", "x", ""), ("B", "x" * 11, "")]
    first, second = _read(tmp_path / "in.csv", rows, ReadOptions(max_characters=10, join_rows=True))
    assert (first.rows, second.rows) == (2, 1)
    assert isinstance(second, Reject)
    assert "the narrative has more than the 10 characters" in second.reason


def test_columns_over_the_limit_reject_the_case_as_one(tmp_path: Path) -> None:
    rows = [("A", "x", f"unit {number}") for number in range(9)]
    (item,) = _read(tmp_path / "in.csv", rows, ReadOptions(max_characters=40, join_rows=True))
    assert isinstance(item, Reject)
    assert (item.row, item.rows) == (2, 9)
    assert "the columns beside the narrative" in item.reason


class _Text(str):
    """Says how many characters there are in all of its kind that are still held."""

    held = 0

    def __init__(self, _: str) -> None:
        _Text.held += len(self)

    def __del__(self) -> None:
        _Text.held -= len(self)


@pytest.mark.parametrize("column", ["narrative", "unit"])
def test_no_more_is_held_than_the_limit_and_a_row(column: str) -> None:
    most = []

    def rows() -> Iterator[Row | Problem]:
        for number in range(100, 300):
            most.append(_Text.held)
            text = _Text(f"{number}{'x' * 47}")
            yield Row(number, "A", text, {}) if column == "narrative" else Row(number, "A", "x", {column: text})
            del text

    (item,) = join_rows(rows(), 500)
    assert isinstance(item, Problem)
    assert item.rows == 200
    assert 400 < max(most) <= 500 + 2 * 50


@pytest.mark.parametrize("suffix", sorted(WRITERS))
@given(groups=st.lists(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), max_size=5))
@settings(max_examples=25, deadline=None)
def test_joined_narratives_are_their_parts_and_every_row_is_accounted_for(
    suffix: str, groups: list[list[tuple[str, str]]]
) -> None:
    rows = [(f"c{number}", *row) for number, group in enumerate(groups) for row in group]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in{suffix}"
        items = _read(path, rows)
        apart = {item.row: item for item in read_cases([path], ReadOptions()) if item.row is not None}
    own = [item for item in items if item.row is not None]
    assert sum(item.rows for item in own) == len(rows)
    starts = count(min(apart, default=0))
    for number, (group, item) in enumerate(zip(groups, own, strict=True)):
        assert (item.case_id, item.row, item.rows) == (f"c{number}", next(starts), len(group))
        for _ in group[1:]:
            next(starts)
        texts = [text.replace("=", "") if suffix == ".xlsx" else text for text, _ in group]
        parts = [text for text in texts if not is_blank(text)]
        assert isinstance(item, Case) is bool(parts)
        if isinstance(item, Case):
            assert item.narrative == "\n\n".join(parts)


ROWS = st.builds(
    Row,
    number=st.just(1),
    case_id=st.sampled_from(["A", " A", "B", "", None, "\x07"]),
    narrative=st.sampled_from(["One.", "x" * 30, "", None, "\0\0\0\0", "\ud800"]),
    metadata=st.dictionaries(st.sampled_from("uv"), st.sampled_from([None, "x", "y" * 30, "\ud800"]), max_size=2),
    sheet=st.sampled_from([None, "one"]),
)


@given(items=st.lists(ROWS | st.builds(Problem, st.just(1), st.just("damaged")), max_size=12))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_a_table_no_row_is_lost(items: list[Row | Problem]) -> None:
    joined = list(join_rows(iter(items), 20))
    assert sum(item.rows for item in joined) == len(items)
    for item in joined:
        if isinstance(item, Row) and item.rows > 1:
            assert len(item.narrative or "") <= 20
