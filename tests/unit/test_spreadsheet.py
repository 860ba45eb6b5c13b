"""Whatever stands in a cell, a row stays one row, and a spreadsheet reads text."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.spreadsheet import csv_bytes, plain_cell


def _read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


@pytest.mark.parametrize("text", ["a\rb.csv", "a\nb", "a\r\nb", "b\r", "\r\n", 'say "so"', "a,b", " ", ""])
def test_line_breaks_and_quotes_stay_within_their_cell(text: str) -> None:
    assert _read(csv_bytes(["file", "row"], [(text, 2), ("next", 3)])) == [
        ["file", "row"], [plain_cell(text), "2"], ["next", "3"],
    ]  # fmt: skip


@given(rows=st.lists(st.tuples(st.text(), st.text(alphabet='a,"\r\n=\ud800')), max_size=4))
def test_any_text_is_read_back_as_it_was(rows: list[tuple[str, str]]) -> None:
    assert _read(csv_bytes(["a", "b"], rows))[1:] == [[plain_cell(cell) for cell in row] for row in rows]


def test_lines_end_with_a_line_feed_and_unknown_cells_are_empty() -> None:
    assert csv_bytes(["a", "b", "c"], [(None, True, 0.5), ("-1", False, -1)]) == b"a,b,c\n,1,0.5\n'-1,0,-1\n"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_no_cell_begins_like_a_formula_whatever_separates_the_cells(separator: str) -> None:
    content = csv_bytes(["id", "reason"], [(f"x{separator}=cmd|'/C calc'!A0", f"a,b{separator}@SUM(1)")]).decode()
    cells = [cell for line in content.splitlines() for cell in line.split(separator)]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
