"""Choices of the transformer, measured one by one against the configuration.

    python experiments/encoder/choices.py configs/default.yaml [NAME ...]

Each choice is fitted on the train part without one fold, and measured on that fold and the development part; the
test part is not touched. Prints a table and keeps what is done in ``runs/choices.json``: run it again and it goes on.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from secondlook.config import TrainConfig, TransformerModelConfig, load_config
from secondlook.encoder.finetuned import FineTuned
from secondlook.evidence import pool
from secondlook.fit import lesson
from secondlook.prepare import Part, load_prepared

HELD_FOLD = 0
CHOICES: dict[str, dict[str, Any]] = {
    "as configured": {},
    "another seed": {"seed": 1},
    "pooling: max": {"pooling": {"kind": "max"}},
    "pooling: noisy-or": {"pooling": {"kind": "noisy_or"}},
    "log-sum-exp, sharpness 1": {"pooling": {"sharpness": 1.0}},
    "tokens: attention": {"model": {"passage_pooling": "attention"}},
    "no context": {"model": {"context_tokens": 0}},
    "windows of 128, context 48": {"model": {"window_tokens": 128, "context_tokens": 48}},
    "windows of 384, context 128": {"model": {"window_tokens": 384, "context_tokens": 128}},
    "no loss on evidence": {"model": {"fitting": {"evidence_weight": 0.0}}},
    "loss on evidence x 3": {"model": {"fitting": {"evidence_weight": 3.0}}},
    "no loss on pairs": {"model": {"fitting": {"pair_weight": 0.0}}},
    "embeddings tuned": {"model": {"fitting": {"freeze_embeddings": False, "frozen_layers": 0}}},
    "all layers tuned": {"model": {"fitting": {"frozen_layers": 0}}},
    "two layers frozen": {"model": {"fitting": {"frozen_layers": 2}}},
    "four layers frozen": {"model": {"fitting": {"frozen_layers": 4}}},
    "learning rate 1e-4": {"model": {"fitting": {"learning_rate": 1e-4}}},
    "learning rate 4e-4": {"model": {"fitting": {"learning_rate": 4e-4}}},
    "six epochs": {"model": {"fitting": {"epochs": 6}}},
}


def main(path: Path, names: list[str]) -> None:
    """Fit what is not done yet, and print the table."""
    config = load_config(path, TrainConfig)
    prepared = load_prepared(config.data)
    train, development = prepared.part("train"), prepared.part("development")
    held = train.folds == HELD_FOLD
    kept = Path("runs/choices.json")
    kept.parent.mkdir(exist_ok=True)
    done: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in names or CHOICES:
        if name not in done:
            changed = TrainConfig.model_validate(_merge(config.model_dump(mode="json"), CHOICES[name]))
            parts = [train.select(held), development]
            done[name] = _measure(changed, prepared.codebook.mode_ids, train.select(~held), parts)
            kept.write_text(json.dumps(done, indent=2) + "\n")
    table = Table("choice", *next(iter(done.values())), title="Fitted without a fold; measured on it and development")
    for name, values in done.items():
        table.add_row(name, *(f"{value:.3f}" if value <= 1 else f"{value:.0f}" for value in values.values()))
    Console(width=120).print(table)


def _measure(config: TrainConfig, modes: tuple[str, ...], training: Part, parts: list[Part]) -> dict[str, float]:
    if not isinstance(config.model, TransformerModelConfig):
        raise SystemExit("the choices are a transformer's")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "fit"
        model = FineTuned.fit(
            lesson(training), None, modes, config.model, config.pooling, config.seed, place, config.name
        )
    seconds = time.perf_counter() - start
    scores = [one for part in parts for one in model.score(part.narratives, part.passages)]
    pooled = np.array([pool(one, config.pooling) for one in scores])
    labels = np.concatenate([part.labels for part in parts])
    pairs = [pair for part in parts for pair in part.pairs]
    full = np.array([pair is None for pair in pairs])
    hits = [
        float(target[own[:, column].argmax(), column] == 1)
        for target, own in zip((t for part in parts for t in part.targets), scores, strict=True)
        for column in range(len(modes))
        if (target[:, column] == 1).any()
    ]
    members: dict[str, dict[bool, float]] = {}
    for row, pair in enumerate(pairs):
        if pair:
            column = modes.index(pair.mode)
            members.setdefault(pair.id, {})[bool(labels[row, column])] = pooled[row, column]
    whole = [both for both in members.values() if len(both) == 2]
    return {
        "macro AP": _average_precision(labels, pooled),
        "macro AP, full narratives": _average_precision(labels[full], pooled[full]),
        "pairs in order": float(np.mean([both[True] > both[False] for both in whole])),
        "evidence P@1": float(np.mean(hits)),
        "seconds": seconds,
    }


def _average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(np.mean([average_precision_score(labels[:, i], scores[:, i]) for i in range(labels.shape[1])]))


def _merge(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return values | {key: _merge(values[key], new) if isinstance(new, dict) else new for key, new in change.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
