"""How well a model does, with intervals: resamples of whole groups, never of single narratives.

Narratives of one source case or one minimal pair are not independent; a bootstrap that draws them
one by one would claim too narrow intervals (Davison and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
)

from secondlook.config import BootstrapConfig
from secondlook.schema import Span, intersection_over_union

Array = NDArray[np.float64]
Interval = dict[str, float | None]


@dataclass(frozen=True)
class Predictions:
    """Scores beside labels. *Shapes:* ``(narratives, modes)`` for scores, flags and labels (NaN unknown).

    ``shown`` are the evidence passages that a reviewer would be shown, best first, and ``gold`` the
    annotated spans, both by mode, one mapping a narrative.
    """

    modes: Sequence[str]
    groups: NDArray[np.str_]
    scores: Array
    flags: NDArray[np.bool_]
    labels: Array
    shown: Sequence[Mapping[str, Sequence[Span]]]
    gold: Sequence[Mapping[str, Sequence[Span]]]


def evaluate_modes(predictions: Predictions, bootstrap: BootstrapConfig) -> dict[str, dict[str, Any]]:
    """Per mode and macro (mean over modes): each measure with its interval, and the counts it rests on."""
    weights = _resampled_weights(predictions.groups, bootstrap)
    values = {mode: _mode_values(predictions, column, mode, weights) for column, mode in enumerate(predictions.modes)}
    report: dict[str, dict[str, Any]] = {
        mode: _intervals(table, bootstrap) | _counts(predictions, column)
        for column, (mode, table) in enumerate(values.items())
    }
    measures = next(iter(values.values()))
    macro = {name: _nanmean(np.stack([table[name] for table in values.values()])) for name in measures}
    return {"macro": _intervals(macro, bootstrap)} | report


def precision_recall_points(predictions: Predictions) -> list[dict[str, Any]]:
    """Rows of a precision-recall curve for every mode: mode, threshold, precision, recall."""
    rows: list[dict[str, Any]] = []
    for column, mode in enumerate(predictions.modes):
        labels, scores = _known(predictions, column)
        if labels.any():
            precision, recall, thresholds = precision_recall_curve(labels, scores)
            rows += [
                {"mode": mode, "threshold": float(t), "precision": float(p), "recall": float(r)}
                for t, p, r in zip(thresholds, precision[:-1], recall[:-1], strict=True)
            ]
    return rows


def reliability_points(predictions: Predictions, bins: int = 10) -> list[dict[str, Any]]:
    """Rows of a reliability diagram for every mode: mode, mean score of a bin, share of positives in it."""
    rows: list[dict[str, Any]] = []
    for column, mode in enumerate(predictions.modes):
        labels, scores = _known(predictions, column)
        if labels.any():
            observed, predicted = calibration_curve(labels, scores, n_bins=bins, strategy="quantile")
            rows += [
                {"mode": mode, "score": float(p), "observed": float(o)}
                for p, o in zip(predicted, observed, strict=True)
            ]
    return rows


def _known(predictions: Predictions, column: int) -> tuple[NDArray[np.bool_], Array]:
    known = ~np.isnan(predictions.labels[:, column])
    return predictions.labels[known, column] == 1, predictions.scores[known, column]


def _counts(predictions: Predictions, column: int) -> dict[str, int]:
    labels, _ = _known(predictions, column)
    return {"narratives": len(labels), "positives": int(labels.sum())}


def _resampled_weights(groups: NDArray[np.str_], bootstrap: BootstrapConfig) -> Array:
    """How often each narrative is drawn. *Shape:* ``(1 + resamples, narratives)``; row 0 is the sample itself."""
    names, member = np.unique(groups, return_inverse=True)
    draws = np.random.default_rng(bootstrap.seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=bootstrap.resamples
    )
    return np.vstack([np.ones(len(groups)), draws[:, member]]).astype(float)


def _mode_values(predictions: Predictions, column: int, mode: str, weights: Array) -> dict[str, Array]:
    """Every measure of one mode on every resample. *Shape of each:* ``(1 + resamples,)``."""
    known = ~np.isnan(predictions.labels[:, column])
    labels = predictions.labels[known, column] == 1
    scores, flags = predictions.scores[known, column], predictions.flags[known, column]
    table = {
        name: np.array([_measure(measure, labels, scores, flags, row) for row in weights[:, known]])
        for name, measure in _MEASURES.items()
    }
    positive = predictions.labels[:, column] == 1
    marked = [int(i) for i in np.flatnonzero(positive) if predictions.gold[int(i)].get(mode)]
    first, iou = [], []
    for i in marked:
        shown, gold = predictions.shown[i].get(mode, ()), predictions.gold[i][mode]
        first.append(float(any(shown[0].overlap(span) for span in gold)) if shown else 0.0)
        iou.append(intersection_over_union(shown, gold))
    table["evidence_precision_at_1"] = _weighted_mean(np.array(first), weights[:, marked])
    table["evidence_overlap"] = _weighted_mean(np.array(iou), weights[:, marked])
    return table


Measure = Callable[[NDArray[np.bool_], Array, NDArray[np.bool_], Array], float]


def _measure(
    measure: Measure, labels: NDArray[np.bool_], scores: Array, flags: NDArray[np.bool_], weight: Array
) -> float:
    drawn = weight > 0
    if len(np.unique(labels[drawn])) < 2:
        return float("nan")
    return float(measure(labels[drawn], scores[drawn], flags[drawn], weight[drawn]))


_MEASURES: dict[str, Measure] = {
    "average_precision": lambda y, p, f, w: average_precision_score(y, p, sample_weight=w),
    "f1": lambda y, p, f, w: f1_score(y, f, sample_weight=w, zero_division=0),
    "precision": lambda y, p, f, w: precision_score(y, f, sample_weight=w, zero_division=0),
    "recall": lambda y, p, f, w: recall_score(y, f, sample_weight=w, zero_division=0),
    "brier": lambda y, p, f, w: brier_score_loss(y, p, sample_weight=w),
}


def _weighted_mean(values: Array, weights: Array) -> Array:
    if not len(values):
        return np.full(len(weights), np.nan)
    total = weights.sum(axis=1)
    return np.where(total > 0, weights @ values / np.where(total > 0, total, 1), np.nan)


def _nanmean(stacked: Array) -> Array:
    counts = (~np.isnan(stacked)).sum(axis=0)
    return np.where(counts > 0, np.nansum(stacked, axis=0) / np.maximum(counts, 1), np.nan)


def _intervals(table: Mapping[str, Array], bootstrap: BootstrapConfig) -> dict[str, Interval]:
    return {name: _interval(values, bootstrap.confidence) for name, values in table.items()}


def _interval(values: Array, confidence: float) -> Interval:
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
