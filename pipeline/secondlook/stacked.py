"""Two evidence models as one: the transformer knows what a sentence says in its context, the linear model its words.

Where labels are many the first is the better, where a mode is rare the second; where they err, they mostly err
apart. Stacked generalisation (Wolpert 1992): for each mode the two log-odds of a passage are added with weights
that a logistic regression found on narratives which neither had seen. The sum is a passage's score like any
other, and the narrative's is pooled from it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import tee
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from secondlook.config import TransformerModelConfig
from secondlook.encoder.session import TransformerEvidenceModel
from secondlook.encoder.windows import NOTHING
from secondlook.schema import Span

if TYPE_CHECKING:
    from secondlook.baseline import LinearEvidenceModel

Array = NDArray[np.float64]
Pair = tuple[str, Sequence[Span]]
"""A narrative and its passages."""

STACK = "stack.json"
MEMBERS = ("transformer", "linear")
TOGETHER = 64
"""Narratives that the linear model takes at once, and how many characters at most, but for the last."""
CHARACTERS = 200_000


class StackedEvidenceModel:
    """Passage log-odds for every mode, from a transformer and a linear model.

    Args:
        encoder: the transformer.
        linear: the linear model, of the same modes.
        weights: of the members in the order of ``MEMBERS``. *Shape:* ``(2, modes)``.

    Raises:
        ValueError: there is not a weight for every member and mode.
    """

    def __init__(self, encoder: TransformerEvidenceModel, linear: LinearEvidenceModel, weights: Array) -> None:
        if weights.shape != (len(MEMBERS), len(encoder.modes)):
            raise ValueError(f"weights of shape {weights.shape} for two members and {len(encoder.modes)} modes")
        self.modes = encoder.modes
        self.config = encoder.config
        self.encoder = encoder
        self._linear = linear
        self._weights = weights

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[Array]:
        """Log-odds for each narrative. *Shape of each:* ``(passages, modes)``."""
        return list(self.iterate(narratives, passages))

    def iterate(self, narratives: Iterable[str], passages: Iterable[Sequence[Span]]) -> Iterator[Array]:
        """Like :meth:`score`, one narrative after the other, read little further ahead than the encoder needs.

        Raises:
            ValueError: there are more narratives than passages, or the other way round.
        """
        for log_odds, _ in self.screen(narratives, passages, lambda linear, unread: False, np.zeros(len(self.modes))):
            yield log_odds

    def screen(
        self,
        narratives: Iterable[str],
        passages: Iterable[Sequence[Span]],
        cleared: Callable[[Array, Array], bool],
        stand_in: Array,
    ) -> Iterator[tuple[Array, bool]]:
        """Like :meth:`iterate`, but the encoder is asked only about narratives that are not cleared.

        Args:
            cleared: takes the log-odds by the linear model, and those of both with the stand-in. *Shape of both:*
                ``(passages, modes)``.
            stand_in: what the encoder would say of an ordinary passage. *Shape:* ``(modes,)``.

        Yields:
            Log-odds, and whether the narrative was cleared.
        """
        waiting: deque[tuple[Array, Array | None]] = deque()

        def screened() -> Iterator[Pair]:
            """What the encoder is to read: for a narrative that is cleared, nothing, which keeps its place."""
            for batch in _batches(zip(narratives, passages, strict=True)):
                for (text, spans), linear in zip(batch, self._linear.score(*zip(*batch, strict=True)), strict=True):
                    unread = self._weights[0] * stand_in + self._weights[1] * linear
                    clear = cleared(linear, unread)
                    waiting.append((linear, unread if clear else None))
                    yield ("", ()) if clear else (text, spans)

        one, other = tee(screened())
        for encoded in self.encoder.iterate((text for text, _ in one), (spans for _, spans in other)):
            linear, unread = waiting.popleft()
            yield (together(self._weights, (encoded, linear)), False) if unread is None else (unread, True)

    def to_files(self) -> dict[str, bytes]:
        """The model as named files of plain data."""
        return self.encoder.to_files() | self._linear.to_files() | {STACK: weights_to_bytes(self._weights, self.modes)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], modes: Sequence[str], config: TransformerModelConfig) -> Self:
        """The model that :meth:`to_files` wrote; KeyError or ValueError if the files do not fit together."""
        if config.linear is None:
            raise ValueError("the manifest names no linear model")
        with ThreadPoolExecutor(1) as beside:  # opening the graph leaves the interpreter free
            encoder = beside.submit(TransformerEvidenceModel.from_files, files, modes, config)
            from secondlook.baseline import LinearEvidenceModel  # scikit-learn takes most of a second to load

            linear = LinearEvidenceModel.from_files(files, modes, config.linear)
        return cls(encoder.result(), linear, weights_from_bytes(files[STACK], modes))


def _batches(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    characters = 0
    for pair in pairs:
        batch.append(pair)
        characters += len(pair[0])
        if len(batch) == TOGETHER or characters >= CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def encoder_of(model: object) -> TransformerEvidenceModel | None:
    """The transformer that a model is or has, if any."""
    found = model.encoder if isinstance(model, StackedEvidenceModel) else model
    return found if isinstance(found, TransformerEvidenceModel) else None


def together(weights: Array, scores: Sequence[Array] | Array) -> Array:
    """What the members say of passages together: the weighted sum, or nothing where the first found no token.

    Args:
        weights: *Shape:* ``(members, modes)``.
        scores: log-odds by each member. *Shape of each:* ``(passages, modes)``.
    """
    if len(scores) == 1:
        return scores[0]
    said = np.sum([weight * own for weight, own in zip(weights, scores, strict=True)], axis=0)
    unread = (scores[0] == NOTHING).all(axis=1, keepdims=True)
    return np.where(unread, NOTHING, said)


def stacking_weights(scores: Array, labels: Array) -> Array:
    """How much each member counts, for each mode: at least 0, in sum 1.

    A member that would count against its own score is left out.

    Args:
        scores: log-odds from models that did not see the narrative; NaN where there are none. *Shape:* ``(members,
            narratives, modes)``.
        labels: 1, 0 or NaN (unknown). *Shape:* ``(narratives, modes)``.

    Returns:
        *Shape:* ``(members, modes)``. Equal weights where nothing is known that tells the members apart, and where
        all of them would count against their own scores.
    """
    members, _, modes = scores.shape
    weights = np.full((members, modes), 1 / members)
    for column in range(modes if members > 1 else 0):
        known = ~np.isnan(labels[:, column]) & ~np.isnan(scores[:, :, column]).any(axis=0)
        if len(np.unique(labels[known, column])) == 2:
            found = _positive_weights(scores[:, known, column], labels[known, column])
            weights[:, column] = found / found.sum() if found.sum() > 0 else weights[:, column]
    return weights


def _positive_weights(scores: Array, labels: Array) -> Array:
    from sklearn.linear_model import LogisticRegression  # a second to load, and scoring does not fit

    weights = np.zeros(len(scores))
    counted = np.arange(len(scores))
    while len(counted):
        fitted = LogisticRegression(solver="newton-cholesky").fit(scores[counted].T, labels).coef_[0]
        if (fitted > 0).all():
            weights[counted] = fitted
            break
        counted = counted[fitted > 0]
    return weights


def weights_to_bytes(weights: Array, modes: Sequence[str]) -> bytes:
    """The weights by mode and member, as JSON."""
    table = {mode: dict(zip(MEMBERS, weights[:, i].tolist(), strict=True)) for i, mode in enumerate(modes)}
    return (json.dumps(table, indent=2) + "\n").encode()


def weights_from_bytes(content: bytes, modes: Sequence[str]) -> Array:
    """What :func:`weights_to_bytes` wrote; KeyError or ValueError if it is not for these modes."""
    try:
        weights = np.array([[float(row[member]) for member in MEMBERS] for row in map(json.loads(content).get, modes)])
    except (TypeError, AttributeError):
        raise ValueError(f"{STACK} is damaged, or of other modes") from None
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"{STACK} has weights that are none")
    return weights.T
