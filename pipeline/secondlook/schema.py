"""The records that pass between the parts of the pipeline.

Offsets are Unicode code points, start inclusive, end exclusive, into the narrative exactly as it
was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of a narrative: ``narrative[start:end]``."""

    start: int
    end: int

    def overlap(self, other: Span) -> int:
        """Code points that both spans cover.

        >>> Span(0, 10).overlap(Span(7, 20))
        3
        """
        return max(0, min(self.end, other.end) - max(self.start, other.start))


def intersection_over_union(one: Iterable[Span], other: Iterable[Span]) -> float:
    """How far two sets of spans are the same, in code points, from 0 to 1.

    >>> intersection_over_union([Span(0, 10)], [Span(5, 15)])
    0.3333333333333333
    """
    first = {point for span in one for point in range(*span)}
    second = {point for span in other for point in range(*span)}
    return len(first & second) / len(first | second) if first | second else 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """One narrative to score, and where it came from.

    ``row`` is counted as a spreadsheet shows it: a table's header is row 1, its first case row 2;
    a line of JSONL is its line number; a text file or a document is row 1. ``file`` names a sheet as
    ``book.xlsx#sheet``, a member as ``archive.zip/member``. ``rows`` counts the rows that were joined into the case, of
    which ``row`` is the first.
    """

    case_id: str
    narrative: str
    metadata: Mapping[str, str | None] = field(default_factory=dict)
    file: str = ""
    row: int = 1
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Reject:
    """An input row that was not scored, and why. ``row`` is None when it is the whole file.

    ``rest_unread`` says that the rows after it could not be read either, so that their number is not known.
    ``set_aside`` says that it could have been scored, and that the run was not asked to.
    ``rows`` counts the rows that were joined into it, of which ``row`` is the first.
    """

    file: str
    row: int | None
    case_id: str | None
    reason: str
    rest_unread: bool = False
    set_aside: bool = False
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage that carries a score: ``share`` is its part of the score, from 0 to 1."""

    mode: str
    span: Span
    share: float


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """A case with its scores.

    ``scores`` are calibrated probabilities by mode, ``intervals`` how far the calibration knows them,
    ``flags`` say which reach the operating point, ``evidence`` lists the passages by mode and falling share,
    ``rank`` is 1 for the first to read. ``explanation`` says in a sentence why it stands there, ``date_received``
    is None where it is not known, ``duplicate_of`` names the case that this one copies, with their ``similarity``,
    and ``drawn_for_audit`` says that it is read for having been drawn at random.
    """

    case: Case
    rank: int
    priority: float
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    flags: Mapping[str, bool]
    evidence: tuple[Evidence, ...]
    explanation: str = ""
    date_received: datetime | None = None
    duplicate_of: str | None = None
    similarity: float | None = None
    drawn_for_audit: bool = False
