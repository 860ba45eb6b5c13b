"""The linear evidence model: TF-IDF of a passage and its context, one logistic regression a mode.

Simple, quick and honest: every later model has to beat it. It is fitted and applied with
scikit-learn, and stored as plain data (a vocabulary in JSON, numbers in safetensors).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from secondlook.config import LinearModelConfig
from secondlook.schema import Span
from secondlook.text import normalise

Scores = NDArray[np.float64]
Targets = NDArray[np.float64]

AT_ONCE = 2048
"""Passages whose terms are held at once: a narrative may have a hundred thousand passages."""

_NEVER = -12.0
"""Log-odds of a mode that was never seen in training: about six in a million."""


class LinearEvidenceModel:
    """Passage log-odds for every mode.

    Args:
        modes: ids in the codebook's order.
        config: n-gram ranges, context and regularisation.
        vectorisers: fitted, by block: ``words`` and ``characters`` of the passage, ``context`` words
            of the passages before it.
        coefficients: *Shape:* ``(modes, features)``, blocks side by side in the order of ``vectorisers``.
        intercepts: *Shape:* ``(modes,)``.
    """

    def __init__(
        self,
        modes: Sequence[str],
        config: LinearModelConfig,
        vectorisers: Mapping[str, TfidfVectorizer],
        coefficients: NDArray[np.float32],
        intercepts: NDArray[np.float32],
    ) -> None:
        self.modes = tuple(modes)
        self.config = config
        self._vectorisers = dict(vectorisers)
        self._coefficients = coefficients
        self._intercepts = intercepts

    @classmethod
    def fit(
        cls,
        narratives: Sequence[str],
        groups: Sequence[str],
        passages: Sequence[Sequence[Span]],
        targets: Sequence[Targets],
        modes: Sequence[str],
        config: LinearModelConfig,
        seed: int,
    ) -> Self:
        """Fit on passages.

        Args:
            narratives: the texts.
            groups: their groups. A term enters the vocabulary if enough groups have it: a name that
                recurs in the narratives of one case is nobody's business.
            passages: their passages, a list for each narrative.
            targets: for each narrative 1, 0 or NaN (unknown, left out). *Shape:* ``(passages, modes)``.
            seed: for the solver.
        """
        blocks = _blocks(narratives, passages, config)
        documents = _by_group(narratives, groups)
        vectorisers = {
            name: _fit_vectoriser(name, blocks["words"] if name == "context" else texts, documents, config)
            for name, texts in blocks.items()
        }
        features = hstack([vectorisers[name].transform(texts) for name, texts in blocks.items()], format="csr")
        target = np.concatenate(targets)
        fitted = [_fit_mode(features, target[:, number], config, seed) for number in range(len(modes))]
        coefficients = np.vstack([coefficient for coefficient, _ in fitted]).astype(np.float32)
        return cls(modes, config, vectorisers, coefficients, np.array([b for _, b in fitted], dtype=np.float32))

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[Scores]:
        """Log-odds for each narrative. *Shape of each:* ``(passages, modes)``."""
        if not any(passages):
            return [np.zeros((0, len(self.modes))) for _ in passages]
        blocks = _blocks(narratives, passages, self.config)
        ends = np.cumsum([len(spans) for spans in passages])
        scores = [self._score(blocks, start) for start in range(0, ends[-1], AT_ONCE)]
        return np.split(np.concatenate(scores), ends[:-1])

    def _score(self, blocks: Mapping[str, Sequence[str]], start: int) -> Scores:
        """The log-odds of the next passages from ``start`` on."""
        own = slice(start, start + AT_ONCE)
        features = [self._vectorisers[name].transform(texts[own]) for name, texts in blocks.items()]
        return np.asarray(hstack(features, format="csr") @ self._coefficients.T.astype(np.float64)) + self._intercepts

    def exported(self) -> Self:
        """The model as scoring runs it: as it was fitted."""
        return self

    def to_files(self) -> dict[str, bytes]:
        """The model as named files of plain data."""
        vocabulary = {
            name: sorted(vectoriser.vocabulary_, key=vectoriser.vocabulary_.__getitem__)
            for name, vectoriser in self._vectorisers.items()
        }
        tensors = {f"idf.{name}": v.idf_ for name, v in self._vectorisers.items()}
        tensors |= {"coefficients": self._coefficients, "intercepts": self._intercepts}
        return {
            "vocabulary.json": json.dumps(vocabulary, ensure_ascii=False, indent=0).encode(),
            "weights.safetensors": save_tensors(tensors),
        }

    def save(self, folder: Path) -> None:
        """Write the named files into a folder."""
        for name, content in self.to_files().items():
            (folder / name).write_bytes(content)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], modes: Sequence[str], config: LinearModelConfig) -> Self:
        """The model that :meth:`to_files` wrote; KeyError or ValueError if the files do not fit together."""
        vocabulary = json.loads(files["vocabulary.json"])
        tensors = load_tensors(files["weights.safetensors"])
        vectorisers = {}
        for name, terms in vocabulary.items():
            vectorisers[name] = _vectoriser(name, config, {term: number for number, term in enumerate(terms)})
            vectorisers[name].idf_ = tensors[f"idf.{name}"]
        width = sum(len(terms) for terms in vocabulary.values())
        if tensors["coefficients"].shape != (len(modes), width):
            raise ValueError(
                f"weights of shape {tensors['coefficients'].shape} for {len(modes)} modes, {width} features"
            )
        return cls(modes, config, vectorisers, tensors["coefficients"], tensors["intercepts"])


def _blocks(
    narratives: Sequence[str], passages: Sequence[Sequence[Span]], config: LinearModelConfig
) -> dict[str, list[str]]:
    """The texts that each vectoriser reads, one for every passage."""
    focus: list[str] = []
    context: list[str] = []
    for narrative, spans in zip(narratives, passages, strict=True):
        texts = [normalise(narrative[start:end]) for start, end in spans]
        focus += texts
        context += [" ".join(texts[max(0, i - config.context_passages) : i]) for i in range(len(texts))]
    blocks = {"words": focus, "characters": focus}
    return blocks | {"context": context} if config.context_passages else blocks


def _vectoriser(name: str, config: LinearModelConfig, vocabulary: Mapping[str, int]) -> TfidfVectorizer:
    if name == "characters":
        return TfidfVectorizer(
            analyzer="char_wb", ngram_range=config.character_ngrams, sublinear_tf=True, vocabulary=vocabulary
        )
    return TfidfVectorizer(ngram_range=config.word_ngrams, sublinear_tf=True, vocabulary=vocabulary)


def _fit_vectoriser(
    name: str, texts: Sequence[str], documents: Sequence[str], config: LinearModelConfig
) -> TfidfVectorizer:
    """Terms that occur in enough documents, weighted by how many passages have them."""
    counter = CountVectorizer(
        analyzer="char_wb" if name == "characters" else "word",
        ngram_range=config.character_ngrams if name == "characters" else config.word_ngrams,
        min_df=min(config.minimum_groups, len(documents)),
        max_features=config.maximum_features,
    )
    counter.fit(documents)
    return _vectoriser(name, config, counter.vocabulary_).fit(texts)


def _by_group(narratives: Sequence[str], groups: Sequence[str]) -> list[str]:
    """One document a group, for counting."""
    together: dict[str, list[str]] = {}
    for narrative, group in zip(narratives, groups, strict=True):
        together.setdefault(group, []).append(normalise(narrative))
    return ["\n".join(texts) for texts in together.values()]


def _fit_mode(
    features: csr_matrix, target: Targets, config: LinearModelConfig, seed: int
) -> tuple[NDArray[np.float64], float]:
    from sklearn.linear_model import LogisticRegression  # much to load, and scoring does not fit

    known = ~np.isnan(target)
    if len(np.unique(target[known])) < 2:
        return np.zeros(features.shape[1]), _NEVER
    regression = LogisticRegression(
        C=config.inverse_regularisation, class_weight="balanced", solver="liblinear", random_state=seed
    )
    regression.fit(features[known], target[known])
    return regression.coef_[0], float(regression.intercept_[0])
