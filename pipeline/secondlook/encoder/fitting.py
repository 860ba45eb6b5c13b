"""Fine-tuning with the transformers Trainer: its checkpoints, its early stopping; our batches and our loss."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from rich.progress import Progress
from safetensors import SafetensorError
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

from secondlook import evidence
from secondlook.config import FittingConfig, PoolingConfig
from secondlook.encoder.batches import Batches, Example, by_length, collate, excerpts, moved, with_groundwork
from secondlook.encoder.loss import loss, score_passages
from secondlook.encoder.network import EvidenceEncoder, multiplies_in_bfloat16
from secondlook.errors import ConfigError, TrainingError

Array = NDArray[np.float64]
METRIC = "macro_average_precision"
_OF_A_CHECKPOINT = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


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

    Of the epochs after ``minimum_steps`` the one that did best on the development part is what is kept, the last if
    there is no such part, or none in which a mode has both labels. Checkpoints stay: whoever has stored the network
    removes them.

    Raises:
        ConfigError: the device that was asked for is not there.
        TrainingError: a checkpoint could not be written (a full disk, say).
    """
    _check_device(how.config)
    _bound_kernel_caches()
    development = development if _can_be_measured(development) else []
    set_seed(how.seed)
    trainer = _EvidenceTrainer(network, training, development, how, progress)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.train(resume_from_checkpoint=last_checkpoint(how.folder))
    except (OSError, RuntimeError, SafetensorError) as cause:
        if not _is_disk_error(cause):
            raise
        raise TrainingError(
            f"{how.folder}: a checkpoint could not be written ({cause}); free some space and run the same "
            "command again: it goes on from the last whole checkpoint"
        ) from None
    network.train(False)
    return network


def predict(network: EvidenceEncoder, examples: Sequence[Example], config: FittingConfig) -> list[Array]:
    """Passage log-odds for each example. *Shape of each:* ``(passages, modes)``."""
    was_training = network.training
    network.train(False)
    device = next(network.parameters()).device
    found: list[Array] = [np.zeros(0)] * len(examples)
    with torch.inference_mode():
        for batch in by_length(examples, config.batch_tokens):
            inputs = moved(collate([examples[i] for i in batch]), device)
            scores = score_passages(network, inputs, config.bfloat16).float().cpu().numpy().astype(np.float64)
            ends = np.cumsum([len(examples[i].targets) for i in batch])
            for i, one in zip(batch, np.split(scores, ends[:-1]), strict=True):
                found[i] = one
    network.train(was_training)
    return found


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; Trainer writes its state last."""
    whole = [
        place
        for place in folder.glob("checkpoint-*")
        if all((place / name).is_file() for name in _OF_A_CHECKPOINT) and _is_json(place / "trainer_state.json")
    ]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


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
        self._examples = _read_ahead(
            network, [part for one in training for part in excerpts(one, how.config.batch_tokens)], how.config
        )
        self._development = development
        self._how = how
        self._network = network
        self._batches = Batches(self._examples, how.config.batch_tokens, how.seed)
        epochs = max(how.config.epochs, math.ceil(how.config.minimum_steps / len(self._batches)))
        super().__init__(
            model=network,
            args=_arguments(how, epochs, bool(development)),
            train_dataset=Dataset.from_dict({"example": list(range(len(self._examples)))}),
            eval_dataset=Dataset.from_dict({"example": list(range(len(development)))}) if development else None,
            callbacks=[_Rim(self._batches, how.name, progress, epochs * len(self._batches))],
        )
        self.remove_callback(PrinterCallback)
        if development:
            self.add_callback(_Patient(how.config.minimum_steps))
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
        return loss(score_passages(model, inputs, config.bfloat16), inputs, config, self._how.pooling)

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

    def __init__(self, batches: Batches, name: str, progress: Progress | None, steps: int) -> None:
        self._batches = batches
        self._progress = progress
        self._name = name
        if progress:
            self._task = progress.add_task(name, total=steps)

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


class _Patient(TrainerCallback):
    """No epoch is the best, or one too many, before the least number of steps is done: rates are still rising."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < min(self._steps, state.max_steps):
            control.should_evaluate = False


def _arguments(how: Fit, epochs: int, has_development: bool) -> TrainingArguments:
    each_epoch = "epoch" if has_development else "no"
    return TrainingArguments(
        output_dir=str(how.folder),
        num_train_epochs=epochs,
        seed=how.seed,
        use_cpu=how.config.device == "cpu",
        save_strategy="epoch",
        eval_strategy=each_epoch,
        load_best_model_at_end=has_development,
        metric_for_best_model=f"eval_{METRIC}" if has_development else None,
        greater_is_better=True if has_development else None,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        max_grad_norm=1.0,
        log_level="error",
    )


def _read_ahead(network: EvidenceEncoder, examples: Sequence[Example], config: FittingConfig) -> Sequence[Example]:
    """What the frozen layers make of every window, worked out once."""
    if not config.frozen_layers:
        return examples
    device = _device(config)
    moved_to: Any = network.to
    moved_to(device)
    fast = multiplies_in_bfloat16(device) if config.bfloat16 is None else config.bfloat16

    def lay(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(device, dtype=torch.bfloat16, enabled=fast):
            return network.lay_groundwork(input_ids.to(device), attention_mask.to(device))

    return with_groundwork(examples, lay)


def _device(config: FittingConfig) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return config.device or next((name for name, is_there in there.items() if is_there), "cpu")


def _macro_average_precision(scores: Sequence[Array], examples: Sequence[Example], pooling: PoolingConfig) -> float:
    """Mean over the modes that have both labels; 0 where none has."""
    pooled = np.array([evidence.pool(one, pooling) for one in scores])
    labels = np.array([example.labels for example in examples])
    values = []
    for column in _with_both_labels(labels):
        known = ~np.isnan(labels[:, column])
        values.append(average_precision_score(labels[known, column], pooled[known, column]))
    return float(np.mean(values)) if values else 0.0


def _can_be_measured(examples: Sequence[Example]) -> bool:
    return bool(examples) and len(_with_both_labels(np.array([example.labels for example in examples]))) > 0


def _with_both_labels(labels: Array) -> NDArray[np.intp]:
    """The columns of the modes of which both labels occur."""
    return np.flatnonzero((labels == 1).any(axis=0) & (labels == 0).any(axis=0))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _is_disk_error(cause: BaseException) -> bool:
    """The libraries that write wrap the system's errors in kinds of their own."""
    signs = ("No space left", "I/O error", "os error", "file write failed", "File too large")
    return isinstance(cause, OSError) or any(sign in str(cause) for sign in signs)


def _bound_kernel_caches() -> None:
    """Let oneDNN remember few matrix shapes: ours never end, and each keeps memory. It asks at the first product."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "16")


def _check_device(config: FittingConfig) -> None:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if config.device is not None and not there[config.device]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise ConfigError(f"model.fitting.device: there is no {config.device} here (there is: {found}); or set null")
