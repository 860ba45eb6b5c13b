"""A bag of words on the minimal pairs: it should be near chance, for that is the point of the pairs.

    python experiments/pairs/bag_of_words.py configs/linear.yaml

TF-IDF of whole narratives (words, one and two) and one logistic regression a mode, predicted out of fold
by group over the whole corpus. Prints, for each mode's pairs, how often the positive member scores higher (chance 50%),
and how often both members fall on the right side of one half (chance 25%).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from secondlook.codebook import load_codebook
from secondlook.config import TrainConfig, load_config
from secondlook.corpus import load_gold
from secondlook.splits import resolve_groups


def main(path: Path) -> None:
    """Predict, and print the table."""
    data = load_config(path, TrainConfig).data
    codebook = load_codebook(data.codebook)
    corpus = load_gold(data, codebook)
    groups = resolve_groups(corpus, 0.5)
    table = Table("mode", "pairs", "positive member higher", "both right", "AP, full narratives", title="Bag of words")
    for mode in codebook.mode_ids:
        labels = np.array([item.labels[mode] for item in corpus])
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            LogisticRegression(C=10, class_weight="balanced", max_iter=1000),
        )
        texts = [item.narrative for item in corpus]
        predicted = cross_val_predict(model, texts, labels, groups=groups, cv=GroupKFold(5), method="predict_proba")[
            :, 1
        ]
        pairs: dict[str, dict[bool, float]] = {}
        for item, score in zip(corpus, predicted, strict=True):
            if item.pair and item.pair.mode == mode:
                pairs.setdefault(item.pair.id, {})[item.labels[mode]] = score
        whole = [pair for pair in pairs.values() if len(pair) == 2]
        full = [i for i, item in enumerate(corpus) if item.pair is None]
        table.add_row(
            mode,
            str(len(whole)),
            f"{np.mean([pair[True] > pair[False] for pair in whole]):.0%}",
            f"{np.mean([pair[True] >= 0.5 > pair[False] for pair in whole]):.0%}",
            f"{average_precision_score(labels[full], predicted[full]):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
