"""Choices of the linear evidence model, measured out of fold on the train part only.

    python experiments/linear/choices.py configs/linear.yaml

prints macro average precision, and the share of minimal pairs whose positive member scores above the
negative one, for each choice against the configuration as it stands.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from secondlook.config import TrainConfig, load_config
from secondlook.fit import out_of_fold
from secondlook.metrics import macro_average_precision, whole_pairs
from secondlook.prepare import load_prepared
from secondlook.workspace import open_workspace

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
    part, modes = prepared.part("train"), prepared.codebook.mode_ids
    table = Table("choice", "macro AP", "pairs in the right order", title=f"{len(part)} narratives of the train part")
    for name, change in track(CHOICES.items(), description="choices", console=Console(stderr=True)):
        changed = TrainConfig.model_validate(_merge(config.model_dump(mode="json"), change))
        with tempfile.TemporaryDirectory() as folder:
            workspace = open_workspace(changed.model_copy(update={"workspace": Path(folder)}), prepared)
            scores = out_of_fold(part, modes, changed, workspace).scores
        column, yes, no = np.array(whole_pairs(part.pairs, part.labels, modes)).T
        gaps = scores[yes, column] - scores[no, column]
        in_order = float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
        table.add_row(name, f"{macro_average_precision(part.labels, scores):.3f}", f"{in_order:.3f}")
    Console().print(table)


def _merge(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {
        k: _merge(v, change[k]) if isinstance(v, dict) and k in change else change.get(k, v) for k, v in values.items()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
