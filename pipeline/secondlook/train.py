"""Train: fit the passage model, calibrate it out of fold, choose operating points, save the bundle."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from secondlook.baseline import LinearEvidenceModel
from secondlook.bundle import Bundle, ModeCalibration, Provenance, save_bundle
from secondlook.calibration import Labelled, calibrate, choose_operating_point
from secondlook.config import TrainConfig
from secondlook.errors import TrainingError
from secondlook.evaluate import Report, predict, report
from secondlook.evidence import pool
from secondlook.prepare import Part, Prepared, load_prepared

Array = NDArray[np.float64]
ROUNDS = 3
"""How often passages are chosen anew where positives come without evidence."""


@dataclass(frozen=True)
class Trained:
    """A saved bundle and what it reached on the development part."""

    bundle: Bundle
    prepared: Prepared
    development: Report


def train(config: TrainConfig, progress: Progress | None = None) -> Trained:
    """Train as the configuration says and save the bundle.

    Raises:
        TrainingError: a mode that the train part cannot teach.
        CodebookError, CorpusError, SplitError: the labels are not fit to train on.
        BundleError: the bundle could not be written; an earlier one is intact.
    """
    prepared = load_prepared(config.data)
    part = prepared.part("train")
    modes = prepared.codebook.mode_ids
    _check_teachable(part, modes)
    step = _steps(progress, "training", len(_fold_numbers(part)) + 1)
    out_of_fold = _out_of_fold(part, modes, config, step)
    model = _fit(part, modes, config)
    step()
    bundle = Bundle(
        codebook=prepared.codebook,
        model=model,
        pooling=config.pooling,
        modes={mode: _settle(mode, out_of_fold[:, i], part.labels[:, i], config) for i, mode in enumerate(modes)},
        provenance=_provenance(prepared, config),
    )
    save_bundle(bundle, config.bundle)
    development = prepared.part("development")
    return Trained(bundle, prepared, report(predict(bundle, development), config, prepared, "development"))


def out_of_fold_probabilities(
    part: Part, modes: Sequence[str], config: TrainConfig, progress: Progress | None = None
) -> Array:
    """Calibrated probabilities from models that did not see the narrative. *Shape:* ``(narratives, modes)``.

    Raises:
        TrainingError: a mode that the part cannot teach.
    """
    _check_teachable(part, modes)
    scores = _out_of_fold(part, modes, config, _steps(progress, "reading", len(_fold_numbers(part))))
    settled = [_settle(mode, scores[:, i], part.labels[:, i], config) for i, mode in enumerate(modes)]
    return np.column_stack([mode.calibration.probability(scores[:, i]) for i, mode in enumerate(settled)])


def _out_of_fold(part: Part, modes: Sequence[str], config: TrainConfig, step: Callable[[], None]) -> Array:
    """Pooled log-odds of every narrative by the model of the other folds. *Shape:* ``(narratives, modes)``."""
    scores = np.full((len(part), len(modes)), np.nan)
    for fold in _fold_numbers(part):
        held = part.folds == fold
        scores[held] = _pooled(_fit(part.select(~held), modes, config), part.select(held), config)
        step()
    return scores


def _fold_numbers(part: Part) -> list[float]:
    return sorted(set(part.folds[~np.isnan(part.folds)].tolist()))


def _steps(progress: Progress | None, name: str, total: int) -> Callable[[], None]:
    """A function that moves the bar on by one step."""
    if progress is None:
        return lambda: None
    task = progress.add_task(name, total=total)
    return lambda: progress.advance(task)


def _fit(part: Part, modes: Sequence[str], config: TrainConfig) -> LinearEvidenceModel:
    """Fit on evidence; positives without evidence choose their own best passages in turns.

    The turns are MI-SVM's (Andrews, Tsochantaridis and Hofmann 2003, section 3): start with every
    passage of a positive narrative, fit, keep only the passage that scores highest, fit again.
    """
    unmarked = [
        (i, column)
        for i, column in zip(*np.nonzero(part.labels == 1), strict=True)
        if np.isnan(part.targets[i][:, column]).all()
    ]
    targets = [target.copy() for target in part.targets]
    for i, column in unmarked:
        targets[i][:, column] = 1.0
    for turn in range(ROUNDS if unmarked else 1):
        model = LinearEvidenceModel.fit(
            part.narratives, part.groups.tolist(), part.passages, targets, modes, config.model, config.seed
        )
        if turn + 1 == ROUNDS or not unmarked:
            break
        scores = model.score(part.narratives, part.passages)
        for i, column in unmarked:
            targets[i][:, column] = np.nan
            targets[i][scores[i][:, column].argmax(), column] = 1.0
    return model


def _pooled(model: LinearEvidenceModel, part: Part, config: TrainConfig) -> Array:
    return np.array([pool(scores, config.pooling) for scores in model.score(part.narratives, part.passages)])


def _settle(mode: str, scores: Array, labels: Array, config: TrainConfig) -> ModeCalibration:
    known = ~np.isnan(labels) & ~np.isnan(scores)
    outcome = Labelled(scores[known], labels[known] == 1)
    calibration = calibrate(mode, outcome)
    calibrated = replace(outcome, scores=calibration.probability(outcome.scores))
    return ModeCalibration(
        calibration=calibration, operating_point=choose_operating_point(calibrated, config.operating_points)
    )


def _check_teachable(part: Part, modes: Sequence[str]) -> None:
    for column, mode in enumerate(modes):
        positives, negatives = (int((part.labels[:, column] == value).sum()) for value in (1, 0))
        if min(positives, negatives) < 2:
            raise TrainingError(
                f"{mode}: the train part has {positives} positives and {negatives} negatives, and needs two "
                "of each; annotate more, or take the mode out of the codebook"
            )


def _provenance(prepared: Prepared, config: TrainConfig) -> Provenance:
    chosen = config.model_dump_json(exclude={"bundle", "tracking", "data"})
    return Provenance(
        name=config.name,
        corpus=prepared.digests["corpus"],
        split=prepared.digests["split"],
        codebook=prepared.digests["codebook"],
        config=hashlib.sha256(chosen.encode()).hexdigest(),
        commit=_commit(),
        secondlook=version("secondlook"),
        libraries={name: version(name) for name in ("numpy", "scipy", "scikit-learn", "nupunkt")},
    )


def _commit() -> str | None:
    """The checkout's commit, or None outside one or without git."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
