"""What a model said beside what annotators said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secondlook.corpus import Pair, Style
from secondlook.schema import Span

Array = NDArray[np.float64]


def ranking(scores: Array) -> NDArray[np.int64]:
    """Rows from the highest score to the lowest; ties as a seeded draw has them, not as the file does."""
    drawn = np.random.default_rng(0).permutation(len(scores))
    return np.asarray(drawn[np.argsort(-scores[drawn], kind="stable")])


@dataclass(frozen=True)
class Predictions:
    """Scores beside labels. *Shapes:* ``(narratives, modes)`` for scores, flags and labels (NaN unknown).

    By mode, one mapping a narrative: ``shown`` are the evidence passages that a reviewer would be shown,
    best first; ``ranked`` all passages, best first; ``gold`` the annotated spans; ``without`` and ``alone``
    the score of the narrative without the passages shown, and of these alone (both are measured where the
    label is positive, and may be left out).
    """

    modes: Sequence[str]
    groups: NDArray[np.str_]
    scores: Array
    flags: NDArray[np.bool_]
    labels: Array
    narratives: Sequence[str]
    shown: Sequence[Mapping[str, Sequence[Span]]]
    ranked: Sequence[Mapping[str, Sequence[Span]]]
    gold: Sequence[Mapping[str, Sequence[Span]]]
    styles: Sequence[Style] = ()
    pairs: Sequence[Pair | None] = ()
    without: Sequence[Mapping[str, float]] = field(default=())
    alone: Sequence[Mapping[str, float]] = field(default=())

    def known(self, column: int) -> tuple[NDArray[np.bool_], Array]:
        """Labels and scores of one mode where the label is known."""
        known = ~np.isnan(self.labels[:, column])
        return self.labels[known, column] == 1, self.scores[known, column]
