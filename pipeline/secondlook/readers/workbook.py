"""XLSX workbooks: every sheet that has the columns."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from secondlook.readers.columns import Columns, ReadOptions, find_columns
from secondlook.schema import Case, Reject

MAX_UNPACKED = 500_000_000
MAX_RATIO = 200
RATIO_FROM = 50_000_000


def read(path: Path, name: str, options: ReadOptions) -> Iterator[Case | Reject]:
    """The rows of every sheet, counted as the spreadsheet counts them; formulas give their stored values."""
    if reason := _bomb(path):
        yield Reject(name, None, None, reason)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                for sheet in book.worksheets:
                    label = name if len(book.worksheets) == 1 else f"{name}#{sheet.title}"
                    sheet.reset_dimensions()
                    yield from _sheet(sheet, label, options)
            finally:
                book.close()
    # What a damaged or hostile workbook makes the parser raise is not limited to a few kinds.
    except Exception as cause:
        yield Reject(
            name,
            None,
            None,
            f"the workbook is damaged or encrypted ({type(cause).__name__}): save it again as XLSX or CSV",
        )


def _sheet(sheet: Any, label: str, options: ReadOptions) -> Iterator[Case | Reject]:
    columns: Columns | None = None
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        values = [_text(cell) for cell in cells]
        if not any(value and value.strip() for value in values):
            continue
        if columns is None:
            found = find_columns(_without_tail(values), options)
            if isinstance(found, str):
                yield Reject(label, None, None, f"sheet '{sheet.title}': {found}")
                return
            columns = found
            continue
        yield columns.case(_without_tail(values), label, number)
    if columns is None:
        yield Reject(label, None, None, f"sheet '{sheet.title}' is empty")


def _without_tail(values: list[str | None]) -> list[str | None]:
    """Without the empty cells at the right end, which a formatted sheet has in plenty."""
    while values and not values[-1]:
        values = values[:-1]
    return values


def _text(cell: Any) -> str | None:
    if cell is None:
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime) and not (cell.hour or cell.minute or cell.second):
        return cell.date().isoformat()
    if isinstance(cell, date | datetime):
        return cell.isoformat()
    return str(cell)


def _bomb(path: Path) -> str | None:
    """Why a workbook must not be unpacked, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            packed = sum(entry.compress_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as cause:
        return f"the workbook is damaged ({type(cause).__name__}): save it again as XLSX or CSV"
    if unpacked > MAX_UNPACKED or (unpacked > RATIO_FROM and unpacked > MAX_RATIO * packed):
        return f"the workbook would unpack to {unpacked:,} bytes, and is refused: save it as CSV"
    return None
