"""The workspace of a training run: what is done already, so that a run that was stopped goes on.

===================  ===========================================================================
below the workspace  what it holds
===================  ===========================================================================
``unfinished/``      what a fit that was stopped had done, and its checkpoints
``fitted/``          a whole fit: ``fit.json`` says what it depends on, ``fold-N.parquet`` has the
                     pooled log-odds of the narratives that model N did not see, ``model/`` the
                     model of the whole train part
``calibration.json`` per mode: Platt scaling and operating point
===================  ===========================================================================

A fit of another corpus or of other choices starts afresh.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secondlook.bundle import ModeCalibration
from secondlook.config import TrainConfig
from secondlook.errors import TrainingError
from secondlook.prepare import Prepared
from secondlook.storage import write_whole

FORMAT = "secondlook-fit/1"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Workspace:
    """Where a training run keeps what it has done.

    Args:
        root: the run's folder.
        finished: whether the fit is whole.
    """

    root: Path
    finished: bool

    @property
    def folder(self) -> Path:
        """Where the fit lies, whole or not."""
        return self.root / ("fitted" if self.finished else "unfinished")

    @property
    def model(self) -> Path:
        """The folder of the model of the whole train part."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """The folder of unfinished fits."""
        return self.root / "unfinished" / "checkpoints"

    def finish(self) -> Workspace:
        """The same workspace when its fit is whole; an earlier whole one gives way."""
        done = Workspace(self.root, finished=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        shutil.rmtree(done.folder, ignore_errors=True)
        self.folder.replace(done.folder)
        return done

    def read_fold(self, fold: int, modes: list[str]) -> tuple[list[str], Array] | None:
        """Ids and their pooled log-odds, or None if the fold is not done. *Shape:* ``(ids, modes)``."""
        try:
            frame = pd.read_parquet(self.folder / f"fold-{fold}.parquet")
        except OSError:
            return None
        return list(frame["id"]), frame[modes].to_numpy(dtype=float)

    def write_fold(self, fold: int, ids: list[str], scores: Array, modes: list[str]) -> None:
        """Keep a fold's scores, whole or not at all."""
        frame = pd.DataFrame({"id": ids} | {mode: scores[:, i] for i, mode in enumerate(modes)})
        write_whole(self.folder / f"fold-{fold}.parquet", frame.to_parquet(index=False))

    def read_calibration(self) -> dict[str, ModeCalibration]:
        """What calibration wrote.

        Raises:
            TrainingError: it has not been done.
        """
        try:
            stored = json.loads((self.root / "calibration.json").read_text(encoding="utf-8"))
        except OSError:
            raise TrainingError(f"{self.root}: is not calibrated yet; run 'secondlook calibrate' first") from None
        return {mode: ModeCalibration.model_validate(settings) for mode, settings in stored.items()}

    def write_calibration(self, modes: dict[str, ModeCalibration]) -> None:
        """Keep a calibration, whole or not at all."""
        text = json.dumps({mode: settings.model_dump() for mode, settings in modes.items()}, indent=2) + "\n"
        write_whole(self.root / "calibration.json", text.encode())


def open_workspace(config: TrainConfig, prepared: Prepared) -> Workspace:
    """The run's workspace; what a fit of other choices or labels left unfinished is removed."""
    root = config.workspace / config.name
    key = {"format": FORMAT, "key": fit_key(config, prepared)}
    if _stored_key(root / "fitted") == key:
        return Workspace(root, finished=True)
    workspace = Workspace(root, finished=False)
    if _stored_key(workspace.folder) != key:
        shutil.rmtree(workspace.folder, ignore_errors=True)
        workspace.folder.mkdir(parents=True)
        write_whole(workspace.folder / "fit.json", (json.dumps(key, indent=2) + "\n").encode())
    return workspace


def fitted_workspace(config: TrainConfig, prepared: Prepared) -> Workspace:
    """The workspace of a fit that is done.

    Raises:
        TrainingError: there is none of these choices and labels.
    """
    root = config.workspace / config.name
    if _stored_key(root / "fitted") != {"format": FORMAT, "key": fit_key(config, prepared)}:
        raise TrainingError(f"{root}: holds no model of this configuration and these labels; run 'secondlook fit'")
    return Workspace(root, finished=True)


def fit_key(config: TrainConfig, prepared: Prepared) -> str:
    """SHA-256 of all that a fit depends on."""
    chosen = config.model_dump_json(include={"seed", "model", "pooling"})
    digests = json.dumps({name: prepared.digests[name] for name in ("corpus", "split", "codebook")})
    return hashlib.sha256(f"{chosen}\n{digests}".encode()).hexdigest()


def _stored_key(folder: Path) -> dict[str, str] | None:
    try:
        stored: dict[str, str] = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored
