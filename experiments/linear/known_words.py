"""How many of its words the default bundle knows of each narrative of the test part, by kind of noise.

    python experiments/linear/known_words.py configs/linear.yaml

The scorer rejects what lies below ``minimum_known_words``: English narratives, messy ones too, lie far above.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from secondlook.bundle import load_bundle
from secondlook.codebook import load_codebook
from secondlook.config import TrainConfig, load_config
from secondlook.corpus import load_gold
from secondlook.splits import read_split


def main(path: Path) -> None:
    """Print the least, the median and the greatest share by noise."""
    config = load_config(path, TrainConfig)
    words = load_bundle(config.bundle).words
    split = read_split(config.data.splits)
    corpus = load_gold(config.data, load_codebook(config.data.codebook))
    shares: dict[str, list[float]] = {}
    for item in corpus:
        if split[item.id].split == "test":
            shares.setdefault(item.style.noise, []).append(words.share(item.narrative))
    table = Table("noise", "narratives", "least", "median", "greatest", title="Share of words known, test part")
    for noise, values in sorted(shares.items()):
        table.add_row(noise, str(len(values)), *(f"{value:.2f}" for value in np.quantile(values, [0, 0.5, 1])))
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
