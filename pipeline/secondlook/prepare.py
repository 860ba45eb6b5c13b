"""Prepare: check the corpus, join it to its split, cut narratives into passages, and store that once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secondlook import text
from secondlook.codebook import Codebook, load_codebook
from secondlook.config import DataConfig
from secondlook.corpus import Annotation, Pair, Style, corpus_digest, load_gold
from secondlook.errors import CorpusError
from secondlook.schema import Span
from secondlook.splits import check_split, read_split, resolve_groups, split_digest

FORMAT = "secondlook-prepared/2"
COVERAGE = 0.5
"""A passage is evidence when it and an evidence span share this much of the shorter of the two."""


@dataclass(frozen=True)
class Part:
    """Some narratives of the prepared corpus, ready to train or test on.

    ``labels`` and each item of ``targets`` hold 1, 0 or NaN (unknown). A target is NaN, too, where
    the label is positive and nobody marked evidence. *Shapes:* ``(narratives, modes)``; each target
    ``(passages, modes)``.
    """

    ids: list[str]
    groups: NDArray[np.str_]
    folds: NDArray[np.float64]
    narratives: list[str]
    labels: NDArray[np.float64]
    passages: list[list[Span]]
    targets: list[NDArray[np.float64]]
    evidence: list[dict[str, list[Span]]]
    styles: list[Style]
    pairs: list[Pair | None]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, chosen: NDArray[np.bool_]) -> Part:
        """The narratives where ``chosen`` is true."""
        where = np.flatnonzero(chosen)
        return Part(
            ids=[self.ids[i] for i in where],
            groups=self.groups[where],
            folds=self.folds[where],
            narratives=[self.narratives[i] for i in where],
            labels=self.labels[where],
            passages=[self.passages[i] for i in where],
            targets=[self.targets[i] for i in where],
            evidence=[self.evidence[i] for i in where],
            styles=[self.styles[i] for i in where],
            pairs=[self.pairs[i] for i in where],
        )


@dataclass(frozen=True)
class Prepared:
    """The prepared corpus and the digests of what it was made from."""

    codebook: Codebook
    digests: dict[str, str]
    frame: pd.DataFrame

    def part(self, split: str) -> Part:
        """The narratives of one split; CorpusError if it has none."""
        rows = self.frame[self.frame["split"] == split]
        if rows.empty:
            raise CorpusError(f"the split has no narratives in its part '{split}'; run 'secondlook labels split'")
        return self._part(rows)

    def whole(self) -> Part:
        """All narratives."""
        return self._part(self.frame)

    def _part(self, rows: pd.DataFrame) -> Part:
        modes = self.codebook.mode_ids
        records = [json.loads(record) for record in rows["annotation"]]
        return Part(
            ids=list(rows["id"]),
            groups=rows["group"].to_numpy(dtype=str),
            folds=rows["fold"].to_numpy(dtype=float),
            narratives=list(rows["narrative"]),
            labels=np.array([[_label(record["labels"], mode) for mode in modes] for record in records]),
            passages=[[Span(*pair) for pair in record["passages"]] for record in records],
            targets=[np.array(record["targets"], dtype=float).reshape(-1, len(modes)) for record in records],
            evidence=[
                {mode: [Span(*pair) for pair in pairs] for mode, pairs in record["evidence"].items()}
                for record in records
            ],
            styles=[Style.model_validate(record["style"]) for record in records],
            pairs=[Pair.model_validate(record["pair"]) if record["pair"] else None for record in records],
        )


def prepare(data: DataConfig) -> Prepared:
    """Check, join, cut and store; returns what it stored.

    Raises:
        CodebookError, CorpusError, SplitError: the labels are not fit to train on; says where.
    """
    codebook = load_codebook(data.codebook)
    annotations = load_gold(data, codebook)
    assignments = read_split(data.splits)
    check_split(annotations, assignments, data.near_duplicate_similarity)
    groups = resolve_groups(annotations, data.near_duplicate_similarity)
    frame = pd.DataFrame(
        [
            {
                "id": item.id,
                "group": group,
                "split": assignments[item.id].split,
                "fold": assignments[item.id].fold,
                "narrative": item.narrative,
                "annotation": json.dumps(_record(item, codebook)),
            }
            for item, group in sorted(zip(annotations, groups, strict=True), key=lambda pair: pair[0].id)
        ]
    ).astype({"fold": "float64"})
    digests = _digests(data) | {"corpus": corpus_digest(annotations)}
    data.prepared.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(data.prepared / "narratives.parquet", index=False)
    summary = {"format": FORMAT, "digests": digests, "counts": _counts(frame, annotations, codebook)}
    (data.prepared / "prepared.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return Prepared(codebook, digests, frame)


def part_of(annotations: Sequence[Annotation], codebook: Codebook, similarity: float) -> Part:
    """Annotations as a part of a corpus of their own, without a split."""
    frame = pd.DataFrame(
        [
            {
                "id": item.id,
                "group": group,
                "narrative": item.narrative,
                "annotation": json.dumps(_record(item, codebook)),
            }
            for item, group in zip(annotations, resolve_groups(annotations, similarity), strict=True)
        ]
    ).assign(split="", fold=np.nan)
    return Prepared(codebook, {}, frame).whole()


def load_prepared(data: DataConfig) -> Prepared:
    """What :func:`prepare` stored if the labels have not changed since, else prepared afresh."""
    try:
        stored = json.loads((data.prepared / "prepared.json").read_text(encoding="utf-8"))
        fresh = stored["format"] == FORMAT and _digests(data).items() <= stored["digests"].items()
        if fresh:
            frame = pd.read_parquet(data.prepared / "narratives.parquet")
            return Prepared(load_codebook(data.codebook), stored["digests"], frame)
    except (OSError, ValueError, KeyError):
        pass
    return prepare(data)


def passage_targets(passages: Sequence[Span], annotation: Annotation, modes: Sequence[str]) -> NDArray[np.float64]:
    """Which passages are evidence of which mode. *Shape:* ``(passages, modes)``, NaN where unknown."""
    targets = np.zeros((len(passages), len(modes)))
    for column, mode in enumerate(modes):
        spans = annotation.spans(mode)
        if mode not in annotation.labels or (annotation.labels[mode] and not spans):
            targets[:, column] = np.nan
        for span in spans:
            overlaps = [_overlap_of_shorter(passage, span) for passage in passages]
            # The best passage always: a span may lie half in each of two sentences.
            reached = min(COVERAGE, max(overlaps))
            targets[[row for row, overlap in enumerate(overlaps) if overlap >= reached], column] = 1.0
    return targets


def _overlap_of_shorter(passage: Span, span: Span) -> float:
    return passage.overlap(span) / min(passage.end - passage.start, span.end - span.start)


def _record(annotation: Annotation, codebook: Codebook) -> dict[str, Any]:
    passages = text.split_passages(annotation.narrative)
    targets = passage_targets(passages, annotation, codebook.mode_ids)
    return {
        "labels": annotation.labels,
        "passages": passages,
        "targets": [[None if np.isnan(value) else int(value) for value in row] for row in targets],
        "evidence": {mode: annotation.spans(mode) for mode in codebook.mode_ids if annotation.spans(mode)},
        "style": annotation.style.model_dump(by_alias=True),
        "pair": annotation.pair.model_dump() if annotation.pair else None,
    }


def _label(labels: dict[str, bool], mode: str) -> float:
    return float(labels[mode]) if mode in labels else np.nan


def _digests(data: DataConfig) -> dict[str, str]:
    folder = data.annotations
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else [folder]
    files += sorted(data.adjudications.glob("*.jsonl"))
    together = hashlib.sha256()
    for file in files:
        together.update(file.name.encode() + b"\0" + file.read_bytes())
    return {
        "annotations": together.hexdigest(),
        "codebook": hashlib.sha256(data.codebook.read_bytes()).hexdigest(),
        "split": split_digest(data.splits),
        "groups": f"near-duplicates from {data.near_duplicate_similarity}",
        "passages": hashlib.sha256(Path(text.__file__).read_bytes() + version("nupunkt").encode()).hexdigest(),
    }


def _counts(frame: pd.DataFrame, annotations: Sequence[Annotation], codebook: Codebook) -> dict[str, Any]:
    split = dict(zip(frame["id"], frame["split"], strict=True))
    positives: dict[str, Counter[str]] = {part: Counter() for part in sorted(set(split.values()))}
    for item in annotations:
        positives[split[item.id]].update(mode for mode in codebook.mode_ids if item.labels.get(mode))
    return {
        part: {"narratives": int((frame["split"] == part).sum()), "positives": dict(sorted(counts.items()))}
        for part, counts in positives.items()
    }
