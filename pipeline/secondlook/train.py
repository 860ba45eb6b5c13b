"""Train: fit, calibrate and export in one go."""

from __future__ import annotations

from rich.progress import Progress

from secondlook.calibrate import calibrate
from secondlook.config import TrainConfig
from secondlook.export import Trained, export
from secondlook.fit import fit


def train(config: TrainConfig, progress: Progress | None = None) -> Trained:
    """Train as the configuration says and save the bundle; goes on where an earlier run was stopped.

    Raises:
        TrainingError: a mode that the train part cannot teach.
        ConfigError: an encoder that is missing or is not the one that was meant.
        CodebookError, CorpusError, SplitError: the labels are not fit to train on.
        BundleError: the bundle could not be written; an earlier one is intact.
    """
    fit(config, progress)
    calibrate(config)
    return export(config)
