"""The scorer: narratives in, calibrated scores with their evidence out. No files, no state."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from secondlook.bundle import Bundle, default_bundle, load_bundle
from secondlook.config import ScoreConfig, SingleModePriority
from secondlook.errors import ConfigError
from secondlook.evidence import pool, shares
from secondlook.priority import mode_column, priorities
from secondlook.schema import Evidence, Span
from secondlook.stacked import StackedEvidenceModel
from secondlook.text import split_passages
from secondlook.triage import Triage, clearing

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Batch = tuple[Sequence[str], Sequence[Sequence[Span]]]
"""Narratives and the passages of each."""


class Scored(NamedTuple):
    """What the model says of a narrative's passages, and whether its first pass alone said it (see ``triage``).

    *Shape of* ``log_odds``: ``(passages, modes)``.
    """

    log_odds: Array
    cleared: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a bundle says of one narrative.

    ``scores`` are calibrated probabilities by mode, ``intervals`` how far the calibration knows them (95%),
    and ``flags`` whether each reaches its operating point. ``priority`` is what a
    queue is sorted by (:mod:`secondlook.priority`). ``log_odds`` are the passages' scores, from which all of this
    can be computed again. *Shape:* ``(passages, modes)``. ``cleared`` says that the encoder was not asked.
    """

    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    flags: Mapping[str, bool]
    priority: float
    evidence: tuple[Evidence, ...]
    passages: Sequence[Span]
    log_odds: Array
    cleared: bool = False


class Scorer:
    """Scores narratives with one bundle.

    Args:
        bundle: a loaded bundle.
        config: how much evidence to show, what decides priority, and whether there is a first pass.

    Raises:
        ConfigError: priority is to be decided by a mode that the bundle does not know, or the bundle has no first pass.
    """

    def __init__(self, bundle: Bundle, config: ScoreConfig | None = None) -> None:
        self.bundle = bundle
        self.config = config or ScoreConfig()
        if isinstance(self.config.priority, SingleModePriority):
            mode_column(self.config.priority, bundle.codebook)
        if self.config.triage and not (bundle.triage and isinstance(bundle.model, StackedEvidenceModel)):
            raise ConfigError(
                f"triage: the bundle '{bundle.provenance.name}' has no first pass; leave triage out, or train with a "
                "linear model beside the transformer (model.linear)"
            )

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]] | None = None) -> list[Outcome]:
        """Score narratives, in order.

        Args:
            narratives: the texts.
            passages: their passages, if they were split before.

        Raises:
            ValueError: a narrative has no passage: it is empty or white space.
        """
        spans = [split_passages(text) for text in narratives] if passages is None else passages
        scored = self.log_odds([(narratives, spans)])
        return [self.outcome(own, *one) for own, one in zip(spans, scored, strict=True)]

    def log_odds(self, batches: Iterable[Batch]) -> Generator[Scored, None, None]:
        """What the model says of passages, one narrative after the other as it gets to them.

        A model that takes narratives one by one works across batches, so that none waits for the end of another, and
        reads ahead as far as it needs; any other takes a batch at a time.

        Raises:
            ValueError: a narrative has no passage: it is empty or white space.
        """
        model = self.bundle.model
        iterate = getattr(model, "iterate", None)
        if iterate is None:
            for batch in _with_text(batches):
                if batch[0]:
                    yield from map(Scored, model.score(*batch))
            return
        one, other = tee(pair for batch in _with_text(batches) for pair in zip(*batch, strict=True))
        narratives, passages = (narrative for narrative, _ in one), (spans for _, spans in other)
        if self.config.triage and self.bundle.triage and isinstance(model, StackedEvidenceModel):
            stand_in = np.array([self.bundle.triage.stand_in[mode] for mode in model.modes])
            yield from map(
                Scored._make, model.screen(narratives, passages, self._clearing(self.bundle.triage), stand_in)
            )
        else:
            yield from map(Scored, iterate(narratives, passages))

    def _clearing(self, triage: Triage) -> Callable[[Array, Array], bool]:
        settings = self.bundle.modes
        return clearing(
            triage,
            self.bundle.codebook.mode_ids,
            {mode: one.calibration for mode, one in settings.items()},
            {mode: one.operating_point.threshold for mode, one in settings.items()},
            self.bundle.pooling,
        )

    def unreadable(self, narrative: str) -> str | None:
        """Why this bundle cannot judge a narrative (another language or script), or None if it can."""
        known = self.bundle.words.share(narrative)
        if known >= self.config.minimum_known_words:
            return None
        return (
            f"the model knows {known:.0%} of its words (at least {self.config.minimum_known_words:.0%} are needed): "
            "another language or script, or not a text; read it by hand"
        )

    def outcome(self, passages: Sequence[Span], log_odds: Array, cleared: bool = False) -> Outcome:
        """What follows from passages and their log-odds, without the model.

        Args:
            passages: at least one.
            log_odds: their scores. *Shape:* ``(passages, modes)``.
            cleared: whether the first pass alone gave these.
        """
        modes = self.bundle.codebook.mode_ids
        pooled = pool(log_odds, self.bundle.pooling)
        settings = [self.bundle.modes[mode] for mode in modes]
        scores = np.array([float(s.calibration.probability(value)) for s, value in zip(settings, pooled, strict=True)])
        ends = [s.calibration.interval(value) for s, value in zip(settings, pooled, strict=True)]
        return Outcome(
            scores=dict(zip(modes, scores.tolist(), strict=True)),
            intervals={mode: (float(low), float(high)) for mode, (low, high) in zip(modes, ends, strict=True)},
            flags={m: bool(p >= s.operating_point.threshold) for m, p, s in zip(modes, scores, settings, strict=True)},
            priority=float(priorities(scores[None], self.bundle.codebook, self.config.priority)[0]),
            evidence=self._evidence(passages, shares(log_odds, self.bundle.pooling)),
            passages=passages,
            log_odds=log_odds,
            cleared=cleared,
        )

    def _evidence(self, passages: Sequence[Span], share: Array) -> tuple[Evidence, ...]:
        """The passages with the largest shares, for every mode; the first always, the rest if they matter."""
        found = []
        for column, mode in enumerate(self.bundle.codebook.mode_ids):
            best = np.argsort(-share[:, column], kind="stable")[: self.config.evidence_per_mode]
            for place, row in enumerate(best):
                if place == 0 or share[row, column] >= self.config.evidence_minimum_share:
                    found.append(Evidence(mode, passages[row], float(share[row, column])))
        return tuple(found)

    # A bundle by its folder, and frames: for notebooks, services and other people's pipelines.

    @classmethod
    def load(cls, bundle: str | Path | None = None, config: ScoreConfig | None = None) -> Self:
        """A scorer with the bundle in a folder; the one that comes with this installation if none is given.

        Raises:
            BundleError: not a bundle, or a damaged one.
        """
        return cls(load_bundle(default_bundle() if bundle is None else Path(bundle)), config)

    def frame(self, narratives: Iterable[object]) -> pd.DataFrame:
        """Score narratives as a frame with a row for each, in order.

        The columns are ``priority``; for each mode ``p_<mode>`` from ``low_<mode>`` to ``high_<mode>`` (95%),
        ``flag_<mode>`` and ``evidence_<mode>``, a list of the sentences with the largest shares, largest first; and
        ``reason``, which says why there is no score where there is none (it is missing elsewhere). With triage
        ``cleared`` says whether the first pass alone scored the narrative.

        Args:
            narratives: a column of a frame, whose index the result then has, or any texts.

        >>> import pandas as pd
        >>> from secondlook import Scorer
        >>> cases = pd.DataFrame({"narrative": ["She told him in confidence. He rang her husband that night.", None]})
        >>> scored = cases.join(Scorer.load().frame(cases["narrative"]))
        >>> scored[["flag_information_leaked", "reason"]].isna().sum().tolist()
        [1, 1]
        """
        import pandas as pd

        texts = list(narratives)
        reasons = [self._no_score(text) for text in texts]
        readable = [str(text) for text, reason in zip(texts, reasons, strict=True) if reason is None]
        outcomes = iter(self.score(readable))
        rows = [
            {"reason": reason} if reason else _fields(str(text), next(outcomes), self.config.triage)
            for text, reason in zip(texts, reasons, strict=True)
        ]
        modes = self.bundle.codebook.mode_ids
        kinds = {"priority": "float64"}
        for mode in modes:
            kinds |= {f"{number}_{mode}": "float64" for number in ("p", "low", "high")}
            kinds |= {f"flag_{mode}": "boolean", f"evidence_{mode}": "object"}
        kinds |= {"cleared": "boolean"} if self.config.triage else {}
        index = narratives.index if isinstance(narratives, pd.Series) else pd.RangeIndex(len(texts))
        return pd.DataFrame(rows, index, [*kinds, "reason"]).astype(kinds | {"reason": "object"})

    def _no_score(self, narrative: object) -> str | None:
        """Why a narrative cannot be scored; None if it can."""
        if not isinstance(narrative, str):
            return "the narrative is missing or not text"
        try:
            narrative.encode()
        except UnicodeEncodeError:
            return "the narrative is not valid text (lone surrogates)"
        return self.unreadable(narrative) if split_passages(narrative) else "the narrative is empty"


def _fields(narrative: str, outcome: Outcome, triage: bool) -> dict[str, Any]:
    """An outcome as a row of a frame."""
    fields: dict[str, Any] = {"priority": outcome.priority} | ({"cleared": outcome.cleared} if triage else {})
    for mode, score in outcome.scores.items():
        low, high = outcome.intervals[mode]
        sentences = [narrative[slice(*item.span)] for item in outcome.evidence if item.mode == mode]
        fields |= {f"p_{mode}": score, f"low_{mode}": low, f"high_{mode}": high}
        fields |= {f"flag_{mode}": outcome.flags[mode], f"evidence_{mode}": sentences}
    return fields


def _with_text(batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        if not all(batch[1]):
            raise ValueError("a narrative without any text cannot be scored")
        yield batch
