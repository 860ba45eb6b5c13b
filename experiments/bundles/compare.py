"""Bundles beside one another on the parts that they did not learn from.

    git archive COMMIT models/default | tar x -C DIR     an earlier bundle
    python experiments/bundles/compare.py DIR/models/default models/default [--by v]

``--by`` divides the development part: what annotators wrote whose names begin so, and the rest. Prints macro
average precision over all narratives and full ones, F1 and recall at each bundle's operating points, and pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score, recall_score

from secondlook.bundle import load_bundle
from secondlook.config import TrainConfig, load_config
from secondlook.metrics import Predictions, evaluate_pairs, macro_average_precision
from secondlook.prepare import Part, Prepared, load_prepared
from secondlook.scorer import Scorer

CONFIG = load_config(Path("configs/default.yaml"), TrainConfig)


def main() -> None:
    """Print a row for each part and bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--by", help="how the names of some annotators begin")
    asked = parser.parse_args()
    table = Table("part", "narratives", "bundle", "macro AP", "full", "F1", "recall", "both right", "in order")
    scorers = {place: Scorer(load_bundle(place)) for place in asked.bundles}
    for name, part in _parts(load_prepared(CONFIG.data), asked.by):
        for place, scorer in scorers.items():
            values = _measures(part, scorer)
            table.add_row(name, str(len(part)), str(place), *(f"{value:.3f}" for value in values))
    Console(width=140).print(table)


def _parts(prepared: Prepared, prefix: str | None) -> Iterator[tuple[str, Part]]:
    yield "test", prepared.part("test")
    development = prepared.part("development")
    own = np.array([bool(prefix) and name.startswith(str(prefix)) for name in development.ids])
    yield "development" + (f", not by {prefix}…" if prefix else ""), development.select(~own)
    if own.any():
        yield f"development, by {prefix}…", development.select(own)


def _measures(part: Part, scorer: Scorer) -> list[float]:
    modes = scorer.bundle.codebook.mode_ids
    outcomes = scorer.score(part.narratives, part.passages)
    scores = np.array([[one.scores[mode] for mode in modes] for one in outcomes])
    flags = np.array([[one.flags[mode] for mode in modes] for one in outcomes])
    gold, full = part.labels == 1, np.array([pair is None for pair in part.pairs])
    nothing = [{mode: [] for mode in modes} for _ in outcomes]
    predictions = Predictions(
        modes, part.groups, scores, flags, part.labels, part.narratives, nothing, nothing, nothing, pairs=part.pairs
    )
    pairs = evaluate_pairs(predictions, CONFIG.bootstrap)["all"]
    return [
        macro_average_precision(part.labels, scores),
        macro_average_precision(part.labels[full], scores[full]),
        f1_score(gold, flags, average="macro"),
        recall_score(gold, flags, average="macro"),
        pairs["both_right"]["value"],
        pairs["in_order"]["value"],
    ]


if __name__ == "__main__":
    main()
