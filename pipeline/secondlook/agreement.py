"""Agreement of two annotators who did not see each other's work, and what they disagreed about.

Statistics are those of scikit-learn (Cohen 1960) and NLTK (Krippendorff 1980); intervals resample
whole groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nltk.metrics.agreement import AnnotationTask
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from secondlook.config import BootstrapConfig
from secondlook.corpus import Adjudication, Annotation
from secondlook.schema import Span, intersection_over_union

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement on one mode; intervals are ``(value, low, high)``, NaN where undefined."""

    mode: str
    narratives: int
    positives: tuple[int, int]
    disagreements: int
    kappa: tuple[float, float, float]
    alpha: tuple[float, float, float]
    span_f1: float
    span_iou: float


def measure_agreement(
    first: Mapping[str, Annotation],
    second: Mapping[str, Annotation],
    modes: Sequence[str],
    bootstrap: BootstrapConfig,
) -> list[Agreement]:
    """Agreement on every mode, on the narratives that both annotated for it."""
    return [_on_mode(first, second, mode, bootstrap) for mode in modes]


def topics(adjudications: Sequence[Adjudication]) -> list[tuple[str, str, int]]:
    """What the disagreements were about: mode, topic, how many; the most frequent first."""
    counts = Counter((item.mode, item.topic) for item in adjudications)
    return [(mode, topic, count) for (mode, topic), count in counts.most_common()]


def _on_mode(
    first: Mapping[str, Annotation], second: Mapping[str, Annotation], mode: str, bootstrap: BootstrapConfig
) -> Agreement:
    ids = sorted(i for i in first.keys() & second.keys() if mode in first[i].labels and mode in second[i].labels)
    labels = np.array([[first[i].labels[mode], second[i].labels[mode]] for i in ids], dtype=int).reshape(-1, 2)
    groups = np.array([first[i].group for i in ids])
    both = [i for i, pair in zip(ids, labels, strict=True) if pair.all()]
    spans = [(first[i].spans(mode), second[i].spans(mode)) for i in both]
    return Agreement(
        mode=mode,
        narratives=len(ids),
        positives=(int(labels[:, 0].sum()), int(labels[:, 1].sum())),
        disagreements=int((labels[:, 0] != labels[:, 1]).sum()),
        kappa=_with_interval(_kappa, labels, groups, bootstrap),
        alpha=_with_interval(_alpha, labels, groups, bootstrap),
        span_f1=float(np.mean([_span_f1(*pair) for pair in spans])) if spans else float("nan"),
        span_iou=float(np.mean([intersection_over_union(*pair) for pair in spans])) if spans else float("nan"),
    )


def _kappa(labels: Labels) -> float:
    if not len(labels) or len(np.unique(labels)) < 2:
        return float("nan")
    return float(cohen_kappa_score(labels[:, 0], labels[:, 1]))


def _alpha(labels: Labels) -> float:
    if not len(labels) or len(np.unique(labels)) < 2:
        return float("nan")
    data: list[Any] = [(coder, item, int(labels[item, coder])) for item in range(len(labels)) for coder in (0, 1)]
    return float(AnnotationTask(data=data).alpha())


def _with_interval(
    statistic: Callable[[Labels], float], labels: Labels, groups: NDArray[np.str_], bootstrap: BootstrapConfig
) -> tuple[float, float, float]:
    value = statistic(labels)
    if np.isnan(value):
        return value, value, value
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    rng = np.random.default_rng(bootstrap.seed)
    drawn = []
    for _ in range(bootstrap.resamples):
        chosen = rng.integers(len(members), size=len(members))
        drawn.append(statistic(labels[np.concatenate([members[k] for k in chosen])]))
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return value, float(low), float(high)


def _span_f1(one: Sequence[Span], other: Sequence[Span]) -> float:
    """F1 of spans, matched where they share at least half of the shorter."""
    if not one or not other:
        return 0.0
    found = sum(any(_match(a, b) for b in other) for a in one) / len(one)
    covered = sum(any(_match(a, b) for a in one) for b in other) / len(other)
    return 2 * found * covered / (found + covered) if found + covered else 0.0


def _match(one: Span, other: Span) -> bool:
    return one.overlap(other) >= 0.5 * min(one.end - one.start, other.end - other.start)
