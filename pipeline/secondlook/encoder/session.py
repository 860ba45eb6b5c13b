"""Scoring with ONNX Runtime: no PyTorch, the same scores whatever stands beside a narrative.

Windows run one by one: the scale of int8 activations is taken over all that is run together, and a
narrative's score must not depend on its neighbours. Speed comes from running as many of them side by
side as there are cores, across narratives, while the next are being cut and the last are being written.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from secondlook.config import TransformerModelConfig
from secondlook.encoder.windows import CONTEXT, NOTHING, Tokens, Window, WindowCutter
from secondlook.schema import Span

Scores = NDArray[np.float64]
Encoded = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Scores and weights of a window's tokens. *Shape of both:* ``(tokens, modes)``."""

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
READ_AHEAD = 64
"""Windows read ahead for each core, about a second of its work: enough while others read, write or wait."""

REMEMBERED = 2048
"""Windows whose outcome is kept in case they come again: letter heads, forms, the same e-mail quoted twice."""

_SLOWER_FUSED = ("SkipLayerNormFusion",)
"""On CPUs the fused kernel is slower than its two parts."""


class TransformerEvidenceModel:
    """Passage log-odds for every mode, from an encoder stored as ONNX.

    The graph maps ``input_ids``, *shape* ``(windows, tokens)``, to ``scores`` and ``weights``, *shape*
    ``(windows, tokens, modes)``; a passage's log-odds are the mean of its tokens' scores under their
    weights. Graphs of earlier versions also ask for an ``attention_mask``, here always of ones.

    Args:
        modes: ids in the codebook's order.
        config: window and context.
        graph: the ONNX model's bytes.
        tokenizer: the tokenizer's JSON.

    Attributes:
        threads: how many windows are encoded side by side; the cores that this process may use, unless set.

    Raises:
        ValueError: the bytes are no model or no tokenizer, or they do not fit the modes.
    """

    def __init__(self, modes: Sequence[str], config: TransformerModelConfig, graph: bytes, tokenizer: bytes) -> None:
        self.modes = tuple(modes)
        self.config = config
        self.threads = available_cores()
        self._files = {MODEL: graph, TOKENIZER: tokenizer}
        try:
            self._session = open_graph(graph)
            parsed = Tokenizer.from_str(tokenizer.decode("utf-8"))
        except Exception as cause:  # both libraries raise their own kinds, and plain Exception
            raise ValueError(f"{MODEL} or {TOKENIZER} is damaged ({type(cause).__name__})") from None
        width = self._session.get_outputs()[0].shape[-1]
        if width != len(self.modes):
            raise ValueError(f"{MODEL} scores {width} modes, the codebook has {len(self.modes)}")
        self._masked = any(given.name == "attention_mask" for given in self._session.get_inputs())
        self._cutter = WindowCutter(parsed, config.window_tokens, config.context_tokens)

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[Scores]:
        """Log-odds for each narrative. *Shape of each:* ``(passages, modes)``."""
        return list(self.iterate(narratives, passages))

    def iterate(self, narratives: Iterable[str], passages: Iterable[Sequence[Span]]) -> Iterator[Scores]:
        """Like :meth:`score`, one narrative after the other, read no further ahead than the cores need.

        Raises:
            ValueError: there are more narratives than passages, or the other way round.
        """
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="encoder")
        encode = _EncodeOnce(pool, self.encode)
        ahead: deque[tuple[_PassageMeans, Window, Future[Encoded]] | _PassageMeans] = deque()
        try:
            for narrative, spans in zip(narratives, passages, strict=True):
                means = _PassageMeans(len(spans), len(self.modes))
                for window in self._cutter.cut(narrative, spans):
                    ahead.append((means, window, encode(window.ids)))
                    yield from _finished(ahead, READ_AHEAD * self.threads)
                ahead.append(means)
                yield from _finished(ahead, READ_AHEAD * self.threads)
            yield from _finished(ahead, 0)
        finally:  # also where the caller stops early, or fails
            pool.shutdown(cancel_futures=True)

    def cut(self, narrative: str, passages: Sequence[Span]) -> list[Window]:
        """The windows of a narrative, as they are encoded."""
        return self._cutter.cut(narrative, passages)

    def encode(self, ids: Tokens) -> Encoded:
        """Scores and weights of one window's tokens.

        Args:
            ids: *Shape:* ``(tokens,)``.
        """
        inputs = {"input_ids": ids[None]}
        if self._masked:
            inputs["attention_mask"] = np.ones_like(ids)[None]
        scores, weights = self._session.run(None, inputs)
        return scores[0], weights[0]

    def to_files(self) -> dict[str, bytes]:
        """The model as named files of plain data."""
        return dict(self._files)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], modes: Sequence[str], config: TransformerModelConfig) -> Self:
        """The model that :meth:`to_files` wrote; KeyError or ValueError if the files do not fit together."""
        return cls(modes, config, files[MODEL], files[TOKENIZER])


class _EncodeOnce:
    """Hands windows to a pool, and the same window only once while it is remembered.

    A window that comes again gets the outcome that it would have had, so nothing depends on what is remembered.
    """

    def __init__(self, pool: Executor, encode: Callable[[Tokens], Encoded]) -> None:
        self._pool, self._encode = pool, encode
        self._known: OrderedDict[bytes, Future[Encoded]] = OrderedDict()

    def __call__(self, ids: Tokens) -> Future[Encoded]:
        key = ids.tobytes()
        outcome = self._known.pop(key, None) or self._pool.submit(self._encode, ids)
        self._known[key] = outcome
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return outcome


class _PassageMeans:
    """The weighted means of a narrative's token scores by passage, gathered window by window."""

    def __init__(self, passages: int, modes: int) -> None:
        self._total, self._weight = np.zeros((passages, modes)), np.zeros((passages, modes))

    def add(self, window: Window, scores: NDArray[np.floating], weights: NDArray[np.floating]) -> None:
        own = window.passages != CONTEXT
        passages, weight = window.passages[own], weights[own].astype(np.float64)
        np.add.at(self._total, passages, scores[own] * weight)
        np.add.at(self._weight, passages, weight)

    def scores(self) -> Scores:
        """*Shape:* ``(passages, modes)``."""
        return np.where(self._weight > 0, self._total / np.where(self._weight > 0, self._weight, 1.0), NOTHING)


def _finished(
    ahead: deque[tuple[_PassageMeans, Window, Future[Encoded]] | _PassageMeans], most: int
) -> Iterator[Scores]:
    """Narratives that are complete, in order; waits for windows while more than ``most`` stand ahead."""
    while ahead and (len(ahead) > most or isinstance(ahead[0], _PassageMeans) or ahead[0][2].done()):
        first = ahead.popleft()
        if isinstance(first, _PassageMeans):
            yield first.scores()
        else:
            means, window, outcome = first
            means.add(window, *outcome.result())


def passage_scores(windows: Sequence[Window], outputs: Sequence[Encoded], passages: int, modes: int) -> Scores:
    """The weighted means of the tokens' scores by passage. *Shape:* ``(passages, modes)``."""
    means = _PassageMeans(passages, modes)
    for window, (scores, weights) in zip(windows, outputs, strict=True):
        means.add(window, scores, weights)
    return means.scores()


def open_graph(graph: bytes, threads: int = 1) -> ort.InferenceSession:
    """A graph ready to run.

    Args:
        graph: the ONNX model's bytes.
        threads: how many threads one run uses; windows that run side by side need one each.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(_SLOWER_FUSED)
    )


def available_cores() -> int:
    """How many cores this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
