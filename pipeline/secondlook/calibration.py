"""From pooled log-odds to probabilities, and from probabilities to operating points.

Both rest on out-of-fold predictions: a model's scores of narratives it was trained on are too sure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit, ndtri

from secondlook.config import OperatingPointConfig, Strict

Array = NDArray[np.float64]
MINIMUM_SLOPE = 1e-3
FEW_POSITIVES = 20
CONFIDENCE = 0.95


class Calibration(Strict):
    """Platt scaling (Platt 1999): probability = sigmoid(slope * log-odds + intercept).

    The slope is positive, so that a calibrated score still rises with every passage's score.
    ``covariance`` is that of slope and intercept: variance, covariance, variance. ``positives`` and
    ``negatives`` are the counts it rests on, ``note`` what to beware of.
    """

    slope: float = Field(gt=0)
    intercept: float
    covariance: tuple[float, float, float]
    positives: int
    negatives: int
    note: str = ""

    def probability(self, log_odds: Array) -> Array:
        """Calibrated probabilities of any shape."""
        return np.asarray(expit(self.slope * log_odds + self.intercept))

    def interval(self, log_odds: Array, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
        """Lower and upper ends of the probabilities, of the same shape.

        They say how far the calibration itself is known (Wald's interval on the log-odds): among how many cases of
        such a score the mode holds, not whether it holds in one of them.
        """
        variance_of_slope, together, variance_of_intercept = self.covariance
        middle = self.slope * log_odds + self.intercept
        variance = variance_of_slope * log_odds**2 + 2 * together * log_odds + variance_of_intercept
        reach = ndtri((1 + confidence) / 2) * np.sqrt(np.maximum(variance, 0))
        return np.asarray(expit(middle - reach)), np.asarray(expit(middle + reach))


class OperatingPoint(Strict):
    """The probability at and above which a score is a flag.

    ``recall`` and ``precision`` are those reached out of fold, on ``positives`` positives; ``note``
    says when these are too few to support the target.
    """

    threshold: float
    recall: float
    precision: float
    positives: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Scores of narratives whose label is known, and their groups. *Shape of each:* ``(narratives,)``."""

    scores: Array
    labels: NDArray[np.bool_]
    groups: NDArray[np.str_]


def calibrate(mode: str, known: Labelled) -> Calibration:
    """Fit Platt scaling on out-of-fold log-odds."""
    positives, negatives = int(known.labels.sum()), int((~known.labels).sum())
    if not positives or not negatives:
        raise ValueError(f"{mode}: calibration needs positives and negatives")
    slope, intercept = _platt(known.scores, known.labels)
    covariance = _covariance(known, slope, intercept)
    note = f"rests on {positives} positives only" if positives < FEW_POSITIVES else ""
    if slope < MINIMUM_SLOPE:
        base_rate = positives / (positives + negatives)
        slope, intercept = MINIMUM_SLOPE, float(np.log(base_rate / (1 - base_rate)))
        covariance = (0.0, 0.0, 1 / positives + 1 / negatives)
        note = "out of fold the model did no better than chance: scores stay near the base rate"
    return Calibration(
        slope=slope, intercept=intercept, covariance=covariance, positives=positives, negatives=negatives, note=note
    )


def _platt(scores: Array, labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept with Platt's smoothed targets, which keep them finite where scores separate the labels."""
    from sklearn.linear_model import LogisticRegression  # scoring starts without it

    target = _smoothed(labels)
    fitted = LogisticRegression(C=1e4, solver="newton-cholesky").fit(
        np.tile(scores, 2).reshape(-1, 1),
        np.repeat([True, False], len(scores)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _smoothed(labels: NDArray[np.bool_]) -> Array:
    return np.asarray(np.where(labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2)))


def _covariance(known: Labelled, slope: float, intercept: float) -> tuple[float, float, float]:
    """Of slope and intercept; the narratives of a group count as one draw (Liang and Zeger 1986, section 2)."""
    design = np.column_stack([known.scores, np.ones(len(known.scores))])
    expected = expit(design @ [slope, intercept])
    bread = np.linalg.pinv(design.T @ (design * (expected * (1 - expected))[:, None]))
    _, group = np.unique(known.groups, return_inverse=True)
    pulls = np.zeros((group.max() + 1, 2))
    np.add.at(pulls, group, design * (_smoothed(known.labels) - expected)[:, None])
    covariance = bread @ (pulls.T @ pulls) @ bread
    return float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])


def choose_operating_point(known: Labelled, config: OperatingPointConfig) -> OperatingPoint:
    """The operating point that the rule asks for, from out-of-fold probabilities."""
    positives = int(known.labels.sum())
    threshold, note = _threshold(known, config)
    flagged = known.scores >= threshold
    hits = int((flagged & known.labels).sum())
    if positives < FEW_POSITIVES:
        note = "; ".join(filter(None, [note, f"{positives} positives are too few to support a target"]))
    return OperatingPoint(
        threshold=threshold,
        recall=hits / positives if positives else 0.0,
        precision=hits / int(flagged.sum()) if flagged.any() else 0.0,
        positives=positives,
        note=note,
    )


def _threshold(known: Labelled, config: OperatingPointConfig) -> tuple[float, str]:
    if config.rule == "cost_ratio":
        # Flag when p * cost of a miss >= (1 - p) * cost of a needless read (Elkan 2001, section 2).
        return 1 / (1 + config.value), ""
    from sklearn.metrics import precision_recall_curve  # scoring starts without it

    precision, recall, thresholds = precision_recall_curve(known.labels, known.scores)
    precision, recall = precision[:-1], recall[:-1]
    if config.rule == "target_recall":
        reached = np.flatnonzero(recall >= config.value)
        return float(thresholds[reached[-1]]), ""
    reached = np.flatnonzero(precision >= config.value)
    if not len(reached):
        best = int(precision.argmax())
        return float(thresholds[best]), f"no threshold reached precision {config.value:g}; this is the best there was"
    return float(thresholds[reached[0]]), ""
