"""Intervals: a measure on the sample and on resamples of whole groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from secondlook.config import BootstrapConfig

Array = NDArray[np.float64]
Interval = dict[str, float | None]


def resampled_weights(groups: NDArray[np.str_], bootstrap: BootstrapConfig) -> Array:
    """How often each narrative is drawn. *Shape:* ``(1 + resamples, narratives)``; row 0 is the sample itself."""
    names, member = np.unique(groups, return_inverse=True)
    draws = np.random.default_rng(bootstrap.seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=bootstrap.resamples
    )
    return np.vstack([np.ones(len(groups)), draws[:, member]]).astype(float)


def weighted_mean(values: Array, weights: Array) -> Array:
    """Means of values under every row of weights; NaN where nothing was drawn. *Shape:* ``(1 + resamples,)``."""
    if not len(values):
        return np.full(len(weights), np.nan)
    total = weights.sum(axis=1)
    return np.where(total > 0, weights @ values / np.where(total > 0, total, 1), np.nan)


def nanmean(stacked: Array) -> Array:
    """Means over the first axis of what is not NaN."""
    counts = (~np.isnan(stacked)).sum(axis=0)
    return np.where(counts > 0, np.nansum(stacked, axis=0) / np.maximum(counts, 1), np.nan)


def intervals(table: Mapping[str, Array], bootstrap: BootstrapConfig) -> dict[str, Interval]:
    """The interval of every measure of a table."""
    return {name: interval(values, bootstrap.confidence) for name, values in table.items()}


def interval(values: Array, confidence: float) -> Interval:
    """The value on the sample and percentiles over the resamples; None where it cannot be computed."""
    if np.isnan(values[0]):
        return {"value": None, "low": None, "high": None}
    tail = (1 - confidence) / 2
    resampled = values[1:][~np.isnan(values[1:])]
    if not len(resampled) or (len(np.unique(resampled)) < 2 and values[0] not in (0.0, 1.0)):
        # One group, say: every resample is the sample, and nothing is known of the spread.
        return {"value": _round(values[0]), "low": None, "high": None}
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return {"value": _round(values[0]), "low": _round(low), "high": _round(high)}


def _round(value: float) -> float:
    """Six decimals: beyond that only the order of additions shows."""
    return round(float(value), 6)
