from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from secondlook.config import BootstrapConfig
from secondlook.corpus import Pair, Style
from secondlook.metrics import (
    Predictions,
    budget_points,
    evaluate_modes,
    evaluate_pairs,
    evaluate_slices,
    precision_recall_points,
    reliability_points,
)
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


def test_review_budgets_and_work_saved_by_hand() -> None:
    """Twenty narratives, four positives at ranks 1, 2, 4 and 10."""
    labels = np.zeros(20)
    labels[[0, 1, 3, 9]] = 1
    report = evaluate_modes(_predictions(labels, np.linspace(0.95, 0.05, 20)), BOOTSTRAP)["m"]
    assert report["recall_at_5"]["value"] == 0.25
    assert report["recall_at_10"]["value"] == 0.5
    assert report["recall_at_20"]["value"] == 0.75
    assert report["recall_at_50"]["value"] == 1
    # Ten of twenty must be read for all four; reading at random would leave out 5% for 95%.
    assert report["work_saved_at_95"]["value"] == pytest.approx(1 - 10 / 20 - 0.05)


def test_ties_are_not_ranked_by_the_order_of_the_file() -> None:
    labels = np.array([1.0] * 10 + [0.0] * 90)
    found = [budget_points(_predictions(order, np.full(100, 0.5)))[9]["found"] for order in (labels, labels[::-1])]
    assert all(0 <= share < 0.5 for share in found)


def test_calibration_error_by_hand() -> None:
    """Ten bins of one narrative each: the error is the mean gap; a perfect score has none."""
    labels = np.array([1.0, 0, 1, 0, 1, 0, 1, 0, 1, 0])
    assert evaluate_modes(_predictions(labels, labels), BOOTSTRAP)["m"]["calibration_error"]["value"] == 0
    off = np.where(labels == 1, 0.8, 0.1)
    assert evaluate_modes(_predictions(labels, off), BOOTSTRAP)["m"]["calibration_error"]["value"] == pytest.approx(
        0.15
    )


def test_the_interval_of_the_calibration_error_holds_its_value() -> None:
    rng = np.random.default_rng(5)
    scores = rng.random(300)
    error = evaluate_modes(_predictions(rng.random(300) < scores, scores), BOOTSTRAP)["m"]["calibration_error"]
    assert error["low"] <= error["value"] <= error["high"]


def test_one_group_gives_no_interval() -> None:
    same = np.array(["g"] * 4)
    report = evaluate_modes(_predictions(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2]), same), BOOTSTRAP)[
        "m"
    ]
    assert report["average_precision"] == {"value": 1.0, "low": None, "high": None}


def test_evidence_measures_by_hand() -> None:
    """Gold is the first of two passages and half of the second; the model is surer of the second."""
    predictions = Predictions(
        modes=["m"],
        groups=np.array(["a"]),
        scores=np.array([[0.9]]),
        flags=np.array([[True]]),
        labels=np.array([[1.0]]),
        narratives=["He told him. Then it rained all day. Nobody came."],
        shown=[{"m": [Span(13, 36)]}],
        ranked=[{"m": [Span(13, 36), Span(0, 12), Span(37, 49)]}],
        gold=[{"m": [Span(0, 12)]}],
        without=[{"m": 0.2}],
        alone=[{"m": 0.85}],
    )
    report = evaluate_modes(predictions, BOOTSTRAP)["m"]
    assert report["evidence_precision_at_1"]["value"] == 0
    assert report["evidence_average_precision"]["value"] == 0.5
    # Two excerpts of five and three words, of which the three are right: precision 3/8, recall 1.
    assert report["evidence_token_f1"]["value"] == pytest.approx(2 * (3 / 8) / (3 / 8 + 1), abs=1e-6)
    assert report["evidence_iou_f1"]["value"] == pytest.approx(2 * 0.5 / 1.5, abs=1e-6)
    assert report["evidence_comprehensiveness"]["value"] == pytest.approx(0.7)
    assert report["evidence_sufficiency"]["value"] == pytest.approx(0.05)


def _pair(name: str) -> Pair:
    return Pair(id=name, mode="m", edit="agent")


def test_pairs_are_right_when_both_members_are() -> None:
    labels = np.array([1.0, 0, 1, 0, 0, 1, 1, np.nan])
    scores = np.array([0.9, 0.1, 0.8, 0.7, 0.6, 0.6, 0.9, 0.1])
    pairs = [_pair("a"), _pair("a"), _pair("b"), _pair("b"), _pair("c"), _pair("c"), _pair("d"), _pair("d")]
    report = evaluate_pairs(_predictions(labels, scores, pairs=pairs), BOOTSTRAP)
    assert report["all"]["pairs"] == 3  # the label of one member of d is not known
    assert report["m"]["both_right"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert report["m"]["in_order"]["value"] == pytest.approx((1 + 1 + 0.5) / 3, abs=1e-6)
    assert evaluate_pairs(_predictions(labels, scores), BOOTSTRAP) == {}


def test_slices_measure_their_own_narratives() -> None:
    labels = np.tile([1.0, 0], 20)
    good, bad = np.where(labels == 1, 0.9, 0.1), np.where(labels == 1, 0.1, 0.9)
    scores = np.concatenate([good[:20], bad[20:]])
    styles = [
        Style.model_validate({"register": "letter" if i < 20 else "log", "country": "Ireland"}) for i in range(40)
    ]
    rows = evaluate_slices(_predictions(labels, scores, styles=styles), BOOTSTRAP)
    found = {(row["slice"], row["value"]): row for row in rows}
    assert found["register", "letter"]["average_precision"]["value"] == 1
    assert found["register", "log"]["average_precision"]["value"] < 0.6
    assert found["country", "Ireland"]["narratives"] == 40
    assert sum(row["narratives"] for row in rows if row["slice"] == "words") == 40
