"""Parquet tables, a batch at a time. Row numbers count from 1: there is no header row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secondlook.readers.columns import Columns, find_columns
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row
from secondlook.readers.values import as_text

_BATCH = 256
_ERRORS = (SystemError, pa.ArrowException, OSError, ValueError, OverflowError)


def read_parquet(path: Path, options: ReadOptions) -> Iterator[Row | Problem]:
    """The rows of a Parquet file."""
    try:
        file = pq.ParquetFile(path)
        names = tuple(file.schema_arrow.names)
    except _ERRORS:
        yield Problem(None, "the Parquet file is damaged; export it again")
        return
    with file:
        columns = find_columns(names, options)
        if isinstance(columns, str):
            yield Problem(None, columns)
            return
        number = 0
        for number, values in enumerate(_rows(file), start=1):
            if values is None:
                yield Problem(None, f"damaged after row {number - 1}; the rows after it were not read")
            else:
                yield _row(number, values, columns)


def _rows(file: pq.ParquetFile) -> Iterator[tuple[Any, ...] | None]:
    """The values of each row; None, once and last, where no more can be read."""
    batches = file.iter_batches(_BATCH)
    while True:
        try:
            batch = next(batches, None)
            values = [_values(column) for column in batch.columns] if batch else []
        except _ERRORS:
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
    values: list[Any] = column.to_pylist()
    return values


def _row(number: int, values: Sequence[Any], columns: Columns) -> Row | Problem:
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        return Problem(number, "a column holds bytes that are not UTF-8 text; export it as text")
    if not isinstance(texts[columns.narrative], str | None):
        case_id = as_text(texts[columns.case_id])
        return Problem(number, "the narrative is not text; export it as text", case_id)
    return columns.row(number, [as_text(text) for text in texts])
