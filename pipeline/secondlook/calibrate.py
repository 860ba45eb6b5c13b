"""Calibrate: probabilities and operating points from out-of-fold scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from secondlook.bundle import ModeCalibration
from secondlook.calibration import Labelled, choose_operating_point
from secondlook.calibration import calibrate as calibrate_mode
from secondlook.config import TrainConfig
from secondlook.fit import check_teachable, out_of_fold
from secondlook.prepare import Part, load_prepared
from secondlook.workspace import Workspace, fitted_workspace

Array = NDArray[np.float64]


def calibrate(config: TrainConfig) -> dict[str, ModeCalibration]:
    """Calibrate the fit of a configuration and keep the outcome in its workspace.

    Raises:
        TrainingError: there is no fit of this configuration and these labels.
        CodebookError, CorpusError, SplitError: the labels are not fit to calibrate on.
    """
    prepared = load_prepared(config.data)
    workspace = fitted_workspace(config, prepared)
    part, modes = prepared.part("train"), prepared.codebook.mode_ids
    scores = out_of_fold(part, modes, config, workspace).scores
    settled = {mode: _settle(mode, scores[:, i], part, i, config) for i, mode in enumerate(modes)}
    workspace.write_calibration(config, settled)
    return settled


def out_of_fold_probabilities(
    part: Part, modes: Sequence[str], config: TrainConfig, workspace: Workspace, progress: Progress | None = None
) -> Array:
    """Calibrated probabilities from models that did not see the narrative. *Shape:* ``(narratives, modes)``.

    Raises:
        TrainingError: a mode that the part cannot teach.
    """
    check_teachable(part, modes)
    scores = out_of_fold(part, modes, config, workspace, progress).scores
    settled = [_settle(mode, scores[:, i], part, i, config) for i, mode in enumerate(modes)]
    return np.column_stack([mode.calibration.probability(scores[:, i]) for i, mode in enumerate(settled)])


def _settle(mode: str, scores: Array, part: Part, column: int, config: TrainConfig) -> ModeCalibration:
    labels = part.labels[:, column]
    known = ~np.isnan(labels) & ~np.isnan(scores)
    outcome = Labelled(scores[known], labels[known] == 1, part.groups[known])
    calibration = calibrate_mode(mode, outcome)
    calibrated = replace(outcome, scores=calibration.probability(outcome.scores))
    return ModeCalibration(
        calibration=calibration, operating_point=choose_operating_point(calibrated, config.operating_points)
    )
