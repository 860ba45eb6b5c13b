"""Parquet, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secondlook.readers.columns import Columns, ReadOptions, find_columns
from secondlook.schema import Case, Reject

BATCH = 512


def read(path: Path, name: str, options: ReadOptions) -> Iterator[Case | Reject]:
    """The rows of a file, counted from 1."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = find_columns(file.schema_arrow.names, options)
            if isinstance(columns, str):
                yield Reject(name, None, None, columns)
                return
            for batch in file.iter_batches(batch_size=BATCH):
                for row in _rows(batch):
                    number += 1
                    yield _case(row, columns, name, number)
    # A damaged file can make the library raise nearly anything.
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, NotImplementedError, OverflowError) as cause:
        yield Reject(name, None, None, f"is damaged after row {number} ({type(cause).__name__}): export it again")


def _rows(batch: pa.RecordBatch) -> Iterator[list[Any]]:
    values = [column.to_pylist() for column in batch.columns]
    for row in range(batch.num_rows):
        yield [column[row] for column in values]


def _case(row: list[Any], columns: Columns, name: str, number: int) -> Case | Reject:
    try:
        texts = [_text(value) for value in row]
    except UnicodeDecodeError:
        return Reject(name, number, None, "holds bytes that are not UTF-8 text: export it again as text")
    return columns.case(texts, name, number)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return None if value is None else str(value)
