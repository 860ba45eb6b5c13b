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


BIASED = frozenset({"calibration_error"})
"""Measures that sum absolute gaps: resampling adds noise to each, so that percentiles would lie too high."""


def intervals(table: Mapping[str, Array], groups: int, bootstrap: BootstrapConfig) -> dict[str, Interval]:
    """The interval of every measure of a table that rests on so many groups."""
    return {name: interval(values, groups, bootstrap.confidence, name in BIASED) for name, values in table.items()}


def interval(values: Array, groups: int, confidence: float, biased: bool = False) -> Interval:
    """The value on the sample and percentiles over the resamples; None where it cannot be computed.

    One group gives no interval: every resample is the sample, and nothing is known of the spread. From the
    percentiles of a biased measure the resamples' own bias is taken (Efron and Tibshirani 1993, section 10.2).
    """
    if np.isnan(values[0]):
        return {"value": None, "low": None, "high": None}
    tail = (1 - confidence) / 2
    resampled = values[1:][~np.isnan(values[1:])]
    if groups < 2 or not len(resampled):
        return {"value": _round(values[0]), "low": None, "high": None}
    low, high = np.quantile(resampled, [tail, 1 - tail])
    if biased:
        bias = resampled.mean() - values[0]
        low, high = max(0.0, low - bias), max(0.0, high - bias)
    return {"value": _round(values[0]), "low": _round(low), "high": _round(high)}


def _round(value: float) -> float:
    """Six decimals: beyond that only the order of additions shows."""
    return round(float(value), 6)
