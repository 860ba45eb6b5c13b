"""CSV that any spreadsheet opens, and that none takes for formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_BEGINS_A_CELL = re.compile(r"([;|\t])(?=[=+\-@])")


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as UTF-8; what is not known is an empty cell, yes and no are 1 and 0.

    >>> csv_bytes(["file", "row"], [["a.csv", None], ["=b.csv", 2]])
    b"file,row\\na.csv,\\n'=b.csv,2\\n"
    """
    return _line(columns).encode("utf-8", "backslashreplace") + csv_rows(rows)


def csv_rows(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows to follow those of a table of :func:`csv_bytes`."""
    lines = (_line([_cell(value) for value in row]) for row in rows)
    return "".join(lines).encode("utf-8", "backslashreplace")


def plain_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula (OWASP, CSV injection).

    Neither does one that separates cells at semicolons, tabs or bars, quoted or not, as much of Europe does.

    >>> plain_cell("=1+1"), plain_cell("A-17"), plain_cell("a;=1+1")
    ("'=1+1", 'A-17', "a;'=1+1")
    """
    clean = _BEGINS_A_CELL.sub(r"\1'", text.encode("utf-8", "backslashreplace").decode())
    return f"'{clean}" if clean.startswith(("=", "+", "-", "@", "\t", "\r")) else clean


def _line(cells: Sequence[object]) -> str:
    """One row, ended by a line feed.

    Python 3.11 quotes only those line breaks that the writer's own line ends hold: were those a line feed, the
    carriage return in a file's name would stand bare, and a reader would break the row there.
    """
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: object) -> object:
    if isinstance(value, str):
        return plain_cell(value)
    return int(value) if isinstance(value, bool) else value
