"""Doubt: the annotations most likely wrong, to be read again.

Confident learning (Northcutt, Jiang and Chuang 2021; cleanlab) compares each label with what a model
that never saw the narrative says of it. A doubt is a reason to read, not a correction.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cleanlab.rank import get_label_quality_scores
from rich.progress import Progress
from sklearn.model_selection import GroupKFold

from secondlook.calibrate import out_of_fold_probabilities
from secondlook.config import TrainConfig
from secondlook.prepare import Part, load_prepared
from secondlook.workspace import open_workspace


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that a model of the other folds finds unlikely; ``quality`` runs from 0 (doubtful) to 1."""

    id: str
    mode: str
    label: bool
    probability: float
    quality: float


def find_doubts(config: TrainConfig, progress: Progress | None = None) -> list[Doubt]:
    """Every known label of the whole corpus, the most doubtful first.

    The test part is read too: its labels must be right, and no choice of model is made here.

    Raises:
        CodebookError, CorpusError, SplitError, TrainingError: the labels are not fit to train on.
    """
    prepared = load_prepared(config.data)
    part = _in_folds(prepared.whole())
    modes = prepared.codebook.mode_ids
    workspace = open_workspace(config.model_copy(update={"name": f"{config.name}-doubt"}), prepared)
    probabilities = out_of_fold_probabilities(part, modes, config, workspace, progress)
    doubts = []
    for column, mode in enumerate(modes):
        known = np.flatnonzero(~np.isnan(part.labels[:, column]))
        labels = part.labels[known, column].astype(int)
        p = np.clip(probabilities[known, column], 1e-6, 1 - 1e-6)
        quality = get_label_quality_scores(labels, np.column_stack([1 - p, p]), method="normalized_margin")
        doubts += [
            Doubt(part.ids[i], mode, bool(label), float(chance), float(q))
            for i, label, chance, q in zip(known, labels, p, quality, strict=True)
        ]
    return sorted(doubts, key=lambda doubt: (doubt.quality, doubt.id, doubt.mode))


def write_doubts(path: Path, doubts: Sequence[Doubt]) -> None:
    """Write a list of doubts as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "mode", "label", "probability", "quality"])
        writer.writerows([d.id, d.mode, int(d.label), f"{d.probability:.3f}", f"{d.quality:.3f}"] for d in doubts)


def _in_folds(part: Part, count: int = 5) -> Part:
    """The part with folds of its own, by group: those of the split leave out development and test."""
    folds = np.zeros(len(part))
    for number, (_, held) in enumerate(GroupKFold(count).split(part.ids, groups=part.groups)):
        folds[held] = number
    return replace(part, folds=folds)
