"""CSV and TSV, in the encodings and with the separators that offices use."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from secondlook.readers.columns import Columns, ReadOptions, find_columns
from secondlook.readers.encodings import detect
from secondlook.schema import Case, Reject

SEPARATORS = (",", ";", "\t", "|")
_HEADER_CHARACTERS = 200_000
_MAX_FIELDS = 20_000


def read(path: Path, name: str, options: ReadOptions) -> Iterator[Case | Reject]:
    """The rows of a table; the header is row 1. Lines without any field are no rows."""
    # The csv module's limit is one for the whole process; our own is checked with every case.
    csv.field_size_limit(max(options.max_characters * 4, csv.field_size_limit()))
    encoding = detect(path)
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding, errors="replace", newline="") as stream:
        head = stream.read(_HEADER_CHARACTERS)
        stream.seek(0)
        separator, columns = _separator(head, options)
        if isinstance(columns, str):
            yield Reject(name, None, None, columns)
            return
        yield from _rows(stream, separator, columns, name)


def _rows(stream: TextIO, separator: str, columns: Columns, name: str) -> Iterator[Case | Reject]:
    guard = _Lines(stream)
    rows = csv.reader(guard, delimiter=separator, strict=False)
    number = 1
    try:
        next(rows)
        for number, values in enumerate(rows, start=2):
            if guard.finished and guard.open_quote(separator):
                yield Reject(
                    name,
                    number,
                    None,
                    f"a quotation mark opened in this row (line {guard.row_start}) is never closed, and the rest of "
                    "the file was taken for its text: close it and score the file again",
                )
                return
            guard.next_row()
            if any(values):
                yield columns.case(values, name, number)
            elif values:
                yield Reject(name, number, None, "the row is empty")
    except csv.Error as cause:
        yield Reject(name, number + 1, None, f"cannot be read as a row ({cause}); the rows after it were not read")


class _Lines:
    """The lines of a file for the csv module, which tells nobody that a quotation mark stayed open."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = 0
        self._row: list[str] = []
        self.row_start = 1
        self.finished = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline()
        if not line:
            self.finished = True
            raise StopIteration
        if not self._row:
            self.row_start = self._line + 1
        self._line += 1
        self._row.append(line)
        return line

    def next_row(self) -> None:
        """A row was completed; the next line begins another."""
        self._row = []

    def open_quote(self, separator: str) -> bool:
        """Whether the lines of the current row leave a quotation mark open."""
        if not self._row:
            return False
        try:
            list(csv.reader(self._row, delimiter=separator, strict=True))
        except csv.Error as cause:
            return "unexpected end of data" in str(cause)
        return False


def _separator(head: str, options: ReadOptions) -> tuple[str, Columns | str]:
    """The separator whose header has the columns that are needed; of several, the one with most columns."""
    reasons: dict[str, str] = {}
    found: list[tuple[int, str, Columns]] = []
    for separator in SEPARATORS:
        try:
            header = next(csv.reader(io.StringIO(head, newline=""), delimiter=separator), [])
        except csv.Error as cause:
            reasons[separator] = f"the header cannot be read ({cause})"
            continue
        if len(header) > _MAX_FIELDS:
            reasons[separator] = f"the header has {len(header):,} columns, and no table of cases has so many"
            continue
        columns = find_columns(header, options)
        if isinstance(columns, str):
            reasons[separator] = columns
        else:
            found.append((len(header), separator, columns))
    if found:
        _, separator, columns = max(found, key=lambda item: item[0])
        return separator, columns
    if not head.strip("\ufeff \t\r\n"):
        return ",", "the file is empty"
    # Speak of the separator that cut the header into most columns.
    likely = max(SEPARATORS, key=lambda separator: head.split("\n", 1)[0].count(separator))
    return likely, reasons[likely]
