"""XLSX workbooks, row by row; each worksheet is a table with its header in its first row that is not empty.

Formulas are read as the values that were last computed and saved.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Any, BinaryIO

from openpyxl import load_workbook

from secondlook.readers.columns import find_columns
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row
from secondlook.readers.unpacking import bomb
from secondlook.readers.values import as_text

MAX_ROWS = 1_048_576
"""Excel's own limit. A damaged row number beyond it would be padded with empty rows for hours."""

_ESCAPED_CONTROL = re.compile("_x00([01][0-9A-Fa-f])_")

_Cells = tuple[str | None, ...]


def read_xlsx(path: Path, options: ReadOptions) -> Iterator[Row | Problem]:
    """The rows of every worksheet, numbered as the sheet shows them. Empty rows are skipped."""
    with path.open("rb") as file:
        if problem := _bomb(file):
            yield Problem(None, problem)
            return
        sheets = _sheets(file)
        if not sheets:
            yield Problem(None, "the workbook is damaged or has no worksheet; save it again as .xlsx or CSV")
        for sheet in sheets:
            yield from _read_sheet(sheet, options, sheet.title if len(sheets) > 1 else None)


def _bomb(file: BinaryIO) -> str | None:
    with zipfile.ZipFile(file) as archive:
        problem = bomb(archive.infolist())
    return f"the workbook {problem}; export its sheets as CSV" if problem else None


def _sheets(file: BinaryIO) -> list[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sheets = load_workbook(file, read_only=True, data_only=True, keep_links=False).worksheets
    except Exception:  # openpyxl raises whatever its parsers meet: KeyError, zlib.error, ParseError, ...
        return []
    for sheet in sheets:
        # The size that a sheet declares is often wrong: too small loses rows, too large takes hours.
        sheet.reset_dimensions()
    return list(sheets)


def _read_sheet(sheet: Any, options: ReadOptions, label: str | None) -> Iterator[Row | Problem]:
    place = f"the sheet {sheet.title!r}"
    rows = _rows(sheet)
    header = next(rows, None)
    if header is None:
        yield Problem(None, f"{place} is empty; remove it or fill it", sheet=label)
        return
    columns = header if isinstance(header, str) else find_columns(header[1], options)
    if isinstance(columns, str):
        yield Problem(None, f"{place}: {columns}", sheet=label)
        return
    for row in rows:
        if isinstance(row, str):
            yield Problem(None, f"{place}: {row}", sheet=label)
        else:
            yield columns.row(*row, sheet=label)


def _rows(sheet: Any) -> Iterator[tuple[int, _Cells] | str]:
    """The rows that are not empty, with their numbers; a text, once and last, says why there are no more."""
    rows = sheet.iter_rows(values_only=True)
    for number in range(1, MAX_ROWS + 2):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cells = _texts(next(rows))
        except StopIteration:
            return
        except Exception:  # as for _sheets
            yield f"damaged after row {number - 1}; the rows after it were not read"
            return
        if cells:
            yield number, cells
    yield f"it has rows beyond {MAX_ROWS:,}, which Excel does not allow; they were not read"


def _texts(cells: tuple[Any, ...]) -> _Cells:
    """The cells as text, without the empty ones at the end."""
    end = len(cells)
    while end and cells[end - 1] in (None, ""):
        end -= 1
    return tuple(_text(cell) for cell in cells[:end])


def _text(cell: Any) -> str | None:
    if isinstance(cell, str):
        # XML has no control characters; Excel saves a carriage return as _x000D_.
        return _ESCAPED_CONTROL.sub(lambda match: chr(int(match[1], 16)), cell)
    if isinstance(cell, datetime) and cell.time() == time():
        # Excel has no dates without a time.
        return cell.date().isoformat()
    return as_text(cell)
