"""The rows of every curve."""

from __future__ import annotations

from typing import Any

from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from secondlook.metrics.predictions import Predictions, ranking


def precision_recall_points(predictions: Predictions) -> list[dict[str, Any]]:
    """Rows of a precision-recall curve for every mode: mode, threshold, precision, recall."""
    rows: list[dict[str, Any]] = []
    for column, mode in enumerate(predictions.modes):
        labels, scores = predictions.known(column)
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
        labels, scores = predictions.known(column)
        if labels.any():
            observed, predicted = calibration_curve(labels, scores, n_bins=bins, strategy="quantile")
            rows += [
                {"mode": mode, "score": float(p), "observed": float(o)}
                for p, o in zip(predicted, observed, strict=True)
            ]
    return rows


def budget_points(predictions: Predictions) -> list[dict[str, Any]]:
    """Rows of a review-budget curve for every mode: mode, share of the queue read, share of positives found."""
    rows: list[dict[str, Any]] = []
    for column, mode in enumerate(predictions.modes):
        labels, scores = predictions.known(column)
        if labels.any():
            found = labels[ranking(scores)].cumsum() / labels.sum()
            rows += [
                {"mode": mode, "read": (number + 1) / len(labels), "found": float(share)}
                for number, share in enumerate(found)
            ]
    return rows
