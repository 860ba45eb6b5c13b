from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secondlook import evidence
from secondlook.config import PoolingConfig
from secondlook.encoder import network
from secondlook.encoder.session import passage_scores
from secondlook.encoder.windows import CONTEXT, Window

KINDS = [PoolingConfig(kind="max"), PoolingConfig(kind="noisy_or"), PoolingConfig(kind="logsumexp", sharpness=3)]
log_odds = st.lists(st.lists(st.floats(-15, 15), min_size=2, max_size=2), min_size=1, max_size=6)


@pytest.mark.parametrize("pooling", KINDS, ids=lambda one: one.kind)
@given(narratives=st.lists(log_odds, min_size=1, max_size=4))
def test_training_pools_as_scoring_does(pooling: PoolingConfig, narratives: list[list[list[float]]]) -> None:
    scores = [np.array(one) for one in narratives]
    number = torch.repeat_interleave(torch.arange(len(scores)), torch.tensor([len(one) for one in scores]))
    pooled = network.pool(torch.tensor(np.concatenate(scores)), number, len(scores), pooling)
    expected = np.array([evidence.pool(one, pooling) for one in scores])
    np.testing.assert_allclose(pooled.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", KINDS, ids=lambda one: one.kind)
def test_a_rising_passage_never_lowers_the_narrative(pooling: PoolingConfig) -> None:
    scores = torch.linspace(-4, 4, 12, dtype=torch.float64).reshape(6, 2).requires_grad_()
    network.pool(scores, torch.zeros(6, dtype=torch.long), 1, pooling).sum().backward()
    assert scores.grad is not None
    assert (scores.grad >= 0).all()
    assert scores.grad.max() > 0


def test_training_and_scoring_share_passage_scores() -> None:
    rng = np.random.default_rng(1)
    owners = [np.array([CONTEXT, 0, 0, 1, CONTEXT]), np.array([CONTEXT, CONTEXT, 1, 2, CONTEXT])]
    windows = [Window(np.zeros(5, dtype=np.int64), owner) for owner in owners]
    outputs = [(rng.normal(size=(5, 2)), rng.random((5, 2)) + 0.1) for _ in windows]
    scored = passage_scores(windows, outputs, 3, 2)
    flat = [torch.tensor(np.concatenate(parts)) for parts in zip(*outputs, strict=True)]
    owner = torch.tensor(np.concatenate(owners))
    own = owner != CONTEXT
    trained = network.passage_scores(flat[0][own], flat[1][own], owner[own], 3)
    np.testing.assert_allclose(trained.numpy(), scored, atol=1e-9)


def test_frozen_layers_worked_out_beforehand_change_no_score(deep: network.EvidenceEncoder) -> None:
    deep.freeze(embeddings=True, layers=2)
    ids = torch.randint(1, 30, (3, 9))
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4, [1] * 7 + [0] * 2])
    whole, _ = deep(ids, mask)
    resumed, _ = deep(ids, mask, deep.lay_groundwork(ids, mask))
    torch.testing.assert_close(resumed[mask == 1], whole[mask == 1])


def test_only_what_is_not_frozen_learns(deep: network.EvidenceEncoder) -> None:
    deep.freeze(embeddings=True, layers=1)
    ids = torch.randint(1, 30, (2, 6))
    scores, _ = deep(ids, torch.ones_like(ids), deep.lay_groundwork(ids, torch.ones_like(ids)))
    scores.sum().backward()
    learns = {name for name, parameter in deep.named_parameters() if parameter.grad is not None}
    assert learns
    assert not any(name.startswith(("encoder.embeddings", "encoder.encoder.layer.0.")) for name in learns)
    assert any(name.startswith("encoder.encoder.layer.1.") for name in learns)
    assert any(name.startswith("encoder.encoder.layer.2.") for name in learns)


def test_something_must_be_left_to_learn(deep: network.EvidenceEncoder) -> None:
    with pytest.raises(ValueError, match="leave none to tune"):
        deep.freeze(embeddings=True, layers=3)
