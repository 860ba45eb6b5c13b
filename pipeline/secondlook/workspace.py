"""The workspace of a training run: what is done already, so that a run that was stopped goes on.

===================  ===========================================================================
below the workspace  what it holds
===================  ===========================================================================
``unfinished/``      what a fit that was stopped had done, and its checkpoints
``fitted/``          a whole fit: ``fit.json`` says what it depends on, ``fold-N.parquet`` has the
                     passages' log-odds in the narratives that the models of fold N did not see,
                     ``model/`` the model of the whole train part
``calibration.json`` per mode: Platt scaling and operating point; what a first pass may clear
===================  ===========================================================================

A fit of another corpus or of other choices starts afresh.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secondlook.bundle import ModeCalibration
from secondlook.config import TrainConfig, TransformerModelConfig
from secondlook.errors import TrainingError
from secondlook.prepare import Prepared
from secondlook.storage import file_digest, remove_folder, write_whole
from secondlook.triage import Triage

FORMAT = "secondlook-fit/2"
_FITTING = ("baseline", "evidence", "fit", "stacked", "text")

Array = NDArray[np.float64]
Members = list[Array]
"""Log-odds of each narrative's passages by the models that were fitted together: ``(members, passages, modes)``."""


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
        for leftover in (self.checkpoints, *self.folder.glob(".*"), done.folder):
            remove_folder(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        self.folder.replace(done.folder)
        return done

    def read_fold(self, fold: int, ids: Sequence[str], lengths: Sequence[int], modes: Sequence[str]) -> Members | None:
        """The log-odds of a fold's passages; None if these narratives are not done.

        Args:
            lengths: how many passages each narrative has.

        Returns:
            For each narrative. *Shape of each:* ``(members, passages, modes)``.
        """
        try:
            frame = pd.read_parquet(self.folder / f"fold-{fold}.parquet")
            scores = frame[list(modes)].to_numpy(dtype=float).reshape(-1, sum(lengths), len(modes))
            own = list(frame["id"]) == list(np.repeat(ids, lengths)) * len(scores)
        except (OSError, ValueError, KeyError):
            return None
        return np.split(scores, np.cumsum(lengths)[:-1], axis=1) if own else None

    def write_fold(self, fold: int, ids: Sequence[str], scores: Members, modes: Sequence[str]) -> None:
        """Keep the log-odds of a fold's passages, whole or not at all."""
        every = np.concatenate(scores, axis=1)
        owners = np.repeat(ids, [one.shape[1] for one in scores])
        frame = pd.DataFrame(every.reshape(-1, len(modes)), columns=list(modes))
        frame.insert(0, "id", np.tile(owners, len(every)))
        write_whole(self.folder / f"fold-{fold}.parquet", frame.to_parquet(index=False))

    def read_calibration(self, config: TrainConfig) -> tuple[dict[str, ModeCalibration], Triage | None]:
        """What calibration wrote: by mode, and for the first pass where there is one.

        Raises:
            TrainingError: it has not been done for this fit and these operating points.
        """
        try:
            stored = json.loads((self.root / "calibration.json").read_text(encoding="utf-8"))
            modes = {mode: ModeCalibration.model_validate(settings) for mode, settings in stored["modes"].items()}
            triage = Triage.model_validate(stored["triage"]) if stored["triage"] else None
            fitting = stored["basis"] == self._basis(config)
        except (OSError, ValueError, KeyError, TypeError):
            fitting = False
        if not fitting:
            raise TrainingError(f"{self.root}: this fit is not calibrated yet; run 'secondlook calibrate' first")
        return modes, triage

    def write_calibration(
        self, config: TrainConfig, modes: dict[str, ModeCalibration], triage: Triage | None = None
    ) -> None:
        """Keep a calibration, whole or not at all.

        Raises:
            TrainingError: the workspace cannot be written.
        """
        settled = {mode: settings.model_dump() for mode, settings in modes.items()}
        first_pass = triage.model_dump() if triage else None
        text = json.dumps({"basis": self._basis(config), "modes": settled, "triage": first_pass}, indent=2) + "\n"
        try:
            write_whole(self.root / "calibration.json", text.encode())
        except OSError as cause:
            raise TrainingError(f"{self.root}: cannot be written ({cause}); free some space and try again") from None

    def _basis(self, config: TrainConfig) -> dict[str, Any]:
        """What a calibration rests on: this fit, and the rule for operating points."""
        return {"fit": _stored_key(self.folder), "rule": config.operating_points.model_dump()}


def open_workspace(config: TrainConfig, prepared: Prepared) -> Workspace:
    """The run's workspace; what a fit of other choices or labels left unfinished is removed."""
    root = config.workspace / config.name
    key = {"format": FORMAT, "key": fit_key(config, prepared)}
    if _stored_key(root / "fitted") == key:
        return Workspace(root, finished=True)
    workspace = Workspace(root, finished=False)
    if _stored_key(workspace.folder) != key:
        remove_folder(workspace.folder)
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
    """SHA-256 of all that a fit depends on: choices, labels, passages, the encoder's weights, our own code."""
    chosen = config.model_dump(mode="json", include={"seed", "model", "pooling"})
    if isinstance(config.model, TransformerModelConfig):
        del chosen["model"]["fitting"]["device"]
        chosen["weights"] = _weights_digest(Path(config.model.encoder))
    basis = [chosen, dict(sorted(prepared.digests.items())), _code_digest()]
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()


def _weights_digest(folder: Path) -> str | None:
    """The digest of an encoder's weights where it is a folder; a packaged one is checked by its name."""
    weights = folder / "model.safetensors"
    return file_digest(weights) if weights.is_file() else None


def _code_digest() -> str:
    """SHA-256 of the modules that decide what a fit becomes."""
    package = Path(__file__).parent
    together = hashlib.sha256()
    for path in sorted([*package.glob("encoder/*.py"), *(package / f"{name}.py" for name in _FITTING)]):
        together.update(path.name.encode() + b"\0" + path.read_bytes())
    return together.hexdigest()


def _stored_key(folder: Path) -> dict[str, str] | None:
    try:
        stored: dict[str, str] = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored
