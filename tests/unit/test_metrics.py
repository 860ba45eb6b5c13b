from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from secondlook.config import BootstrapConfig
from secondlook.metrics import Predictions, evaluate_modes, precision_recall_points, reliability_points
from secondlook.schema import Span, intersection_over_union

BOOTSTRAP = BootstrapConfig(resamples=200)


def _predictions(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray | None = None, **more: Any) -> Predictions:
    size = len(labels)
    return Predictions(
        modes=["m"],
        groups=np.arange(size).astype(str) if groups is None else groups,
        scores=scores.reshape(-1, 1),
        flags=scores.reshape(-1, 1) >= 0.5,
        labels=labels.reshape(-1, 1).astype(float),
        narratives=["ten letter and more text"] * size,
        shown=[{"m": [Span(0, 10)]}] * size,
        ranked=[{"m": [Span(0, 10), Span(10, 24)]}] * size,
        gold=[{"m": [Span(0, 20)]} if label == 1 else {} for label in labels],
        **more,
    )


def test_values_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(80) < 0.3
    scores = np.clip(rng.random(80) * 0.6 + labels * 0.3, 0, 1)
    report = evaluate_modes(_predictions(labels, scores), BOOTSTRAP)["m"]
    assert report["average_precision"]["value"] == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
    assert report["f1"]["value"] == pytest.approx(f1_score(labels, scores >= 0.5), abs=1e-6)
    assert report["evidence_precision_at_1"]["value"] == 1
    assert report["evidence_overlap"]["value"] == 0.5
    assert report["positives"] == labels.sum()
    for name in ("average_precision", "f1", "brier"):
        assert report[name]["low"] <= report[name]["value"] <= report[name]["high"]


def test_unknown_labels_do_not_count() -> None:
    labels = np.array([1.0, 0, 1, 0, np.nan, np.nan])
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.99, 0.01])
    report = evaluate_modes(_predictions(labels, scores), BOOTSTRAP)["m"]
    assert report["narratives"] == 4
    assert report["average_precision"]["value"] == 1


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(rng.random(20) < 0.5, 10)
    scores = np.clip(np.repeat(rng.random(20), 10) * 0.8 + labels * 0.2, 0, 1)
    alone = evaluate_modes(_predictions(labels, scores), BOOTSTRAP)["m"]["average_precision"]
    grouped = evaluate_modes(_predictions(labels, scores, np.repeat(np.arange(20), 10).astype(str)), BOOTSTRAP)["m"]
    assert grouped["average_precision"]["high"] - grouped["average_precision"]["low"] > alone["high"] - alone["low"]


def test_what_cannot_be_measured_is_none_and_not_nought() -> None:
    report = evaluate_modes(_predictions(np.zeros(5), np.linspace(0, 1, 5)), BOOTSTRAP)["m"]
    assert report["average_precision"] == {"value": None, "low": None, "high": None}
    assert report["evidence_precision_at_1"]["value"] is None


def test_curves_cover_what_is_known() -> None:
    predictions = _predictions(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.4, 0.6, 0.1]))
    points = precision_recall_points(predictions)
    assert {point["mode"] for point in points} == {"m"}
    assert points[0]["recall"] == 1
    assert all(0 <= row["observed"] <= 1 for row in reliability_points(predictions, bins=2))
    assert precision_recall_points(_predictions(np.zeros(3), np.ones(3))) == []


def test_overlap_of_spans() -> None:
    assert intersection_over_union([], []) == 0
    assert intersection_over_union([Span(0, 4), Span(2, 6)], [Span(0, 6)]) == 1
    assert intersection_over_union([Span(0, 4)], [Span(4, 8)]) == 0
