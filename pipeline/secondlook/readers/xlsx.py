"""XLSX workbooks, row by row; each worksheet is a table with its header in its first row that is not empty.

Formulas are read as the values that were last computed and saved.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, time
from pathlib import Path
from typing import Any, BinaryIO

from openpyxl import load_workbook
from openpyxl.worksheet._reader import WorkSheetParser

from secondlook.readers.columns import MOST_COLUMNS, find_columns
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row
from secondlook.readers.unpacking import bomb
from secondlook.readers.values import as_text

MAX_ROWS = 1_048_576
"""Excel's own limit. A damaged row number beyond it would be padded with empty rows for hours."""

_WORKBOOK = "xl/workbook.xml"
_LISTED_SHEET = re.compile(rb"<(?:\w+:)?sheet\s")
_ESCAPED_CONTROL = re.compile("_x00([01][0-9A-Fa-f])_")

_Cells = tuple[str | None, ...]


def read_xlsx(path: Path, options: ReadOptions) -> Iterator[Row | Problem]:
    """The rows of every worksheet, numbered as the sheet shows them. Empty rows are skipped."""
    with path.open("rb") as file:
        if problem := _bomb(file):
            yield Problem(None, problem)
            return
        sheets, missing = _sheets(file)
        if not sheets:
            yield Problem(None, "the workbook is damaged or has no worksheet; save it again as .xlsx or CSV")
        for sheet in sheets:
            yield from _read_sheet(sheet, options, sheet.title if len(sheets) > 1 else None)
        if sheets and missing:
            reason = f"{missing} of the workbook's sheets cannot be found in it; save it again as .xlsx or CSV"
            yield Problem(None, reason, rest_unread=True)


def _bomb(file: BinaryIO) -> str | None:
    with zipfile.ZipFile(file) as archive:
        problem = bomb(archive.infolist())
    return f"the workbook {problem}; export its sheets as CSV" if problem else None


def _sheets(file: BinaryIO) -> tuple[list[Any], int]:
    """The worksheets, and how many more sheets the workbook lists and does not hold."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        missing = len(_LISTED_SHEET.findall(_listing(file))) - len(book.sheetnames)
    except Exception:  # openpyxl raises whatever its parsers meet: KeyError, zlib.error, ParseError, ...
        return [], 0
    return list(book.worksheets), max(0, missing)


def _listing(file: BinaryIO) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read(_WORKBOOK) if _WORKBOOK in archive.namelist() else b""


def _read_sheet(sheet: Any, options: ReadOptions, label: str | None) -> Iterator[Row | Problem]:
    place = f"the sheet {sheet.title!r}"
    rows = _rows(sheet)
    header = next(rows, None)
    if header is None:
        yield Problem(None, f"{place} is empty; remove it or fill it", sheet=label)
        return
    columns = header.reason if isinstance(header, Problem) else find_columns(header[1], options)
    if isinstance(columns, str):
        yield Problem(None, f"{place}: {columns}", sheet=label, rest_unread=isinstance(header, Problem))
        return
    for row in rows:
        if isinstance(row, Problem):
            reason = row.reason if row.number else f"{place}: {row.reason}"
            yield replace(row, reason=reason, sheet=label)
        else:
            yield columns.row(*row, sheet=label)


def _rows(sheet: Any) -> Iterator[tuple[int, _Cells] | Problem]:
    """The rows that are not empty, with their numbers; a problem without a number, once and last, ends them.

    From openpyxl's parser, not from its rows: these leave out a row whose number came before, a cell that stands behind
    the last, and take long over gaps.
    """
    last = 0
    parsed = _parsed(sheet)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = next(parsed, None)
                cells = _texts(found[1]) if found else ()
        except Exception:  # as for _sheets
            yield Problem(None, f"damaged after row {last}; the rows after it were not read", rest_unread=True)
            return
        if found is None:
            return
        number = found[0]
        if number > MAX_ROWS:
            reason = f"it has rows beyond {MAX_ROWS:,}, which Excel does not allow; they were not read"
            yield Problem(None, reason, rest_unread=True)
            return
        if number <= last:
            yield Problem(number, "its number came before in the sheet, or a higher one did; save the workbook again")
        elif cells is None:
            yield Problem(number, "it has two cells in one place; save the workbook again")
        elif cells:
            yield number, cells
        last = max(last, number)


def _parsed(sheet: Any) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    book = sheet.parent
    with sheet._get_source() as source:
        yield from WorkSheetParser(
            source,
            sheet._shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        ).parse()


def _texts(cells: list[dict[str, Any]]) -> _Cells | None:
    """The cells as text, without the empty ones at the end; None where two stand in one place."""
    values = {cell["column"]: cell["value"] for cell in cells}
    if len(values) < len(cells):
        return None
    last = max((place for place, value in values.items() if value not in (None, "")), default=0)
    if last > MOST_COLUMNS:
        raise ValueError(last)
    return tuple(_text(values.get(place)) for place in range(1, last + 1))


def _text(cell: Any) -> str | None:
    if isinstance(cell, str):
        # XML has no control characters; Excel saves a carriage return as _x000D_.
        return _ESCAPED_CONTROL.sub(lambda match: chr(int(match[1], 16)), cell)
    if isinstance(cell, datetime) and cell.time() == time():
        # Excel has no dates without a time.
        return cell.date().isoformat()
    return as_text(cell)
