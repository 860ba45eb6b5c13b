"""An untrained encoder of three narrow layers."""

from __future__ import annotations

import pytest
import torch

from secondlook.encoder.network import EvidenceConfig, EvidenceEncoder


@pytest.fixture
def deep() -> EvidenceEncoder:
    torch.manual_seed(3)
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = {"model_type": "bert", "vocab_size": 30, "max_position_embeddings": 32, **shape}
    return EvidenceEncoder(EvidenceConfig(encoder, ("one", "other"))).train(False)
