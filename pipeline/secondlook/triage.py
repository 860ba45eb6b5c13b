"""Triage: the encoder passes over narratives that the linear model alone places below every operating point.

The linear model beside the transformer (see ``stacked``) costs a fraction of it. Its own narrative score says how near
to an operating point a narrative is; below a limit the encoder is not asked, and what it says of an ordinary passage
stands in for it. The limit is the highest below every operating point at which, out of fold, no mode loses the flags
of more than ``MOST_LOST`` of its positives. A narrative that would be flagged all the same is never cleared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from secondlook.calibration import Calibration, Labelled, calibrate
from secondlook.config import PoolingConfig, Strict
from secondlook.evidence import pool

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
MOST_LOST = 0.005
"""Of a mode's positives, how many flags may be lost for not asking the encoder."""
CLEARS_NOTHING = -1e6
"""A limit that no narrative lies below."""
SURE = 1e-9
"""Operating points are taken to lie this far from 0 and 1 at least: their log-odds must be finite."""


class Triage(Strict):
    """How narratives are cleared, and what that cost out of fold.

    ``first_pass`` calibrates the linear model's narrative scores, ``stand_in`` is the encoder's log-odds of an
    ordinary passage: both by mode. A narrative is cleared if its nearness (see :func:`nearness`) is below ``limit``,
    which is 0 at most. Of the ``narratives`` that it was chosen on ``cleared`` is the share that it clears, and
    ``recall_lost`` by mode the share of ``positives`` whose flag it loses there.
    """

    first_pass: dict[str, Calibration]
    stand_in: dict[str, float]
    limit: float
    cleared: float
    recall_lost: dict[str, float]
    positives: dict[str, int]
    narratives: int


@dataclass(frozen=True)
class OutOfFoldScores:
    """What triage is chosen by, of narratives that neither model saw.

    ``linear`` are the linear model's narrative log-odds, ``labels`` 1, 0 or NaN, ``flagged`` whether both models
    together flag, ``flagged_unread`` whether they would with the encoder's stand-in. *Shape of each:*
    ``(narratives, modes)``. ``groups`` has their groups. *Shape:* ``(narratives,)``.
    """

    linear: Array
    labels: Array
    flagged: Flags
    flagged_unread: Flags
    groups: NDArray[np.str_]


def choose_triage(
    scores: OutOfFoldScores, modes: Sequence[str], thresholds: Sequence[float], stand_in: Sequence[float]
) -> Triage:
    """The triage that clears most at the recall that may be lost.

    Args:
        thresholds: the operating point of each mode, a probability.
        stand_in: the encoder's log-odds of an ordinary passage, by mode.
    """
    passes = {mode: _first_pass(mode, scores, column) for column, mode in enumerate(modes)}
    near = nearness(scores.linear, [passes[mode] for mode in modes], thresholds)
    near = np.where(scores.flagged_unread.any(axis=1), np.inf, near)
    order = np.argsort(near, kind="stable")
    hits = (scores.labels == 1) & scores.flagged
    positives = (scores.labels == 1).sum(axis=0)
    lost = hits[order].cumsum(axis=0) / np.maximum(positives, 1)
    allowed = int(((lost <= MOST_LOST).all(axis=1) & (near[order] < 0)).cumprod().sum())
    limit = _limit(near[order], allowed)
    cleared = near < limit
    return Triage(
        first_pass=passes,
        stand_in=dict(zip(modes, map(float, stand_in), strict=True)),
        limit=limit,
        cleared=float(cleared.mean()),
        recall_lost=dict(
            zip(modes, ((hits & cleared[:, None]).sum(axis=0) / np.maximum(positives, 1)).tolist(), strict=True)
        ),
        positives=dict(zip(modes, positives.tolist(), strict=True)),
        narratives=len(near),
    )


def nearness(linear: Array, first_pass: Sequence[Calibration], thresholds: Sequence[float]) -> Array:
    """How far above the operating point of the mode nearest to its own a narrative stands, in log-odds.

    Args:
        linear: the linear model's narrative log-odds. *Shape:* ``(narratives, modes)``.

    Returns:
        *Shape:* ``(narratives,)``.
    """
    slopes, intercepts = (np.array([getattr(one, name) for one in first_pass]) for name in ("slope", "intercept"))
    points = logit(np.clip(thresholds, SURE, 1 - SURE))
    return np.asarray((linear * slopes + intercepts - points).max(axis=1))


def clearing(
    triage: Triage,
    modes: Sequence[str],
    calibrations: Mapping[str, Calibration],
    thresholds: Mapping[str, float],
    pooling: PoolingConfig,
) -> Callable[[Array, Array], bool]:
    """Whether a narrative is cleared, by its passages' log-odds.

    The function takes those of the linear model, and those of both models with the encoder's stand-in. *Shape of
    both:* ``(passages, modes)``.
    """
    own = [triage.first_pass[mode] for mode in modes]
    limits = [thresholds[mode] for mode in modes]
    final = [calibrations[mode] for mode in modes]

    def cleared(linear: Array, unread: Array) -> bool:
        if nearness(pool(linear, pooling)[None], own, limits)[0] >= triage.limit:
            return False
        pooled = pool(unread, pooling)
        return all(c.probability(z) < limit for c, z, limit in zip(final, pooled, limits, strict=True))

    return cleared


def _first_pass(mode: str, scores: OutOfFoldScores, column: int) -> Calibration:
    known = ~np.isnan(scores.labels[:, column])
    return calibrate(
        mode, Labelled(scores.linear[known, column], scores.labels[known, column] == 1, scores.groups[known])
    )


def _limit(ordered: Array, count: int) -> float:
    """Below it lie the first ``count`` and not the next; those that tie with the next are not cleared either."""
    if not count:
        return CLEARS_NOTHING
    return min(0.0, float(ordered[count]) if count < len(ordered) else 0.0)
