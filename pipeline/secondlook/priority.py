"""Priority: the number by which the queue is sorted.

One function for one case and for a million, so that a score computed again gives the same priority to the bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secondlook.codebook import Codebook
from secondlook.config import PriorityConfig, SeverityPriority, SingleModePriority
from secondlook.errors import ConfigError, did_you_mean

Array = NDArray[np.float64]


def priorities(scores: Array, codebook: Codebook, choice: PriorityConfig) -> Array:
    """The priority of every case.

    ``severity``: the mean of the scores weighted by the modes' severities. ``any_mode``: the probability that at
    least one mode holds, 1 - prod(1 - p), as if the modes were independent. They are not: they tend to go together,
    and the truth lies between the largest score and this (Fréchet 1935). As an order it has the merit that a second
    doubt about a case counts. ``mode``: the score of one mode.

    Args:
        scores: calibrated probabilities. *Shape:* ``(cases, modes)``, in the codebook's order.
        codebook: the modes.
        choice: what the configuration asks for.

    Returns:
        *Shape:* ``(cases,)``.

    Raises:
        ConfigError: the mode asked for is not in the codebook.
    """
    if isinstance(choice, SingleModePriority):
        return scores[:, mode_column(choice, codebook)].copy()
    columns = range(len(codebook.modes))
    if isinstance(choice, SeverityPriority):
        weights = severity_weights(codebook)
        # Column by column: a matrix product may sum one row in another order than many.
        total = np.zeros(len(scores))
        for column in columns:
            total += weights[column] * scores[:, column]
        return total
    none = np.ones(len(scores))
    for column in columns:
        none *= 1 - scores[:, column]
    return 1 - none


def severity_weights(codebook: Codebook) -> Array:
    """What part of the expected severity each mode can be; they add up to 1. *Shape:* ``(modes,)``."""
    severities = np.array([mode.severity for mode in codebook.modes])
    weights: Array = severities / severities.sum()
    return weights


def mode_column(choice: SingleModePriority, codebook: Codebook) -> int:
    """Where the mode of a single-mode priority stands in the codebook; call it before any work, too.

    Raises:
        ConfigError: it is not there.
    """
    if choice.mode not in codebook.mode_ids:
        hint = did_you_mean(choice.mode, codebook.mode_ids)
        known = ", ".join(codebook.mode_ids)
        raise ConfigError(
            f"priority: the bundle's codebook '{codebook.name}' has no mode '{choice.mode}'{hint}; its modes: {known}"
        )
    return codebook.mode_ids.index(choice.mode)
