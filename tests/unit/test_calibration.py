from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.calibration import FEW_POSITIVES, Calibration, Labelled, calibrate, choose_operating_point
from secondlook.config import OperatingPointConfig

RNG = np.random.default_rng(0)
LOG_ODDS = RNG.normal(0, 2, 4000)
TRUE = 1 / (1 + np.exp(-(0.7 * LOG_ODDS - 1)))


def _labelled(scores: np.ndarray, labels: np.ndarray) -> Labelled:
    return Labelled(scores, labels, np.arange(len(scores)).astype(str))


KNOWN = _labelled(LOG_ODDS, RNG.random(4000) < TRUE)


def test_platt_scaling_finds_the_true_slope() -> None:
    calibration = calibrate("m", KNOWN)
    assert calibration.slope == pytest.approx(0.7, abs=0.08)
    assert calibration.intercept == pytest.approx(-1, abs=0.12)
    assert calibration.note == ""


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-40, 40), min_size=2, max_size=60))
def test_a_calibrated_score_always_rises_with_the_log_odds(values: list[float]) -> None:
    scores = np.array(values)
    labels = np.arange(len(scores)) % 2 == 0
    calibration = calibrate("m", _labelled(scores, labels))
    assert calibration.slope > 0
    # Far out a probability rounds to 0 or 1; it never falls.
    assert (np.diff(calibration.probability(np.linspace(-5, 5, 11))) >= 0).all()


def test_a_model_worse_than_chance_is_said() -> None:
    calibration = calibrate("m", _labelled(-LOG_ODDS, KNOWN.labels))
    assert "no better than chance" in calibration.note
    assert calibration.probability(np.array([0.0]))[0] == pytest.approx(KNOWN.labels.mean(), abs=0.01)


def test_intervals_hold_the_true_probability_as_often_as_they_say() -> None:
    hits = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scores = rng.normal(0, 2, 300)
        calibration = calibrate("m", _labelled(scores, rng.random(300) < 1 / (1 + np.exp(-(0.7 * scores - 1)))))
        low, high = calibration.interval(np.array([1.5]), confidence=0.9)
        hits.append(low[0] <= 1 / (1 + np.exp(-0.05)) <= high[0])
    assert 0.8 <= np.mean(hits) <= 0.98


def test_intervals_are_wider_where_narratives_of_a_group_are_alike() -> None:
    few = slice(0, 300)
    alone = calibrate("m", _labelled(LOG_ODDS[few], KNOWN.labels[few]))
    scores, labels = np.repeat(LOG_ODDS[few], 4), np.repeat(KNOWN.labels[few], 4)
    copied = calibrate("m", Labelled(scores, labels, np.repeat(np.arange(300), 4).astype(str)))
    as_if_new = calibrate("m", _labelled(scores, labels))

    def width(calibration: Calibration) -> float:
        low, high = calibration.interval(np.array([0.0]))
        return float(high[0] - low[0])

    assert width(copied) == pytest.approx(width(alone), rel=0.05)
    assert width(as_if_new) == pytest.approx(width(alone) / 2, rel=0.1)


CALIBRATION = calibrate("m", KNOWN)


@given(st.floats(-30, 30))
def test_an_interval_holds_its_probability(value: float) -> None:
    calibration = CALIBRATION
    low, high = calibration.interval(np.array([value]))
    assert low <= calibration.probability(np.array([value])) <= high


def test_the_cost_ratio_sets_the_threshold() -> None:
    point = choose_operating_point(_labelled(TRUE, KNOWN.labels), OperatingPointConfig(rule="cost_ratio", value=4))
    assert point.threshold == pytest.approx(0.2)
    flagged = TRUE >= 0.2
    assert point.recall == pytest.approx(KNOWN.labels[flagged].sum() / KNOWN.labels.sum())
    assert point.precision == pytest.approx(KNOWN.labels[flagged].mean())


@pytest.mark.parametrize(("rule", "value"), [("target_recall", 0.9), ("target_recall", 1.0), ("target_precision", 0.6)])
def test_a_target_is_reached(rule: str, value: float) -> None:
    config = OperatingPointConfig.model_validate({"rule": rule, "value": value})
    point = choose_operating_point(_labelled(TRUE, KNOWN.labels), config)
    assert (point.recall if rule == "target_recall" else point.precision) >= value
    assert point.note == ""


def test_a_target_out_of_reach_is_said() -> None:
    known = _labelled(np.full(100, 0.5), np.arange(100) < 30)
    point = choose_operating_point(known, OperatingPointConfig(rule="target_precision", value=0.9))
    assert "no threshold reached precision 0.9" in point.note


def test_too_few_positives_are_said() -> None:
    labels = np.arange(100) < FEW_POSITIVES - 1
    point = choose_operating_point(_labelled(RNG.random(100), labels), OperatingPointConfig())
    assert "too few" in point.note
