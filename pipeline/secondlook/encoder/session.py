"""Scoring with ONNX Runtime: no PyTorch, the same scores whatever stands beside a narrative."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from secondlook.config import TransformerModelConfig
from secondlook.encoder.windows import CONTEXT, NOTHING, Window, WindowCutter
from secondlook.schema import Span

Scores = NDArray[np.float64]
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"


class TransformerEvidenceModel:
    """Passage log-odds for every mode, from an encoder stored as ONNX.

    The graph maps ``input_ids`` and ``attention_mask``, *shape* ``(windows, tokens)``, to ``scores`` and
    ``weights``, *shape* ``(windows, tokens, modes)``; a passage's log-odds are the mean of its tokens'
    scores under their weights. Windows are run one by one: the scale of int8 activations is taken over
    all that is run together, and a narrative's score must not depend on its neighbours.

    Args:
        modes: ids in the codebook's order.
        config: window and context.
        graph: the ONNX model's bytes.
        tokenizer: the tokenizer's JSON.

    Raises:
        ValueError: the bytes are no model or no tokenizer, or they do not fit the modes.
    """

    def __init__(self, modes: Sequence[str], config: TransformerModelConfig, graph: bytes, tokenizer: bytes) -> None:
        self.modes = tuple(modes)
        self.config = config
        self._files = {MODEL: graph, TOKENIZER: tokenizer}
        try:
            self._session = ort.InferenceSession(graph, _options(), providers=["CPUExecutionProvider"])
            parsed = Tokenizer.from_str(tokenizer.decode("utf-8"))
        except Exception as cause:  # both libraries raise their own kinds, and plain Exception
            raise ValueError(f"{MODEL} or {TOKENIZER} is damaged ({type(cause).__name__})") from None
        width = self._session.get_outputs()[0].shape[-1]
        if width != len(self.modes):
            raise ValueError(f"{MODEL} scores {width} modes, the codebook has {len(self.modes)}")
        self._cutter = WindowCutter(parsed, config.window_tokens, config.context_tokens)

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[Scores]:
        """Log-odds for each narrative. *Shape of each:* ``(passages, modes)``."""
        return list(self.iterate(narratives, passages))

    def iterate(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> Iterator[Scores]:
        """Like :meth:`score`, one narrative after the other."""
        for narrative, spans in zip(narratives, passages, strict=True):
            windows = self._cutter.cut(narrative, spans)
            outputs = list(self._pool.map(self._run, windows))
            yield passage_scores(windows, outputs, len(spans), len(self.modes))

    def to_files(self) -> dict[str, bytes]:
        """The model as named files of plain data."""
        return dict(self._files)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], modes: Sequence[str], config: TransformerModelConfig) -> Self:
        """The model that :meth:`to_files` wrote; KeyError or ValueError if the files do not fit together."""
        return cls(modes, config, files[MODEL], files[TOKENIZER])

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(available_cores())

    def _run(self, window: Window) -> tuple[Scores, Scores]:
        """Scores and weights of a window's tokens. *Shape of both:* ``(tokens, modes)``."""
        ids = window.ids[None]
        scores, weights = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        return scores[0].astype(np.float64), weights[0].astype(np.float64)


def passage_scores(
    windows: Sequence[Window], outputs: Sequence[tuple[Scores, Scores]], passages: int, modes: int
) -> Scores:
    """The weighted means of the tokens' scores by passage. *Shape:* ``(passages, modes)``."""
    total, weight = np.zeros((passages, modes)), np.zeros((passages, modes))
    for window, (scores, weights) in zip(windows, outputs, strict=True):
        own = window.passages != CONTEXT
        np.add.at(total, window.passages[own], scores[own] * weights[own])
        np.add.at(weight, window.passages[own], weights[own])
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), NOTHING)


def available_cores() -> int:
    """How many cores this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # windows run side by side instead
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
