"""JSON lines: one object a line. Nested values and numbers become their JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from secondlook.readers.columns import MOST_COLUMNS, find_columns
from secondlook.readers.encoding import open_text
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row
from secondlook.readers.values import as_text

_LONGEST_ESCAPE = 12
"""Of one character: two escaped surrogates."""

_ROOM = 1 << 20
_MAX_DIGITS = 4000
"""Python refuses to convert more (4300, by default); such numbers stay text."""

_KINDS: dict[type, str] = {
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    dict: "an object",
}


def read_jsonl(path: Path, options: ReadOptions) -> Iterator[Row | Problem]:
    """The rows of a JSONL file by line number. Blank lines are skipped."""
    limit = _LONGEST_ESCAPE * options.max_characters + _ROOM
    names: set[str] = set()  # every line may have its own, and each becomes a column of the queue
    with open_text(path) as stream:
        for number, line in _lines(stream, limit):
            if line is None:
                yield Problem(number, f"the line has more than {limit:,} characters; split its narrative")
            elif line.strip():
                row = _parse(number, line, options)
                yield row if isinstance(row, Problem) else _within(names, row)


def _within(names: set[str], row: Row) -> Row | Problem:
    """The row, unless its names would make too many with those that the file had before, to which they are added."""
    fresh = row.metadata.keys() - names
    if len(names) + len(fresh) > MOST_COLUMNS:
        reason = f"with its names the file has more than {MOST_COLUMNS:,} columns; give all lines the same"
        return Problem(row.number, reason, row.case_id)
    names |= fresh
    return row


def _lines(stream: TextIO, limit: int) -> Iterator[tuple[int, str | None]]:
    """Numbered lines; None for those over the limit, which are never held whole."""
    number = 0
    while line := stream.readline(limit):
        number += 1
        whole = len(line) < limit or line.endswith(("\n", "\r"))
        yield number, line if whole else None
        while not whole:
            rest = stream.readline(limit)
            whole = len(rest) < limit or rest.endswith(("\n", "\r"))


def _parse(number: int, line: str, options: ReadOptions) -> Row | Problem:
    try:
        return _row(number, json.loads(line, parse_int=_integer), options)
    except json.JSONDecodeError as error:
        return Problem(number, f"not valid JSON: {error.msg} (character {error.pos + 1}); correct the line")
    except RecursionError:
        return Problem(number, "the JSON is nested too deeply; flatten it")


def _row(number: int, value: object, options: ReadOptions) -> Row | Problem:
    if not isinstance(value, dict):
        return Problem(number, f"the line holds {_kind(value)}; write one JSON object a line")
    columns = find_columns(tuple(value), options)
    if isinstance(columns, str):
        return Problem(number, columns)
    values = list(value.values())
    case_id, narrative = values[columns.case_id], values[columns.narrative]
    if isinstance(case_id, bool | list | dict):
        return Problem(number, f"the case id is {_kind(case_id)}; make it a text or a number")
    if not isinstance(narrative, str | None):
        return Problem(number, f"the narrative is {_kind(narrative)}; make it a text", as_text(case_id))
    return columns.row(number, [as_text(item) for item in values])


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits
