"""Measures of narratives: ranking, flags, review budgets, calibration; and of their evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from secondlook.config import BootstrapConfig
from secondlook.metrics.bootstrap import intervals, nanmean, resampled_weights, weighted_mean
from secondlook.metrics.predictions import Predictions, ranking
from secondlook.metrics.rationales import evidence_values

Array = NDArray[np.float64]
BUDGETS = (5, 10, 20, 50)
"""Shares of the queue that might be read, in percent."""
SOUGHT = 0.95
"""The recall that work saved over sampling is measured at (Cohen et al. 2006)."""
CALIBRATION_BINS = 10


def evaluate_modes(predictions: Predictions, bootstrap: BootstrapConfig) -> dict[str, dict[str, Any]]:
    """Per mode and macro (mean over modes): each measure with its interval, and the counts it rests on."""
    weights = resampled_weights(predictions.groups, bootstrap)
    values = {mode: _mode_values(predictions, column, mode, weights) for column, mode in enumerate(predictions.modes)}
    report: dict[str, dict[str, Any]] = {}
    for column, (mode, table) in enumerate(values.items()):
        report[mode] = _mode_intervals(predictions, column, mode, table, bootstrap) | _counts(predictions, column)
    measures = next(iter(values.values()))
    macro = {name: nanmean(np.stack([table[name] for table in values.values()])) for name in measures}
    return {"macro": intervals(macro, len(set(predictions.groups)), bootstrap)} | report


def _mode_intervals(
    predictions: Predictions, column: int, mode: str, table: dict[str, Array], bootstrap: BootstrapConfig
) -> dict[str, Any]:
    """Intervals that rest on the groups that a measure is about: all that are known, or those with evidence."""
    known = ~np.isnan(predictions.labels[:, column])
    marked = [row for row in np.flatnonzero(predictions.labels[:, column] == 1) if predictions.gold[int(row)].get(mode)]
    groups = {False: len(set(predictions.groups[known])), True: len(set(predictions.groups[marked]))}
    return {
        name: intervals({name: values}, groups[name.startswith("evidence_")], bootstrap)[name]
        for name, values in table.items()
    }


def macro_average_precision(labels: Array, scores: Array) -> float:
    """Average precision as the mean over the modes that have both labels; NaN where none has.

    Args:
        labels: 1, 0 or NaN (unknown, left out). *Shape:* ``(narratives, modes)``.
        scores: any that grow with what a model thinks of the mode. *Shape:* ``(narratives, modes)``.
    """
    values = []
    for gold, own in zip(labels.T, scores.T, strict=True):
        known = ~np.isnan(gold)
        if len(np.unique(gold[known])) == 2:
            values.append(average_precision_score(gold[known] == 1, own[known]))
    return float(np.mean(values)) if values else float("nan")


def average_precisions(predictions: Predictions, column: int, weights: Array) -> Array:
    """Average precision of one mode on every resample. *Shape:* ``(1 + resamples,)``."""
    labels, scores = predictions.known(column)
    known = ~np.isnan(predictions.labels[:, column])
    flags = predictions.flags[known, column]
    return _on_resamples(_MEASURES["average_precision"], labels, scores, flags, weights[:, known])


def _counts(predictions: Predictions, column: int) -> dict[str, int]:
    labels, _ = predictions.known(column)
    return {"narratives": len(labels), "positives": int(labels.sum())}


def _mode_values(predictions: Predictions, column: int, mode: str, weights: Array) -> dict[str, Array]:
    """Every measure of one mode on every resample. *Shape of each:* ``(1 + resamples,)``."""
    known = ~np.isnan(predictions.labels[:, column])
    labels, scores = predictions.known(column)
    flags, drawn = predictions.flags[known, column], weights[:, known]
    table = {name: _on_resamples(measure, labels, scores, flags, drawn) for name, measure in _MEASURES.items()}
    table |= _review_values(labels, scores, drawn)
    table["calibration_error"] = _calibration_error(labels, scores, drawn)
    rows, evidence = evidence_values(predictions, column, mode)
    return table | {name: weighted_mean(values, weights[:, rows]) for name, values in evidence.items()}


Measure = Callable[[NDArray[np.bool_], Array, NDArray[np.bool_], Array], float]

_MEASURES: dict[str, Measure] = {
    "average_precision": lambda y, p, f, w: average_precision_score(y, p, sample_weight=w),
    "roc_auc": lambda y, p, f, w: roc_auc_score(y, p, sample_weight=w),
    "f1": lambda y, p, f, w: f1_score(y, f, sample_weight=w, zero_division=0),
    "precision": lambda y, p, f, w: precision_score(y, f, sample_weight=w, zero_division=np.nan),
    "recall": lambda y, p, f, w: recall_score(y, f, sample_weight=w, zero_division=0),
    "brier": lambda y, p, f, w: brier_score_loss(y, p, sample_weight=w),
}


def _on_resamples(
    measure: Measure, labels: NDArray[np.bool_], scores: Array, flags: NDArray[np.bool_], weights: Array
) -> Array:
    """A measure under every row of weights; NaN where only one label was drawn."""
    values = np.full(len(weights), np.nan)
    for number, weight in enumerate(weights):
        drawn = weight > 0
        if len(np.unique(labels[drawn])) == 2:
            values[number] = measure(labels[drawn], scores[drawn], flags[drawn], weight[drawn])
    return values


def _review_values(labels: NDArray[np.bool_], scores: Array, weights: Array) -> dict[str, Array]:
    """Recall when a share of the queue is read, and the reading saved where 95% are to be found.

    Work saved over sampling is the share that need not be read, less what leaving out as many at random
    would save (Cohen et al. 2006, section 3).
    """
    order = ranking(scores)
    read = weights[:, order].cumsum(axis=1)
    found = (weights * labels)[:, order].cumsum(axis=1)
    size, positives = weights.sum(axis=1), (weights * labels).sum(axis=1)
    defined = positives > 0
    values = {}
    for budget in BUDGETS:
        within = read <= size[:, None] * budget / 100 + 1e-9
        reached = np.where(within, found, 0.0).max(axis=1, initial=0.0)
        values[f"recall_at_{budget}"] = np.where(defined, reached / np.maximum(positives, 1), np.nan)
    enough = found >= SOUGHT * positives[:, None] - 1e-9
    needed = np.where(enough, read, np.inf).min(axis=1, initial=np.inf)
    saved = 1 - needed / np.maximum(size, 1) - (1 - SOUGHT)
    return values | {"work_saved_at_95": np.where(defined, saved, np.nan)}


def _calibration_error(labels: NDArray[np.bool_], scores: Array, weights: Array) -> Array:
    """Expected calibration error over bins of as many narratives each (Nixon et al. 2019, section 3)."""
    if not len(scores):
        return np.full(len(weights), np.nan)
    bins = np.array_split(np.argsort(scores, kind="stable"), min(CALIBRATION_BINS, len(scores)))
    gaps = np.stack([np.abs(weights[:, own] @ (scores[own] - labels[own])) for own in bins])
    total = weights.sum(axis=1)
    return np.where(total > 0, gaps.sum(axis=0) / np.where(total > 0, total, 1), np.nan)
