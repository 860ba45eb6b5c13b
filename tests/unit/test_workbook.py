from __future__ import annotations

import gc
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secondlook.codebook import Codebook, Mode
from secondlook.page import PageFacts
from secondlook.schema import Case, Evidence, ScoredCase, Span
from secondlook.workbook import CELL_CHARACTERS, METADATA_COLUMNS, write_workbook

MODES = (Mode(id="told", title="Told", definition="-"), Mode(id="unseen", title="Unseen", definition="-"))
CUT = " … [cut here: the whole text is in the run's Parquet files]"
_FORMULA = '<r><t>x</t></r></is></c><c t="str"><f>1+1</f><v>y</v></c><c t="inlineStr"><is><r><t>z</t></r>'
CODEBOOK = Codebook(name="t", version="1", modes=MODES)
FACTS = PageFacts("default", "ab" * 32, 3, 1, 1000, shown=3)
TEXT = "The desk told him. Nobody went to see her."
CASE = ScoredCase(
    Case("C-1", TEXT, {"Area": "North"}, "cases.csv", 2), 1, 0.7, {"told": 0.9, "unseen": 0.2},
    {"told": (0.8, 0.95), "unseen": (0.1, 0.3)}, {"told": True, "unseen": False},
    (Evidence("told", Span(0, 18), 0.9), Evidence("unseen", Span(19, 42), 0.6)),
    explanation="Expected severity 0.70: told 0.90 (flagged)", date_received=datetime(2026, 9, 14, 9, 30),
)  # fmt: skip


def _open(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # openpyxl does not know Excel's solid bars
        return openpyxl.load_workbook(path)


def _rows(path: Path) -> list[dict[str, Any]]:
    head, *rows = _open(path)["Queue"].iter_rows()
    return [{str(name.value): cell for name, cell in zip(head, row, strict=True)} for row in rows]


def test_a_row_says_what_a_reader_needs(tmp_path: Path) -> None:
    path = tmp_path / "queue.xlsx"
    copy = replace(CASE, rank=2, duplicate_of="C-1", similarity=0.93)
    drawn = replace(CASE, rank=3, drawn_for_audit=True, flags={"told": False, "unseen": False}, date_received=None)
    write_workbook(path, [CASE, copy, drawn], CODEBOOK, FACTS, ["Area"])
    first, second, third = ({name: cell.value for name, cell in row.items()} for row in _rows(path))
    assert first == {
        "Rank": 1, "Case": "C-1", "Priority": 0.7, "Why it stands here": CASE.explanation, "Flagged": "Told",
        "Told": 0.9, "Unseen": 0.2, "Evidence": "Told: “The desk told him.”", "Copy of": None, "Similarity": None,
        "Drawn for the audit": None, "Date received": datetime(2026, 9, 14, 9, 30), "Area": "North",
        "Source": "cases.csv, row 2",
    }  # fmt: skip
    assert (second["Copy of"], second["Similarity"]) == ("C-1", 0.93)
    assert (third["Drawn for the audit"], third["Flagged"], third["Date received"]) == ("yes", "nothing flagged", None)
    assert third["Evidence"] == "Told (not flagged): “The desk told him.”"
    sheet = _open(path)["Queue"]
    assert sheet.freeze_panes == "C2"
    assert sheet.auto_filter.ref == "A1:N4"
    assert {str(area.sqref) for area in sheet.conditional_formatting} == {"C2:C4", "F2:F4", "G2:G4"}
    assert "they are not findings" in _open(path)["About"]["A1"].value


NASTY = [
    '=HYPERLINK("http://evil.example","x")', "+1", "-1", "@SUM(A1)", "{=1+1}", "http://evil.example", "mailto:x@y.z",
    "\x00\x0b\x1b", "\u202egpj.exe", "\ud800", "_x0041_", "<b>&amp;</b>]]>", "1e999", "TRUE", "\r\n\t", "'quoted", "\ufffe",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
def test_text_is_text_wherever_it_stands(text: str, tmp_path: Path) -> None:
    path = tmp_path / "queue.xlsx"
    case = replace(CASE, case=replace(CASE.case, case_id=text, narrative=text * 9, metadata={text: text}, file=text),
                   explanation=text, duplicate_of=text)  # fmt: skip
    modes = tuple(mode.model_copy(update={"title": f"{text}{mode.id}"}) for mode in MODES)
    write_workbook(path, [case], Codebook(name="t", version="1", modes=modes), FACTS, [text])
    sheet = _open(path)["Queue"]
    texts = [cell for row in sheet.iter_rows() for cell in row if isinstance(cell.value, str)]
    assert {cell.data_type for cell in texts} == {"s"}
    assert not any(cell.hyperlink for cell in texts)
    parts = zipfile.ZipFile(path)
    whole = b"".join(parts.read(name) for name in parts.namelist() if "sheet" in name)
    assert b"<f>" not in whole
    assert b"hyperlink" not in whole
    for character in "\x00\x0b\x1b\u202e":
        assert character.encode() not in whole


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=50))
def test_any_text_can_be_opened(text: str, tmp_path: Path) -> None:
    path = tmp_path / "queue.xlsx"
    write_workbook(path, [replace(CASE, case=replace(CASE.case, metadata={"Area": text}))], CODEBOOK, FACTS, ["Area"])
    assert _rows(path)[0]["Case"].value == "C-1"


@pytest.mark.parametrize("character", ["x", "😀", "\x01"])
def test_a_cell_too_long_is_cut_and_says_so(character: str, tmp_path: Path) -> None:
    path = tmp_path / "queue.xlsx"
    case = replace(CASE, case=replace(CASE.case, metadata={"Area": character * 40_000}))
    write_workbook(path, [case], CODEBOOK, FACTS, ["Area"])
    value = _rows(path)[0]["Area"].value
    assert value.endswith("[cut here: the whole text is in the run's Parquet files]")
    assert CELL_CHARACTERS - 10 <= len(value.encode("utf-16-le")) // 2 <= CELL_CHARACTERS


def test_more_cases_than_a_sheet_holds_go_on_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "queue.xlsx"
    write_workbook(path, (replace(CASE, rank=rank) for rank in range(1, 8)), CODEBOOK, FACTS, [], rows=3)
    book = _open(path)
    assert book.sheetnames == ["Queue", "Queue 2", "Queue 3", "About"]
    ranks = [[row[0] for row in book[name].iter_rows(min_row=2, values_only=True)] for name in book.sheetnames[:3]]
    assert ranks == [[1, 2, 3], [4, 5, 6], [7]]


def test_more_columns_than_people_read_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "queue.xlsx"
    write_workbook(path, [CASE], CODEBOOK, FACTS, [f"m{number}" for number in range(METADATA_COLUMNS + 7)])
    assert any("7 more columns" in str(cell.value) for cell in _open(path)["About"]["A"])


def test_an_empty_queue_is_a_workbook_too(tmp_path: Path) -> None:
    write_workbook(tmp_path / "queue.xlsx", [], CODEBOOK, FACTS, [])
    assert _rows(tmp_path / "queue.xlsx") == [] or all(
        c.value is None for c in _rows(tmp_path / "queue.xlsx")[0].values()
    )


def test_the_bytes_depend_on_the_arguments_only_and_nothing_is_left_beside(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_workbook(tmp_path / name / "queue.xlsx", [CASE], CODEBOOK, FACTS, ["Area"])
        assert [path.name for path in (tmp_path / name).iterdir()] == ["queue.xlsx"]
    assert (tmp_path / "one/queue.xlsx").read_bytes() == (tmp_path / "two/queue.xlsx").read_bytes()


def test_memory_does_not_grow_with_the_cases(tmp_path: Path) -> None:
    def cases(number: int) -> Iterator[ScoredCase]:
        return (replace(CASE, rank=rank, explanation=f"{rank} " * 200) for rank in range(1, number + 1))

    def peak(number: int) -> int:
        tracemalloc.start()
        write_workbook(tmp_path / "queue.xlsx", cases(number), CODEBOOK, FACTS, ["Area"])
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)
    assert peak(2000) < peak(200) + 500_000  # 1,800 more explanations are a megabyte and a half


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<r>&</r>", "<r>&</r>"),
        (_FORMULA, _FORMULA),
        (f"<r>{'&' * 10_000}</r>", f"<r>{'&' * 10_000}</r>{CUT}"),
    ],
    ids=["no XML", "a formula", "longer than a cell once it is escaped"],
)
def test_markup_in_a_cell_is_shown_as_text(tmp_path: Path, text: str, shown: str) -> None:
    path = tmp_path / "queue.xlsx"
    write_workbook(path, [replace(CASE, case=replace(CASE.case, metadata={"Area": text}))], CODEBOOK, FACTS, ["Area"])
    cell = _rows(path)[0]["Area"]
    assert cell.data_type != "f"
    assert cell.value == shown
    with zipfile.ZipFile(path) as book:
        assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves a file open then
def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xlsxwriter.workbook.ZipFile", full)
    with pytest.raises(OSError, match="No space left"):
        write_workbook(tmp_path / "queue.xlsx", [CASE], CODEBOOK, FACTS, [])
    gc.collect()
