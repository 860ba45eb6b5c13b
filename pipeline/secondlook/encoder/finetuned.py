"""A fine-tuned encoder: trained on narratives, kept as a folder that transformers can load, exported to ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers.utils import logging as library_logging

from secondlook.config import PoolingConfig, TransformerModelConfig
from secondlook.encoder.batches import Example
from secondlook.encoder.export import to_onnx
from secondlook.encoder.fitting import Fit, fit, predict
from secondlook.encoder.network import EvidenceEncoder, from_pretrained_encoder
from secondlook.encoder.pretrained import locate
from secondlook.encoder.session import TOKENIZER, TransformerEvidenceModel
from secondlook.encoder.windows import WindowCutter
from secondlook.errors import ConfigError
from secondlook.schema import Span

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """Narratives to learn from.

    ``labels`` and each of ``targets`` hold 1, 0 or NaN (unknown). *Shapes:* ``(narratives, modes)``;
    each target ``(passages, modes)``. ``pairs`` names the minimal pair of a narrative, or None.
    """

    narratives: Sequence[str]
    passages: Sequence[Sequence[Span]]
    targets: Sequence[Array]
    labels: Array
    pairs: Sequence[str | None]


@dataclass(frozen=True)
class FineTuned:
    """A trained network with its tokenizer."""

    config: TransformerModelConfig
    network: EvidenceEncoder
    tokenizer: str

    @classmethod
    def fit(
        cls,
        training: Lesson,
        development: Lesson | None,
        modes: Sequence[str],
        config: TransformerModelConfig,
        pooling: PoolingConfig,
        seed: int,
        checkpoints: Path,
        name: str,
        progress: Progress | None = None,
    ) -> Self:
        """Fine-tune; goes on from the last whole checkpoint below ``checkpoints`` if there is one.

        With a development part the epoch that did best on it is kept, without one the last.

        Raises:
            ConfigError: the encoder cannot be found or is not the one that was meant.
            TrainingError: a checkpoint could not be written.
        """
        with _quiet():
            network, tokenizer = _load_encoder(config, modes, seed)
            cutter = _cutter(tokenizer, config)
            how = Fit(config.fitting, pooling, seed, checkpoints, name)
            network = fit(
                network,
                _examples(training, cutter),
                _examples(development, cutter) if development else [],
                how,
                progress,
            )
        return cls(config, network, tokenizer)

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[Array]:
        """Log-odds for each narrative. *Shape of each:* ``(passages, modes)``."""
        modes = len(self.network.config.modes)
        unknown = [np.full((len(spans), modes), np.nan) for spans in passages]
        blank = Lesson(narratives, passages, unknown, np.full((len(passages), modes), np.nan), [None] * len(passages))
        return predict(self.network, _examples(blank, _cutter(self.tokenizer, self.config)), self.config.fitting)

    def save(self, folder: Path) -> None:
        """Write what ``EvidenceEncoder.from_pretrained`` and ``Tokenizer.from_file`` read."""
        with _quiet():
            self.network.save_pretrained(folder)
        (folder / TOKENIZER).write_text(self.tokenizer, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, config: TransformerModelConfig) -> Self:
        """What :meth:`save` wrote."""
        with _quiet():
            network = EvidenceEncoder.from_pretrained(folder)
        network.train(False)
        return cls(config, network, (folder / TOKENIZER).read_text(encoding="utf-8"))

    def exported(self) -> TransformerEvidenceModel:
        """The model as scoring runs it."""
        with _quiet():
            graph = to_onnx(self.network, self.config.quantise)
        return TransformerEvidenceModel(self.network.config.modes, self.config, graph, self.tokenizer.encode())


def _load_encoder(config: TransformerModelConfig, modes: Sequence[str], seed: int) -> tuple[EvidenceEncoder, str]:
    from transformers import set_seed

    place = locate(config.encoder, config.encoder_digest)
    set_seed(seed)  # the heads are drawn
    pooling, dropout = config.passage_pooling, config.fitting.dropout
    try:
        network, tokenizer = from_pretrained_encoder(place, modes, pooling, dropout)
        network.freeze(config.fitting.freeze_embeddings, config.fitting.frozen_layers)
    except (OSError, ValueError, SafetensorError) as cause:
        reason = str(cause).splitlines()[0]
        raise ConfigError(f"model.encoder: '{config.encoder}' cannot be loaded ({reason})") from None
    longest = network.longest_window()
    if longest and config.window_tokens > longest:
        raise ConfigError(f"model.window_tokens: {config.encoder} reads {longest} tokens at most")
    return network, tokenizer


def _cutter(tokenizer: str, config: TransformerModelConfig) -> WindowCutter:
    return WindowCutter(Tokenizer.from_str(tokenizer), config.window_tokens, config.context_tokens)


def _examples(lesson: Lesson, cutter: WindowCutter) -> list[Example]:
    return [
        Example(cutter.cut(narrative, spans), targets, labels, pair)
        for narrative, spans, targets, labels, pair in zip(
            lesson.narratives, lesson.passages, lesson.targets, lesson.labels, lesson.pairs, strict=True
        )
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Transformers reports and draws bars of its own; errors still come through."""
    log: Any = library_logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()
