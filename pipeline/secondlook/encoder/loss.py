"""The loss: narratives by their labels, passages by their evidence, minimal pairs by their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secondlook.config import FittingConfig, PoolingConfig
from secondlook.encoder.network import EvidenceEncoder, multiplies_in_bfloat16, passage_scores, pool
from secondlook.encoder.windows import CONTEXT, NOTHING


def score_passages(network: EvidenceEncoder, inputs: Mapping[str, Any], bfloat16: bool | None) -> Tensor:
    """Passage log-odds of what :func:`secondlook.encoder.batches.collate` made. *Shape:* ``(passages, modes)``."""
    scores, weights, owners = [], [], []
    device = inputs["targets"].device.type
    fast = multiplies_in_bfloat16(device) if bfloat16 is None else bfloat16
    with torch.autocast(device, dtype=torch.bfloat16, enabled=fast):  # once: it casts weights once
        for chunk in inputs["chunks"]:
            token_scores, token_weights = network(chunk["input_ids"], chunk["attention_mask"], chunk.get("groundwork"))
            own = chunk["owners"] != CONTEXT
            scores.append(token_scores[own])
            weights.append(token_weights[own])
            owners.append(chunk["owners"][own])
    passages: int = len(inputs["targets"])
    if not owners:
        return torch.full_like(inputs["targets"], NOTHING)
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
        # Chosen before they are multiplied: an unknown label is NaN, and NaN times nought is NaN in a gradient.
        gap = difference[told_apart] * (pooled[first] - pooled[second])[told_apart]
        total = total + config.pair_weight * nn.functional.softplus(-gap).sum() / len(labels)
    return total
