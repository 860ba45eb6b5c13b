"""Minimal pairs: how often a model follows the one edit that tells two narratives apart (Gardner et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondlook.config import BootstrapConfig
from secondlook.corpus import Pair
from secondlook.metrics.bootstrap import intervals, resampled_weights, weighted_mean
from secondlook.metrics.predictions import Predictions

Array = NDArray[np.float64]


def evaluate_pairs(predictions: Predictions, bootstrap: BootstrapConfig) -> dict[str, dict[str, Any]]:
    """Over all pairs and by mode: how often both members are right, and how often they are in order.

    ``both_right``: the positive member is flagged and the negative one is not (chance: a quarter at best).
    ``in_order``: the positive member scores higher (chance: a half). Empty where there is no whole pair.
    """
    pairs = whole_pairs(predictions.pairs, predictions.labels, predictions.modes)
    report = {}
    for mode in ("all", *predictions.modes):
        own = [pair for pair in pairs if mode in ("all", predictions.modes[pair[0]])]
        if own:
            report[mode] = _measures(predictions, own, bootstrap) | {"pairs": len(own)}
    return report


def whole_pairs(pairs: Sequence[Pair | None], labels: Array, modes: Sequence[str]) -> list[tuple[int, int, int]]:
    """The mode's column, the row of the positive and that of the negative member, of every pair that has both.

    Args:
        pairs: the pair of each narrative, None for one that is in none.
        labels: 1, 0 or NaN (unknown). *Shape:* ``(narratives, modes)``.
    """
    columns = {mode: column for column, mode in enumerate(modes)}
    members: dict[str, dict[bool, tuple[int, int]]] = {}
    for row, pair in enumerate(pairs):
        if pair is not None and pair.mode in columns:
            column = columns[pair.mode]
            if not np.isnan(labels[row, column]):
                members.setdefault(pair.id, {})[bool(labels[row, column] == 1)] = (column, row)
    return [(both[True][0], both[True][1], both[False][1]) for both in members.values() if len(both) == 2]


def _measures(
    predictions: Predictions, pairs: list[tuple[int, int, int]], bootstrap: BootstrapConfig
) -> dict[str, Any]:
    columns, positive, negative = np.array(pairs).T
    weights = resampled_weights(predictions.groups[positive], bootstrap)
    right = predictions.flags[positive, columns] & ~predictions.flags[negative, columns]
    gap = predictions.scores[positive, columns] - predictions.scores[negative, columns]
    in_order = (gap > 0) + 0.5 * (gap == 0)
    values = {"both_right": right.astype(float), "in_order": in_order.astype(float)}
    table = {name: weighted_mean(value, weights) for name, value in values.items()}
    return intervals(table, len(set(predictions.groups[positive])), bootstrap)
