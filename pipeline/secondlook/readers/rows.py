"""What the reader of a format hands on: rows to check, and problems where there is no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One input row as the file has it, not yet checked.

    ``sheet`` is set where a file has several, ``member`` where the file is an archive. ``rows`` counts those that were
    joined into it, its own included.
    """

    number: int
    case_id: str | None
    narrative: str | None
    metadata: Mapping[str, str | None]
    sheet: str | None = None
    member: str | None = None
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be read, or a whole file or sheet (``number`` is None), and why.

    ``rest_unread``: nor could what follows it. ``rows`` are as many as it stands for.
    """

    number: int | None
    reason: str
    case_id: str | None = None
    sheet: str | None = None
    rest_unread: bool = False
    member: str | None = None
    rows: int = 1
