"""Which columns of a table hold the ids and the narratives, and how its rows become cases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from secondlook.errors import did_you_mean
from secondlook.schema import Case, Reject


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read.

    ``id_column`` and ``narrative_column`` name columns; if None they are found by the names
    ``case_id`` and ``narrative``, case, blanks and hyphens ignored. Longer narratives than
    ``max_characters`` are rejected.
    """

    id_column: str | None = None
    narrative_column: str | None = None
    max_characters: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one table: all names, and where the id and the narrative stand."""

    names: tuple[str, ...]
    id: int
    narrative: int

    def case(self, values: Sequence[str | None], file: str, row: int) -> Case | Reject:
        """The case of one row; the checks of its contents come later."""
        padded = [*values, *[None] * (len(self.names) - len(values))]
        case_id = (padded[self.id] or "").strip()
        if len(values) > len(self.names) and any(values[len(self.names) :]):
            reason = (
                f"the row has {len(values)} fields and the header {len(self.names)}: "
                "put quotation marks around texts that hold the separator"
            )
            return Reject(file, row, case_id or None, reason)
        metadata = {
            name: value or None
            for number, (name, value) in enumerate(zip(self.names, padded, strict=False))
            if number not in (self.id, self.narrative)
        }
        return Case(case_id, padded[self.narrative] or "", metadata, file, row)


def find_columns(header: Sequence[str | None], options: ReadOptions) -> Columns | str:
    """The columns of a header, or the reason why it cannot be used."""
    names = _distinct([(name or "").strip().lstrip("\ufeff") for name in header])
    found: dict[str, int] = {}
    for role, wanted, flag in (
        ("case_id", options.id_column, "--id-column"),
        ("narrative", options.narrative_column, "--narrative-column"),
    ):
        place = _find(names, wanted or role, exact=wanted is not None)
        if place is None:
            shown = ", ".join(repr(name)[1:-1][:40] for name in names[:20] if name) or "none"
            hint = did_you_mean(wanted or role, names)
            return f"there is no column '{wanted or role}'{hint}; name one with {flag}; columns found: {shown}"
        found[role] = place
    if found["case_id"] == found["narrative"]:
        return "the id and the narrative cannot be the same column"
    return Columns(tuple(names), found["case_id"], found["narrative"])


def _find(names: Sequence[str], wanted: str, *, exact: bool) -> int | None:
    if wanted in names:
        return names.index(wanted)
    plain = [_plain(name) for name in names]
    if _plain(wanted) in plain:
        return plain.index(_plain(wanted))
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that repeat get a number: no column may hide another."""
    seen: Counter[str] = Counter()
    distinct = []
    for number, name in enumerate(names, start=1):
        name = name or f"column {number}"
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct
