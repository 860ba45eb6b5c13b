"""Evaluate: what a bundle reaches on labelled narratives, as a report, curves and the bundle's card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from secondlook.bundle import Bundle, load_bundle
from secondlook.card import write_card
from secondlook.config import TrainConfig
from secondlook.errors import BundleError
from secondlook.metrics import Predictions, evaluate_modes, precision_recall_points, reliability_points
from secondlook.prepare import Part, Prepared, load_prepared
from secondlook.scorer import Scorer


@dataclass(frozen=True)
class Report:
    """Measures on one part of the corpus, and the predictions they were computed from."""

    summary: dict[str, Any]
    predictions: Predictions


def evaluate(config: TrainConfig, split: str = "test") -> Report:
    """Evaluate the configuration's bundle and write ``metrics.json``, ``plots/`` and the card beside it.

    Raises:
        BundleError: the bundle is missing, or is for other modes than the codebook's.
        CodebookError, CorpusError, SplitError: the labels are not fit to test on.
    """
    prepared = load_prepared(config.data)
    bundle = load_bundle(config.bundle)
    if bundle.codebook.mode_ids != prepared.codebook.mode_ids:
        raise BundleError(
            f"{config.bundle}: was trained for {', '.join(bundle.codebook.mode_ids)} and the codebook has "
            f"{', '.join(prepared.codebook.mode_ids)}; train again"
        )
    result = report(predict(bundle, prepared.part(split)), config, prepared, split)
    _write(result, config.bundle)
    write_card(config.bundle, bundle, result.summary)
    return result


def predict(bundle: Bundle, part: Part) -> Predictions:
    """Score a part of the corpus exactly as the batch scorer would."""
    outcomes = Scorer(bundle).score(part.narratives, part.passages)
    modes = bundle.codebook.mode_ids
    return Predictions(
        modes=modes,
        groups=part.groups,
        scores=np.array([[outcome.scores[mode] for mode in modes] for outcome in outcomes]),
        flags=np.array([[outcome.flags[mode] for mode in modes] for outcome in outcomes]),
        labels=part.labels,
        shown=[{mode: [e.span for e in outcome.evidence if e.mode == mode] for mode in modes} for outcome in outcomes],
        gold=part.evidence,
    )


def report(predictions: Predictions, config: TrainConfig, prepared: Prepared, split: str) -> Report:
    """Measures with intervals, and what they were measured on."""
    summary = {
        "measured_on": {
            "split": split,
            "narratives": len(predictions.labels),
            "groups": len(set(predictions.groups)),
            "nature": config.data.nature,
        },
        "interval": f"{config.bootstrap.confidence:.0%} bootstrap over groups, {config.bootstrap.resamples} resamples",
        "digests": {name: prepared.digests[name] for name in ("corpus", "split", "codebook")},
        "modes": evaluate_modes(predictions, config.bootstrap),
    }
    return Report(summary, predictions)


def _write(result: Report, folder: Path) -> None:
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    for name, rows in curves(result.predictions).items():
        pd.DataFrame(rows).round(6).to_csv(plots / f"{name}.csv", index=False, lineterminator="\n")
    text = json.dumps(result.summary, indent=2) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8", newline="\n")


def curves(predictions: Predictions) -> dict[str, list[dict[str, Any]]]:
    """The rows of every curve, by the name of its file."""
    return {
        "precision_recall": precision_recall_points(predictions),
        "reliability": reliability_points(predictions),
    }
