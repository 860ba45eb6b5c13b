"""What competitors are measured by."""

from __future__ import annotations

import numpy as np
from competitors import Competitor, units_and_scores
from corpora import Task
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from secondlook.metrics import macro_average_precision, whole_pairs
from secondlook.prepare import Part

Array = NDArray[np.float64]


def measure(task: Task, competitor: Competitor) -> dict[str, float]:
    """Every measure of a competitor on a task's test part; where flags begin, units tell that it did not learn from."""
    unseen = [units_and_scores(task, part, trained) for trained, part in competitor.unseen]
    thresholds = _thresholds(*(np.concatenate(each) for each in zip(*unseen, strict=True)))
    labels, scores = units_and_scores(task, task.test, competitor.trained)
    values = narrative_measures(labels, scores, scores >= thresholds)
    if "FAIL" in task.modes and task.unit == "narrative":
        values |= _one_mode(labels[:, task.modes.index("FAIL")], scores[:, task.modes.index("FAIL")], "FAIL")
    if any(task.test.pairs):
        values |= _pairs(task, scores, scores >= thresholds)
    return values | _evidence(task.test, competitor.trained.passages(task.test))


def narrative_measures(labels: Array, scores: Array, flags: NDArray[np.bool_]) -> dict[str, float]:
    """Average precision and F1 over the modes that occur.

    Example-F1 is over the units whose gold or flagged set is not empty, as published.
    """
    gold = labels == 1
    there = gold.any(axis=0)
    union = (gold | flags).any(axis=1)
    examples = 2 * (gold & flags).sum(axis=1) / np.maximum(gold.sum(axis=1) + flags.sum(axis=1), 1)
    return {
        "macro_AP": macro_average_precision(labels, scores),
        "macro_F1": float(f1_score(gold[:, there], flags[:, there], average="macro", zero_division=0)),
        "micro_F1": float(f1_score(gold, flags, average="micro", zero_division=0)),
        "example_F1": float(examples[union].mean()),
    }


def _one_mode(labels: Array, scores: Array, name: str) -> dict[str, float]:
    """Average precision, and the share of the ranked queue to read for 95% recall."""
    order = np.argsort(-scores, kind="stable")
    found = (labels[order] == 1).cumsum() / (labels == 1).sum()
    read = (int(np.argmax(found >= 0.95)) + 1) / len(labels)
    return {f"{name}_AP": float(average_precision_score(labels == 1, scores)), f"{name}_read_95": read}


def _pairs(task: Task, scores: Array, flags: NDArray[np.bool_]) -> dict[str, float]:
    column, yes, no = np.array(whole_pairs(task.test.pairs, task.test.labels, task.modes)).T
    gaps = scores[yes, column] - scores[no, column]
    return {
        "pairs_right": float(np.mean(flags[yes, column] & ~flags[no, column])),
        "pairs_in_order": float(np.mean((gaps > 0) + 0.5 * (gaps == 0))),
    }


def _evidence(part: Part, passages: list[Array]) -> dict[str, float]:
    """Precision at 1 and average precision of passages, where a narrative has evidence of a mode."""
    first, average = [], []
    for targets, scores in zip(part.targets, passages, strict=True):
        for column in range(targets.shape[1]):
            known = ~np.isnan(targets[:, column])
            gold, own = targets[known, column] == 1, scores[known, column]
            if gold.any():
                first.append(float(gold[own.argmax()]))
                average.append(float(average_precision_score(gold, own)))
    return {"evidence_P@1": float(np.mean(first)), "evidence_AP": float(np.mean(average))}


def _thresholds(labels: Array, scores: Array) -> Array:
    """By mode, the score at and above which flags have the best F1. *Shape:* ``(modes,)``."""
    best = []
    for column in range(labels.shape[1]):
        known = ~np.isnan(labels[:, column])
        gold, own = labels[known, column] == 1, scores[known, column]
        if not gold.any():
            best.append(np.inf)
            continue
        precision, recall, thresholds = precision_recall_curve(gold, own)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best.append(float(thresholds[int(f1[:-1].argmax())]))
    return np.array(best)
