"""The line that every run on India Police Events should reproduce first.

    python experiments/benchmarks/first_line.py DIR

TF-IDF of words and bigrams and a balanced logistic regression (C = 10) for each mode, flags at even odds, on sentences
and on whole stories. If these figures are not those of the log, the published split was not read as it is meant.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from competitors import units
from corpora import load_tasks
from measures import narrative_measures
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from secondlook.config import TrainConfig, load_config


def main() -> None:
    """Print both lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    table = Table("benchmark", "units", "macro AP", "macro F1", "micro F1", "example F1")
    for name in ("india-sentences", "india-documents"):
        (task,) = load_tasks(name, asked.data, load_config(Path("configs/default.yaml"), TrainConfig))
        texts, labels = units(task, task.training)
        machine = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2)),
            OneVsRestClassifier(LogisticRegression(C=10, class_weight="balanced", max_iter=1000)),
        )
        machine.fit(texts, labels)
        texts, labels = units(task, task.test)
        scores = machine.predict_proba(texts)
        values = narrative_measures(labels, scores, scores >= 0.5)
        table.add_row(name, str(len(texts)), *(f"{value:.3f}" for value in values.values()))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
