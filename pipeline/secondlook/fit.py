"""Fit: a model of the whole train part, and models blind to a part of it each, for calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from safetensors import SafetensorError

from secondlook.baseline import LinearEvidenceModel
from secondlook.bundle import EvidenceModel
from secondlook.config import LinearModelConfig, PoolingConfig, TrainConfig, TransformerModelConfig
from secondlook.encoder.windows import NOTHING
from secondlook.errors import ConfigError, TrainingError
from secondlook.evidence import pool
from secondlook.prepare import Part, Prepared, load_prepared
from secondlook.stacked import (
    STACK,
    StackedEvidenceModel,
    stacking_weights,
    together,
    weights_from_bytes,
    weights_to_bytes,
)
from secondlook.storage import fresh_folder, remove_folder
from secondlook.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from secondlook.encoder.finetuned import Lesson

Array = NDArray[np.float64]
ROUNDS = 3
"""How often passages are chosen anew where positives come without evidence."""


class Fitted(Protocol):
    """A model that can be saved, and exported."""

    def exported(self) -> EvidenceModel:
        """The model as scoring runs it."""

    def save(self, folder: Path) -> None:
        """Write the model's files into a folder."""


@dataclass(frozen=True)
class OutOfFold:
    """What models say of narratives that they did not see.

    ``scores`` are pooled log-odds, NaN where a narrative is in no fold. *Shape:* ``(narratives, modes)``. ``weights``
    say how much each of the models counts that were fitted together. *Shape:* ``(members, modes)``. ``passages`` has
    the log-odds by each of them, by the row of the narrative. *Shape of each:* ``(members, passages, modes)``.
    """

    scores: Array
    weights: Array
    passages: Mapping[int, Array]


@dataclass(frozen=True)
class Fits:
    """What a fit left in its workspace, and the corpus it was made from."""

    workspace: Workspace
    prepared: Prepared


def fit(config: TrainConfig, progress: Progress | None = None) -> Fits:
    """Fit as the configuration says; what an earlier run had done already is not done again.

    Raises:
        TrainingError: a mode that the train part cannot teach, or a disk that is full.
        ConfigError: an encoder that is missing or is not the one that was meant.
        CodebookError, CorpusError, SplitError: the labels are not fit to train on.
    """
    prepared = load_prepared(config.data)
    part, development = prepared.part("train"), prepared.part("development")
    modes = prepared.codebook.mode_ids
    check_teachable(part, modes)
    check_installed(config)
    try:
        workspace = open_workspace(config, prepared)
        if workspace.finished:
            return Fits(workspace, prepared)
        weights = out_of_fold(part, modes, config, workspace, progress).weights
        if not workspace.model.is_dir():
            members = _fit(part, development, modes, config, workspace.checkpoints / "model", "model", progress)
            with fresh_folder(workspace.model) as fresh:
                for member in members:
                    member.save(fresh)
                if len(members) > 1:
                    (fresh / STACK).write_bytes(weights_to_bytes(weights, modes))
            remove_folder(workspace.checkpoints / "model")
        workspace = workspace.finish()
    except (OSError, SafetensorError) as cause:
        raise TrainingError(
            f"{config.workspace / config.name}: cannot be written ({cause}); free some space and run the same "
            "command again"
        ) from None
    return Fits(workspace, prepared)


def out_of_fold(
    part: Part, modes: Sequence[str], config: TrainConfig, workspace: Workspace, progress: Progress | None = None
) -> OutOfFold:
    """Score every narrative by models that did not see it; folds that were done before are read."""
    passages: dict[int, Array] = {}
    folds = _folds(part, config)
    numbers = sorted(set(folds[~np.isnan(folds)].astype(int).tolist()))
    for place, fold in enumerate(numbers):
        held = folds == fold
        own = part.select(held)
        scores = workspace.read_fold(fold, own.ids, [len(spans) for spans in own.passages], modes)
        if scores is None:
            name = f"fold {place + 1} of {len(numbers)}"
            checkpoints = workspace.checkpoints / f"fold-{fold}"
            members = _fit(
                part.select(~held), None, modes, _scaled(config, float((~held).mean())), checkpoints, name, progress
            )
            by_member = [member.exported().score(own.narratives, own.passages) for member in members]
            scores = [np.stack(one) for one in zip(*by_member, strict=True)]
            workspace.write_fold(fold, own.ids, scores, modes)
            remove_folder(checkpoints)
        passages |= dict(zip(np.flatnonzero(held).tolist(), scores, strict=True))
    return _stacked(passages, part.labels, config.pooling)


def _stacked(passages: Mapping[int, Array], labels: Array, pooling: PoolingConfig) -> OutOfFold:
    """Weigh the members by their own narrative scores, and pool what they say together.

    Args:
        passages: log-odds by the row of the narrative. *Shape of each:* ``(members, passages, modes)``.
        labels: *Shape:* ``(narratives, modes)``.
    """
    members = max(map(len, passages.values()), default=1)
    alone = np.full((members, *labels.shape), np.nan)
    pooled = np.full(labels.shape, np.nan)
    for row, scores in passages.items():
        # A model that could not learn a mode from its folds says the lowest of every passage: that tells nothing.
        known = (scores > NOTHING).any(axis=1)
        alone[:, row] = np.where(known, [pool(one, pooling) for one in scores], np.nan)
    weights = stacking_weights(alone, labels)
    for row, scores in passages.items():
        pooled[row] = pool(together(weights, scores), pooling)
    return OutOfFold(pooled, weights, passages)


def load_fitted(config: TrainConfig, workspace: Workspace, modes: Sequence[str]) -> EvidenceModel:
    """The model of the whole train part, as scoring runs it."""
    files = {path.name: path.read_bytes() for path in workspace.model.iterdir()}
    if isinstance(config.model, LinearModelConfig):
        return LinearEvidenceModel.from_files(files, modes, config.model)
    from secondlook.encoder.finetuned import FineTuned

    encoder = FineTuned.load(workspace.model, config.model).exported()
    if config.model.linear is None:
        return encoder
    linear = LinearEvidenceModel.from_files(files, modes, config.model.linear)
    return StackedEvidenceModel(encoder, linear, weights_from_bytes(files[STACK], modes))


def check_teachable(part: Part, modes: Sequence[str]) -> None:
    """Raise TrainingError for a mode with fewer than two positives or two negatives."""
    for column, mode in enumerate(modes):
        positives, negatives = (int((part.labels[:, column] == value).sum()) for value in (1, 0))
        if min(positives, negatives) < 2:
            raise TrainingError(
                f"{mode}: the train part has {positives} positives and {negatives} negatives, and needs two "
                "of each; annotate more, or take the mode out of the codebook"
            )


def check_installed(config: TrainConfig) -> None:
    """Raise ConfigError before the work where what it needs is not installed."""
    if not isinstance(config.model, TransformerModelConfig):
        return
    needed = ("torch", "transformers", "accelerate", "datasets", "onnx")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ConfigError(f"{', '.join(missing)} not installed: pip install 'secondlook[train]'")


def _folds(part: Part, config: TrainConfig) -> Array:
    """The fold of each narrative: the split's own, or fewer of them where each costs a fine-tuning."""
    if isinstance(config.model, LinearModelConfig):
        return part.folds
    numbers = np.full(len(part.folds), np.nan)
    known = ~np.isnan(part.folds)
    numbers[known] = np.unique(part.folds[known], return_inverse=True)[1] % config.model.fitting.folds
    return numbers


def _scaled(config: TrainConfig, share: float) -> TrainConfig:
    """The configuration for a share of the train part: it is gone through as often as the whole would be."""
    if isinstance(config.model, LinearModelConfig):
        return config
    steps = round(config.model.fitting.minimum_steps * share)
    fitting = config.model.fitting.model_copy(update={"minimum_steps": steps})
    return config.model_copy(update={"model": config.model.model_copy(update={"fitting": fitting})})


def _fit(
    part: Part,
    development: Part | None,
    modes: Sequence[str],
    config: TrainConfig,
    checkpoints: Path,
    name: str,
    progress: Progress | None,
) -> list[Fitted]:
    """The models that a configuration wants fitted together, in the order in which their scores are kept."""
    if isinstance(config.model, LinearModelConfig):
        return [fit_linear(part, modes, config.model, config.seed)]
    from secondlook.encoder.finetuned import FineTuned

    linear = [fit_linear(part, modes, config.model.linear, config.seed)] if config.model.linear else []
    encoder = FineTuned.fit(
        lesson(part),
        lesson(development) if development else None,
        modes,
        config.model,
        config.pooling,
        config.seed,
        checkpoints,
        name,
        progress,
    )
    return [encoder, *linear]


def lesson(part: Part) -> Lesson:
    """A part as the transformer learns from it."""
    from secondlook.encoder.finetuned import Lesson

    pairs = [pair.id if pair else None for pair in part.pairs]
    return Lesson(part.narratives, part.passages, part.targets, part.labels, pairs)


def fit_linear(part: Part, modes: Sequence[str], config: LinearModelConfig, seed: int) -> LinearEvidenceModel:
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
            part.narratives, part.groups.tolist(), part.passages, targets, modes, config, seed
        )
        if turn + 1 == ROUNDS or not unmarked:
            break
        scores = model.score(part.narratives, part.passages)
        for i, column in unmarked:
            targets[i][:, column] = np.nan
            targets[i][scores[i][:, column].argmax(), column] = 1.0
    return model
