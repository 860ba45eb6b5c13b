"""The members of a stacked bundle, each alone and both together, on the development and the test part.

    python experiments/stacked/members.py [BUNDLE]

Prints macro average precision over all narratives and over full ones, how many minimal pairs are in the right order,
and how often the strongest passage of a positive is evidence. The weights come from the folds of the train part.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from secondlook.baseline import LinearEvidenceModel
from secondlook.bundle import default_bundle, load_bundle
from secondlook.config import TrainConfig, load_config
from secondlook.evidence import pool
from secondlook.metrics import macro_average_precision, whole_pairs
from secondlook.prepare import Part, load_prepared
from secondlook.stacked import STACK, StackedEvidenceModel, weights_from_bytes

Array = NDArray[np.float64]


def main(place: Path) -> None:
    """Print a table for each part."""
    bundle = load_bundle(place)
    model = bundle.model
    if not isinstance(model, StackedEvidenceModel) or model.config.linear is None:
        raise SystemExit(f"{place}: has no linear model beside its transformer")
    linear = LinearEvidenceModel.from_files(model.to_files(), model.modes, model.config.linear)
    prepared = load_prepared(load_config(Path("configs/default.yaml"), TrainConfig).data)
    console = Console()
    for name in ("development", "test"):
        part = prepared.part(name)
        table = Table("model", "macro AP", "macro AP, full", "pairs in order", "evidence P@1", title=name)
        for label, member in (("transformer", model.encoder), ("linear", linear), ("both", model)):
            passages = member.score(part.narratives, part.passages)
            pooled = np.array([pool(one, bundle.pooling) for one in passages])
            table.add_row(label, *(f"{value:.3f}" for value in _measures(part, passages, pooled, model.modes)))
        console.print(table)
    weights = weights_from_bytes(model.to_files()[STACK], model.modes)
    for mode, transformer in zip(model.modes, weights[0], strict=True):
        console.print(f"{mode}: transformer {transformer:.2f}, linear {1 - transformer:.2f}")


def _measures(part: Part, passages: list[Array], pooled: Array, modes: tuple[str, ...]) -> list[float]:
    full = np.array([pair is None for pair in part.pairs])
    hits = [
        float(target[own[:, column].argmax(), column] == 1)
        for target, own in zip(part.targets, passages, strict=True)
        for column in range(len(modes))
        if (target[:, column] == 1).any()
    ]
    order = [pooled[yes, own] > pooled[no, own] for own, yes, no in whole_pairs(part.pairs, part.labels, modes)]
    return [
        macro_average_precision(part.labels, pooled),
        macro_average_precision(part.labels[full], pooled[full]),
        float(np.mean(order)),
        float(np.mean(hits)),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default_bundle())
