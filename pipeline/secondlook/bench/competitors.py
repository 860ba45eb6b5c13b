"""What one would use otherwise: a transformers pipeline and SetFit, on passages as texts of their own.

Both get the same encoder with fresh heads, as speed does not depend on the weights, and the batch size at
which they were fastest on some of the narratives. Nothing else here knows PyTorch, and it is loaded only then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from secondlook.bench.work import Contender, Prepare, Prepared, Skipped, Work
from secondlook.config import TransformerModelConfig
from secondlook.errors import ConfigError

BATCH_SIZES = (4, 16, 64)
PIPELINE = "transformers pipeline"
IN_BFLOAT16 = "transformers pipeline, bfloat16"
SETFIT = "SetFit predict"
_TAUGHT = 40
"""Passages that SetFit's heads are fitted on."""

_Predict = Callable[[Sequence[str], int], object]
"""Scores texts in batches of a size."""


def competitors(config: TransformerModelConfig, modes: int, threads: int) -> list[Prepare]:
    """The competitors with the encoder of a configuration, heads for so many modes and so many threads."""

    def prepared(name: str, extra: str, needed: Sequence[str], make: Callable[[Work], _Predict | None]) -> Prepare:
        def prepare(trial: Work) -> Contender | Skipped:
            if missing := [package for package in needed if find_spec(package) is None]:
                return Skipped(name, f"{', '.join(missing)} not installed: pip install 'secondlook[{extra}]'")
            try:
                _limit_threads(threads)
                predict = make(trial)
            except (ConfigError, OSError, ValueError) as cause:
                return Skipped(name, f"its encoder cannot be loaded ({str(cause).splitlines()[0]})")
            if predict is None:
                return Skipped(name, "this processor does not multiply in bfloat16")
            return _at_its_best(name, predict, trial, threads)

        return Prepared(name, prepare)

    return [
        prepared(PIPELINE, "train", ("torch", "transformers"), lambda _: _pipeline(config, modes, bfloat16=False)),
        prepared(IN_BFLOAT16, "train", ("torch", "transformers"), lambda _: _pipeline(config, modes, bfloat16=True)),
        prepared(SETFIT, "train,benchmarks", ("torch", "setfit"), lambda trial: _setfit(config, modes, trial)),
    ]


def _at_its_best(name: str, predict: _Predict, trial: Work, threads: int) -> Contender:
    """With the batch size that was fastest on the trial; what the others took is said, too."""
    seconds = {}
    for size in BATCH_SIZES:
        predict(trial.texts[: 2 * size], size)
        start = time.perf_counter()
        predict(trial.texts, size)
        seconds[size] = time.perf_counter() - start
    best = min(seconds, key=lambda size: seconds[size])
    tried = ", ".join(f"{size}: {len(trial.texts) / took:.0f}" for size, took in seconds.items())
    setting = f"batches of {best}, {threads} threads (passages/s by batch size: {tried})"

    def run(work: Work) -> None:
        predict(work.texts, best)

    return Contender(name, setting, run)


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _pipeline(config: TransformerModelConfig, modes: int, *, bfloat16: bool) -> _Predict | None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
    from transformers.utils import logging

    from secondlook.encoder.network import multiplies_in_bfloat16
    from secondlook.encoder.pretrained import locate

    if bfloat16 and not multiplies_in_bfloat16("cpu"):
        return None
    log: Any = logging
    log.set_verbosity_error()
    log.disable_progress_bar()
    place = locate(config.encoder, config.encoder_digest)
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    network = AutoModelForSequenceClassification.from_pretrained(place, num_labels=modes, dtype=dtype)
    classify: Any = pipeline(
        "text-classification",
        model=network,
        tokenizer=AutoTokenizer.from_pretrained(place),
        device="cpu",
        top_k=None,
        function_to_apply="sigmoid",
    )
    return lambda texts, size: classify(list(texts), batch_size=size, truncation=True, max_length=config.window_tokens)


def _setfit(config: TransformerModelConfig, modes: int, trial: Work) -> _Predict:
    from setfit import SetFitModel

    from secondlook.encoder.pretrained import locate

    place = locate(config.encoder, config.encoder_digest)
    model: Any = SetFitModel.from_pretrained(place, multi_target_strategy="one-vs-rest", device="cpu")
    taught = (trial.texts * _TAUGHT)[:_TAUGHT]
    labels = np.array([[(i + mode) % 2 for mode in range(modes)] for i in range(_TAUGHT)])
    model.model_head.fit(model.model_body.encode(taught, show_progress_bar=False), labels)
    return lambda texts, size: model.predict(list(texts), batch_size=size, show_progress_bar=False)
