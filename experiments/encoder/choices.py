"""Choices of the transformer, measured one by one against the configuration.

    python experiments/encoder/choices.py configs/default.yaml [--share 0.4] [--together] [NAME ...]

Each choice is fitted on the train part without one fold, and measured on that fold and the development part; the
test part is not touched. ``--share`` learns from that share of the groups only, which is cheaper and says less;
``--together`` also measures the mean of what all that are named say of a passage. Prints a table and keeps what is done
in ``runs/choices``: run it again and it goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from secondlook.config import PoolingConfig, TrainConfig, TransformerModelConfig, load_config
from secondlook.encoder.finetuned import FineTuned
from secondlook.evidence import pool
from secondlook.fit import lesson
from secondlook.metrics import macro_average_precision, whole_pairs
from secondlook.prepare import Part, load_prepared
from secondlook.storage import write_whole
from secondlook.workspace import fit_key

Array = NDArray[np.float64]
HELD_FOLD = 0
EVEN_ODDS = 0.0
"""Where a narrative is called positive here: these models are not calibrated."""

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
    "loss on pairs x 1": {"model": {"fitting": {"pair_weight": 1.0}}},
    "embeddings tuned": {"model": {"fitting": {"freeze_embeddings": False}}},
    "two layers frozen": {"model": {"fitting": {"frozen_layers": 2}}},
    "three layers frozen": {"model": {"fitting": {"frozen_layers": 3}}},
    "four layers frozen": {"model": {"fitting": {"frozen_layers": 4}}},
    "learning rate 1e-4": {"model": {"fitting": {"learning_rate": 1e-4}}},
    "learning rate 4e-4": {"model": {"fitting": {"learning_rate": 4e-4}}},
    "six epochs": {"model": {"fitting": {"epochs": 6}}},
}


def main() -> None:
    """Fit what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("names", nargs="*", default=list(CHOICES))
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--together", action="store_true")
    asked = parser.parse_intermixed_args()
    config = load_config(asked.config, TrainConfig)
    prepared = load_prepared(config.data)
    modes = prepared.codebook.mode_ids
    train, development = prepared.part("train"), prepared.part("development")
    held = train.folds == HELD_FOLD
    training, parts = train.select(~held & _drawn(train.groups, asked.share)), [train.select(held), development]
    kept = Path("runs/choices") / f"{asked.share:g}-{fit_key(config, prepared)[:12]}"
    kept.mkdir(parents=True, exist_ok=True)
    rows, said = {}, []
    for name in asked.names:
        changed = TrainConfig.model_validate(_merge(config.model_dump(mode="json"), CHOICES[name]))
        place = kept / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.npz"
        if not place.exists():
            scores, seconds = _fit(changed, modes, training, parts)
            content = io.BytesIO()
            np.savez(content, scores=np.concatenate(scores), seconds=seconds)
            write_whole(place, content.getvalue())
        with np.load(place) as one:
            scores, seconds = _by_narrative(one["scores"], parts), float(one["seconds"])
        said.append(scores)
        rows[name] = _measures(scores, parts, modes, changed.pooling) | {"seconds": seconds}
    if asked.together:
        mean = [np.mean(each, axis=0) for each in zip(*said, strict=True)]
        seconds = sum(row["seconds"] for row in rows.values())
        rows["all of these together"] = _measures(mean, parts, modes, config.pooling) | {"seconds": seconds}
    title = f"Fitted on {len(training)} narratives; measured on a fold and development"
    table = Table("choice", *next(iter(rows.values())), title=title, title_justify="left")
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.3f}" if value <= 1 else f"{value:.0f}" for value in values.values()))
    Console(width=120).print(table)


def _drawn(groups: np.ndarray, share: float) -> np.ndarray:
    """Which narratives are of a share of the groups, the same in every run."""
    names = np.unique(groups)
    chosen = np.random.default_rng(0).permutation(names)[: round(share * len(names))]
    return np.isin(groups, chosen)


def _fit(config: TrainConfig, modes: tuple[str, ...], training: Part, parts: list[Part]) -> tuple[list[Array], float]:
    """Log-odds of every passage of the parts, by narrative, and the seconds that fitting took."""
    if not isinstance(config.model, TransformerModelConfig):
        raise SystemExit("the choices are a transformer's")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "fit"
        model = FineTuned.fit(
            lesson(training), None, modes, config.model, config.pooling, config.seed, place, config.name
        )
    seconds = time.perf_counter() - start
    return [one for part in parts for one in model.score(part.narratives, part.passages)], seconds


def _by_narrative(scores: Array, parts: list[Part]) -> list[Array]:
    return np.split(scores, np.cumsum([len(target) for part in parts for target in part.targets])[:-1])


def _measures(
    scores: list[Array], parts: list[Part], modes: tuple[str, ...], pooling: PoolingConfig
) -> dict[str, float]:
    pooled = np.array([pool(one, pooling) for one in scores])
    labels = np.concatenate([part.labels for part in parts])
    pairs = [pair for part in parts for pair in part.pairs]
    full = np.array([pair is None for pair in pairs])
    hits = [
        float(target[own[:, column].argmax(), column] == 1)
        for target, own in zip((t for part in parts for t in part.targets), scores, strict=True)
        for column in range(len(modes))
        if (target[:, column] == 1).any()
    ]
    whole = [(pooled[yes, column], pooled[no, column]) for column, yes, no in whole_pairs(pairs, labels, modes)]
    return {
        "macro AP": macro_average_precision(labels, pooled),
        "macro AP, full narratives": macro_average_precision(labels[full], pooled[full]),
        "pairs both right": float(np.mean([yes > EVEN_ODDS > no for yes, no in whole])),
        "pairs in order": float(np.mean([yes > no for yes, no in whole])),
        "evidence P@1": float(np.mean(hits)),
    }


def _merge(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return values | {key: _merge(values[key], new) if isinstance(new, dict) else new for key, new in change.items()}


if __name__ == "__main__":
    main()
