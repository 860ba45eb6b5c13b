"""The audit of a corpus: whether it is varied and balanced, and nothing but content predicts a label.

Each check is a row: what was measured, the limit, whether it holds. The limits are a configuration,
so that an office can hold its own corpus to its own.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from secondlook.codebook import Codebook, Mode
from secondlook.config import DataConfig, Strict
from secondlook.corpus import Annotation
from secondlook.duplicates import near_duplicates
from secondlook.splits import resolve_groups
from secondlook.text import words

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class AuditConfig(Strict):
    """The limits of the audit."""

    data: DataConfig = DataConfig()
    seed: int = 0
    narratives: Count = 0
    pairs: Count = 0
    pairs_per_mode: Count = 0
    positives_per_mode: Count = 0
    without_label: Count = 0
    hard_negatives: Count = 0
    retold: Count = 0
    registers: Count = 0
    over_600_words: Count = 0
    median_words: tuple[Count, Count] = (0, 100_000)
    words: tuple[Count, Count] = (1, 1_000_000)
    style_auc: Share = 1.0
    phrase_words: Annotated[int, Field(ge=2)] = 5
    phrase_share: Share = 1.0
    without_cues: Share = 0.0
    lexical_diversity: Share = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """One measured property: its value and limit as people read them, and whether it holds."""

    name: str
    value: str
    limit: str
    holds: bool
    detail: str = ""


def audit(annotations: Sequence[Annotation], codebook: Codebook, config: AuditConfig) -> list[Check]:
    """Measure everything, in the order of the table."""
    checks = [*_size(annotations, codebook, config), *_lengths(annotations, config)]
    checks += _wording(annotations, codebook, config)
    checks += _style(annotations, codebook, config)
    pairs = near_duplicates([item.narrative for item in annotations], config.data.near_duplicate_similarity)
    straddling = [
        f"{annotations[i].id}~{annotations[j].id}" for i, j, _ in pairs if annotations[i].group != annotations[j].group
    ]
    checks.append(
        Check(
            "near-duplicates in different groups", str(len(straddling)), "0", not straddling, ", ".join(straddling[:5])
        )
    )
    return checks


def _size(annotations: Sequence[Annotation], codebook: Codebook, config: AuditConfig) -> Iterator[Check]:
    """Counts are of full narratives; minimal pairs are counted as pairs."""
    full = [item for item in annotations if item.pair is None]
    pairs = Counter({item.pair.id: item.pair.mode for item in annotations if item.pair}.values())
    unlabelled = [item for item in full if not any(item.labels.values())]
    yield _at_least("full narratives", len(full), config.narratives)
    yield _at_least("minimal pairs", sum(pairs.values()), config.pairs)
    for mode in codebook.mode_ids:
        positives = sum(bool(item.labels.get(mode)) for item in full)
        yield _at_least(f"positives: {mode}", positives, config.positives_per_mode, _share(positives, len(full)))
        yield _at_least(f"minimal pairs: {mode}", pairs[mode], config.pairs_per_mode)
    yield _at_least("without any label", len(unlabelled), config.without_label)
    yield _at_least("of these hard negatives", sum(bool(item.traps) for item in unlabelled), config.hard_negatives)
    yield _at_least("retold from published cases", sum(item.source.kind == "retold" for item in full), config.retold)
    registers = Counter(item.style.register_ for item in annotations)
    yield _at_least("registers", len(registers), config.registers, ", ".join(sorted(registers)))


def _lengths(annotations: Sequence[Annotation], config: AuditConfig) -> Iterator[Check]:
    counts = [len(item.narrative.split()) for item in annotations if item.pair is None]
    low, high = config.words
    yield Check(
        "words, shortest to longest",
        f"{min(counts)} to {max(counts)}",
        f"{low} to {high}",
        low <= min(counts) and max(counts) <= high,
    )
    low, high = config.median_words
    yield Check("median words", f"{median(counts):g}", f"{low} to {high}", low <= median(counts) <= high)
    yield _at_least("over 600 words", sum(count > 600 for count in counts), config.over_600_words)


def _wording(annotations: Sequence[Annotation], codebook: Codebook, config: AuditConfig) -> Iterator[Check]:
    for mode in codebook.modes:
        told = [(item.group, _evidence_words(item, mode.id)) for item in annotations if item.labels.get(mode.id)]
        phrase, count = _commonest_phrase(told, config.phrase_words)
        share = count / len(told) if told else 0.0
        # Two narratives are the fewest that can share a phrase; below 200 positives that is over 1% already.
        holds = share <= config.phrase_share or count <= 1
        detail = f"'{phrase}' in {count} of {len(told)}" if count > 1 else ""
        name = f"commonest {config.phrase_words}-word phrase of the evidence: {mode.id}"
        yield Check(name, f"{share:.1%}", f"at most {config.phrase_share:.1%}", holds, detail)
    for mode in codebook.modes:
        plain = [not _has_cue(item, mode) for item in annotations if item.labels.get(mode.id)]
        value = float(np.mean(plain)) if plain else 1.0
        yield Check(
            f"evidence without the obvious words: {mode.id}",
            f"{value:.0%}",
            f"at least {config.without_cues:.0%}",
            value >= config.without_cues,
        )
    diversity = float(np.mean([_diversity(words(item.narrative)) for item in annotations]))
    yield Check(
        "lexical diversity (types in a moving window of 50 words)",
        f"{diversity:.2f}",
        f"at least {config.lexical_diversity:.2f}",
        diversity >= config.lexical_diversity,
    )


def _style(annotations: Sequence[Annotation], codebook: Codebook, config: AuditConfig) -> Iterator[Check]:
    """The best AUC that a classifier reaches on each kind of style alone, by grouped cross-validation."""
    groups = np.array(resolve_groups(annotations, config.data.near_duplicate_similarity))
    features = _style_features(annotations)
    for mode in codebook.mode_ids:
        labels = np.array([item.labels.get(mode, np.nan) for item in annotations], dtype=float)
        known = ~np.isnan(labels)
        reached = {
            kind: _auc(features.loc[known, columns], labels[known], groups[known], config.seed)
            for kind, columns in _STYLE_COLUMNS.items()
        }
        worst = max(reached, key=lambda kind: reached[kind])
        detail = ", ".join(f"{kind} {value:.2f}" for kind, value in reached.items())
        yield Check(
            f"AUC from style alone: {mode}",
            f"{reached[worst]:.2f} ({worst})",
            f"at most {config.style_auc:.2f}",
            reached[worst] <= config.style_auc,
            detail,
        )


_STYLE_COLUMNS = {
    "register": ["register"],
    "author": ["annotator"],
    "source": ["source", "country"],
    "length": ["words", "sentence_words"],
    "typography": ["noise", "capitals", "digits", "punctuation", "word_characters", "lines"],
}
_STYLE_COLUMNS["all"] = [column for columns in list(_STYLE_COLUMNS.values()) for column in columns]
_CATEGORIES = ("register", "annotator", "source", "country", "noise")


def _style_features(annotations: Sequence[Annotation]) -> pd.DataFrame:
    return pd.DataFrame([_style_row(item) for item in annotations])


def _style_row(item: Annotation) -> dict[str, str | float]:
    text = item.narrative
    tokens = text.split()
    return {
        "register": item.style.register_,
        "annotator": item.annotator,
        "source": item.source.kind,
        "country": item.style.country,
        "noise": item.style.noise,
        "words": len(tokens),
        "sentence_words": len(tokens) / (1 + len(re.findall(r"[.!?]\s", text))),
        "capitals": _rate(text, str.isupper),
        "digits": _rate(text, str.isdigit),
        "punctuation": _rate(text, lambda c: not (c.isalnum() or c.isspace())),
        "word_characters": len(text) / max(1, len(tokens)),
        "lines": text.count("\n") / max(1, len(tokens)),
    }


def _auc(features: pd.DataFrame, labels: NDArray[np.float64], groups: NDArray[np.str_], seed: int) -> float:
    """AUC of out-of-fold predictions; 0.5 where it cannot be measured. Below 0.5 is chance too."""
    folds = 5
    if min((labels == 1).sum(), (labels == 0).sum()) < folds or len(set(groups)) < folds:
        return 0.5
    names = [name for name in features.columns if name in _CATEGORIES]
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=10)
    model = make_pipeline(
        make_column_transformer((encode, names), remainder="passthrough"),
        HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=8, random_state=seed, categorical_features=list(range(len(names)))
        ),
    )
    folding = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    # A thousand rows are too few to share between threads.
    with threadpool_limits(limits=1):
        predicted = cross_val_predict(model, features, labels, groups=groups, cv=folding, method="predict_proba")
    return float(roc_auc_score(labels, predicted[:, 1]))


def _evidence_words(item: Annotation, mode: str) -> list[list[str]]:
    return [words(item.narrative[slice(*span)]) for span in item.spans(mode)]


def _commonest_phrase(told: Sequence[tuple[str, list[list[str]]]], length: int) -> tuple[str, int]:
    """The phrase in most groups: both members of a minimal pair count once."""
    where: dict[str, set[str]] = defaultdict(set)
    for group, spans in told:
        for span in spans:
            for start in range(len(span) - length + 1):
                where[" ".join(span[start : start + length])].add(group)
    if not where:
        return "", 0
    phrase = max(sorted(where), key=lambda key: len(where[key]))
    return phrase, len(where[phrase])


def _has_cue(item: Annotation, mode: Mode) -> bool:
    cues = set(mode.cues)
    return any(cues & set(span) for span in _evidence_words(item, mode.id))


def _diversity(tokens: Sequence[str], window: int = 50) -> float:
    """Moving-average type-token ratio (Covington and McFall 2010)."""
    if len(tokens) <= window:
        return len(set(tokens)) / max(1, len(tokens))
    return float(np.mean([len(set(tokens[i : i + window])) / window for i in range(len(tokens) - window + 1)]))


def _rate(text: str, test: Callable[[str], bool]) -> float:
    return sum(map(test, text)) / max(1, len(text))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} of the full narratives" if whole else ""


def _at_least(name: str, value: int, limit: int, detail: str = "") -> Check:
    return Check(name, str(value), f"at least {limit}", value >= limit, detail)
