"""Fine-tuning with the transformers Trainer: batches by tokens, checkpoints, early stopping, resumption."""

from __future__ import annotations

import heapq
import json
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)

from secondlook.config import FittingConfig, PoolingConfig
from secondlook.encoder.network import EvidenceEncoder, passage_scores, pool
from secondlook.encoder.windows import CONTEXT, Window
from secondlook.errors import TrainingError

Array = NDArray[np.float64]
METRIC = "macro_average_precision"
_CHUNK_TOKENS = 2048


@dataclass(frozen=True)
class Example:
    """A narrative, or an excerpt of a long one, as the network reads it.

    ``targets`` and ``labels`` hold 1, 0 or NaN (unknown, masked). *Shapes:* ``(passages, modes)``,
    ``(modes,)``. The members of a minimal pair share the name of their ``pair``.
    """

    windows: list[Window]
    targets: Array
    labels: Array
    pair: str | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the network reads of it."""
        return sum(len(window.ids) for window in self.windows)


@dataclass(frozen=True)
class Fit:
    """How to fit: the choices, the pooling that the loss uses, and where checkpoints lie."""

    config: FittingConfig
    pooling: PoolingConfig
    seed: int
    folder: Path
    name: str


def fit(
    network: EvidenceEncoder,
    training: Sequence[Example],
    development: Sequence[Example],
    how: Fit,
    progress: Progress | None = None,
) -> EvidenceEncoder:
    """Fine-tune a network, from its last checkpoint if an earlier run was stopped.

    The epoch that did best on the development part is what is kept.

    Raises:
        TrainingError: a checkpoint could not be written (a full disk, say).
    """
    set_seed(how.seed)
    trainer = _EvidenceTrainer(network, training, development, how, progress)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.train(resume_from_checkpoint=last_checkpoint(how.folder))
    except (OSError, RuntimeError) as cause:
        if not _is_disk_error(cause):
            raise
        raise TrainingError(
            f"{how.folder}: a checkpoint could not be written ({cause}); free some space and run the same "
            "command again: it goes on from the last whole checkpoint"
        ) from None
    shutil.rmtree(how.folder, ignore_errors=True)
    network.train(False)
    return network


def predict(network: EvidenceEncoder, examples: Sequence[Example], config: FittingConfig) -> list[Array]:
    """Passage log-odds for each example. *Shape of each:* ``(passages, modes)``."""
    was_training = network.training
    network.train(False)
    device = next(network.parameters()).device
    found: list[Array] = [np.zeros(0)] * len(examples)
    order = sorted(range(len(examples)), key=lambda i: examples[i].tokens)
    with torch.inference_mode():
        for batch in _in_order(order, examples, config.batch_tokens):
            inputs = _to(collate([examples[i] for i in batch]), device)
            scores = _score(network, inputs, config.bfloat16).float().cpu().numpy().astype(np.float64)
            ends = np.cumsum([len(examples[i].targets) for i in batch])
            for i, one in zip(batch, np.split(scores, ends[:-1]), strict=True):
                found[i] = one
    network.train(was_training)
    return found


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; Trainer writes its state last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def excerpts(example: Example, tokens: int) -> list[Example]:
    """A long example in parts that fit a batch.

    A part of a positive narrative is positive where it holds marked evidence, and unknown where the
    evidence was not marked.
    """
    parts: list[list[Window]] = [[]]
    for window in example.windows:
        if parts[-1] and sum(len(one.ids) for one in parts[-1]) + len(window.ids) > tokens:
            parts.append([])
        parts[-1].append(window)
    if len(parts) == 1:
        return [example]
    return [_excerpt(example, part) for part in parts]


def _excerpt(example: Example, windows: list[Window]) -> Example:
    numbers = np.unique(np.concatenate([window.passages[window.passages != CONTEXT] for window in windows]))
    targets = example.targets[numbers]
    has_evidence = (targets == 1).any(axis=0)
    marked = (example.targets == 1).any(axis=0)
    labels = np.where(example.labels == 1, np.where(marked, has_evidence, np.nan), example.labels)
    renumbered = [
        Window(w.ids, np.where(w.passages == CONTEXT, CONTEXT, np.searchsorted(numbers, w.passages))) for w in windows
    ]
    return Example(renumbered, targets, labels.astype(float))


def collate(examples: Sequence[Example]) -> dict[str, Any]:
    """Examples as tensors: windows of like length padded together, passages and narratives numbered through."""
    windows, offset = [], 0
    for example in examples:
        windows += [(w.ids, np.where(w.passages == CONTEXT, CONTEXT, w.passages + offset)) for w in example.windows]
        offset += len(example.targets)
    counts = [len(example.targets) for example in examples]
    return {
        "chunks": [_pad(chunk) for chunk in _chunks(sorted(windows, key=lambda window: len(window[0])))],
        "narrative": torch.repeat_interleave(torch.arange(len(examples)), torch.tensor(counts)),
        "targets": torch.tensor(np.concatenate([example.targets for example in examples]), dtype=torch.float32),
        "labels": torch.tensor(np.stack([example.labels for example in examples]), dtype=torch.float32),
        "pairs": _pair_indices(examples),
    }


def _pair_indices(examples: Sequence[Example]) -> Tensor:
    """Rows of the two members of every whole pair. *Shape:* ``(pairs, 2)``."""
    members: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        if example.pair is not None:
            members.setdefault(example.pair, []).append(number)
    return torch.tensor([rows for rows in members.values() if len(rows) == 2], dtype=torch.long).reshape(-1, 2)


def _chunks(windows: Sequence[tuple[Any, Any]]) -> Iterator[list[tuple[Any, Any]]]:
    chunk: list[tuple[Any, Any]] = []
    for window in windows:
        if chunk and (len(chunk) + 1) * len(window[0]) > _CHUNK_TOKENS:
            yield chunk
            chunk = []
        chunk.append(window)
    if chunk:
        yield chunk


def _pad(windows: Sequence[tuple[Any, Any]]) -> dict[str, Tensor]:
    shape = (len(windows), max(len(ids) for ids, _ in windows))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    owners = torch.full(shape, CONTEXT, dtype=torch.long)
    for row, (tokens, passages) in enumerate(windows):
        ids[row, : len(tokens)] = torch.from_numpy(tokens)
        mask[row, : len(tokens)] = 1
        owners[row, : len(tokens)] = torch.from_numpy(passages)
    return {"input_ids": ids, "attention_mask": mask, "owners": owners}


def _score(network: EvidenceEncoder, inputs: Mapping[str, Any], bfloat16: bool) -> Tensor:
    """Passage log-odds of a batch. *Shape:* ``(passages, modes)``."""
    scores, weights, owners = [], [], []
    device = inputs["targets"].device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):  # once: it casts weights once
        for chunk in inputs["chunks"]:
            token_scores, token_weights = network(chunk["input_ids"], chunk["attention_mask"])
            own = chunk["owners"] != CONTEXT
            scores.append(token_scores[own].float())
            weights.append(token_weights[own].float())
            owners.append(chunk["owners"][own])
    passages: int = len(inputs["targets"])
    return passage_scores(torch.cat(scores), torch.cat(weights), torch.cat(owners), passages)


def loss(passages: Tensor, inputs: Mapping[str, Any], config: FittingConfig, pooling: PoolingConfig) -> Tensor:
    """Cross-entropy of narratives and passages, unknown labels masked, and the ranking of pairs.

    Args:
        passages: passage log-odds of the batch. *Shape:* ``(passages, modes)``.
    """
    targets, labels = inputs["targets"], inputs["labels"]
    entropy = nn.functional.binary_cross_entropy_with_logits
    pooled = pool(passages, inputs["narrative"], len(labels), pooling)
    known = ~labels.isnan()
    total: Tensor = entropy(pooled[known], labels[known]) if known.any() else pooled.sum() * 0.0
    marked = ~targets.isnan()
    weight = torch.where(targets == 1, config.evidence_positive_weight, 1.0)[marked]
    evidence = entropy(passages[marked], targets[marked], weight=weight, reduction="sum")
    total = total + config.evidence_weight * evidence / max(1, labels.numel())
    if config.pair_weight and len(inputs["pairs"]):
        first, second = inputs["pairs"].unbind(1)
        difference = labels[first] - labels[second]
        told_apart = difference.abs() == 1
        gap = (difference * (pooled[first] - pooled[second]))[told_apart]
        total = total + config.pair_weight * nn.functional.softplus(-gap).sum() / len(labels)
    return total


class _Batches:
    """Batches of about as many tokens each, dealt anew in every epoch; pairs stay together."""

    def __init__(self, examples: Sequence[Example], tokens: int, seed: int) -> None:
        units: dict[str, list[int]] = {}
        for number, example in enumerate(examples):
            units.setdefault(f"pair {example.pair}" if example.pair else str(number), []).append(number)
        self._units = list(units.values())
        self._sizes = [sum(examples[i].tokens for i in unit) for unit in self._units]
        self._count = max(1, math.ceil(sum(self._sizes) / tokens))
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return min(self._count, len(self._units))

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._units))
        lightest = [(0, number) for number in range(len(self))]
        batches: list[list[int]] = [[] for _ in lightest]
        for unit in order:
            weight, number = heapq.heappop(lightest)
            batches[number] += self._units[unit]
            heapq.heappush(lightest, (weight + self._sizes[unit], number))
        yield from batches


class _EvidenceTrainer(Trainer):
    """Trainer with our batches, our loss, and average precision on the development part."""

    def __init__(
        self,
        network: EvidenceEncoder,
        training: Sequence[Example],
        development: Sequence[Example],
        how: Fit,
        progress: Progress | None,
    ) -> None:
        self._examples = [part for one in training for part in excerpts(one, how.config.batch_tokens)]
        self._development = development
        self._how = how
        self._network = network
        self._batches = _Batches(self._examples, how.config.batch_tokens, how.seed)
        super().__init__(
            model=network,
            args=_arguments(how, bool(development)),
            train_dataset=Dataset.from_dict({"example": list(range(len(self._examples)))}),
            eval_dataset=Dataset.from_dict({"example": list(range(len(development)))}) if development else None,
            callbacks=[_Rim(self._batches, how, progress, len(self._batches))],
        )
        self.remove_callback(PrinterCallback)
        if development:
            self.add_callback(EarlyStoppingCallback(early_stopping_patience=how.config.patience))

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            self.train_dataset,  # type: ignore[arg-type]
            batch_sampler=self._batches,
            collate_fn=lambda rows: collate([self._examples[row["example"]] for row in rows]),
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW; heads start from nothing and learn faster than the encoder, biases and norms do not decay."""
        config = self._how.config
        groups = []
        for is_head in (True, False):
            for decays in (True, False):
                chosen = [
                    parameter
                    for name, parameter in self._network.named_parameters()
                    if parameter.requires_grad
                    and name.startswith("encoder.") != is_head
                    and (parameter.dim() > 1) == decays
                ]
                rate = config.head_learning_rate if is_head else config.learning_rate
                groups.append({"params": chosen, "lr": rate, "weight_decay": config.weight_decay if decays else 0.0})
        self.optimizer = torch.optim.AdamW(groups)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        warmup = round(self._how.config.warmup_share * num_training_steps)
        schedule: Any = get_linear_schedule_with_warmup
        self.lr_scheduler = schedule(self.optimizer, warmup, num_training_steps)
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        config = self._how.config
        return loss(_score(model, inputs, config.bfloat16), inputs, config, self._how.pooling)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        scores = predict(self._network, self._development, self._how.config)
        value = _macro_average_precision(scores, self._development, self._how.pooling)
        metrics = {f"eval_{METRIC}": value}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def floating_point_ops(self, inputs: Any) -> int:
        return 0


class _Rim(TrainerCallback):
    """Tells batches their epoch, and a progress bar the loss."""

    def __init__(self, batches: _Batches, how: Fit, progress: Progress | None, steps: int) -> None:
        self._batches = batches
        self._progress = progress
        self._name = how.name
        if progress:
            self._task = progress.add_task(how.name, total=steps * how.config.epochs)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._batches.epoch = round(state.epoch or 0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress:
            self._progress.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if self._progress and logs and "loss" in logs:
            self._progress.update(self._task, description=f"{self._name}, loss {float(logs['loss']):.2f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress:
            self._progress.remove_task(self._task)


def _arguments(how: Fit, has_development: bool) -> TrainingArguments:
    each_epoch = "epoch" if has_development else "no"
    return TrainingArguments(
        output_dir=str(how.folder),
        num_train_epochs=how.config.epochs,
        seed=how.seed,
        use_cpu=how.config.device == "cpu",
        save_strategy="epoch",
        eval_strategy=each_epoch,
        load_best_model_at_end=has_development,
        metric_for_best_model=f"eval_{METRIC}" if has_development else None,
        greater_is_better=True if has_development else None,
        save_total_limit=2,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        max_grad_norm=1.0,
        log_level="error",
    )


def _macro_average_precision(scores: Sequence[Array], examples: Sequence[Example], pooling: PoolingConfig) -> float:
    """Mean over the modes that have both labels; 0 where none has."""
    from secondlook.evidence import pool as pool_one

    pooled = np.array([pool_one(one, pooling) for one in scores])
    labels = np.array([example.labels for example in examples])
    values = []
    for column in range(labels.shape[1]):
        known = ~np.isnan(labels[:, column])
        if len(np.unique(labels[known, column])) == 2:
            values.append(average_precision_score(labels[known, column], pooled[known, column]))
    return float(np.mean(values)) if values else 0.0


def _in_order(order: Sequence[int], examples: Sequence[Example], tokens: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for i in order:
        if batch and sum(examples[j].tokens for j in batch) + examples[i].tokens > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _to(inputs: dict[str, Any], device: torch.device) -> dict[str, Any]:
    moved = {name: value.to(device) for name, value in inputs.items() if isinstance(value, Tensor)}
    chunks = [{name: value.to(device) for name, value in chunk.items()} for chunk in inputs["chunks"]]
    return moved | {"chunks": chunks}


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _is_disk_error(cause: BaseException) -> bool:
    return isinstance(cause, OSError) or any(word in str(cause) for word in ("No space", "I/O error", "write"))
