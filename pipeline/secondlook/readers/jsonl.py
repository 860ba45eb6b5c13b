"""JSON lines: one object a line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from secondlook.readers.columns import ReadOptions, find_columns
from secondlook.readers.encodings import detect
from secondlook.schema import Case, Reject


def read(path: Path, name: str, options: ReadOptions) -> Iterator[Case | Reject]:
    """The objects of a file; ``row`` is the line number. Blank lines are no rows."""
    limit = options.max_characters * 7  # "\ud83d" and the like: up to six characters stand for one
    with path.open("rb") as raw, io.TextIOWrapper(raw, detect(path), errors="replace", newline="\n") as stream:
        number = 0
        while line := stream.readline(limit + 1):
            number += 1
            if len(line) > limit:
                yield Reject(name, number, None, "the line is longer than any narrative may be")
                while not line.endswith("\n") and (line := stream.readline(limit)):
                    pass
            elif line.strip():
                yield _case(line, name, number, options)


def _case(line: str, name: str, number: int, options: ReadOptions) -> Case | Reject:
    try:
        data: Any = json.loads(line.lstrip("\ufeff"))
    except RecursionError:
        return Reject(name, number, None, "the JSON is nested too deeply")
    except ValueError as cause:
        return Reject(name, number, None, f"is not JSON ({str(cause)[:120]})")
    if not isinstance(data, dict):
        return Reject(name, number, None, 'is not a JSON object: write {"case_id": …, "narrative": …}')
    columns = find_columns(list(data), options)
    if isinstance(columns, str):
        return Reject(name, number, None, columns)
    values = list(data.values())
    if not isinstance(values[columns.narrative], str | None):
        return Reject(name, number, _text(values[columns.id]), "the narrative is not text")
    try:
        return columns.case([_text(value) for value in values], name, number)
    except RecursionError:
        return Reject(name, number, None, "the JSON is nested too deeply")


def _text(value: Any) -> str | None:
    """Text as it is; numbers and nested values as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
