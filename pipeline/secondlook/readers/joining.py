"""Which rows of a table form a case? Those that follow one another with the same id, where that is asked for.

Their narratives are joined by a blank line, in row order; a row without text adds none. A column has the different
values of its rows, in row order, joined by "; ". The case has the number of its first row.

A row that is rejected by itself (no id, bytes that are no text) is handed on at once: it is in no case and ends none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from secondlook.readers.checks import id_problem, is_blank, metadata_problem, text_problem, too_long, trim
from secondlook.readers.rows import Problem, Row

BETWEEN_NARRATIVES = "\n\n"
BETWEEN_VALUES = "; "


def join_rows(items: Iterator[Row | Problem], max_characters: int) -> Iterator[Row | Problem]:
    """The items of a table, with the rows of each case as one.

    Of a case, no more is held than ``max_characters`` of narrative and as many of further values, beside one row: what
    has more becomes a Problem, and the rest of its rows is only counted.
    """
    group: _Group | None = None
    try:
        for item in items:
            if isinstance(item, Problem) or _is_rejected(item, max_characters):
                yield item
            elif group and group.has(item):
                group.add(item)
            else:
                if group:
                    yield group.item()
                group = _Group(item, max_characters)
    except OSError:  # the file cannot be read further; what was read of it counts
        if group:
            yield group.item()
        raise
    if group:
        yield group.item()


def _is_rejected(row: Row, max_characters: int) -> bool:
    """Whether the checks reject the row whatever stands beside it."""
    return bool(
        id_problem(trim(row.case_id or ""))
        or text_problem(row.narrative or "")
        or metadata_problem(row.metadata, max_characters)
    )


class _Group:
    """Rows of one case, as they are read."""

    def __init__(self, first: Row, max_characters: int) -> None:
        self._first = first
        self._key = _key(first)
        self._limit = max_characters
        self._rows = 1
        self._texts: list[str] = []
        self._characters = self._added = 0
        self._values = {name: _as_keys(value) for name, value in first.metadata.items()}
        self._reason: str | None = None
        self._add_text(first.narrative or "")

    def has(self, row: Row) -> bool:
        """Whether the row belongs to the case."""
        return _key(row) == self._key

    def add(self, row: Row) -> None:
        """One row more; it is only counted once there is too much."""
        self._rows += 1
        self._let_go_of_too_much()  # the first row alone may have it
        if self._reason is None:
            self._add_text(row.narrative or "")
            self._add_values(row)
            self._let_go_of_too_much()

    def item(self) -> Row | Problem:
        """The case as one row; a single row as it was."""
        first = self._first
        if self._rows == 1:
            return first
        if self._reason:
            return Problem(first.number, self._reason, first.case_id, first.sheet, rows=self._rows)
        narrative = BETWEEN_NARRATIVES.join(self._texts)
        metadata = {name: BETWEEN_VALUES.join(values) or None for name, values in self._values.items()}
        return replace(first, narrative=narrative, metadata=metadata, rows=self._rows)

    def _add_text(self, text: str) -> None:
        if not is_blank(text):
            self._characters += len(text) + len(BETWEEN_NARRATIVES) * bool(self._texts)
            self._texts.append(text)

    def _add_values(self, row: Row) -> None:
        for name, value in row.metadata.items():
            if name not in self._values:
                self._values[name] = {}
                self._added += len(name)
            if value and value not in self._values[name]:
                self._values[name][value] = None
                self._added += len(value) + len(BETWEEN_VALUES)

    def _let_go_of_too_much(self) -> None:
        if self._characters > self._limit:
            self._reason = too_long("narrative that its rows make together", self._limit)
        elif self._added > self._limit:
            self._reason = too_long("columns beside the narrative, its rows taken together,", self._limit)
        if self._reason:
            self._first = replace(self._first, narrative=None, metadata={})
            self._texts, self._values = [], {}


def _key(row: Row) -> tuple[str, str | None]:
    return trim(row.case_id or ""), row.sheet


def _as_keys(value: str | None) -> dict[str, None]:
    """An ordered set."""
    return {value: None} if value else {}
