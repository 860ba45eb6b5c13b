"""Minimal pairs: how often a model follows the one edit that tells two narratives apart (Gardner et al. 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np

from secondlook.config import BootstrapConfig
from secondlook.metrics.bootstrap import intervals, resampled_weights, weighted_mean
from secondlook.metrics.predictions import Predictions


def evaluate_pairs(predictions: Predictions, bootstrap: BootstrapConfig) -> dict[str, dict[str, Any]]:
    """Over all pairs and by mode: how often both members are right, and how often they are in order.

    ``both_right``: the positive member is flagged and the negative one is not (chance: a quarter at best).
    ``in_order``: the positive member scores higher (chance: a half). Empty where there is no whole pair.
    """
    pairs = _whole_pairs(predictions)
    report = {}
    for mode in ("all", *predictions.modes):
        own = [pair for pair in pairs if mode in ("all", pair[0])]
        if own:
            report[mode] = _measures(predictions, own, bootstrap) | {"pairs": len(own)}
    return report


def _whole_pairs(predictions: Predictions) -> list[tuple[str, int, int]]:
    """Mode, row of the positive and row of the negative member."""
    members: dict[str, dict[bool, tuple[str, int]]] = {}
    for row, pair in enumerate(predictions.pairs):
        if pair is not None and pair.mode in predictions.modes:
            label = predictions.labels[row, list(predictions.modes).index(pair.mode)]
            if np.isnan(label):
                continue
            members.setdefault(pair.id, {})[bool(label == 1)] = (pair.mode, row)
    return [(both[True][0], both[True][1], both[False][1]) for both in members.values() if len(both) == 2]


def _measures(
    predictions: Predictions, pairs: list[tuple[str, int, int]], bootstrap: BootstrapConfig
) -> dict[str, Any]:
    columns = [list(predictions.modes).index(mode) for mode, _, _ in pairs]
    positive, negative = np.array([pair[1] for pair in pairs]), np.array([pair[2] for pair in pairs])
    weights = resampled_weights(predictions.groups[positive], bootstrap)
    right = predictions.flags[positive, columns] & ~predictions.flags[negative, columns]
    gap = predictions.scores[positive, columns] - predictions.scores[negative, columns]
    in_order = (gap > 0) + 0.5 * (gap == 0)
    values = {"both_right": right.astype(float), "in_order": in_order.astype(float)}
    table = {name: weighted_mean(value, weights) for name, value in values.items()}
    return intervals(table, len(set(predictions.groups[positive])), bootstrap)
