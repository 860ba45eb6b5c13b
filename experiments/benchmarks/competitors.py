"""The competitors: each learns from a task's training part and scores narratives and passages.

All see the same parts and the same seed. Their scores become flags at the threshold that gave the best F1 on units
that they did not learn from, whatever the competitor, so that no one is helped by its own calibration: on the
development part, or, where there is none, on each half of the training part by what the other half taught.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from corpora import Task
from numpy.typing import NDArray

from secondlook.config import LinearModelConfig, PoolingConfig, TransformerModelConfig
from secondlook.evidence import pool
from secondlook.fit import fit_linear, lesson
from secondlook.metrics import macro_average_precision
from secondlook.prepare import Part
from secondlook.stacked import StackedEvidenceModel, stacking_weights

if TYPE_CHECKING:
    from secondlook.encoder.finetuned import Lesson
    from secondlook.encoder.session import TransformerEvidenceModel

Array = NDArray[np.float64]
TRUNCATED_TOKENS = 256
SETFIT_SENTENCES = 600
"""SetFit learns from pairs of texts, whose number grows with the square: a sample, as its authors advise."""


class Trained(Protocol):
    """What a competitor has learnt."""

    def passages(self, part: Part) -> list[Array]:
        """Scores for each narrative. *Shape of each:* ``(passages, modes)``."""

    def narratives(self, part: Part) -> Array:
        """*Shape:* ``(narratives, modes)``."""

    def size(self) -> int:
        """Bytes that scoring needs."""


@dataclass(frozen=True)
class Competitor:
    """What a competitor has learnt from the whole training part, and what tells where its flags begin.

    ``unseen`` has parts, each with what a competitor of its kind has learnt that did not see it. ``shared_s`` are
    seconds of its fitting that another competitor spent already.
    """

    trained: Trained
    unseen: Sequence[tuple[Trained, Part]]
    shared_s: float = 0.0


def compete(task: Task, learn: Callable[[Task], Trained]) -> Competitor:
    """A competitor that learns a task as ``learn`` does."""
    trained = learn(task)
    if task.development is not None:
        return Competitor(trained, [(trained, task.development)])
    return Competitor(trained, [(learn(half), other) for half, other in task.halves()])


class _Evidence:
    """A model whose narrative score is pooled from its passages."""

    def __init__(self, model: object, pooling: PoolingConfig) -> None:
        self.model, self.pooling = model, pooling

    def passages(self, part: Part) -> list[Array]:
        return self.model.score(part.narratives, part.passages)  # type: ignore[attr-defined,no-any-return]

    def narratives(self, part: Part) -> Array:
        return np.array([pool(scores, self.pooling) for scores in self.passages(part)])

    def size(self) -> int:
        return sum(len(content) for content in self.model.to_files().values())  # type: ignore[attr-defined]


class _Classifier:
    """A classifier of whole texts; a passage is a text of its own to it."""

    def __init__(self, score: Callable[[Sequence[str]], Array], size: Callable[[], int]) -> None:
        self.score, self.size = score, size

    def passages(self, part: Part) -> list[Array]:
        texts = passage_texts(part)
        ends = np.cumsum([len(own) for own in texts])[:-1]
        return np.split(self.score([text for own in texts for text in own]), ends)

    def narratives(self, part: Part) -> Array:
        return self.score(part.narratives)


def passage_texts(part: Part) -> list[list[str]]:
    """The text of every passage."""
    return [
        [narrative[start:end] for start, end in spans]
        for narrative, spans in zip(part.narratives, part.passages, strict=True)
    ]


def units_and_scores(task: Task, part: Part, trained: Trained) -> tuple[Array, Array]:
    """Labels of a part's units and their scores. *Shape of both:* ``(units, modes)``.

    Passages of which a label is not known are left out; with narratives it is NaN.
    """
    if task.unit == "narrative":
        return part.labels, trained.narratives(part)
    targets = np.concatenate(part.targets)
    known = ~np.isnan(targets).any(axis=1)
    return targets[known], np.concatenate(trained.passages(part))[known]


def linear(task: Task, seed: int, config: LinearModelConfig, pooling: PoolingConfig) -> Trained:
    """The linear evidence model."""
    return _Evidence(fit_linear(task.training, task.modes, config, seed), pooling)


_encoders: dict[tuple[str, int], dict[str, tuple[TransformerEvidenceModel, float]]] = {}
"""The encoders of the last task and seed with the seconds that each took: two competitors have the same ones."""


def transformer(task: Task, seed: int, config: TransformerModelConfig, pooling: PoolingConfig) -> Competitor:
    """The transformer alone, exported as the batch scorer runs it."""
    if (task.name, seed) not in _encoders:
        _encoders.clear()
    fitted = _encoders.setdefault((task.name, seed), {})
    spent = sum(seconds for _, seconds in fitted.values())

    def learn(own: Task) -> Trained:
        if own.name not in fitted:
            # Half of the training part is gone through as often as the whole.
            steps = round(config.fitting.minimum_steps * len(own.training.ids) / len(task.training.ids))
            fitting = config.fitting.model_copy(update={"minimum_steps": steps})
            start = time.perf_counter()
            model = _fit_encoder(own, seed, config.model_copy(update={"fitting": fitting}), pooling)
            fitted[own.name] = (model, time.perf_counter() - start)
        return _Evidence(fitted[own.name][0], pooling)

    return replace(compete(task, learn), shared_s=spent)


def ours(task: Task, seed: int, config: TransformerModelConfig, pooling: PoolingConfig) -> Competitor:
    """The default model: the transformer and the linear model beside it, stacked by what they say of unseen units."""
    encoded = transformer(task, seed, config, pooling)
    beside = config.linear
    if beside is None:
        return encoded
    worded = compete(task, lambda own: linear(own, seed, beside, pooling))
    unseen = [
        [units_and_scores(task, part, trained) for trained, part in member.unseen] for member in (encoded, worded)
    ]
    scores = np.stack([np.concatenate([own for _, own in member]) for member in unseen])
    weights = stacking_weights(scores, np.concatenate([labels for labels, _ in unseen[0]]))

    def stack(encoder: Trained, words: Trained) -> Trained:
        return _Evidence(StackedEvidenceModel(encoder.model, words.model, weights), pooling)  # type: ignore[attr-defined]

    blind = [
        (stack(encoder, words), part) for (encoder, part), (words, _) in zip(encoded.unseen, worded.unseen, strict=True)
    ]
    return Competitor(stack(encoded.trained, worded.trained), blind, encoded.shared_s)


def _fit_encoder(
    task: Task, seed: int, config: TransformerModelConfig, pooling: PoolingConfig
) -> TransformerEvidenceModel:
    from secondlook.encoder.finetuned import FineTuned

    def taught(part: Part) -> Lesson:
        # Narratives are what is measured only where they are the unit; else passages alone teach.
        one = lesson(part)
        return one if task.unit == "narrative" else replace(one, labels=np.full_like(one.labels, np.nan))

    with tempfile.TemporaryDirectory() as folder:
        chosen_on = task.development if task.unit == "narrative" else None
        development = taught(chosen_on) if chosen_on is not None else None
        place = Path(folder) / "fit"
        model = FineTuned.fit(taught(task.training), development, task.modes, config, pooling, seed, place, task.name)
    return model.exported()


def tfidf_svm(task: Task, seed: int) -> Trained:
    """Words and bigrams, one linear SVM a mode, on whole units. A mode without positives scores nothing."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    texts, labels = units(task, task.training)
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    machine = OneVsRestClassifier(LinearSVC(class_weight="balanced", random_state=seed))
    machine.fit(vectoriser.fit_transform(texts), labels)

    def score(texts: Sequence[str]) -> Array:
        return np.asarray(machine.decision_function(vectoriser.transform(texts))).reshape(len(texts), -1)

    weights = sum(one.coef_.nbytes for one in machine.estimators_ if hasattr(one, "coef_"))
    return _Classifier(score, lambda: int(weights) + sum(len(term) for term in vectoriser.vocabulary_))


def truncated(task: Task, seed: int, config: TransformerModelConfig) -> Trained:
    """A sequence classifier on the same encoder that reads the first 256 tokens, as most people would do it.

    All its layers are tuned, for as many epochs; it keeps the one that was best on development, or the last.
    """
    import torch
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    from secondlook.encoder.network import multiplies_in_bfloat16
    from secondlook.encoder.pretrained import locate

    set_seed(seed)
    place = locate(config.encoder, config.encoder_digest)
    tokenizer = AutoTokenizer.from_pretrained(place)
    model = AutoModelForSequenceClassification.from_pretrained(
        place,
        num_labels=len(task.modes),
        problem_type="multi_label_classification",
        attn_implementation="eager",
    )

    def dataset(part: Part) -> Dataset:
        texts, labels = units(task, part)
        rows = tokenizer(list(texts), truncation=True, max_length=TRUNCATED_TOKENS)
        return Dataset.from_dict({**rows, "labels": labels.astype(np.float32).tolist()})

    each_epoch = "no" if task.development is None else "epoch"
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=config.fitting.epochs,
            per_device_train_batch_size=16,
            learning_rate=config.fitting.learning_rate,
            warmup_steps=0.1,
            bf16=multiplies_in_bfloat16("cuda" if torch.cuda.is_available() else "cpu"),
            use_cpu=config.fitting.device == "cpu" or not torch.cuda.is_available(),
            save_strategy=each_epoch,
            eval_strategy=each_epoch,
            save_total_limit=1,
            load_best_model_at_end=task.development is not None,
            metric_for_best_model="macro_AP",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
            log_level="error",
        )
        Trainer(
            model=model,
            args=arguments,
            train_dataset=dataset(task.training),
            eval_dataset=None if task.development is None else dataset(task.development),
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda seen: {"macro_AP": macro_average_precision(seen.label_ids, seen.predictions)},
        ).train()
    model.train(False)

    def score(texts: Sequence[str]) -> Array:
        found = []
        with torch.inference_mode():
            for start in range(0, len(texts), 32):
                batch = list(texts[start : start + 32])
                rows = tokenizer(batch, truncation=True, max_length=TRUNCATED_TOKENS, padding=True, return_tensors="pt")
                found.append(model(**rows.to(model.device)).logits.float().cpu().numpy())
        return np.concatenate(found).astype(np.float64)

    return _Classifier(score, lambda: sum(p.numel() * p.element_size() for p in model.parameters()))


def setfit(task: Task, seed: int, config: TransformerModelConfig) -> Trained:
    """SetFit (Tunstall et al. 2022) on the same encoder: contrastive pairs, then logistic regression."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from secondlook.encoder.pretrained import locate

    texts, labels = units(task, task.training)
    chosen = np.random.default_rng(seed).permutation(len(texts))[:SETFIT_SENTENCES]
    place = locate(config.encoder, config.encoder_digest)
    model = SetFitModel.from_pretrained(place, multi_target_strategy="one-vs-rest", device="cpu")
    dataset = Dataset.from_dict({"text": [texts[i] for i in chosen], "label": labels[chosen].astype(int).tolist()})
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, batch_size=16, num_epochs=1, num_iterations=3, seed=seed, show_progress_bar=False
        )
        Trainer(model=model, args=arguments, train_dataset=dataset).train()
    # The contrastive part is costly and took a sample; the head learns from everything.
    model.model_head.fit(model.model_body.encode(list(texts), show_progress_bar=False), labels.astype(int))

    def score(texts: Sequence[str]) -> Array:
        return np.asarray(model.model_head.predict_proba(model.model_body.encode(list(texts), show_progress_bar=False)))

    return _Classifier(score, lambda: sum(p.numel() * p.element_size() for p in model.model_body.parameters()))


def units(task: Task, part: Part) -> tuple[list[str], Array]:
    """The texts that are measured, where every label is known, and these. *Shape:* ``(units, modes)``."""
    if task.unit == "narrative":
        texts, labels = list(part.narratives), part.labels
    else:
        texts, labels = [text for own in passage_texts(part) for text in own], np.concatenate(part.targets)
    known = ~np.isnan(labels).any(axis=1)
    return [text for text, one in zip(texts, known, strict=True) if one], labels[known]
