"""Evidence measured: is it the reason, and is it what annotators marked (DeYoung et al. 2020)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from secondlook.metrics.predictions import Predictions
from secondlook.schema import Span, intersection_over_union

Array = NDArray[np.float64]
EXCERPTS = 2
"""The fixed budget at which excerpts are compared with annotated spans."""
MATCH = 0.5
"""An excerpt and a span match when this much of their union is common to both (DeYoung et al. 2020, section 4)."""

_TOKEN = re.compile(r"\w+")


def evidence_values(predictions: Predictions, column: int, mode: str) -> tuple[list[int], dict[str, Array]]:
    """The narratives that carry marked evidence of a mode, and every measure of each.

    ``precision_at_1``: the first excerpt touches a span. ``average_precision``: over all passages.
    ``token_f1`` and ``iou_f1``: of the two best passages. ``overlap``: of what is shown with the spans.
    ``comprehensiveness``: how far the score falls without what is shown (high is good).
    ``sufficiency``: how far it falls with nothing else (near 0 is good).
    """
    positive = np.flatnonzero(predictions.labels[:, column] == 1)
    rows = [int(i) for i in positive if predictions.gold[int(i)].get(mode)]
    measured = [_of_narrative(predictions, row, column, mode) for row in rows]
    return rows, {f"evidence_{name}": np.array([one[name] for one in measured], dtype=float) for name in _NAMES}


_NAMES = (
    "precision_at_1",
    "average_precision",
    "token_f1",
    "iou_f1",
    "overlap",
    "comprehensiveness",
    "sufficiency",
)


def _of_narrative(predictions: Predictions, row: int, column: int, mode: str) -> dict[str, float]:
    gold = predictions.gold[row][mode]
    shown, ranked = predictions.shown[row].get(mode, ()), predictions.ranked[row].get(mode, ())
    excerpts = ranked[:EXCERPTS]
    score = float(predictions.scores[row, column])
    return {
        "precision_at_1": float(bool(shown) and _touches(shown[0], gold)),
        "average_precision": _average_precision(ranked, gold),
        "token_f1": _token_f1(predictions.narratives[row], excerpts, gold),
        "iou_f1": _span_f1(excerpts, gold),
        "overlap": intersection_over_union(shown, gold),
        "comprehensiveness": score - _get(predictions.without, row, mode),
        "sufficiency": score - _get(predictions.alone, row, mode),
    }


def _get(scores: Sequence[Mapping[str, float]], row: int, mode: str) -> float:
    return scores[row].get(mode, float("nan")) if scores else float("nan")


def _touches(span: Span, others: Sequence[Span]) -> bool:
    return any(span.overlap(other) for other in others)


def _average_precision(ranked: Sequence[Span], gold: Sequence[Span]) -> float:
    """Mean precision at each passage that touches a span; 0 if none does."""
    hits = np.array([_touches(span, gold) for span in ranked], dtype=float)
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum()) if hits.any() else 0.0


def _token_f1(narrative: str, excerpts: Sequence[Span], gold: Sequence[Span]) -> float:
    tokens = [Span(*match.span()) for match in _TOKEN.finditer(narrative)]
    chosen = np.array([_touches(token, excerpts) for token in tokens], dtype=bool)
    marked = np.array([_touches(token, gold) for token in tokens], dtype=bool)
    return _f1(int((chosen & marked).sum()), int(chosen.sum()), int((chosen & marked).sum()), int(marked.sum()))


def _span_f1(excerpts: Sequence[Span], gold: Sequence[Span]) -> float:
    right = sum(any(intersection_over_union([e], [g]) >= MATCH for g in gold) for e in excerpts)
    found = sum(any(intersection_over_union([e], [g]) >= MATCH for e in excerpts) for g in gold)
    return _f1(right, len(excerpts), found, len(gold))


def _f1(right: int, chosen: int, found: int, marked: int) -> float:
    precision = right / chosen if chosen else 0.0
    recall = found / marked if marked else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
