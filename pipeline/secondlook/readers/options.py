"""The choices of a reading."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Which columns to read, and how long a narrative may be.

    Without a name, columns are found as ``case_id`` and ``narrative``; case, blanks, hyphens and
    underscores do not count, so "Case ID" is found as well. ``join_rows`` makes one case of the rows of a table that
    follow one another with the same id; otherwise each is one.
    """

    id_column: str | None = None
    narrative_column: str | None = None
    max_characters: int = 10_000_000
    join_rows: bool = False
