from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.calibration import FEW_POSITIVES, Labelled, calibrate, choose_operating_point
from secondlook.config import OperatingPointConfig

RNG = np.random.default_rng(0)
LOG_ODDS = RNG.normal(0, 2, 4000)
TRUE = 1 / (1 + np.exp(-(0.7 * LOG_ODDS - 1)))
KNOWN = Labelled(LOG_ODDS, RNG.random(4000) < TRUE)


def test_platt_scaling_finds_the_true_slope() -> None:
    calibration = calibrate("m", KNOWN)
    assert calibration.slope == pytest.approx(0.7, abs=0.08)
    assert calibration.intercept == pytest.approx(-1, abs=0.12)
    assert calibration.note == ""


@given(st.lists(st.floats(-40, 40), min_size=2, max_size=60))
def test_a_calibrated_score_always_rises_with_the_log_odds(values: list[float]) -> None:
    scores = np.array(values)
    labels = np.arange(len(scores)) % 2 == 0
    calibration = calibrate("m", Labelled(scores, labels))
    assert calibration.slope > 0
    # Far out a probability rounds to 0 or 1; it never falls.
    assert (np.diff(calibration.probability(np.linspace(-5, 5, 11))) >= 0).all()


def test_a_model_worse_than_chance_is_said() -> None:
    calibration = calibrate("m", Labelled(-LOG_ODDS, KNOWN.labels))
    assert "no better than chance" in calibration.note
    assert calibration.probability(np.array([0.0]))[0] == pytest.approx(KNOWN.labels.mean(), abs=0.01)


def test_the_cost_ratio_sets_the_threshold() -> None:
    point = choose_operating_point(Labelled(TRUE, KNOWN.labels), OperatingPointConfig(rule="cost_ratio", value=4))
    assert point.threshold == pytest.approx(0.2)
    flagged = TRUE >= 0.2
    assert point.recall == pytest.approx(KNOWN.labels[flagged].sum() / KNOWN.labels.sum())
    assert point.precision == pytest.approx(KNOWN.labels[flagged].mean())


@pytest.mark.parametrize(("rule", "value"), [("target_recall", 0.9), ("target_recall", 1.0), ("target_precision", 0.6)])
def test_a_target_is_reached(rule: str, value: float) -> None:
    config = OperatingPointConfig.model_validate({"rule": rule, "value": value})
    point = choose_operating_point(Labelled(TRUE, KNOWN.labels), config)
    assert (point.recall if rule == "target_recall" else point.precision) >= value
    assert point.note == ""


def test_a_target_out_of_reach_is_said() -> None:
    known = Labelled(np.full(100, 0.5), np.arange(100) < 30)
    point = choose_operating_point(known, OperatingPointConfig(rule="target_precision", value=0.9))
    assert "no threshold reached precision 0.9" in point.note


def test_too_few_positives_are_said() -> None:
    labels = np.arange(100) < FEW_POSITIVES - 1
    point = choose_operating_point(Labelled(RNG.random(100), labels), OperatingPointConfig())
    assert "too few" in point.note
