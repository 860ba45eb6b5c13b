"""Whatever is written comes back, code point for code point; whatever bytes come, nothing is raised."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import Case, Reject

Rows = list[tuple[str, str, str]]

SETTINGS = settings(max_examples=40, deadline=None)
CONTROLS = "\0\x1b\x07\x85\ufeff"
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",;|\t\r\n' + CONTROLS), max_size=30)
# What XML can hold; openpyxl itself refuses or rewrites the rest, so that it never reaches a workbook.
XML_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\t\n,\"'"), max_size=30).map(
    lambda text: text.replace("=", "")
)
IDS = st.uuids().map(str)
HEADER = ("case_id", "narrative", "note")


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])


def write_json(path: Path, rows: Rows) -> None:
    lines = [json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="")


def write_parquet(path: Path, rows: Rows) -> None:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(3)]
    pq.write_table(pa.table(columns, names=list(HEADER)), path)


def write_xlsx(path: Path, rows: Rows) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [HEADER, *rows]:
        sheet.append(row)
    book.save(path)


def check_round_trip(suffix: str, write: Callable[[Path, Rows], None], rows: Rows) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in{suffix}"
        write(path, rows)
        items = list(read_cases([path]))
    counted = [item for item in items if item.row is not None]
    assert len(counted) == len(rows)
    for (case_id, narrative, note), item in zip(rows, counted, strict=True):
        assert item.case_id == case_id
        if isinstance(item, Case):
            assert (item.narrative, item.metadata["note"]) == (narrative, note or None)
        else:
            junk = sum((not c.isprintable() and c not in "\t\r\n") or c == "\ufffd" for c in narrative)
            assert junk or not narrative.strip()


@pytest.mark.parametrize(
    ("suffix", "write"), [(".csv", write_csv), (".jsonl", write_json), (".parquet", write_parquet)]
)
@given(rows=st.lists(st.tuples(IDS, TEXT, TEXT), max_size=5, unique_by=lambda row: row[0]))
@SETTINGS
def test_what_is_written_comes_back(suffix: str, write: Callable[[Path, Rows], None], rows: Rows) -> None:
    check_round_trip(suffix, write, rows)


@given(rows=st.lists(st.tuples(IDS, XML_TEXT, XML_TEXT), max_size=5, unique_by=lambda row: row[0]))
@SETTINGS
def test_what_a_workbook_holds_comes_back(rows: Rows) -> None:
    check_round_trip(".xlsx", write_xlsx, rows)


def _real(suffix: str, write: Callable[[Path, Rows], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in{suffix}"
        write(path, [("a", "Text", ""), ("b", "More", "x")])
        return path.read_bytes()


REAL = {".csv": _real(".csv", write_csv), ".jsonl": _real(".jsonl", write_json), ".txt": b"Text"}
REAL |= {".xlsx": _real(".xlsx", write_xlsx), ".parquet": _real(".parquet", write_parquet)}


def check_never_raises(suffix: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in{suffix}"
        path.write_bytes(content)
        items = list(read_cases([path], ReadOptions(max_characters=10_000)))
    assert items
    assert all(isinstance(item, Case | Reject) for item in items)
    for item in items:
        assert repr((item.case_id, item.file)).encode()


@pytest.mark.parametrize("suffix", sorted(REAL))
@given(content=st.binary(max_size=300))
@SETTINGS
def test_arbitrary_bytes_never_raise(suffix: str, content: bytes) -> None:
    check_never_raises(suffix, content)


@pytest.mark.parametrize("suffix", sorted(REAL))
@given(place=st.integers(0, 10_000), patch=st.binary(max_size=8), cut=st.integers(0, 3))
@SETTINGS
def test_damaged_files_never_raise(suffix: str, place: int, patch: bytes, cut: int) -> None:
    real = REAL[suffix]
    place %= len(real)
    check_never_raises(suffix, real[:place] + patch + real[place + len(patch) + cut :])
