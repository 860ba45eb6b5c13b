"""Calibrate: probabilities, operating points and what a first pass may clear, from out-of-fold scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from secondlook.bundle import ModeCalibration
from secondlook.calibration import Labelled, choose_operating_point
from secondlook.calibration import calibrate as calibrate_mode
from secondlook.config import TrainConfig
from secondlook.evidence import pool
from secondlook.fit import OutOfFold, check_teachable, out_of_fold
from secondlook.prepare import Part, load_prepared
from secondlook.stacked import MEMBERS, together
from secondlook.triage import OutOfFoldScores, Triage, choose_triage
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
    found = out_of_fold(part, modes, config, workspace)
    settled = {mode: _settle(mode, found.scores[:, i], part, i, config) for i, mode in enumerate(modes)}
    stacked = len(found.weights) == len(MEMBERS)
    workspace.write_calibration(config, settled, _triage(found, part, settled, config) if stacked else None)
    return settled


def _triage(found: OutOfFold, part: Part, settled: Mapping[str, ModeCalibration], config: TrainConfig) -> Triage:
    """What the linear model alone may clear, of the narratives that are in a fold."""
    rows = sorted(found.passages)
    thresholds = np.array([one.operating_point.threshold for one in settled.values()])
    encoded, linear = ([found.passages[row][MEMBERS.index(name)] for row in rows] for name in ("transformer", "linear"))
    stand_in = np.median(np.concatenate(encoded), axis=0)
    unread = [together(found.weights, (np.broadcast_to(stand_in, one.shape), one)) for one in linear]

    def flags(pooled: Array) -> NDArray[np.bool_]:
        chances = [one.calibration.probability(pooled[:, i]) for i, one in enumerate(settled.values())]
        return np.asarray(np.column_stack(chances) >= thresholds)

    scores = OutOfFoldScores(
        linear=np.array([pool(one, config.pooling) for one in linear]),
        labels=part.labels[rows],
        flagged=flags(found.scores[rows]),
        flagged_unread=flags(np.array([pool(one, config.pooling) for one in unread])),
        groups=part.groups[rows],
    )
    return choose_triage(scores, list(settled), thresholds.tolist(), stand_in.tolist())


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
