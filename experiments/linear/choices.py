"""Choices of the linear evidence model, measured out of fold on the train part only.

    python experiments/linear/choices.py configs/linear.yaml

prints macro average precision, and the share of minimal pairs whose positive member scores above the
negative one, for each choice against the configuration as it stands.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import average_precision_score

from secondlook.codebook import load_codebook
from secondlook.config import TrainConfig, load_config
from secondlook.corpus import Annotation, load_gold
from secondlook.prepare import load_prepared
from secondlook.train import out_of_fold_probabilities

CHOICES: dict[str, dict[str, Any]] = {
    "as configured": {},
    "pooling: max": {"pooling": {"kind": "max"}},
    "pooling: noisy-or": {"pooling": {"kind": "noisy_or"}},
    "pooling: log-sum-exp, sharpness 1": {"pooling": {"kind": "logsumexp", "sharpness": 1.0}},
    "pooling: log-sum-exp, sharpness 2": {"pooling": {"kind": "logsumexp", "sharpness": 2.0}},
    "pooling: log-sum-exp, sharpness 4": {"pooling": {"kind": "logsumexp", "sharpness": 4.0}},
    "no context": {"model": {"context_passages": 0}},
    "one passage of context": {"model": {"context_passages": 1}},
    "C = 3": {"model": {"inverse_regularisation": 3.0}},
    "C = 10": {"model": {"inverse_regularisation": 10.0}},
    "C = 100": {"model": {"inverse_regularisation": 100.0}},
    "words only, one to three": {"model": {"word_ngrams": [1, 3]}},
    "characters three to six": {"model": {"character_ngrams": [3, 6]}},
}


def main(path: Path) -> None:
    """Measure every choice and print the table."""
    config = load_config(path, TrainConfig)
    prepared = load_prepared(config.data)
    part = prepared.part("train")
    gold = {item.id: item for item in load_gold(config.data, load_codebook(config.data.codebook))}
    table = Table("choice", "macro AP", "pairs in the right order", title=f"{len(part)} narratives of the train part")
    for name, change in track(CHOICES.items(), description="choices", console=Console(stderr=True)):
        values = _merge(config.model_dump(mode="json"), change)
        scores = out_of_fold_probabilities(part, prepared.codebook.mode_ids, TrainConfig.model_validate(values))
        known = [~np.isnan(part.labels[:, i]) for i in range(scores.shape[1])]
        precision = [average_precision_score(part.labels[k, i], scores[k, i]) for i, k in enumerate(known)]
        pairs = _pairs_in_order(part.ids, scores, prepared.codebook.mode_ids, gold)
        table.add_row(name, f"{np.mean(precision):.3f}", f"{pairs:.3f}")
    Console().print(table)


def _pairs_in_order(ids: list[str], scores: np.ndarray, modes: tuple[str, ...], gold: dict[str, Annotation]) -> float:
    """Ties count half."""
    found: dict[str, dict[bool, float]] = {}
    for item, row in zip((gold[i] for i in ids), scores, strict=True):
        if item.pair:
            mode = item.pair.mode
            found.setdefault(item.pair.id, {})[item.labels[mode]] = row[modes.index(mode)]
    whole = [pair for pair in found.values() if len(pair) == 2]
    return float(np.mean([(pair[True] > pair[False]) + 0.5 * (pair[True] == pair[False]) for pair in whole]))


def _merge(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {
        k: _merge(v, change[k]) if isinstance(v, dict) and k in change else change.get(k, v) for k, v in values.items()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
