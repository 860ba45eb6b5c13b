"""CSV and TSV: one table, its names in the first row that is not blank.

Rows are counted as a spreadsheet shows them: a quoted field may span lines. Blank lines are counted
but are no rows, as for the csv module.

Quoting is read strictly. A quotation mark that is not doubled, or never closed, would otherwise
join rows or drop characters without a trace.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple, TextIO

from secondlook.readers.columns import find_columns
from secondlook.readers.encoding import open_text
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row

SEPARATORS = ",;\t|"
_HEAD = 1 << 16
_ROOM = 1 << 20
_NO_FIELD_LIMIT = 2**31 - 1
"""The largest that every platform takes; ``_Lines`` limits whole records instead."""

_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?(?:\r\n?|\n)', re.IGNORECASE)


class _Record(NamedTuple):
    number: int
    fields: list[str]


class _RunawayError(Exception):
    """A record longer than any that can be meant."""


class _Lines:
    """The lines of a stream for csv.reader, which says neither where a record began nor how it ended."""

    def __init__(self, stream: TextIO, max_record_characters: int) -> None:
        self._stream = stream
        self._limit = max_record_characters
        self._left = max_record_characters
        self._number = 0
        self.first = 1
        self.ended = False

    def begin_record(self) -> None:
        self.first = self._number + 1
        self._left = self._limit

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._left + 1)
        if not line:
            self.ended = True
            raise StopIteration
        self._left -= len(line)
        if self._left < 0:
            raise _RunawayError
        self._number += 1
        return line

    def span(self) -> str:
        """The lines of the record, for a message."""
        return f"line {self.first}" if self._number <= self.first else f"lines {self.first} to {self._number}"


def read_delimited(path: Path, options: ReadOptions) -> Iterator[Row | Problem]:
    """The rows of a CSV or TSV file; the separator is the one that gives the columns needed."""
    # A narrative over the limit is rejected by itself; what is many times longer is a quote left open.
    max_record_characters = 4 * options.max_characters + _ROOM
    with open_text(path) as stream:
        head = stream.read(_HEAD)
        stream.seek(0)
        declared = _SEPARATOR_LINE.match(head)
        if declared:
            stream.readline()
        separator = declared[1] if declared else _find_separator(head, options)
        yield from _rows(_records(_Lines(stream, max_record_characters), separator), options)


def _rows(records: Iterator[_Record | Problem], options: ReadOptions) -> Iterator[Row | Problem]:
    header = next((record for record in records if isinstance(record, Problem) or record.fields), None)
    if header is None:
        return
    columns = header.reason if isinstance(header, Problem) else find_columns(tuple(header.fields), options)
    if isinstance(columns, str):
        yield Problem(None, columns)
        return
    after_broken_quote = False
    for record in records:
        if isinstance(record, Problem):
            after_broken_quote = True
            yield record
        elif record.fields:
            problem = _width_problem(record, len(columns.names), after_broken_quote)
            after_broken_quote = problem is not None and after_broken_quote
            yield problem or columns.row(*record)


def _width_problem(record: _Record, width: int, after_broken_quote: bool) -> Problem | None:
    """Why the fields do not fit the header. Missing ones at the end do, except after a broken quote."""
    fields = len(record.fields)
    if after_broken_quote and fields != width:
        reason = "it follows a broken quote and may be a piece of that row; correct that row first"
        return Problem(record.number, reason)
    if fields <= width:
        return None
    reason = f"the row has {fields} fields but the header has {width}; quote fields that hold the separator"
    return Problem(record.number, reason)


def _records(lines: _Lines, separator: str) -> Iterator[_Record | Problem]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    for number in count(1):
        lines.begin_record()
        try:
            fields = _next_fields(reader)
        except _RunawayError:
            yield Problem(number, _unclosed(lines), rest_unread=True)
            return
        except csv.Error:
            reason = _unclosed(lines) if lines.ended else _misquoted(lines)
            yield Problem(number, reason, rest_unread=lines.ended)
            continue
        if fields is None:
            return
        yield _Record(number, fields)


def _next_fields(reader: Iterator[list[str]]) -> list[str] | None:
    """The next record, None at the end; the field limit of the whole process is left as it was."""
    limit = csv.field_size_limit(_NO_FIELD_LIMIT)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(limit)


def _unclosed(lines: _Lines) -> str:
    return (
        f"a quotation mark opened in the row that begins on line {lines.first} is never closed, so the rows"
        " after it were not read; close it (a quotation mark within a field is written twice)"
    )


def _misquoted(lines: _Lines) -> str:
    return (
        f"a quoted field on {lines.span()} does not end at a separator, so what is there was not read;"
        " write a quotation mark within a field twice"
    )


def _find_separator(head: str, options: ReadOptions) -> str:
    """The separator that gives the columns needed, else the one that gives most columns."""
    headers = {separator: _header(head, separator) for separator in SEPARATORS}
    for separator, header in headers.items():
        if not isinstance(find_columns(header, options), str):
            return separator
    return max(headers, key=lambda separator: len(headers[separator]))


def _header(head: str, separator: str) -> tuple[str, ...]:
    records = _records(_Lines(io.StringIO(head, newline=""), len(head)), separator)
    for record in records:
        if isinstance(record, Problem) or record.fields:
            return () if isinstance(record, Problem) else tuple(record.fields)
    return ()
