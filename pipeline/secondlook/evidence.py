"""Evidence is the score: how passage scores become a narrative score, and back.

A pooling takes the passages' log-odds for one mode and gives the narrative's, before calibration.
Each is monotone: no passage's score can rise and the narrative's fall. Each says what share of the
narrative's score every passage carries; shares are at least 0 and sum to 1.

==========  ============================================  =======================
kind        pooled log-odds of passages z                 share of passage i
==========  ============================================  =======================
max         max z                                         1 for the (first) highest
noisy_or    logit(1 - prod(1 - sigmoid(z)))               softplus(z_i) / sum softplus(z)
logsumexp   log(sum exp(a z)) / a, sharpness a            exp(a z_i) / sum exp(a z)
==========  ============================================  =======================

noisy_or is Pearl's (1988, section 4.3.2): each passage alone could show the failure. logsumexp runs
from the sum of odds (a = 1) towards max (a large); Pinheiro and Collobert (2015) use it to pool
pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from secondlook.config import PoolingConfig

Scores = NDArray[np.float64]


def pool(scores: Scores, pooling: PoolingConfig) -> Scores:
    """Pool passages into one narrative.

    Args:
        scores: log-odds. *Shape:* ``(passages, modes)``, at least one passage.

    Returns:
        Log-odds. *Shape:* ``(modes,)``.
    """
    if pooling.kind == "max":
        pooled: Scores = scores.max(axis=0)
    elif pooling.kind == "noisy_or":
        pooled = _log_expm1(_softplus(scores).sum(axis=0))
    else:
        pooled = logsumexp(scores * pooling.sharpness, axis=0) / pooling.sharpness
    return pooled


def shares(scores: Scores, pooling: PoolingConfig) -> Scores:
    """The share of the narrative's score that each passage carries.

    Args:
        scores: log-odds. *Shape:* ``(passages, modes)``, at least one passage.

    Returns:
        Shares that sum to 1 over passages. *Shape:* ``(passages, modes)``.
    """
    if pooling.kind == "max":
        share = np.zeros_like(scores)
        share[scores.argmax(axis=0), np.arange(scores.shape[1])] = 1.0
        return share
    if pooling.kind == "noisy_or":
        weights = _softplus(scores)
        total = weights.sum(axis=0)
        # Far below zero every softplus underflows; its limit is exp(z), whose shares are a softmax.
        return np.where(total > 0, weights / np.where(total > 0, total, 1.0), softmax(scores, axis=0))
    share = softmax(scores * pooling.sharpness, axis=0)
    return np.asarray(share)


def _softplus(z: Scores) -> Scores:
    return np.logaddexp(0.0, z)


def _log_expm1(total: Scores) -> Scores:
    """log(exp(total) - 1) without overflow or cancellation."""
    return np.where(total > 30, total, np.log(np.expm1(np.clip(total, 1e-300, 30))))
