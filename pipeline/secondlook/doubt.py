"""Doubt: the annotations most likely wrong, to be read again.

Confident learning (Northcutt, Jiang and Chuang 2021; cleanlab) compares each label with what a model
that never saw the narrative says of it. A doubt is a reason to read, not a correction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cleanlab.rank import get_label_quality_scores
from rich.progress import Progress

from secondlook.config import TrainConfig
from secondlook.prepare import load_prepared
from secondlook.train import calibrated_out_of_fold


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that a model of the other folds finds unlikely; ``quality`` runs from 0 (doubtful) to 1."""

    id: str
    mode: str
    label: bool
    probability: float
    quality: float


def find_doubts(config: TrainConfig, split: str = "train", progress: Progress | None = None) -> list[Doubt]:
    """Every known label of a part of the corpus, the most doubtful first.

    Raises:
        CodebookError, CorpusError, SplitError, TrainingError: the labels are not fit to train on.
    """
    prepared = load_prepared(config.data)
    part = prepared.part(split)
    probabilities = calibrated_out_of_fold(prepared, config, progress)
    doubts = []
    for column, mode in enumerate(prepared.codebook.mode_ids):
        known = np.flatnonzero(~np.isnan(part.labels[:, column]))
        labels = part.labels[known, column].astype(int)
        p = np.clip(probabilities[known, column], 1e-6, 1 - 1e-6)
        quality = get_label_quality_scores(labels, np.column_stack([1 - p, p]), method="normalized_margin")
        doubts += [
            Doubt(part.ids[i], mode, bool(label), float(chance), float(q))
            for i, label, chance, q in zip(known, labels, p, quality, strict=True)
        ]
    return sorted(doubts, key=lambda doubt: (doubt.quality, doubt.id, doubt.mode))
