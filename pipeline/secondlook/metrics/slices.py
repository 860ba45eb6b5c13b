"""Slices: the same measure by register, length and country, where a model may be worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from secondlook.config import BootstrapConfig
from secondlook.metrics.bootstrap import interval, nanmean, resampled_weights
from secondlook.metrics.narratives import average_precisions
from secondlook.metrics.predictions import Predictions

MINIMUM_POSITIVES = 5
"""Modes with fewer positives in a slice are left out of its mean."""
RESAMPLES = 200
LENGTHS = (100, 200, 400)


def evaluate_slices(predictions: Predictions, bootstrap: BootstrapConfig) -> list[dict[str, Any]]:
    """Macro average precision by register, country, length in words and number of modes."""
    fewer = bootstrap.model_copy(update={"resamples": min(RESAMPLES, bootstrap.resamples)})
    rows = []
    for name, values in _properties(predictions).items():
        for value in sorted(set(values)):
            own = np.array([one == value for one in values])
            rows.append({"slice": name, "value": value, **_measure(predictions, own, fewer)})
    return rows


def _properties(predictions: Predictions) -> dict[str, Sequence[str]]:
    words = [len(text.split()) for text in predictions.narratives]
    modes = np.nansum(predictions.labels, axis=1).astype(int)
    return {
        "register": [style.register_ for style in predictions.styles],
        "country": [style.country for style in predictions.styles],
        "words": [_length(count) for count in words],
        "modes": [str(count) for count in modes],
    }


def _length(words: int) -> str:
    below = [limit for limit in LENGTHS if words <= limit]
    return f"up to {below[0]:>3}" if below else f"over  {LENGTHS[-1]}"


def _measure(predictions: Predictions, own: np.ndarray, bootstrap: BootstrapConfig) -> dict[str, Any]:
    weights = np.zeros((bootstrap.resamples + 1, len(own)))
    weights[:, own] = resampled_weights(predictions.groups[own], bootstrap)
    positives = np.nansum(predictions.labels[own] == 1, axis=0)
    columns = [column for column in range(len(predictions.modes)) if positives[column] >= MINIMUM_POSITIVES]
    counts = {"narratives": int(own.sum()), "modes_measured": len(columns)}
    if not columns:
        return {**counts, "average_precision": {"value": None, "low": None, "high": None}}
    values = nanmean(np.stack([average_precisions(predictions, column, weights) for column in columns]))
    return {**counts, "average_precision": interval(values, len(set(predictions.groups[own])), bootstrap.confidence)}
