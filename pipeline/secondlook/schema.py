"""The records that pass between the parts of the pipeline.

Offsets are Unicode code points, start inclusive, end exclusive, into the narrative exactly as it
was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Case:
    """One narrative to score, and where it came from.

    ``row`` is counted as a spreadsheet shows it: a table's header is row 1, its first case row 2;
    a line of JSONL is its line number; a text file is row 1.
    """

    case_id: str
    narrative: str
    metadata: Mapping[str, str | None] = field(default_factory=dict)
    file: str = ""
    row: int = 1


@dataclass(frozen=True, slots=True)
class Reject:
    """An input row that was not scored, and why. ``row`` is None when it is the whole file."""

    file: str
    row: int | None
    case_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage that carries a score: ``share`` is its part of the score, from 0 to 1."""

    mode: str
    span: Span
    share: float


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """A case with its scores.

    ``scores`` are calibrated probabilities by mode, ``flags`` say which reach the operating point,
    ``evidence`` lists the passages by mode and falling share, ``rank`` is 1 for the first to read.
    """

    case: Case
    rank: int
    priority: float
    scores: Mapping[str, float]
    flags: Mapping[str, bool]
    evidence: tuple[Evidence, ...]
