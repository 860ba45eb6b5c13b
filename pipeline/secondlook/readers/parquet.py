"""Parquet tables, a batch at a time. Row numbers count from 1: there is no header row.

A file can also be read from the middle, a row group at a time, so that several processes may share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from secondlook.readers.columns import Columns, find_columns
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row
from secondlook.readers.values import as_text

_BATCH = 256
_DECODED = 200_000_000
"""Bytes that a batch may come to: in a dictionary a long text stands once, and as often in the batch as it has rows."""

_UNREADABLE = object()
"""In the place of a value that is none in Python: a date in the year 29,000, say."""

Source = Path | BinaryIO
"""A file on a disk, or one that was opened elsewhere."""


class UnreadableRowsError(Exception):
    """Rows of a row group cannot be read; which ones is for :func:`read_parquet` to say."""


def read_parquet(path: Source, options: ReadOptions) -> Iterator[Row | Problem]:
    """The rows of a Parquet file."""
    opened = _open(path, options)
    if isinstance(opened, str):
        yield Problem(None, opened)
        return
    file, columns = opened
    with file:
        number = 0
        for number, values in enumerate(_rows(file), start=1):
            if values is None:
                reason = f"damaged after row {number - 1}; the rows after it were not read"
                yield Problem(None, reason, rest_unread=True)
            else:
                yield _row(number, values, columns)


def row_groups(path: Source, options: ReadOptions) -> list[int] | str:
    """How many rows each row group of a file has, by its footer; or why nothing can be read of it."""
    opened = _open(path, options)
    if isinstance(opened, str):
        return opened
    with opened[0] as file:
        return [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]


def read_row_group(path: Source, options: ReadOptions, group: int, first: int, skip: int) -> Iterator[Row | Problem]:
    """The rows of one row group, without the first ``skip`` of them, which are never turned into texts.

    Args:
        path: the file.
        options: which columns to read.
        group: the row group, counted from 0.
        first: the number of its first row in the file.
        skip: how many of its rows to leave out.

    Raises:
        UnreadableRowsError: the file or the row group is damaged.
    """
    opened = _open(path, options)
    if isinstance(opened, str):
        raise UnreadableRowsError(opened)
    file, columns = opened
    number = first
    with file:
        batches = file.iter_batches(_batch(file), row_groups=[group])
        while True:
            try:
                batch = next(batches, None)
                left_out = min(max(first + skip - number, 0), len(batch or ()))
                values = [_values(column) for column in batch.slice(left_out).columns] if batch else []
            except Exception:  # damaged bytes fail in many ways
                raise UnreadableRowsError("the row group is damaged") from None
            if batch is None:
                return
            for place, row in enumerate(zip(*values, strict=True), start=number + left_out):
                yield _row(place, row, columns)
            number += len(batch)


def _open(path: Source, options: ReadOptions) -> tuple[pq.ParquetFile, Columns] | str:
    """A file and its columns, or why it cannot be read."""
    try:
        file = pq.ParquetFile(path)
        names = tuple(file.schema_arrow.names)
    except Exception:  # damaged bytes fail in many ways
        return "the Parquet file is damaged; export it again"
    columns = find_columns(names, options)
    if isinstance(columns, str):
        file.close()
        return columns
    return file, columns


def _rows(file: pq.ParquetFile) -> Iterator[tuple[Any, ...] | None]:
    """The values of each row; None, once and last, where no more can be read."""
    batches = file.iter_batches(_batch(file))
    while True:
        try:
            batch = next(batches, None)
            values = [_values(column) for column in batch.columns] if batch else []
        except Exception:  # damaged bytes fail in many ways
            yield None
            return
        if batch is None:
            return
        yield from zip(*values, strict=True)


def _values(column: pa.Array) -> list[Any]:
    """Texts as bytes: one that is not UTF-8 must spoil its row only, not the batch."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    try:
        values: list[Any] = column.to_pylist()
    except Exception:  # of one value, and of whatever kind its type's library raises
        return [_value(item) for item in column]
    return values


def _value(item: pa.Scalar) -> Any:
    try:
        return item.as_py()
    except Exception:  # as above
        return _UNREADABLE


def _batch(file: pq.ParquetFile) -> int:
    """How many rows may be decoded at once."""
    footer = file.metadata
    groups = (footer.row_group(number) for number in range(footer.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    largest = max((chunk.total_uncompressed_size for chunk in chunks if chunk.has_dictionary_page), default=1)
    return int(min(_BATCH, max(1, _DECODED // max(1, largest))))


def _row(number: int, values: Sequence[Any], columns: Columns) -> Row | Problem:
    if any(value is _UNREADABLE for value in values):
        return Problem(number, "a column holds a value that cannot be read (a date out of range?); export it as text")
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        return Problem(number, "a column holds bytes that are not UTF-8 text; export it as text")
    if not isinstance(texts[columns.narrative], str | None):
        case_id = as_text(texts[columns.case_id])
        return Problem(number, "the narrative is not text; export it as text", case_id)
    return columns.row(number, [as_text(text) for text in texts])
