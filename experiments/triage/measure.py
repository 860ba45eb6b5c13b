"""What triage clears, what it loses, and how much time it saves.

    python experiments/triage/measure.py [BUNDLE]

Recall is measured on the test part, which neither the model nor its triage has seen; time on a stream of development
and test narratives, each once, of which one in twenty carries a label. Its negatives are those of the corpus, which
were written to be hard.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from secondlook.bundle import default_bundle, load_bundle
from secondlook.config import ScoreConfig, TrainConfig, load_config
from secondlook.prepare import load_prepared
from secondlook.scorer import Outcome, Scorer

POSITIVE = 0.05
REPEATS = 3


def main(place: Path) -> None:
    """Print two tables."""
    bundle = load_bundle(place)
    plain, screening = Scorer(bundle), Scorer(bundle, ScoreConfig(triage=True))
    prepared = load_prepared(load_config(Path("configs/default.yaml"), TrainConfig).data)
    part = prepared.part("test")
    whole, screened = plain.score(part.narratives), screening.score(part.narratives)
    cleared = np.array([one.cleared for one in screened])
    table = Table(
        "mode", "positives", "flagged", "lost", title=f"test part: {cleared.mean():.1%} of {len(part)} cleared"
    )
    for column, mode in enumerate(prepared.codebook.mode_ids):
        positive = part.labels[:, column] == 1
        hits = positive & _flags(whole, mode)
        lost = hits & ~_flags(screened, mode)
        table.add_row(mode, *(str(int(one.sum())) for one in (positive, hits, lost)))
    console = Console()
    console.print(table)

    texts, labels = [], []
    for name in ("development", "test"):
        held = prepared.part(name)
        texts += held.narratives
        labels += (held.labels == 1).any(axis=1).tolist()
    negatives = [text for text, label in zip(texts, labels, strict=True) if not label]
    positives = [text for text, label in zip(texts, labels, strict=True) if label]
    wanted = round(len(negatives) * POSITIVE / (1 - POSITIVE))
    rng = np.random.default_rng(0)
    stream = [*negatives, *(positives[i] for i in rng.permutation(len(positives))[:wanted])]
    stream = [stream[i] for i in rng.permutation(len(stream))]
    seconds = {"without": [], "with": []}
    for _ in range(REPEATS):
        for name, scorer in (("without", plain), ("with", screening)):
            start = time.perf_counter()
            outcomes = scorer.score(stream)
            seconds[name].append(time.perf_counter() - start)
    share = np.mean([one.cleared for one in outcomes])
    fastest = {name: min(one) for name, one in seconds.items()}
    console.print(f"a stream of {len(stream)} with {wanted} positives: {share:.1%} cleared")
    console.print(
        f"{fastest['without']:.2f} s without triage, {fastest['with']:.2f} s with it: "
        f"{fastest['without'] / fastest['with']:.2f} times as fast"
    )


def _flags(outcomes: list[Outcome], mode: str) -> np.ndarray:
    return np.array([one.flags[mode] for one in outcomes])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default_bundle())
