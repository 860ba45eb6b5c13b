"""Which columns of a table hold the ids and the narratives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from secondlook.errors import did_you_mean
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Row

_LONGEST_SHOWN_NAME = 40
MOST_COLUMNS = 16_384
"""As many as Excel has; each becomes a column of the queue, and a hundred times as many would take minutes."""

LONGEST_NAME = 1000
"""A name stands beside every value in what a run keeps."""

_MOST_SHOWN_NAMES = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table: their names, and the places of the two that matter."""

    names: tuple[str, ...]
    case_id: int
    narrative: int

    def row(self, number: int, values: Sequence[str | None], sheet: str | None = None) -> Row:
        """The row with these values; missing and empty metadata are None."""
        metadata = {
            name: (values[place] or None) if place < len(values) else None
            for place, name in enumerate(self.names)
            if place not in (self.case_id, self.narrative)
        }
        for place in range(len(self.names), len(values)):
            if values[place]:
                metadata.setdefault(f"column {place + 1}", values[place])
        return Row(number, _at(values, self.case_id), _at(values, self.narrative), metadata, sheet)


def find_columns(header: tuple[str | None, ...], options: ReadOptions) -> Columns | str:
    """The columns of a header, or the reason why its table cannot be read.

    >>> find_columns(("Case ID", "Station", "Narrative"), ReadOptions())
    Columns(names=('Case ID', 'Station', 'Narrative'), case_id=0, narrative=2)
    """
    if len(header) > MOST_COLUMNS:
        return (
            f"{len(header):,} columns, more than a spreadsheet can hold ({MOST_COLUMNS:,}); "
            "leave out those that no reviewer needs"
        )
    if any(name and len(name) > LONGEST_NAME for name in header):
        return f"a column's name has more than {LONGEST_NAME:,} characters; the first row must hold the names"
    return _find_columns(header, options)


@lru_cache(maxsize=64)
def _find_columns(header: tuple[str | None, ...], options: ReadOptions) -> Columns | str:
    names = _unique_names(header)
    case_id = _find(names, options.id_column or "case_id")
    narrative = _find(names, options.narrative_column or "narrative")
    if case_id is None:
        return _missing("case ids", options.id_column or "case_id", "--id-column", names)
    if narrative is None:
        return _missing("narratives", options.narrative_column or "narrative", "--narrative-column", names)
    if case_id == narrative:
        return "ids and narratives cannot share a column; give --id-column and --narrative-column two names"
    return Columns(names, case_id, narrative)


def _unique_names(header: tuple[str | None, ...]) -> tuple[str, ...]:
    """Stripped names; those without one are called by their place, those that repeat get a number."""
    unique: dict[str, None] = {}
    used: Counter[str] = Counter()
    for place, given in enumerate(header, start=1):
        # A lone surrogate stands for an undecodable byte; no output could be written with it.
        name = re.sub("[\ud800-\udfff]", "\ufffd", given or "").strip() or f"column {place}"
        candidate = name
        while candidate in unique:
            used[name] += 1
            candidate = f"{name} ({used[name] + 1})"
        unique[candidate] = None
    return tuple(unique)


def _find(names: tuple[str, ...], wanted: str) -> int | None:
    if wanted.strip() in names:
        return names.index(wanted.strip())
    folded = [_fold(name) for name in names]
    return folded.index(_fold(wanted)) if _fold(wanted) in folded else None


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def _missing(purpose: str, wanted: str, option: str, names: tuple[str, ...]) -> str:
    # Without a header, the "names" are the first case: long ones may be its narrative, so are not shown.
    known = [name for name in names if len(name) <= _LONGEST_SHOWN_NAME]
    shown = [repr(name) for name in known[:_MOST_SHOWN_NAMES]]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return (
        f"no column {wanted!r} for the {purpose}; the columns are {', '.join(shown) or 'none'}"
        f"{did_you_mean(wanted, known)}; name the right one with {option} (the first row must hold the names;"
        " the two needed are set by --id-column and --narrative-column)"
    )


def _at(values: Sequence[str | None], place: int) -> str | None:
    return values[place] if place < len(values) else None
