"""Evaluate: what a bundle reaches on labelled narratives, as a report, curves and a page of figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from secondlook.bundle import Bundle, load_bundle
from secondlook.config import BootstrapConfig, TrainConfig
from secondlook.corpus import corpus_digest, load_corpus
from secondlook.errors import BundleError, ConfigError, CorpusError, RunError
from secondlook.metrics import (
    Predictions,
    budget_points,
    evaluate_modes,
    evaluate_pairs,
    evaluate_slices,
    precision_recall_points,
    reliability_points,
)
from secondlook.prepare import Part, Prepared, load_prepared, part_of
from secondlook.schema import Span
from secondlook.scorer import Outcome, Scorer

KIND = "secondlook-evaluation"
FORMAT = f"{KIND}/1"
SIMILARITY = 0.5
"""Narratives of a labelled file that are as similar as this count as one group."""


@dataclass(frozen=True)
class Report:
    """Measures on one part of the corpus, and the predictions they were computed from."""

    summary: dict[str, Any]
    predictions: Predictions


def evaluate(config: TrainConfig, split: str = "test", out: Path | None = None) -> Report:
    """Evaluate the configuration's bundle and write ``metrics.json`` and ``plots/``.

    What is reached on the test part lies beside the bundle; another part needs a folder of its own.

    Raises:
        BundleError: the bundle is missing, is for other modes than the codebook's or of another split.
        ConfigError: another part than test, and no folder to write.
        CodebookError, CorpusError, SplitError: the labels are not fit to test on.
    """
    prepared = load_prepared(config.data)
    bundle = load_bundle(config.bundle)
    if bundle.codebook.mode_ids != prepared.codebook.mode_ids:
        raise BundleError(
            f"{config.bundle}: was trained for {', '.join(bundle.codebook.mode_ids)} and the codebook has "
            f"{', '.join(prepared.codebook.mode_ids)}; train again"
        )
    if bundle.provenance.split != prepared.digests["split"]:
        raise BundleError(
            f"{config.bundle}: was trained on another split than {config.data.splits} now holds, so that it may have "
            "seen what it would be measured on; train again"
        )
    if out is None and split != "test":
        raise ConfigError("only figures of the test part stand beside a bundle: give a folder with --out")
    result = report(predict(bundle, prepared.part(split)), config, prepared, split)
    write_report(result, out or config.bundle)
    return result


def evaluate_file(path: Path, bundle: Bundle, bootstrap: BootstrapConfig) -> Report:
    """Evaluate a bundle on any labelled file, or folder of them, in the format of ``labels/annotations``.

    Raises:
        CorpusError: the annotations do not fit the bundle's codebook or their own text, or there are none.
    """
    annotations = load_corpus(path, bundle.codebook)
    if not annotations:
        raise CorpusError(f"{path}: holds no annotations; 'secondlook labels import' brings in other formats")
    predictions = predict(bundle, part_of(annotations, bundle.codebook, SIMILARITY))
    measured_on = {"split": path.name, "nature": "a labelled file"}
    return Report(_summary(predictions, measured_on, {"corpus": corpus_digest(annotations)}, bootstrap), predictions)


def predict(bundle: Bundle, part: Part) -> Predictions:
    """Score narratives exactly as the batch scorer would, and without and with nothing but their evidence."""
    scorer = Scorer(bundle)
    outcomes = scorer.score(part.narratives, part.passages)
    modes = bundle.codebook.mode_ids
    shown = [{mode: [e.span for e in outcome.evidence if e.mode == mode] for mode in modes} for outcome in outcomes]
    without, alone = _erased(scorer, part, outcomes, shown)
    return Predictions(
        modes=modes,
        groups=part.groups,
        scores=np.array([[outcome.scores[mode] for mode in modes] for outcome in outcomes]),
        flags=np.array([[outcome.flags[mode] for mode in modes] for outcome in outcomes]),
        labels=part.labels,
        narratives=part.narratives,
        shown=shown,
        ranked=[_ranked(outcome, modes) for outcome in outcomes],
        gold=part.evidence,
        styles=part.styles,
        pairs=part.pairs,
        without=without,
        alone=alone,
    )


def report(predictions: Predictions, config: TrainConfig, prepared: Prepared, split: str) -> Report:
    """Measures with intervals, and what they were measured on."""
    measured_on = {"split": split, "nature": config.data.nature}
    digests = {name: prepared.digests[name] for name in ("corpus", "split", "codebook")}
    return Report(_summary(predictions, measured_on, digests, config.bootstrap), predictions)


def write_report(result: Report, folder: Path) -> None:
    """Write ``metrics.json`` and the rows of every curve below ``plots/``.

    Raises:
        RunError: the folder cannot be written.
    """
    plots = folder / "plots"
    text = json.dumps(result.summary, indent=2) + "\n"
    try:
        plots.mkdir(parents=True, exist_ok=True)
        for name, rows in curves(result.predictions).items():
            frame = pd.DataFrame(rows, columns=None if rows else ["mode"])
            frame.round(6).to_csv(plots / f"{name}.csv", index=False, lineterminator="\n")
        (folder / "metrics.json").write_text(text, encoding="utf-8", newline="\n")
    except OSError as cause:
        raise RunError(f"{folder}: cannot be written ({cause}); choose another folder") from None


def curves(predictions: Predictions) -> dict[str, list[dict[str, Any]]]:
    """The rows of every curve, by the name of its file."""
    return {
        "precision_recall": precision_recall_points(predictions),
        "reliability": reliability_points(predictions),
        "review_budget": budget_points(predictions),
    }


def _summary(
    predictions: Predictions, measured_on: Mapping[str, Any], digests: Mapping[str, str], bootstrap: BootstrapConfig
) -> dict[str, Any]:
    counts = {"narratives": len(predictions.labels), "groups": len(set(predictions.groups))}
    return {
        "measured_on": {"split": measured_on["split"], **counts, "nature": measured_on["nature"]},
        "interval": f"{bootstrap.confidence:.0%} bootstrap over groups, {bootstrap.resamples} resamples",
        "digests": dict(digests),
        "modes": evaluate_modes(predictions, bootstrap),
        "pairs": evaluate_pairs(predictions, bootstrap),
        "slices": evaluate_slices(predictions, bootstrap),
    }


def _ranked(outcome: Outcome, modes: Sequence[str]) -> dict[str, list[Span]]:
    order = np.argsort(-outcome.log_odds, axis=0, kind="stable")
    return {mode: [outcome.passages[row] for row in order[:, column]] for column, mode in enumerate(modes)}


def _erased(
    scorer: Scorer, part: Part, outcomes: Sequence[Outcome], shown: Sequence[Mapping[str, Sequence[Span]]]
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Scores of positive narratives without the passages shown, and of these alone.

    The text is cut and read again: what is left must carry the score, not what the encoder made of it
    beside its context.
    """
    without: list[dict[str, float]] = [{} for _ in outcomes]
    alone: list[dict[str, float]] = [{} for _ in outcomes]
    for row, column in zip(*np.nonzero(part.labels == 1), strict=True):
        mode = scorer.bundle.codebook.mode_ids[column]
        chosen = set(shown[row][mode])
        rest = [span for span in part.passages[row] if span not in chosen]
        kept = [span for span in part.passages[row] if span in chosen]
        without[row][mode] = _score_of(scorer, part.narratives[row], rest, mode)
        alone[row][mode] = _score_of(scorer, part.narratives[row], kept, mode)
    return without, alone


def _score_of(scorer: Scorer, narrative: str, passages: Sequence[Span], mode: str) -> float:
    """The score of some passages as a narrative of their own; 0 for none."""
    if not passages:
        return 0.0
    texts = [narrative[start:end] for start, end in passages]
    ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
    spans = [Span(end - len(text) - 1, end - 1) for text, end in zip(texts, ends, strict=True)]
    return scorer.score([" ".join(texts)], [spans])[0].scores[mode]
