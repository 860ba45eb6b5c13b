from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from secondlook.config import FittingConfig, PoolingConfig
from secondlook.encoder.batches import Batches, Example, collate, excerpts
from secondlook.encoder.fitting import Fit, fit, last_checkpoint
from secondlook.encoder.loss import loss
from secondlook.encoder.network import EvidenceEncoder
from secondlook.encoder.windows import CONTEXT, Window

POOLING = PoolingConfig(kind="logsumexp", sharpness=3)
CONFIG = FittingConfig(pair_weight=1.0)


def _example(labels: list[float], targets: list[list[float]], pair: str | None = None, tokens: int = 4) -> Example:
    windows = [
        Window(np.arange(tokens), np.array([CONTEXT] + [number] * (tokens - 2) + [CONTEXT]))
        for number in range(len(targets))
    ]
    return Example(windows, np.array(targets, dtype=float), np.array(labels, dtype=float), pair)


def _loss(examples: list[Example], scores: list[list[float]], config: FittingConfig = CONFIG) -> float:
    return float(loss(torch.tensor(scores), collate(examples), config, POOLING))


def test_unknown_labels_teach_nothing() -> None:
    unknown = _example([1, np.nan], [[1, np.nan], [0, np.nan]])
    assert _loss([unknown], [[2.0, 5.0], [-1.0, 5.0]]) == pytest.approx(_loss([unknown], [[2.0, -5.0], [-1.0, -5.0]]))


def test_positives_without_evidence_teach_by_their_label() -> None:
    unmarked = _example([1], [[np.nan], [np.nan]])
    assert _loss([unmarked], [[3.0], [-3.0]]) < _loss([unmarked], [[-3.0], [-3.0]])
    nothing = _example([np.nan], [[np.nan]])
    assert _loss([nothing], [[1.0]]) == 0


def test_the_members_of_a_pair_are_put_in_order() -> None:
    pair = [_example([1], [[1]], "p"), _example([0], [[0]], "p")]
    apart = [_example([1], [[1]]), _example([0], [[0]])]
    scores = [[-1.0], [1.0]]
    assert _loss(pair, scores) > _loss(apart, scores)
    assert _loss(pair, scores, FittingConfig(pair_weight=0)) == pytest.approx(_loss(apart, scores))


def test_an_excerpt_is_positive_where_its_evidence_is() -> None:
    long = _example([1, 1, 0], [[0, np.nan, 0], [1, np.nan, 0], [0, np.nan, 0]], tokens=10)
    parts = excerpts(long, 10)
    assert [part.labels.tolist()[0] for part in parts] == [0, 1, 0]
    assert all(np.isnan(part.labels[1]) for part in parts)
    assert all(part.labels[2] == 0 for part in parts)
    assert excerpts(long, 30) == [long]
    assert all(set(part.windows[0].passages) == {CONTEXT, 0} for part in parts)


def test_batches_hold_everything_once_and_pairs_together() -> None:
    examples = [_example([0], [[0]], f"p{i // 2}" if i < 10 else None, tokens=4 + i) for i in range(20)]
    batches = Batches(examples, 60, seed=1)
    first = list(batches)
    assert len(first) == len(batches)
    assert sorted(i for batch in first for i in batch) == list(range(20))
    for left in range(0, 10, 2):
        assert any(left in batch and left + 1 in batch for batch in first)
    assert first == list(batches)
    batches.epoch = 1
    assert first != list(batches)


def test_a_small_corpus_is_gone_through_more_often(tmp_path: Path, deep: EvidenceEncoder) -> None:
    examples = [_example([i % 2, 0], [[i % 2, 0], [0, 0]]) for i in range(8)]
    config = FittingConfig(epochs=1, minimum_steps=6, batch_tokens=64, device="cpu")
    fit(deep, examples, [], Fit(config, POOLING, 1, tmp_path, "small"))
    place = last_checkpoint(tmp_path)
    assert place is not None
    assert json.loads((Path(place) / "trainer_state.json").read_text())["global_step"] == 6


def test_frozen_layers_stay_as_they_were(tmp_path: Path, deep: EvidenceEncoder) -> None:
    deep.freeze(embeddings=True, layers=1)
    before = {name: parameter.clone() for name, parameter in deep.named_parameters()}
    examples = [_example([i % 2, 0], [[i % 2, 0], [0, 0]]) for i in range(8)]
    config = FittingConfig(epochs=2, minimum_steps=0, frozen_layers=1, batch_tokens=64, device="cpu")
    after = dict(fit(deep, examples, [], Fit(config, POOLING, 1, tmp_path, "frozen")).named_parameters())
    changed = {name for name, parameter in before.items() if not torch.equal(parameter, after[name])}
    assert changed
    assert not any(name.startswith(("encoder.embeddings", "encoder.encoder.layer.0.")) for name in changed)


def test_unknown_labels_leave_gradients_finite() -> None:
    pair = [_example([1, np.nan], [[1, np.nan]], "p"), _example([0, 0], [[0, 0]], "p")]
    scores = torch.tensor([[0.5, 0.5], [0.2, 0.2]], requires_grad=True)
    loss(scores, collate(pair), CONFIG, POOLING).backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, state in ((5, json.dumps({"epoch": 1})), (10, '{"epo'), (15, json.dumps({"epoch": 3}))):
        (tmp_path / f"checkpoint-{step}").mkdir()
        for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (tmp_path / f"checkpoint-{step}" / name).touch()
        (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-15/optimizer.pt").unlink()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")


def test_a_long_positive_without_marked_evidence_stays_whole_while_memory_allows() -> None:
    long = _example([1, 0], [[np.nan, 0], [np.nan, 0], [np.nan, 0]], tokens=10)
    assert excerpts(long, 15) == [long]
    parts = excerpts(long, 10)
    assert len(parts) == 3
    assert all(np.isnan(part.labels[0]) and part.labels[1] == 0 for part in parts)


@pytest.mark.parametrize(
    ("labels", "best"),
    [([[1, 0], [0, 1]], 12), ([[0, np.nan], [0, np.nan]], None)],
    ids=["measured", "not measured"],
)
def test_a_small_corpus_does_not_stop_before_its_steps_are_done(
    tmp_path: Path, deep: EvidenceEncoder, labels: list[list[float]], best: int | None
) -> None:
    """The development part says the same at every epoch, or nothing at all: patience must not end the fit for that."""
    examples = [_example([i % 2, 0], [[i % 2, 0], [0, 0]]) for i in range(8)]
    development = [_example(own, [own]) for own in labels]
    config = FittingConfig(epochs=1, minimum_steps=12, patience=1, batch_tokens=64, device="cpu")
    fit(deep, examples, development, Fit(config, POOLING, 1, tmp_path, "small"))
    place = last_checkpoint(tmp_path)
    assert place is not None
    state = json.loads((Path(place) / "trainer_state.json").read_text())
    assert state["global_step"] == 12
    assert state["best_global_step"] == best
