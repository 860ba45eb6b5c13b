"""The scorer: narratives in, calibrated scores with their evidence out. No files, no state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondlook.bundle import Bundle
from secondlook.config import ScoreConfig
from secondlook.evidence import pool, shares
from secondlook.schema import Evidence, Span
from secondlook.text import split_passages

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a bundle says of one narrative.

    ``scores`` are calibrated probabilities by mode, ``intervals`` how far the calibration knows them (95%),
    and ``flags`` whether each reaches its operating point. ``priority`` is the
    expected severity: the mean of the scores weighted by the modes' severities. ``log_odds``
    are the passages' scores, from which all of this can be computed again.
    *Shape:* ``(passages, modes)``.
    """

    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    flags: Mapping[str, bool]
    priority: float
    evidence: tuple[Evidence, ...]
    passages: Sequence[Span]
    log_odds: Array


class Scorer:
    """Scores narratives with one bundle.

    Args:
        bundle: a loaded bundle.
        config: how much evidence to show.
    """

    def __init__(self, bundle: Bundle, config: ScoreConfig | None = None) -> None:
        self.bundle = bundle
        self.config = config or ScoreConfig()
        severities = np.array([mode.severity for mode in bundle.codebook.modes])
        self._severity_weights = severities / severities.sum()

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]] | None = None) -> list[Outcome]:
        """Score narratives, in order.

        Args:
            narratives: the texts.
            passages: their passages, if they were split before.

        Raises:
            ValueError: a narrative has no passage: it is empty or white space.
        """
        spans = [split_passages(text) for text in narratives] if passages is None else passages
        log_odds = self.log_odds(narratives, spans)
        return [self.outcome(one, own) for one, own in zip(spans, log_odds, strict=True)]

    def log_odds(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> Iterator[Array]:
        """The log-odds of passages, one narrative after the other as the model gets to them.

        *Shape of each:* ``(passages, modes)``.

        Raises:
            ValueError: a narrative has no passage: it is empty or white space.
        """
        if not all(passages):
            raise ValueError("a narrative without any text cannot be scored")
        if not narratives:
            return iter(())
        model = self.bundle.model
        one_by_one = getattr(model, "iterate", model.score)
        return iter(one_by_one(narratives, passages))

    def unreadable(self, narrative: str) -> str | None:
        """Why this bundle cannot judge a narrative (another language or script), or None if it can."""
        known = self.bundle.words.share(narrative)
        if known >= self.config.minimum_known_words:
            return None
        return (
            f"the model knows {known:.0%} of its words (at least {self.config.minimum_known_words:.0%} are needed): "
            "another language or script, or not a text; read it by hand"
        )

    def outcome(self, passages: Sequence[Span], log_odds: Array) -> Outcome:
        """What follows from passages and their log-odds, without the model.

        Args:
            passages: at least one.
            log_odds: their scores. *Shape:* ``(passages, modes)``.
        """
        modes = self.bundle.codebook.mode_ids
        pooled = pool(log_odds, self.bundle.pooling)
        settings = [self.bundle.modes[mode] for mode in modes]
        scores = np.array([float(s.calibration.probability(value)) for s, value in zip(settings, pooled, strict=True)])
        ends = [s.calibration.interval(value) for s, value in zip(settings, pooled, strict=True)]
        return Outcome(
            scores=dict(zip(modes, scores.tolist(), strict=True)),
            intervals={mode: (float(low), float(high)) for mode, (low, high) in zip(modes, ends, strict=True)},
            flags={m: bool(p >= s.operating_point.threshold) for m, p, s in zip(modes, scores, settings, strict=True)},
            priority=float(self._severity_weights @ scores),
            evidence=self._evidence(passages, shares(log_odds, self.bundle.pooling)),
            passages=passages,
            log_odds=log_odds,
        )

    def _evidence(self, passages: Sequence[Span], share: Array) -> tuple[Evidence, ...]:
        """The passages with the largest shares, for every mode; the first always, the rest if they matter."""
        found = []
        for column, mode in enumerate(self.bundle.codebook.mode_ids):
            best = np.argsort(-share[:, column], kind="stable")[: self.config.evidence_per_mode]
            for place, row in enumerate(best):
                if place == 0 or share[row, column] >= self.config.evidence_minimum_share:
                    found.append(Evidence(mode, passages[row], float(share[row, column])))
        return tuple(found)
